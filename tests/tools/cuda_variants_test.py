"""Training every attention variant with a GPU for each rank, under mpirun, on the emulator a GPU of its own for each. Two ranks do what one
does with the same global batch, and the same again to the bit.

    cuda_variants_test.py SLUICE SLUICE_DATA [all]

With `all` every variant, for BERT and OPT in fp32, bf16 and fp16, and for the Bigram-Backcopy model those of configs/bigram_backcopy.
Without, a few, chosen so that each model, each precision and each kind of parameter is among them.
"""

import json
import math
import pathlib
import re
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from command_line import SLUICE_DATA, run

# name -> model.attention: the tables of docs/attention_variants.md, gates at both sites.
VARIANTS = {
    "vanilla": "{variant: vanilla}",
    "value_query": "{variant: gated}",
    "value_key": "{variant: gated, gate: {site: key}}",
    "input_query": "{variant: gated, gate: {source: input}}",
    "input_key": "{variant: gated, gate: {source: input, site: key}}",
    "bias": "{variant: gated, gate: {bias: true}}",
    "head_slice": "{variant: gated, gate: {per_head_slice: true}}",
    "channel": "{variant: gated, gate: {granularity: channel}}",
    "channel_slice_key": "{variant: gated, gate: {granularity: channel, per_head_slice: true, site: key}}",
    "perceptron": "{variant: gated, gate: {predictor: mlp, predictor_hidden_size: 5}}",
    "free_scalar_key": "{variant: gated, gate: {predictor: free_scalar, site: key}}",
    "temperature": "{variant: gated, gate: {temperature: 2}}",
    "scale": "{variant: gated, gate: {bias: true, initial_probability: 0.25, scale: one_at_start}}",
    "one_layer": "{variant: gated, gate: {layers: [1]}}",
    "clipped_softmax": "{variant: clipped_softmax, clipped_softmax: {gamma: -0.03, zeta: 1.1}}",
    "sink_logit": "{variant: learnable_sink, learnable_sink: logit}",
    "sink_token": "{variant: learnable_sink, learnable_sink: token}",
    "softmax_plus_one": "{variant: softmax_plus_one}",
    "relu": "{variant: relu}",
    "registers": "{variant: vanilla, register_tokens: 2}",
}
BIGRAM_BACKCOPY_VARIANTS = ("vanilla", "value_query", "value_key", "input_query", "input_key", "relu")
PRECISIONS = ("fp32", "bf16", "fp16")
# Of section model, and of section data: the shards are of setUpClass. Vocabularies are multiples of 4, so that every row of logits is aligned
# alike: kernels/cuda/cross_entropy.cu sums the exponentials of others in an order that depends on where in the batch they are.
MODELS = {
    "bert": ("hidden_act: gelu_erf, hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.1", "train: {folder}/bert"),
    "opt": ("hidden_act: relu, layer_norm_eps: 1.0e-5, hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0", "train: {folder}/opt"),
    "bigram_backcopy": ("hidden_act: relu, layer_norm_eps: 1.0e-5, hidden_dropout_prob: 0, attention_probs_dropout_prob: 0, vocab_size: 68",
                        "source: bigram_backcopy, validation_sequences: 0"),
}
LENGTH, BATCH, STEPS, LEARNING_RATE = 16, 4, 3, 0.1
# An update that is linear in the gradient: an adaptive one would make steps of the learning rate out of the rounding of what is zero.
CONFIG = """
model: {{architecture: {architecture}, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64,
        max_position_embeddings: {length}, {model}, attention: {attention}}}
data: {{{data}, sequence_length: {length}}}
optimizer: {{name: sgd, learning_rate: {learning_rate}, momentum: 0, weight_decay: 0, max_grad_norm: 0}}
schedule: {{shape: constant}}
training: {{steps: {steps}, global_batch_size: {batch}, precision: {precision}, log_every: 1}}
runtime: {{device: cuda, threads: 1, gradient_bucket_bytes: 16384}}
"""
RUN_SECONDS = 600  # that a run may take, which has seconds of work: others share the cores
UNIT_ROUNDOFF = 2**-24
DOUBLE_ROUNDOFF = 2**-53


class Case(NamedTuple):
    model: str
    variant: str
    precision: str


class Run(NamedTuple):
    folder: pathlib.Path
    losses: list  # of each step
    norms: list  # of the gradient, before each update


SOME = (
    Case("bert", "value_query", "bf16"), Case("bert", "clipped_softmax", "fp32"), Case("opt", "channel_slice_key", "fp32"),
    Case("opt", "sink_token", "fp32"), Case("opt", "registers", "fp16"), Case("bigram_backcopy", "input_key", "fp32"),
)


def every_case():
    cases = [Case(model, variant, precision) for model in ("bert", "opt") for variant in VARIANTS for precision in PRECISIONS]
    return cases + [Case("bigram_backcopy", variant, precision) for variant in BIGRAM_BACKCOPY_VARIANTS for precision in PRECISIONS]


class CudaVariants(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="sluice_test_")
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        text = cls.folder / "text.txt"
        text.write_text("".join(f"the river of gate {n % 7} opens slowly and the {n % 11} th lock closes .\n\n" for n in range(60)))
        for model, tokenizer, size in (("bert", "wordpiece", 80), ("opt", "bpe", 272)):
            vocabulary = cls.folder / f"{model}_vocabulary"
            for command, *arguments in (("learn-vocabulary", "--size", size, "--out", vocabulary),
                                        ("prepare", "--vocabulary", vocabulary, "--out", cls.folder / model)):
                code, out, error = run(command, "--tokenizer", tokenizer, *arguments, text, program=SLUICE_DATA)
                assert code == 0, out + error
        cls.pool = ThreadPoolExecutor(2)
        cls.addClassCleanup(cls.pool.shutdown, cancel_futures=True)
        cls.runs = {}  # what train() was asked for -> a future Run

    def start(self, case, ranks=1, name="run"):
        """Does not wait: runs of several cases go side by side. The same run is made once."""
        key = (case, ranks, name)
        if key not in self.runs:
            self.runs[key] = self.pool.submit(self.train, *key)
        return self.runs[key]

    def train(self, case, ranks, name):
        label = "_".join(case)
        model, data = MODELS[case.model]
        folder = self.folder / f"{label}_{ranks}_{name}"
        config = folder.with_suffix(".yaml")
        config.write_text(CONFIG.format(
            architecture=case.model, model=model, attention=VARIANTS[case.variant], data=data.format(folder=self.folder), length=LENGTH,
            batch=BATCH, steps=STEPS, learning_rate=LEARNING_RATE, precision=case.precision))
        code, out, error = run("train", config, "--run-folder", folder, ranks=ranks, timeout=RUN_SECONDS)
        if code != 0 or not re.search(rf"^{ranks} ranks .* on CUDA", error, re.MULTILINE):
            raise RuntimeError(f"exit code {code}\n{out}{error}")
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if line["event"] == "train"]
        # In fp16: skipped updates would compare nothing.
        if len(steps) != STEPS or any(line.get("skipped_updates", 0) for line in steps):
            raise RuntimeError(f"not {STEPS} updates: {steps}")
        return Run(folder, [line["loss"] for line in steps], [line["gradient_norm"] for line in steps])

    def start_all_of(self, case, ranks):
        for arguments in ((case,), (case, ranks), (case, ranks, "again"), (case._replace(precision="fp32"),)):
            self.start(*arguments)

    def check(self, case, ranks=2):
        self.label = "_".join(case)
        self.start_all_of(case, ranks)
        one, several = self.start(case).result(), self.start(case, ranks).result()
        self.check_same_begin(one, several)
        if case.precision == "fp32":
            bound = self.check_same_course(one, several)
        else:
            bound = self.check_course_of_16_bits(one, several, self.start(case._replace(precision="fp32")).result(), case.precision)
        # What updates do is more than what was let pass.
        self.assertGreater(abs(one.losses[0] - one.losses[-1]), bound)
        again = self.start(case, ranks, "again").result()
        self.assertEqual(several[1:], again[1:])
        code, out, error = run("inspect", several.folder, "--diff", again.folder)
        self.assertEqual(code, 0, out + error)
        self.assertIn("equal", out.splitlines()[-1])

    def check_close(self, what, expected, actual, bound):
        print(f"[tolerance] {self.label} {what} used {100 * abs(expected - actual) / bound:.2g} % of {bound:.2g}", flush=True)
        self.assertAlmostEqual(expected, actual, delta=bound, msg=what)

    def check_same_begin(self, one, several):
        """The first step, in any precision. A row has the same bits on whichever rank, as the emulator's products sum in one order, whatever
        the number of rows. Losses of the targets are summed in double, each sum of n positive values being off by n roundings at most.
        Gradients of parameters are float sums over the tokens in another order: each element is off by some sqrt(2 · tokens) roundings, and
        their norm, in which many add up, by less than that."""
        tokens = BATCH * LENGTH
        self.check_close("first loss", one.losses[0], several.losses[0], 2 * tokens * DOUBLE_ROUNDOFF * one.losses[0])
        self.check_close("first norm", one.norms[0], several.norms[0], self.gradient_share() * one.norms[0])

    def check_same_course(self, one, several):
        """fp32. Returns the last bound. An update moves weights apart by the learning rate times the gradient's error, and the loss by the gradient times that.
        Weights that differ in the last bit round everything behind them anew: 76 u of the loss (tests/model/golden_model.h)."""
        moved = 0
        for step in range(1, STEPS):
            moved += LEARNING_RATE * self.gradient_share() * one.norms[step - 1] ** 2
            bound = 76 * UNIT_ROUNDOFF * one.losses[step] + moved
            self.check_close(f"loss {step + 1}", one.losses[step], several.losses[step], bound)
        return bound

    def check_course_of_16_bits(self, one, several, fp32, precision):
        """Returns the bound. A weight that differs in the last bit of its float may round to its neighbour, which is a roundoff of 16 bits away. So each side may
        be as far from the fp32 run as rounding to 16 bits takes the one with one rank. That is one draw, which may be small by luck, so what one
        rounding does to the losses' range comes on top (tests/train/loss_curves.h)."""
        farthest = max(abs(a - b) for a, b in zip(one.losses, fp32.losses))
        self.assertGreater(farthest, 0)
        roundoff = 2**-8 if precision == "bf16" else 2**-11
        bound = 2 * farthest + roundoff * (max(fp32.losses) - min(fp32.losses))
        for step in range(1, STEPS):
            self.check_close(f"loss {step + 1}", one.losses[step], several.losses[step], bound)
        return bound

    @staticmethod
    def gradient_share():
        return math.sqrt(2 * BATCH * LENGTH) * UNIT_ROUNDOFF

    def test_two_ranks_do_what_one_does_and_again_to_the_bit(self):
        cases = every_case() if "all" in sys.argv[3:] else SOME
        for case in cases:
            self.start_all_of(case, 2)
        for case in cases:
            with self.subTest(case=case):
                self.check(case)

    def test_four_ranks(self):
        self.check(Case("bert", "value_key", "fp32"), ranks=4)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
