"""What cannot work, from outside: each row of bad_input_cases.py must end with its exit code and say why, and leave no file
behind and none changed. Then what takes more than one command: full disks, killed runs, two runs at once.

    bad_input_test.py SLUICE SLUICE_DATA
"""

import collections
import gzip
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import bad_input_cases
from command_line import ENVIRONMENT, SLUICE, SLUICE_DATA

SMALL = """
model:
  hidden_size: 32
  num_hidden_layers: 1
  num_attention_heads: 2
  intermediate_size: 64
  max_position_embeddings: 32
  attention: {variant: gated}
data:
  train: ../inputs/train
  validation: [../inputs/valid]
  sequence_length: 32
schedule: {shape: constant}
training: {steps: 2, global_batch_size: 4, precision: fp32}
checkpoint: {every: 1}
telemetry: {gate_statistics_every: 1}
runtime: {threads: 1}
"""
OPT = """
extends: small.yaml
model: {architecture: opt, hidden_act: relu}
data: {train: ../inputs/byte_pair_data, validation: []}
"""
GENERATED = SMALL.replace("  train: ../inputs/train\n  validation: [../inputs/valid]\n", "  source: bigram_backcopy\n  validation_sequences: 4\n").replace(
    "  attention: {variant: gated}\n", "  architecture: bigram_backcopy\n")
WORDS = ["river", "gate", "water", "opens", "closes", "the", "a", "of", "and", "slowly", "lock", "channel"]


def command_line(command):
    return [SLUICE_DATA, *command[1:]] if command[:1] == ["data"] else [SLUICE, *command]


def run(command, folder, **options):
    done = subprocess.run(command_line(list(map(str, command))), cwd=folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, errors="replace", timeout=60,
                          **{"stdout": subprocess.PIPE, **options})
    return done.returncode, done.stderr


def files_below(folder):
    """What is there: path, size and when it was written."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, 0 if path.is_dir() else status.st_size)
    return found


def wait_until(happened, process):
    deadline = time.monotonic() + 60
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.0005)
    return True


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="sluice_bad_input_"))
        cls.inputs = cls.root / "inputs"
        cls.inputs.mkdir()
        cls.write_texts()
        train, valid = cls.inputs / "train.txt", cls.inputs / "valid.txt"
        for folder, more in [("vocabulary", ("--size", 60, train)), ("other", ("--size", 60, "--cased", cls.inputs / "other.txt")),
                             ("byte_pairs", ("--tokenizer", "bpe", "--size", 290, train))]:
            cls.must("data", "learn-vocabulary", "--out", cls.inputs / folder, *more)
        for folder, vocabulary, text in [("train", "vocabulary", train), ("valid", "vocabulary", valid), ("other_data", "other", train),
                                         ("byte_pair_data", "byte_pairs", train), ("tiny_data", "vocabulary", cls.inputs / "tiny.txt")]:
            tokenizer = "bpe" if vocabulary == "byte_pairs" else "wordpiece"
            cls.must("data", "prepare", "--tokenizer", tokenizer, "--vocabulary", cls.inputs / vocabulary, "--out",
                     cls.inputs / folder, text)
        for name, content, run_folder in [("small", SMALL, "run"), ("opt", OPT, "opt_run"), ("generated", GENERATED, "generated_run")]:
            (cls.inputs / (name + ".yaml")).write_text(content)
            cls.must("train", cls.inputs / (name + ".yaml"), "--run-folder", cls.inputs / run_folder)
        cls.must("export-hf", cls.inputs / "run", cls.inputs / "exported")
        cls.before = files_below(cls.inputs)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root, ignore_errors=True)

    @classmethod
    def write_texts(cls):
        generator = random.Random(1)
        for name, documents, words in [("train", 40, WORDS), ("valid", 15, WORDS), ("other", 40, [word[::-1] for word in WORDS])]:
            (cls.inputs / (name + ".txt")).write_text(
                "".join(" ".join(generator.choice(words) for _ in range(50)) + ".\n\n" for _ in range(documents)))
        (cls.inputs / "tiny.txt").write_text("the river\n")
        (cls.inputs / "train.txt.gz").write_bytes(gzip.compress((cls.inputs / "train.txt").read_bytes()))

    @classmethod
    def must(cls, *command):
        code, error = run(command, cls.inputs)
        if code != 0:
            raise AssertionError(f"{command}: exit code {code}: {error}")

    def new_folder(self, name):
        folder = self.root / name
        folder.mkdir()
        return folder

    def fails(self, code, says, command, folder, **options):
        got, error = run(command, folder, **options)
        self.assertEqual(got, code, error)
        self.assertIn(says, error)
        for noise in ("HDF5-DIAG", "terminate called", "Traceback", "CHECK failed"):
            self.assertNotIn(noise, error)
        return error

    def test_every_row(self):
        rows = bad_input_cases.CASES
        self.assertEqual([name for name, count in collections.Counter(row.name for row in rows).items() if count > 1], [])
        for number, row in enumerate(rows):
            with self.subTest(row.name):
                folder = self.new_folder(f"case_{number}")
                if row.make is not None:
                    row.make(folder)
                before = files_below(folder)
                self.fails(row.code, row.says, row.command, folder)
                self.assertEqual(files_below(folder), before, "files were left or changed")
                self.assertEqual(files_below(self.inputs), self.before, "the inputs were changed")
                shutil.rmtree(folder)

    def test_a_gpu_that_the_build_knows_nothing_of(self):
        info = subprocess.run([SLUICE, "info", "--json"], capture_output=True, check=True)
        if json.loads(info.stdout)["compiled_in"]["cuda"]:
            self.skipTest("built with CUDA")
        folder = self.new_folder("without_cuda")
        self.fails(4, "built without CUDA", ["train", "../inputs/small.yaml", "runtime.device=cuda"], folder)
        self.assertEqual(files_below(folder), {})

    def test_a_full_disk(self):
        disk = self.new_folder("disk")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True, check=False).returncode != 0:
            self.skipTest("SKIPPED: may not mount a small file system")
        try:
            outside = self.new_folder("beside_the_disk")
            for command, free, leaves in [
                (["train", "../inputs/small.yaml", "--run-folder", disk / "run"], 24, ["run"]),  # the log fits, no checkpoint
                (["export-hf", "../inputs/run", disk / "exported"], 8, []),
                (["import-hf", "../inputs/exported", disk / "imported"], 8, []),
                (["data", "prepare", "--vocabulary", "../inputs/vocabulary", "--out", disk / "set", "../inputs/train.txt"], 8, []),
            ]:
                (disk / "filler").write_bytes(bytes((64 - free) * 1024))
                self.fails(4, "No space left on device", command, outside)
                self.assertEqual(sorted(path.name for path in disk.iterdir()), sorted(["filler", *leaves]))
                self.assertEqual([path.name for path in disk.rglob("*") if "partial" in path.name or ".step" in path.name
                                  or path.name in ("manifest.yaml", "step_00000001")], [])
                for name in leaves:
                    shutil.rmtree(disk / name)
        finally:
            subprocess.run(["umount", disk], check=True)

    def test_output_that_nobody_takes(self):
        for command in (["inspect", self.inputs / "run", "--json"], ["data", "inspect", self.inputs / "train"]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                self.fails(4, "cannot write to standard output", command, self.root, stdout=full)

    def test_killed_while_a_checkpoint_is_written(self):
        folder = self.new_folder("killed")
        # Embeddings of 30,000 rows: 12 MB, three times, take long enough to be interrupted.
        train = ["train", "../inputs/small.yaml", "--run-folder", "run", "training.steps=500", "model.vocab_size=30000",
                 "model.hidden_size=96", "data.validation=[]", "checkpoint.keep_best=false"]
        checkpoints = folder / "run" / "checkpoints"
        process = subprocess.Popen(command_line(train), cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Stopped first, since a checkpoint may be done between seeing and killing; then the next one is waited for.
        while True:
            self.assertTrue(wait_until(lambda: (checkpoints / "step_00000003").exists() and any(checkpoints.glob(".step*")), process))
            process.send_signal(signal.SIGSTOP)
            if any(checkpoints.glob(".step*")):
                break
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        whole = sorted(path.name for path in checkpoints.glob("step_*"))
        newest = checkpoints / whole[-1]
        code, error = run(["inspect", "run", "--verify"], folder)
        self.assertEqual((code, error), (0, ""))
        # One more comes to harm: it is named, and the one before it is used.
        bad_input_cases.flip("model.h5")(newest)
        steps = int(whole[-1][5:]) + 1
        code, error = run([*train, f"training.steps={steps}"], folder)
        self.assertEqual(code, 0, error)
        self.assertIn("skipping checkpoint", error)
        self.assertIn(str(newest.relative_to(folder)), error)
        self.assertIn(f"resuming from run/checkpoints/{whole[-2]}", error)
        self.assertIn("removed what a killed run left: .step", error)
        self.assertEqual(list(checkpoints.glob(".step*")), [])
        self.assertEqual(run(["inspect", checkpoints / f"step_{steps:08d}", "--verify"], folder)[0], 0)

    def test_two_runs_into_one_folder(self):
        folder = self.new_folder("two")
        train = ["train", "../inputs/generated.yaml", "--run-folder", "run", "training.steps=1000000", "checkpoint.every=0"]
        metrics = folder / "run" / "metrics.jsonl"
        first = subprocess.Popen(command_line(train), cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.assertTrue(wait_until(lambda: metrics.exists() and metrics.stat().st_size > 0, first))
            config = (folder / "run" / "config.yaml").stat().st_mtime_ns
            self.fails(1, "another run is writing to this folder: run", train, folder)
            self.assertEqual((folder / "run" / "config.yaml").stat().st_mtime_ns, config)
            first.send_signal(signal.SIGTERM)
            self.assertEqual(first.wait(timeout=60), 75)
        finally:
            if first.poll() is None:
                first.kill()
                first.wait()
        code, error = run(["inspect", "run", "--verify"], folder)
        self.assertEqual(code, 0, error)

    def test_divergence(self):
        folder = self.new_folder("diverged")
        self.fails(5, "training diverged at step", ["train", "../inputs/small.yaml", "--run-folder", "run", "training.steps=50",
                                                    "optimizer.learning_rate=10", "optimizer.max_grad_norm=0", "schedule.warmup_steps=0",
                                                    "model.initializer_range=10", "optimizer.weight_decay=100"], folder)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
