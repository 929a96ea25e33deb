"""export-hf and import-hf from outside: what they write, that a model goes there and back without losing a bit, and the exit
code and message of what cannot work. transformers itself is asked in tests/oracle.

    huggingface_command_line_test.py SLUICE SLUICE_DATA
"""

import json
import pathlib
import shutil
import struct
import sys
import tempfile
import unittest

from command_line import SLUICE, SLUICE_DATA, run

CONFIG = """
model:
  hidden_size: 32
  num_hidden_layers: 2
  num_attention_heads: 2
  intermediate_size: 64
  max_position_embeddings: 32
  hidden_dropout_prob: 0
  attention:
    variant: gated
    gate: {source: input, site: key, bias: true}
data:
  train: DATA
  sequence_length: 32
schedule:
  shape: constant
training:
  steps: 3
  global_batch_size: 8
  precision: fp32
"""
WORD = "bert.embeddings.word_embeddings.weight"


def read_tensors(path):
    """Name → (dtype, shape, bytes), by hand, so that the format itself is looked at."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    data = data[8 + length:]
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def write_tensors(path, tensors):
    header, data = {}, b""
    for name, (dtype, shape, blob) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(blob)]}
        data += blob
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


class HuggingFace(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="sluice_test_")
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        text = cls.folder / "text.txt"
        text.write_text("".join(f"the river of gate {n % 7} opens slowly and the {n % 11} th lock closes .\n\n" for n in range(200)))
        cls.check("learn-vocabulary", "--tokenizer", "wordpiece", "--size", 60, "--out", cls.folder / "vocabulary", text,
                  program=SLUICE_DATA)
        cls.check("prepare", "--tokenizer", "wordpiece", "--vocabulary", cls.folder / "vocabulary", "--out", cls.folder / "data",
                  text, program=SLUICE_DATA)
        cls.config = cls.folder / "small.yaml"
        cls.config.write_text(CONFIG.replace("DATA", str(cls.folder / "data")))
        cls.run_folder = cls.folder / "run"
        cls.check("train", cls.config, "--run-folder", cls.run_folder)
        cls.exported, cls.imported = cls.folder / "exported", cls.folder / "imported"
        cls.report = json.loads(cls.check("export-hf", cls.run_folder, cls.exported, "--json"))
        cls.check("import-hf", cls.exported, cls.imported)

    @classmethod
    def check(cls, *arguments, program=SLUICE):
        code, out, error = run(*arguments, program=program)
        if code != 0:
            raise AssertionError(f"exit code {code}: {out}{error}")
        return out

    def fails(self, code, part, *arguments, ranks=0):
        got, out, error = run(*arguments, ranks=ranks)
        self.assertEqual(got, code, out + error)
        self.assertIn(part, error)

    def changed(self, name, change=None, **config):
        """A copy of the export with other tensors and other keys of config.json; null takes a key away."""
        folder = pathlib.Path(shutil.copytree(self.exported, self.folder / name))
        if change is not None:
            tensors = read_tensors(folder / "model.safetensors")
            change(tensors)
            write_tensors(folder / "model.safetensors", tensors)
        file = json.loads((folder / "config.json").read_text()) | config
        (folder / "config.json").write_text(json.dumps({key: value for key, value in file.items() if value is not None}))
        return folder

    def test_what_an_export_holds(self):
        self.assertEqual(sorted(path.name for path in self.exported.iterdir()),
                         ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"])
        config = json.loads((self.exported / "config.json").read_text())
        self.assertEqual(config["architectures"], ["BertForMaskedLM"])
        self.assertEqual(config["hidden_size"], 32)
        attention = config["sluice"]["attention"]
        self.assertEqual((attention["variant"], attention["register_tokens"]), ("gated", 0))
        self.assertLessEqual({"source": "input", "site": "key", "bias": True, "granularity": "head"}.items(), attention["gate"].items())
        tensors = read_tensors(self.exported / "model.safetensors")
        self.assertEqual(list(tensors), sorted(tensors))
        self.assertEqual(tensors["bert.encoder.layer.1.attention.self.gate.weight"][:2], ("F32", [2, 32]))
        self.assertNotIn("cls.predictions.decoder.weight", tensors)
        self.assertEqual(len(tensors), self.report["tensors"])
        self.assertEqual(sum(len(blob) // 4 for _, _, blob in tensors.values()), self.report["parameters"])
        self.assertEqual(self.report["step"], 3)
        self.assertEqual((len(self.report["own_parameters"]), self.report["attention"]), (4, "gated"))
        self.assertEqual((self.exported / "vocab.txt").read_bytes(), (self.folder / "vocabulary" / "vocab.txt").read_bytes())

    def test_a_variant_without_parameters_is_exported_and_said(self):
        config, run_folder, exported = (self.folder / name for name in ("relu.yaml", "relu_run", "relu_exported"))
        gate = "    variant: gated\n    gate: {source: input, site: key, bias: true}\n"
        config.write_text(self.config.read_text().replace(gate, "    variant: relu\n"))
        self.check("train", config, "--run-folder", run_folder)
        said = self.check("export-hf", run_folder, exported)
        self.assertIn("it computes plain attention in the place of relu\n", said)
        self.assertNotIn("unexpected", said)
        self.assertEqual(json.loads((exported / "config.json").read_text())["sluice"]["attention"]["variant"], "relu")
        self.check("import-hf", exported, self.folder / "relu_imported")
        evaluate = ("--data", self.folder / "data", "--batches", 2, "--json")
        one, two = (json.loads(self.check("evaluate", path, *evaluate)) for path in (run_folder, self.folder / "relu_imported"))
        self.assertEqual(one["loss"], two["loss"])

    def test_there_and_back_is_the_same(self):
        again = self.folder / "again"
        self.check("export-hf", self.imported, again)
        for path in self.exported.iterdir():
            self.assertEqual(path.read_bytes(), (again / path.name).read_bytes(), path.name)
        report = json.loads(run("inspect", self.run_folder, "--diff", self.imported, "--json")[1])
        self.assertFalse(report["equal"])
        self.assertEqual(report["sections"]["model"]["differences"], [])

    def test_an_import_is_a_checkpoint(self):
        self.assertIn("every byte verified", self.check("inspect", self.imported, "--verify"))
        state = json.loads(self.check("inspect", self.imported, "--json"))["state"]
        self.assertEqual((state["step"], state["next_sample"], state["imported_from"]), (0, 0, "hugging_face"))
        evaluate = ("--data", self.folder / "data", "--batches", 2, "--json")
        one, two = (json.loads(self.check("evaluate", path, *evaluate)) for path in (self.run_folder, self.imported))
        self.assertEqual(one["loss"], two["loss"])
        text = "the river of [MASK] opens"
        self.assertEqual(self.check("predict", self.run_folder, text), self.check("predict", self.imported, text))

    def test_training_begins_with_an_import(self):
        run_folder = self.folder / "resumed"
        self.check("train", self.config, "--resume", self.imported, "--run-folder", run_folder, "training.seed=3",
                   "optimizer.learning_rate=0.001", "training.precision=bf16", "model.hidden_dropout_prob=0.1",
                   "model.initialization=paper_text")
        state = json.loads(self.check("inspect", run_folder, "--json"))["state"]
        self.assertEqual((state["step"], state["next_sample"], state["seed"]), (3, 24, 3))
        self.assertNotIn("imported_from", state)
        # From there on it is a run like any other, of which all settings count.
        self.fails(1, "training.seed was 3, is 1000", "train", self.config, "--run-folder", run_folder)
        for change in ("model.attention.gate.site=query", "model.layer_norm_eps=1e-6", "model.hidden_act=relu"):
            self.fails(1, change.split("=")[0] + " was", "train", self.config, "--resume", self.imported, "--run-folder",
                       self.folder / "refused", change)

    def test_training_begins_with_weights_of_another(self):
        vanilla, exported = self.folder / "vanilla", self.folder / "vanilla_exported"
        config = self.folder / "vanilla.yaml"
        config.write_text(self.config.read_text().replace("variant: gated", "variant: vanilla").replace(
            "    gate: {source: input, site: key, bias: true}\n", ""))
        self.check("train", config, "--run-folder", vanilla)
        self.check("export-hf", vanilla, exported)
        gates = ("model.attention.gate.initial_probability=0.25", "model.attention.gate.scale=one_at_start",
                 "model.attention.gate.initializer_range=1e-30", "schedule.warmup_steps=1", "training.steps=1")
        data = ("--data", self.folder / "data", "--batches", 2, "--json")
        loss = json.loads(self.check("evaluate", vanilla, *data))["loss"]
        for number, source in enumerate((vanilla, exported)):
            tuned = self.folder / f"tuned_{number}"
            self.check("train", self.config, "--init-from", source, "--run-folder", tuned, *gates)
            self.assertIn("drawn anew: bert.encoder.layer.1.attention.self.gate.weight", (tuned / "log.txt").read_text())
            # The first update's rate is 0: gates of 1 leave the loss what it was, to roundings of fp32.
            self.assertAlmostEqual(json.loads(self.check("evaluate", tuned, *data))["loss"], loss, delta=1e-5)
            state = json.loads(self.check("inspect", tuned, "--json"))["state"]
            self.assertEqual((state["step"], state["next_sample"]), (1, 8))
            self.assertIn(f"initial_weights: {source}", (tuned / "config.yaml").read_text())
            # As an export the scale goes along.
            self.check("export-hf", tuned, self.folder / f"tuned_exported_{number}")
            self.check("import-hf", self.folder / f"tuned_exported_{number}", self.folder / f"tuned_imported_{number}")
            again = json.loads(self.check("evaluate", self.folder / f"tuned_imported_{number}", *data))["loss"]
            self.assertAlmostEqual(again, loss, delta=1e-5)
        self.fails(1, "model.attention.variant is gated there, vanilla here", "train", config, "--init-from", self.run_folder,
                   "--run-folder", self.folder / "refused")
        self.fails(3, "the data has another", "train", self.config, "--init-from", self.changed_vocabulary(exported), "--run-folder",
                   self.folder / "refused")

    def changed_vocabulary(self, exported):
        folder = pathlib.Path(shutil.copytree(exported, self.folder / "another_vocabulary"))
        text = (folder / "vocab.txt").read_text()
        (folder / "vocab.txt").write_text(text.replace("\nclo\n", "\nclu\n"))
        self.assertNotEqual(text, (folder / "vocab.txt").read_text())
        return folder

    def test_nothing_is_overwritten(self):
        self.fails(1, "exists already", "export-hf", self.run_folder, self.exported)
        self.fails(1, "exists already", "import-hf", self.exported, self.imported)
        self.fails(1, "exists already", "export-hf", self.run_folder, self.config)
        empty = self.folder / "empty"
        empty.mkdir()
        self.check("export-hf", self.run_folder, empty)
        self.assertEqual(len(list(empty.iterdir())), 4)

    def test_usage(self):
        for command in ("export-hf", "import-hf"):
            self.assertIn("Example:", self.check(command, "--help"))
            self.fails(1, "required", command)
            self.fails(1, "required", command, self.exported)
            self.fails(1, "without mpirun", command, self.exported, self.folder / "never", ranks=2)
        self.assertFalse((self.folder / "never").exists())

    def test_sources_that_are_none(self):
        target = self.folder / "target"
        self.fails(3, "no such checkpoint or run folder", "export-hf", self.folder / "absent", target)
        self.fails(3, "manifest.yaml", "export-hf", self.exported, target)
        self.fails(3, "no such folder", "import-hf", self.folder / "absent", target)
        self.fails(3, "neither model.safetensors nor", "import-hf", self.folder / "vocabulary", target)
        pickled = self.changed("pickled")
        (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
        self.fails(3, "pytorch_model.bin", "import-hf", pickled, target)
        for name in ("config.json", "vocab.txt"):
            without = self.changed("without_" + name)
            (without / name).unlink()
            self.fails(3, name, "import-hf", without, target)
        damaged = pathlib.Path(shutil.copytree(self.run_folder / "checkpoints" / "step_00000003", self.folder / "damaged"))
        with open(damaged / "model.h5", "r+b") as file:
            file.seek(5000)
            file.write(b"\x55\xaa\x55")
        self.fails(3, "model.h5", "export-hf", damaged, target)
        self.assertFalse(target.exists())

    def test_configurations_that_do_not_exist_here(self):
        target = self.folder / "target"
        for number, (part, config) in enumerate([
            ('model_type: "gpt2"', {"model_type": "gpt2"}),
            ("BertForSequenceClassification", {"architectures": ["BertForSequenceClassification"]}),
            ("relative_key", {"position_embedding_type": "relative_key"}),
            ('hidden_act: "silu"', {"hidden_act": "silu"}),
            ("is_decoder: true", {"is_decoder": True}),
            ("tie_word_embeddings: false", {"tie_word_embeddings": False}),
            ("model.hidden_size", {"hidden_size": 0}),
            ("the vocabulary is larger than vocab_size", {"vocab_size": 20}),
            ("shape (32, 32), expected (64, 32)", {"max_position_embeddings": 64}),
            ("missing tensor bert.encoder.layer.2.attention", {"num_hidden_layers": 3}),
            ("unexpected tensor bert.encoder.layer.0.attention.self.gate.bias", {"sluice": None}),
        ]):
            self.fails(3, part, "import-hf", self.changed(f"config_{number}", **config), target)
        self.assertFalse(target.exists())

    def test_tensors_that_do_not_fit(self):
        target, zeros = self.folder / "target", ("F32", [2], bytes(8))
        not_a_number = struct.pack("<f", float("nan"))
        for number, (part, change) in enumerate([
            ("unexpected tensor bert.extra", lambda t: t.update({"bert.extra": zeros})),
            ("missing tensor " + WORD, lambda t: t.pop(WORD)),
            ("tensor cls.predictions.bias has shape (2)", lambda t: t.update({"cls.predictions.bias": zeros})),
            ("decoder.weight is not " + WORD,
             lambda t: t.update({"cls.predictions.decoder.weight": (*t[WORD][:2], b"\1" + t[WORD][2][1:])})),
            ("not F32, F16 or BF16",
             lambda t: t.update({name: ("I64", shape, blob * 2) for name, (_, shape, blob) in t.items() if name.endswith("bias")})),
            ("4 bytes, expected 0 for F32 (0)", lambda t: t.update({"~": ("F32", [0], bytes(4))})),
            ("element 0 is nan", lambda t: t.update({WORD: (*t[WORD][:2], not_a_number + t[WORD][2][4:])})),
        ]):
            self.fails(3, part, "import-hf", self.changed(f"tensors_{number}", change), target)
        self.assertFalse(target.exists())

    def test_a_head_that_the_model_lacks_is_left_out_and_named(self):
        def change(tensors):
            tensors["bert.pooler.dense.bias"] = ("F32", [32], bytes(128))
            tensors["bert.embeddings.position_ids"] = ("I64", [1, 32], bytes(256))

        out = self.check("import-hf", self.changed("with_pooler", change), self.folder / "without_pooler")
        self.assertIn("left out, the model has no such head: bert.pooler.dense.bias", out)
        self.assertNotIn("position_ids", out)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
