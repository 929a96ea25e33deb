"""The contract of the command line: text to shards to a trained model on two ranks, what each command prints, and the exit
code and message of what cannot work.

    sluice_command_line_test.py SLUICE SLUICE_DATA
"""

import json
import os
import random
import shutil
import sys
import tempfile
import unittest

from command_line import SLUICE, SLUICE_DATA, run

MODEL = """
model:
  hidden_size: 32
  num_hidden_layers: 2
  num_attention_heads: 2
  intermediate_size: 64
  max_position_embeddings: 32
  attention:
    variant: gated
"""


class CommandLine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="sluice_test_")
        generator = random.Random(1)
        words = ["river", "gate", "water", "opens", "closes", "the", "a", "of", "and", "slowly", "lock", "channel"]
        for name, documents in (("train", 60), ("valid", 20)):
            with open(cls.at(name + ".txt"), "w", encoding="utf-8") as file:
                for _ in range(documents):
                    file.write(" ".join(generator.choice(words) for _ in range(60)) + ".\n\n")
        cls.check(run("learn-vocabulary", "--tokenizer", "wordpiece", "--size", 60, "--out", cls.at("vocabulary"),
                      cls.at("train.txt"), program=SLUICE_DATA))
        for name in ("train", "valid"):
            cls.check(run("prepare", "--tokenizer", "wordpiece", "--vocabulary", cls.at("vocabulary"), "--out",
                          cls.at(name), cls.at(name + ".txt"), program=SLUICE_DATA))
        cls.config = cls.at("small.yaml")
        with open(cls.config, "w", encoding="utf-8") as file:
            file.write(MODEL + f"""
data:
  train: {cls.at("train")}
  validation: [{cls.at("valid")}]
  sequence_length: 32
schedule:
  shape: constant
training:
  steps: 6
  global_batch_size: 8
  precision: fp32
checkpoint:
  every: 3
telemetry:
  gate_statistics_every: 1
""")
        cls.run_folder = cls.at("run")
        cls.trained = run("train", cls.config, "--run-folder", cls.run_folder, ranks=2)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    @classmethod
    def at(cls, name):
        return os.path.join(cls.folder, name)

    @staticmethod
    def check(result):
        if result[0] != 0:
            raise AssertionError(f"exit code {result[0]}: {result[1]}{result[2]}")
        return result[1]

    def fails(self, code, part, *arguments, ranks=0):
        got, out, error = run(*arguments, ranks=ranks)
        self.assertEqual(got, code, out + error)
        self.assertIn(part, error)
        return error

    def last_step(self):
        return os.path.join(self.run_folder, "checkpoints", "step_00000006")

    def test_training_on_two_ranks_speaks_once(self):
        code, out, _ = self.trained
        self.assertEqual(code, 0, self.trained)
        steps = [line for line in out.splitlines() if line.startswith("step ")]
        self.assertEqual(len(steps), 6, out)
        for word in ("loss", "lr", "grad", "tok/s", "% of matmul", "gate", "eta"):
            self.assertIn(word, steps[-1])
        self.assertEqual(sum("perplexity" in line for line in out.splitlines()), 1)
        with open(os.path.join(self.run_folder, "metrics.jsonl"), encoding="utf-8") as file:
            events = [json.loads(line) for line in file]
        self.assertEqual([e["step"] for e in events if e["event"] == "train"], [1, 2, 3, 4, 5, 6])
        with open(os.path.join(self.run_folder, "log.txt"), encoding="utf-8") as file:
            self.assertIn(steps[-1], file.read())

    def test_dry_run_writes_nothing(self):
        folder = self.at("dry")
        code, out, error = run("train", self.config, "--dry-run", "--run-folder", folder, ranks=2)
        self.assertEqual(code, 0, error)
        self.assertEqual(out.count("cls.predictions.bias"), 1)
        for part in ("memory a rank", "optimizer state", "all-reduce", "operations a token"):
            self.assertIn(part, out)
        self.assertFalse(os.path.exists(folder))

    def test_the_same_run_again_is_equal(self):
        again = self.at("again")
        self.check(run("train", self.config, "--run-folder", again, ranks=2))
        code, out, _ = run("inspect", self.run_folder, "--diff", again, "--json")
        self.assertEqual(code, 0)
        self.assertIs(json.loads(out)["equal"], True)
        code, out, _ = run("inspect", self.last_step(), "--diff", os.path.join(again, "checkpoints", "step_00000003"), "--json")
        self.assertEqual(code, 0)
        self.assertIs(json.loads(out)["equal"], False)

    def test_killed_and_resumed(self):
        folder = self.at("killed")
        self.check(run("train", self.config, "training.steps=3", "--run-folder", folder, ranks=2))
        code, _, error = run("train", self.config, "--run-folder", folder, ranks=2)
        self.assertEqual(code, 0, error)
        self.assertIn("resuming from", error)
        code, out, _ = run("inspect", self.run_folder, "--diff", folder, "--json")
        report = json.loads(out)
        self.assertTrue(report["equal"], out)

    def test_evaluate(self):
        # Of one and two ranks with a thread each: with others, products may sum in another order.
        code, out, error = run("evaluate", self.run_folder, "--json", threads=1)
        self.assertEqual(code, 0, error)
        one = json.loads(out)
        code, out, _ = run("evaluate", self.last_step(), "--data", self.at("valid"), "--json", ranks=2, threads=1)
        two = json.loads(out)
        self.assertAlmostEqual(one["perplexity"], two["perplexity"], delta=1e-9 * one["perplexity"])
        self.assertEqual(one["targets"], two["targets"])
        code, out, _ = run("evaluate", self.run_folder, "--batches", "1", "--batch-size", "4", "--json")
        self.assertEqual(json.loads(out)["sequences"], 4)

    def test_outliers(self):
        code, out, error = run("evaluate", self.run_folder)
        self.assertEqual(code, 0, error)
        self.assertIn("max FFN input + output inf norm", out)
        self.assertNotIn("inf norm", run("evaluate", self.run_folder, "--no-outliers")[1])
        one = json.loads(run("evaluate", self.run_folder, "--json", threads=1)[1])["outliers"]
        two = json.loads(run("evaluate", self.run_folder, "--json", ranks=2, threads=1)[1])["outliers"]
        self.assertEqual(len(one["tensors"]), 2 + 6 * 2)
        for name, value in one["metrics"].items():
            self.assertGreater(value, 0, name)
            self.assertAlmostEqual(two["metrics"][name], value, delta=1e-9 * value)

    def test_quantize(self):
        report = self.at("report.json")
        sweep = ("quantize", self.run_folder, "--sweep", "W8A8,W2A2,W32A32", "--calibration-batches", 2)
        code, out, error = run(*sweep, "--worst", 3, "--json", "--out", report)
        self.assertEqual(code, 0, error)
        one = json.loads(out)
        with open(report, encoding="utf-8") as file:
            self.assertEqual(json.load(file), one)
        self.assertEqual([(q["weight_bits"], q["activation_bits"]) for q in one["quantized"]], [(8, 8), (2, 2), (32, 32)])
        evaluated = json.loads(run("evaluate", self.run_folder, "--json")[1])
        self.assertEqual(one["fp32"]["perplexity"], evaluated["perplexity"])
        eight, two, none = (q["loss"] for q in one["quantized"])
        exact = one["fp32"]["loss"]
        self.assertLess(abs(eight - exact), abs(two - exact))
        self.assertAlmostEqual(none, exact, delta=1e-6 * exact)
        worst = [error["sqnr_db"] for error in one["quantized"][0]["worst"]]
        self.assertEqual(worst, sorted(worst))
        self.assertEqual(len(worst), 3)
        code, out, error = run(*sweep, "--json", ranks=2, threads=1)
        self.assertEqual(code, 0, error)
        for alone, shared in zip(one["quantized"], json.loads(out)["quantized"]):
            self.assertAlmostEqual(alone["perplexity"], shared["perplexity"], delta=1e-9 * alone["perplexity"])
        # Σ x² over all ranks: of a weight, which all have, once.
        every = [json.loads(run("quantize", self.run_folder, "--calibration-batches", 2, "--worst", 1000, "--json", ranks=ranks)[1])
                 for ranks in (1, 2)]
        alone, shared = ({(e["layer"], e["tensor"]): e["signal"] for e in report["quantized"][0]["worst"]} for report in every)
        self.assertEqual(alone.keys(), shared.keys())
        for tensor, signal in alone.items():
            self.assertAlmostEqual(shared[tensor], signal, delta=1e-5 * signal, msg=str(tensor))
        code, out, error = run("quantize", self.run_folder, "--preset", "opt", "--per-channel", "--activation-method", "symmetric",
                               "--activation-ranges", "current", "--gate-value", "unquantized")
        self.assertEqual(code, 0, error)
        for part in ("fp32      perplexity", "W8A8      perplexity", "least signal over noise"):
            self.assertIn(part, out)

    def test_every_option_of_quantize_changes_what_it_measures(self):
        # Activations fine enough that what a gate changes in a barely trained model is not rounded away.
        common = ("quantize", self.run_folder, "--weight-bits", 4, "--activation-bits", 14, "--calibration-batches", 3,
                  "--calibration-batch-size", 4, "--json")

        def quantized(*options):
            report = json.loads(self.check(run(*common, *options)))
            return report, report["quantized"][0]["loss"]

        losses = {(): quantized()[1]}
        for option, value, key in [
            ("--weight-ranges", "mse", "weight_ranges"), ("--activation-ranges", "current", "activation_ranges"),
            ("--activation-method", "symmetric", "activation_method"), ("--percentile", 99.0, "percentile"),
            ("--gate-value", "unquantized", "gate_value"), ("--gate-position", "behind", "gate_position"),
            ("--int16-layer-norms", "all", "int16_layer_norms"),
        ]:
            report, losses[option] = quantized(option, value)
            self.assertEqual(report[key], value)
        report, losses["--per-channel"] = quantized("--per-channel")
        self.assertIs(report["per_channel"], True)
        for seed in (1, 2):
            report, losses[seed] = quantized("--calibration-data", self.at("train"), "--calibration-seed", seed)
            self.assertEqual((report["calibration"]["seed"], report["calibration"]["data"]), (seed, self.at("train")))
        report, losses["in order"] = quantized("--calibration-data", self.at("train"))
        self.assertIsNone(report["calibration"]["seed"])
        report, losses["length"] = quantized("data.sequence_length=16")
        self.assertEqual(report["sequence_length"], 16)
        self.assertEqual(len(set(losses.values())), len(losses), losses)
        # What is the default already changes nothing.
        self.assertEqual(quantized("--gate-position", "before")[1], losses[()])
        self.fails(1, "--calibration-seed", *common, "--calibration-seed", 1)
        self.fails(1, "nothing is quantized, LayerNorms neither", "quantize", self.run_folder, "--int16-layer-norms", "all",
                   "--sweep", "W8A8,W32A32")

    def test_a_report_stays_until_there_is_another(self):
        report = self.at("kept.json")
        options = ("--batches", 1, "--calibration-batches", 1, "--out", report)
        self.check(run("quantize", self.run_folder, *options))
        with open(report, encoding="utf-8") as file:
            before = file.read()
        self.fails(1, "smoothing", "quantize", self.run_folder, *options, "--smooth", 0.5)
        with open(report, encoding="utf-8") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("kept.json")], ["kept.json"])
        # What is no file is written to.
        for option in ("/dev/stdout", "/dev/null"):
            was = os.lstat(option)
            out = self.check(run("quantize", self.run_folder, "--batches", 1, "--calibration-batches", 1, "--out", option))
            self.assertEqual('"weight_ranges": "minmax"' in out, option == "/dev/stdout")
            self.assertEqual((os.lstat(option).st_ino, os.lstat(option).st_mode), (was.st_ino, was.st_mode))
        # compare reads what --out wrote.
        for command in ("evaluate", "quantize"):
            path = os.path.join(self.run_folder, command + ".json")
            options = ("--precision", "fp32", "--json") if command == "evaluate" else ("--calibration-batches", 2, "--out", path)
            out = self.check(run(command, self.run_folder, *options))
            if command == "evaluate":
                with open(path, "w", encoding="utf-8") as file:
                    file.write(out)
        self.assertIn("| VGA |", self.check(run("compare", self.run_folder)))

    def test_quantize_on_several_sets(self):
        """All of the run's validation sets, as evaluate does."""
        report = self.at("reports.json")
        run_folder = self.at("two_sets")
        sets = f"data.validation=[{self.at('valid')},{self.at('train')}]"
        self.check(run("train", self.config, "training.steps=2", sets, "--run-folder", run_folder))
        options = ("--batches", 2, "--calibration-batches", 1)
        code, out, error = run("quantize", run_folder, *options, "--json", "--out", report)
        self.assertEqual(code, 0, error)
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([line["data"] for line in lines], [self.at("valid"), self.at("train")])
        with open(report, encoding="utf-8") as file:
            self.assertEqual(json.load(file), lines)
        for line in lines:
            alone = json.loads(run("quantize", run_folder, *options, "--json", "--data", line["data"])[1])
            self.assertEqual(alone, line)
        self.assertEqual(run("quantize", run_folder, *options)[1].count("fp32      perplexity"), 2)

    def test_evaluate_in_integers(self):
        options = ("evaluate", self.run_folder, "--int8", "--calibration-batches", 2, "--batch-size", 1)
        code, out, error = run(*options, "--json")
        self.assertEqual(code, 0, error)
        one = json.loads(out)
        int8 = one["int8"]
        self.assertEqual((int8["layers"], int8["layers_in_integers"]), (8, 8))
        exact = json.loads(run("evaluate", self.run_folder, "--precision", "fp32", "--batch-size", 1, "--json")[1])
        self.assertEqual(int8["fp32"]["loss"], exact["loss"])
        quantized = json.loads(run("quantize", self.run_folder, "--calibration-batches", 2, "--batch-size", 1, "--json")[1])
        self.assertEqual(int8["simulated"]["loss"], quantized["quantized"][0]["loss"])
        self.assertLessEqual(abs(int8["difference"]), int8["tolerance"])
        self.assertNotEqual(one["loss"], exact["loss"])
        two = json.loads(run(*options, "--json", ranks=2, threads=1)[1])
        self.assertAlmostEqual(one["perplexity"], two["perplexity"], delta=1e-9 * one["perplexity"])
        code, out, error = run(*options, "--preset", "opt", "--per-channel", "--activation-method", "symmetric")
        self.assertEqual(code, 0, error)
        for part in ("simulated W8A8", "int8  ", "integer products in 8 of 8 linear layers", "that roundings may do"):
            self.assertIn(part, out)
        self.assertNotIn("LayerNorms with 16 bits", out)
        wide = run(*options, "--int16-layer-norms", "all")[1]
        self.assertIn("LayerNorms with 16 bits: all\n", wide)
        self.assertIn("integer products in 4 of 8 linear layers", wide)
        self.assertEqual(json.loads(run(*options, "--int16-layer-norms", "final", "--json")[1])["int8"]["int16_layer_norms"], "final")
        code, out, error = run("evaluate", self.run_folder, "--int8", "--calibration-batches", 2, "--batches", 1)
        self.assertIn("fewer than 8 batches", out)

    def test_inspect(self):
        for arguments, part in [
            ((self.run_folder,), "step            6"),
            ((self.last_step(), "--gates"), "closed heads"),
            ((self.run_folder, "--verify"), "every byte verified"),
            ((self.at("train"),), "wordpiece, uncased"),
            ((os.path.join(self.at("train"), "manifest.yaml"), "--verify"), "every byte verified"),
        ]:
            code, out, error = run("inspect", *arguments)
            self.assertEqual(code, 0, error)
            self.assertIn(part, out)
        for arguments in ((self.run_folder,), (self.run_folder, "--gates"), (self.run_folder, "--verify"), (self.at("train"),)):
            code, out, error = run("inspect", *arguments, "--json")
            self.assertEqual(code, 0, error)
            json.loads(out)

    def test_a_flipped_byte_is_found(self):
        damaged = self.at("damaged")
        shutil.copytree(self.last_step(), damaged)
        with open(os.path.join(damaged, "optimizer.h5"), "r+b") as file:
            file.seek(3000)
            byte = file.read(1)
            file.seek(3000)
            file.write(bytes([byte[0] ^ 1]))
        self.fails(3, "optimizer.h5", "inspect", damaged, "--verify")

    def test_predict(self):
        code, out, error = run("predict", self.run_folder, "the gate [MASK] slowly and the [MASK] opens", "--top", "3", "--json")
        self.assertEqual(code, 0, error)
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(len(lines), 2)
        for line in lines:
            probabilities = [candidate["probability"] for candidate in line["candidates"]]
            self.assertEqual(len(probabilities), 3)
            self.assertEqual(probabilities, sorted(probabilities, reverse=True))
            self.assertTrue(0 < sum(probabilities) <= 1)

    def test_info_and_bench(self):
        code, out, error = run("info", "--json")
        self.assertEqual(code, 0, error)
        info = json.loads(out)
        self.assertGreater(info["matmul_gflops"]["fp32"], 0)
        self.assertGreater(len(info["implementations"]), 8)
        code, out, error = run("bench", "step", self.config, "--batch", 2, "--length", 16, "--steps", 2, "--json")
        self.assertEqual(code, 0, error)
        report = json.loads(out)
        self.assertGreater(report["tokens_per_s"], 0)
        self.assertLess(report["peak_resident_mib"], 1.1 * report["planned_mib"])
        code, out, error = run("bench", "telemetry", self.config, "--batch", 2, "--length", 16, "--steps", 2, "--json")
        self.assertEqual(code, 0, error)
        report = json.loads(out)
        costs = [report[name] for name in ("gates", "attention", "activations", "norms")]
        self.assertGreater(costs[1]["look_s"], 0)
        for cost in costs:
            self.assertAlmostEqual(cost["share"], cost["look_s"] / cost["every"] / report["step_s"])
        self.assertAlmostEqual(report["share"], sum(cost["share"] for cost in costs))
        for what in ("matmul", "attention", "telemetry"):
            code, _, error = run("bench", what, self.config, "--batch", 2, "--length", 16)
            self.assertEqual(code, 0, error)

    def test_help_has_an_example(self):
        for command in ("train", "evaluate", "inspect", "predict", "bench", "check", "info"):
            code, out, _ = run(command, "--help")
            self.assertEqual(code, 0)
            self.assertIn("Example:", out)

    def test_usage_errors(self):
        self.fails(1, "subcommand", )
        self.fails(1, "fly", "fly")
        self.fails(1, "config", "train")
        self.fails(1, "--no-such", "train", self.config, "--no-such")
        self.fails(1, "does not exist", "train", self.at("absent.yaml"))
        self.fails(1, "training.step", "train", self.config, "training.step=5")
        self.fails(1, "training.steps", "train", self.config, "training.steps=many")
        self.fails(1, "global_batch_size", "train", self.config, ranks=3)
        self.fails(1, "--gates", "inspect", self.at("train"), "--gates")
        self.fails(1, "no such run", "inspect", self.at("absent"))
        self.fails(1, "excludes", "inspect", self.run_folder, "--verify", "--gates")
        self.fails(1, "no [MASK]", "predict", self.run_folder, "the gate opens")
        self.fails(1, "too long", "predict", self.run_folder, "gate " * 40 + "[MASK]")
        self.fails(1, "without mpirun", "inspect", self.run_folder, ranks=2)
        self.fails(1, "max_position_embeddings", "bench", "step", self.config, "--length", 64)
        self.fails(1, "what", "bench", "sleep")
        self.fails(1, "--batches", "evaluate", self.run_folder, "--batches", "-1")
        self.fails(1, "optimizer.beta1", "train", self.config, "optimizer.beta1=0.8", "--run-folder", self.run_folder)

    def test_data_and_checkpoint_errors(self):
        error = self.fails(2, "absent", "train", self.config, "data.train=" + self.at("absent"), ranks=2)
        self.assertEqual(error.count("error: "), 1, error)  # told once
        self.fails(3, "no such checkpoint", "evaluate", self.at("absent"))
        self.fails(3, "no such checkpoint", "predict", self.at("absent"), "a [MASK]")
        self.fails(3, "manifest.yaml", "evaluate", self.folder)
        self.fails(3, "no such checkpoint", "train", self.config, "--resume", self.at("absent"))
        self.fails(2, "", "evaluate", self.run_folder, "--data", self.at("vocabulary"))

    def test_another_vocabulary_is_refused(self):
        self.check(run("learn-vocabulary", "--tokenizer", "wordpiece", "--size", 50, "--out", self.at("vocabulary2"),
                       self.at("valid.txt"), program=SLUICE_DATA))
        self.check(run("prepare", "--tokenizer", "wordpiece", "--vocabulary", self.at("vocabulary2"), "--out",
                       self.at("train2"), self.at("train.txt"), program=SLUICE_DATA))
        self.fails(2, "different tokenizers", "train", self.config, "data.train=" + self.at("train2"))
        vocab_size = json.loads(run("inspect", self.run_folder, "--json")[1])["config"]["model.vocab_size"]
        self.fails(3, "another vocabulary", "train", self.config, "data.train=" + self.at("train2"), "data.validation=[]",
                   f"model.vocab_size={vocab_size}", "--run-folder", self.run_folder)

    def test_byte_pair_data_trains_and_its_vocabulary_goes_along(self):
        vocabulary, data, folder = self.at("byte_pairs"), self.at("byte_pair_data"), self.at("byte_pair_run")
        self.check(run("learn-vocabulary", "--tokenizer", "bpe", "--size", 290, "--out", vocabulary, self.at("train.txt"),
                       program=SLUICE_DATA))
        self.check(run("prepare", "--tokenizer", "bpe", "--vocabulary", vocabulary, "--out", data, self.at("train.txt"),
                       program=SLUICE_DATA))
        train = ["train", self.config, "data.train=" + data, "data.validation=[]", "training.steps=2",
                 "checkpoint.every=1", "--run-folder", folder]
        self.fails(2, "has no [MASK]", *train)
        # Targets without [MASK]s: random tokens and themselves.
        self.check(run(*train, "data.mlm_mask_share=0"))
        checkpoint = os.path.join(folder, "checkpoints", "step_00000002")
        for name in ("vocab.json", "merges.txt"):
            with open(os.path.join(vocabulary, name), "rb") as ours, open(os.path.join(checkpoint, name), "rb") as copy:
                self.assertEqual(ours.read(), copy.read())
        self.assertIn("separator", run("inspect", folder, "--gates")[1])
        self.check(run(*train, "data.mlm_mask_share=0", "training.steps=3"))  # goes on: the same vocabulary
        # Its vocabulary loads, and has no [MASK] to fill in.
        self.fails(1, "no [MASK] to fill in", "predict", folder, "the river gate")
        self.fails(3, "another kind of vocabulary", "train", self.config, "data.validation=[]", "training.steps=4",
                   "data.mlm_mask_share=0", "model.vocab_size=290", "--run-folder", folder)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
