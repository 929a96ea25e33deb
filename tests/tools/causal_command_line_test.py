"""A small OPT from text to text, from outside: shards of byte-level BPE, train, evaluate, inspect, predict, export-hf, import-hf;
and the exit code and message of what cannot work. transformers itself is asked in tests/oracle.

    causal_command_line_test.py SLUICE SLUICE_DATA
"""

import json
import pathlib
import shutil
import sys
import tempfile
import unittest

from command_line import SLUICE, SLUICE_DATA, run

POSITIONS = 24
CONFIG = f"""
model:
  architecture: opt
  hidden_size: 32
  num_hidden_layers: 2
  num_attention_heads: 2
  intermediate_size: 64
  max_position_embeddings: {POSITIONS}
  word_embed_proj_dim: 16
  hidden_act: relu
  layer_norm_eps: 1.0e-5
  hidden_dropout_prob: 0
  attention:
    variant: gated
    register_tokens: 2
data:
  train: DATA
  validation: [DATA]
  sequence_length: {POSITIONS}
optimizer:
  learning_rate: 0.01
schedule:
  shape: constant
training:
  steps: 30
  global_batch_size: 8
  precision: fp32
runtime:
  threads: 1
"""
BIGRAM_BACKCOPY = """
model: {architecture: bigram_backcopy, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 1,
        intermediate_size: 64, max_position_embeddings: 32, hidden_act: relu, hidden_dropout_prob: 0, attention_probs_dropout_prob: 0}
data: {source: bigram_backcopy, sequence_length: 32}
training: {steps: 1, global_batch_size: 2, precision: fp32}
runtime: {threads: 1}
"""
PROMPT = "the river of"


class Causal(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="sluice_test_")
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        text = cls.folder / "text.txt"
        text.write_text("".join(f"the river of gate {n % 7} opens slowly and the {n % 11} th lock closes .\n\n" for n in range(200)))
        cls.check("learn-vocabulary", "--tokenizer", "bpe", "--size", 300, "--out", cls.folder / "vocabulary", text, program=SLUICE_DATA)
        cls.check("prepare", "--tokenizer", "bpe", "--vocabulary", cls.folder / "vocabulary", "--out", cls.folder / "data", text,
                  program=SLUICE_DATA)
        cls.run_folder = cls.train("run", CONFIG.replace("DATA", str(cls.folder / "data")))
        cls.exported, cls.imported = cls.folder / "exported", cls.folder / "imported"
        cls.report = json.loads(cls.check("export-hf", cls.run_folder, cls.exported, "--json"))
        cls.check("import-hf", cls.exported, cls.imported)

    @classmethod
    def train(cls, name, config):
        path = cls.folder / f"{name}.yaml"
        path.write_text(config)
        cls.check("train", path, "--run-folder", cls.folder / name)
        return cls.folder / name

    @classmethod
    def check(cls, *arguments, program=SLUICE):
        code, out, error = run(*arguments, program=program)
        if code != 0:
            raise AssertionError(f"exit code {code}: {out}{error}")
        return out

    def fails(self, code, part, *arguments):
        got, out, error = run(*arguments)
        self.assertEqual(got, code, out + error)
        self.assertIn(part, error)

    def predict(self, *options, text=PROMPT):
        return json.loads(self.check("predict", self.run_folder, text, "--json", *options))

    def test_what_an_export_holds(self):
        self.assertEqual(sorted(path.name for path in self.exported.iterdir()),
                         ["config.json", "merges.txt", "model.safetensors", "tokenizer_config.json", "vocab.json"])
        config = json.loads((self.exported / "config.json").read_text())
        self.assertEqual((config["architectures"], config["model_type"], config["ffn_dim"]), (["OPTForCausalLM"], "opt", 64))
        self.assertEqual((config["pad_token_id"], config["bos_token_id"], config["eos_token_id"]), (1, 2, 2))
        self.assertEqual(config["sluice"]["attention"]["register_tokens"], 2)
        self.assertEqual(sorted(self.report["own_parameters"]),
                         ["model.decoder.embed_registers.weight", "model.decoder.layers.0.self_attn.gate.weight",
                          "model.decoder.layers.1.self_attn.gate.weight"])
        for name in ("vocab.json", "merges.txt"):
            self.assertEqual((self.exported / name).read_bytes(), (self.folder / "vocabulary" / name).read_bytes())

    def test_there_and_back_is_the_same(self):
        again = self.folder / "again"
        self.check("export-hf", self.imported, again)
        for path in self.exported.iterdir():
            self.assertEqual(path.read_bytes(), (again / path.name).read_bytes(), path.name)
        report = json.loads(run("inspect", self.run_folder, "--diff", self.imported, "--json")[1])
        self.assertEqual(report["sections"]["model"]["differences"], [])
        self.assertEqual(self.check("predict", self.run_folder, PROMPT), self.check("predict", self.imported, PROMPT))

    def test_evaluated_and_inspected(self):
        self.assertIn("every byte verified", self.check("inspect", self.run_folder, "--verify"))
        evaluate = ("--data", self.folder / "data", "--json")
        one, two = (json.loads(self.check("evaluate", path, *evaluate)) for path in (self.run_folder, self.imported))
        self.assertEqual(one["loss"], two["loss"])
        self.assertLess(one["loss"], 4)  # of ln 300 = 5.7 in the beginning

    def test_evaluated_with_rows_of_another_length(self):
        shorter = [json.loads(self.check("evaluate", path, "data.sequence_length=12", "--data", self.folder / "data", "--json"))
                   for path in (self.run_folder, self.imported)]
        own = json.loads(self.check("evaluate", self.imported, "--data", self.folder / "data", "--json"))
        self.assertEqual((own["sequence_length"], shorter[0]["sequence_length"]), (POSITIONS, 12))
        self.assertEqual(shorter[0]["loss"], shorter[1]["loss"])
        self.assertGreater(shorter[0]["sequences"], own["sequences"])
        self.assertNotEqual(shorter[0]["loss"], own["loss"])
        self.assertIn("sequences of 12 tokens", self.check("evaluate", self.run_folder, "data.sequence_length=12"))
        self.fails(1, "max_position_embeddings", "evaluate", self.run_folder, "data.sequence_length=48")
        self.fails(1, "only data.key=value can differ from the run: model.hidden_size=8", "evaluate", self.run_folder, "model.hidden_size=8")
        self.fails(1, "data.source", "evaluate", self.run_folder, "data.source=bigram_backcopy")

    def test_clipped_softmax_is_the_same_at_every_length(self):
        """Its gamma was 0.5 over the length of training; an export says the number."""
        config = CONFIG.replace("DATA", str(self.folder / "data")).replace("steps: 30", "steps: 3")
        run_folder = self.train("clipped", config.replace("variant: gated\n", "variant: clipped_softmax\n    clipped_softmax: {alpha: 0.5}\n"))
        exported, imported = self.folder / "clipped_exported", self.folder / "clipped_imported"
        self.check("export-hf", run_folder, exported)
        self.check("import-hf", exported, imported)
        one, two = (json.loads(self.check("evaluate", path, "data.sequence_length=12", "--data", self.folder / "data", "--json"))
                    for path in (run_folder, imported))
        self.assertEqual(one["loss"], two["loss"])

    def test_smoothed_it_is_the_same_function(self):
        """Before and behind SmoothQuant's scaling, and what it changes once there are 8 bits, or integers; on each of two sets anew."""
        run_folder = self.train("smooth", CONFIG.replace("DATA", str(self.folder / "data")).replace("  word_embed_proj_dim: 16\n", ""))
        options = ("--calibration-batches", 2, "--batch-size", 2, "--batches", 10)
        quantize = ("quantize", run_folder, "--sweep", "W32A32,W8A8", *options, "--json")
        plain, smoothed = (json.loads(self.check(*quantize, *more)) for more in ((), ("--smooth", 0.5)))
        exact = json.loads(self.check("evaluate", run_folder, "--batch-size", 2, "--batches", 10, "--json"))["loss"]
        self.assertEqual((plain["fp32"]["loss"], smoothed["fp32"]["loss"], smoothed["smooth"]), (exact, exact, 0.5))
        self.assertAlmostEqual(smoothed["quantized"][0]["loss"], exact, delta=1e-5 * exact)
        self.assertNotEqual(smoothed["quantized"][0]["loss"], exact)
        self.assertNotEqual(smoothed["quantized"][1]["loss"], plain["quantized"][1]["loss"])
        integers = json.loads(self.check("evaluate", run_folder, "--int8", "--smooth", 0.5, *options, "--json"))["int8"]
        self.assertEqual(integers["simulated"]["loss"], smoothed["quantized"][1]["loss"])
        self.assertLessEqual(integers["batch_difference"], integers["batch_tolerance"])
        data = str(self.folder / "data")
        for line in self.check(*quantize, "--smooth", 0.5, f"data.validation=[{data},{data}]").splitlines():
            self.assertEqual(json.loads(line)["quantized"], smoothed["quantized"])

    def test_a_folder_whose_name_is_not_utf8(self):
        odd = self.folder / "caf\udce9"
        shutil.copytree(self.run_folder, odd)
        for command in (("evaluate", "--data", self.folder / "data"), ("inspect", "--verify")):
            self.assertIn("caf\ufffd", self.check(command[0], odd, *command[1:], "--json"))

    def test_training_begins_with_an_import(self):
        resumed = self.folder / "resumed"
        self.check("train", self.folder / "run.yaml", "--resume", self.imported, "--run-folder", resumed, "training.steps=2")
        self.assertEqual(json.loads(self.check("inspect", resumed, "--json"))["state"]["step"], 2)
        # Imports have no moments, whichever optimizer goes on.
        self.check("train", self.folder / "run.yaml", "--resume", self.imported, "--run-folder", self.folder / "by_sgd",
                   "training.steps=2", "optimizer.name=sgd")
        self.fails(1, "model.word_embed_proj_dim was 16, is 0", "train", self.folder / "run.yaml", "--resume", self.imported,
                   "--run-folder", self.folder / "refused", "model.word_embed_proj_dim=0")

    def test_the_most_probable_continuation(self):
        one = self.predict("--tokens", 6)
        self.assertEqual(one, self.predict("--tokens", 6))
        self.assertEqual(one["prompt"][0], 2)  # </s>
        self.assertEqual(one["stopped"], "tokens")
        self.assertEqual(len(one["tokens"]), 6)
        for token in one["tokens"]:
            self.assertEqual(set(token), {"token", "id", "probability"})
            self.assertTrue(1 / 300 < token["probability"] <= 1, token)
        # It goes on from what it has written as from any text.
        first = self.predict("--tokens", 2)
        self.assertEqual(first["tokens"], one["tokens"][:2])
        self.assertEqual(self.check("predict", self.run_folder, PROMPT, "--tokens", 6), f"{PROMPT}{one['continuation']}\n")

    def test_seeds_draw_texts(self):
        draw = lambda seed, *options: self.predict("--tokens", 12, "--temperature", 2, "--seed", seed, *options)
        texts = [draw(seed)["continuation"] for seed in range(4)]
        self.assertEqual(len(set(texts)), 4)
        self.assertEqual(draw(1)["continuation"], texts[1])
        greedy = self.predict("--tokens", 12)
        self.assertEqual(draw(1, "--top-k", 1), greedy)
        self.assertEqual(self.predict("--tokens", 12, "--temperature", 1e-4), greedy)

    def test_where_a_continuation_stops(self):
        self.assertEqual(self.predict("--tokens", 100, "--temperature", 0.01)["stopped"] in ("positions", "eos"), True)
        stopped = {}
        for seed in range(40):
            result = self.predict("--tokens", 100, "--temperature", 3, "--seed", seed)
            stopped[result["stopped"]] = result
            ids = [token["id"] for token in result["tokens"]]
            if result["stopped"] == "eos":
                self.assertEqual(ids.index(2), len(ids) - 1)
                self.assertNotIn("</s>", result["continuation"])
            else:
                self.assertEqual(result["stopped"], "positions")
                self.assertNotIn(2, ids)
                self.assertEqual(len(result["prompt"]) + len(ids), POSITIONS + 1)
            if len(stopped) == 2:
                return
        self.fail(f"only {set(stopped)} in 40 texts")

    def test_options_that_would_be_ignored(self):
        self.fails(1, "only a masked model reads this option: --top", "predict", self.run_folder, PROMPT, "--top", 3)
        for option in ("--seed", "--top-k"):
            self.fails(1, "nothing is drawn", "predict", self.run_folder, PROMPT, option, 3)
        self.fails(1, "--temperature must be 0 or more", "predict", self.run_folder, PROMPT, "--temperature", -1)
        self.fails(1, "--temperature must be 0 or more", "predict", self.run_folder, PROMPT, "--temperature", "nan")
        self.fails(1, "--tokens", "predict", self.run_folder, PROMPT, "--tokens", 0)
        self.fails(1, "has no [MASK] to fill in", "predict", self.run_folder, "the [MASK] of")
        self.fails(1, "too long for the model", "predict", self.run_folder, "river " * 2 * POSITIONS)

    def test_a_model_without_a_vocabulary(self):
        bigram = self.train("bigram", BIGRAM_BACKCOPY)
        self.fails(3, "the checkpoint has no vocabulary", "predict", bigram, PROMPT)
        self.fails(1, "Hugging Face has no such model", "export-hf", bigram, self.folder / "never")
        self.assertFalse((self.folder / "never").exists())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
