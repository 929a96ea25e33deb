"""Training with a GPU for each of two ranks, under mpirun: gradients are summed by NCCL. The losses of every step must be those
of two ranks on the CPU. On the emulator each rank has an emulated GPU of its own. In fp16 all ranks skip an update when the
gradient of one overflows.

    cuda_ranks_test.py SLUICE SLUICE_DATA CUDA_FP16_RANKS
"""

import json
import pathlib
import sys
import tempfile
import unittest

from command_line import SLUICE, run

STEPS = 5
CONFIG = """
model: {architecture: bigram_backcopy, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 1, intermediate_size: 64,
        max_position_embeddings: 32, hidden_act: relu, hidden_dropout_prob: 0, attention_probs_dropout_prob: 0,
        attention: {variant: gated}}
data: {source: bigram_backcopy, sequence_length: 32}
optimizer: {learning_rate: 0.001}
schedule: {shape: constant}
training: {steps: %d, global_batch_size: 4, precision: fp32, log_every: 1}
runtime: {threads: 1, gradient_bucket_bytes: 16384}
"""


class CudaRanks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="sluice_test_")
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.config = cls.folder / "small.yaml"
        cls.config.write_text(CONFIG % STEPS)

    def losses(self, device, ranks):
        folder = self.folder / f"{device}_{ranks}"
        code, out, error = run("train", self.config, f"runtime.device={device}", "--run-folder", folder, ranks=ranks)
        self.assertEqual(code, 0, out + error)
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [line["loss"] for line in lines if line["event"] == "train"]

    def test_losses_are_those_of_the_cpu(self):
        cpu, cuda = self.losses("cpu", 2), self.losses("cuda", 2)
        self.assertEqual(len(cpu), STEPS)
        self.assertEqual(len(cuda), STEPS)
        # A pass in fp32 differs by some 76 u of the loss; an update of 0.001 by that times the gradient's norm, which is
        # below 10 here: 4e-7 a step.
        for step, (a, b) in enumerate(zip(cpu, cuda)):
            self.assertAlmostEqual(a, b, delta=76 * 2**-24 * a + step * 76 * 2**-24 * 10 * 0.001, msg=f"step {step + 1}")
        self.assertLess(cuda[-1], cuda[0])  # it learns

    def test_two_ranks_do_what_one_does(self):
        one, two = self.losses("cuda", 1), self.losses("cuda", 2)
        for step, (a, b) in enumerate(zip(one, two)):
            self.assertAlmostEqual(a, b, delta=76 * 2**-24 * a + step * 76 * 2**-24 * 10 * 0.001, msg=f"step {step + 1}")

    def train_seeing(self, visible, name):
        """Each rank sees the GPUs that `visible`, of the shell, lists, as where a launcher binds them."""
        script = f'CUDA_VISIBLE_DEVICES={visible} exec "$0" "$@"'
        return run("-c", script, SLUICE, "train", self.config, "runtime.device=cuda", "--run-folder", self.folder / name, ranks=2, program="bash")

    def test_a_rank_that_sees_one_gpu_has_that(self):
        code, out, error = self.train_seeing("$OMPI_COMM_WORLD_LOCAL_RANK", "bound")
        self.assertEqual(code, 0, out + error)
        lines = map(json.loads, (self.folder / "bound" / "metrics.jsonl").read_text().splitlines())
        self.assertEqual([line["loss"] for line in lines if line["event"] == "train"], self.losses("cuda", 2))

    def test_one_gpu_for_two_ranks_is_refused(self):
        code, out, error = self.train_seeing("1", "shared")
        self.assertEqual(code, 4, out + error)
        self.assertIn("two ranks have the same GPU: runtime.device cuda: ranks 0 and 1", error)

    def test_an_overflow_on_one_rank_is_one_on_all(self):
        program = pathlib.Path(sys.argv[3]).resolve()
        code, out, error = run(self.folder / "fp16", ranks=2, program=program)
        self.assertEqual(code, 0, out + error)
        self.assertEqual(sorted(line for line in out.splitlines() if line.startswith("rank ")),
                         ["rank 0 of 2: all well", "rank 1 of 2: all well"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
