#!/usr/bin/env python3
"""Models that transformers made and saved, imported, used, and exported again; and what of them is refused.

    huggingface_import_oracle.py BUILD_FOLDER
"""

import json
import pathlib
import shutil
import sys
import tempfile
import unittest

import oracle_setup

oracle_setup.start("torch", "transformers", "safetensors")
import torch
import transformers
from safetensors.torch import load_file, save_file

PROGRAMS = oracle_setup.Programs(sys.argv[1])
TEXT = oracle_setup.corpus("valid_wiki_1mb.txt")
SENTENCE = "the [MASK] of the river was in the north of the city ."


class Import(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.data = PROGRAMS.prepare(TEXT, cls.folder, 500)
        cls.saved = cls.save("saved", transformers.BertForMaskedLM)
        cls.checkpoint = cls.folder / "imported"
        PROGRAMS.sluice("import-hf", cls.saved, cls.checkpoint)

    @classmethod
    def save(cls, name, model_class, dtype=torch.float32, **options):
        """A random model with every weight moved, and its tokenizer, as transformers saves both."""
        torch.manual_seed(1)
        config = transformers.BertConfig(vocab_size=500, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                                         intermediate_size=48, max_position_embeddings=64, hidden_act="gelu_new")
        model = model_class(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        model.to(dtype).save_pretrained(cls.folder / name, **options)
        transformers.AutoTokenizer.from_pretrained(cls.tokenizer_folder()).save_pretrained(cls.folder / name)
        return cls.folder / name

    @classmethod
    def tokenizer_folder(cls):
        folder = cls.folder / "tokenizer"
        if not folder.exists():
            folder.mkdir()
            shutil.copy(cls.folder / "vocabulary" / "vocab.txt", folder)
            (folder / "config.json").write_text('{"model_type": "bert"}')
        return folder

    def copy(self, name, source=None):
        return pathlib.Path(shutil.copytree(source or self.saved, self.folder / name))

    def rewrite_tensors(self, folder, change):
        tensors = load_file(folder / "model.safetensors")
        save_file(change(tensors), folder / "model.safetensors", {"format": "pt"})

    def fails(self, part, *arguments):
        with self.assertRaisesRegex(RuntimeError, "exit code 3") as caught:
            PROGRAMS.sluice(*arguments)
        self.assertIn(part, str(caught.exception))

    def same_weights(self, checkpoint, name, folder=None):
        exported = self.folder / name
        PROGRAMS.sluice("export-hf", checkpoint, exported)
        ours, theirs = load_file(exported / "model.safetensors"), load_file((folder or self.saved) / "model.safetensors")
        self.assertEqual(ours.keys(), theirs.keys())
        for key in ours:
            self.assertTrue(torch.equal(ours[key].view(torch.int32), theirs[key].float().view(torch.int32)), key)
        return exported

    def test_exported_again_it_is_the_same_file(self):
        exported = self.same_weights(self.checkpoint, "again")
        self.assertEqual((exported / "model.safetensors").read_bytes(), (self.saved / "model.safetensors").read_bytes())
        twice = self.folder / "imported_twice"
        PROGRAMS.sluice("import-hf", exported, twice)
        self.assertTrue(json.loads(PROGRAMS.sluice("inspect", self.checkpoint, "--diff", twice, "--json"))["equal"])

    def test_transformers_loads_the_export_in_full(self):
        exported = self.folder / "for_transformers"
        PROGRAMS.sluice("export-hf", self.checkpoint, exported)
        model, info = transformers.AutoModelForMaskedLM.from_pretrained(exported, output_loading_info=True)
        self.assertFalse(any(info.values()), info)
        self.assertIsInstance(model, transformers.BertForMaskedLM)
        self.assertEqual(model.dtype, torch.float32)
        ours, theirs = (transformers.AutoTokenizer.from_pretrained(folder) for folder in (exported, self.saved))
        lines = [line for line in TEXT.read_text(encoding="utf-8").split("\n")[:300] if line]
        self.assertEqual(ours(lines)["input_ids"], theirs(lines)["input_ids"])

    def test_verified_inspected_evaluated(self):
        self.assertIn("every byte verified", PROGRAMS.sluice("inspect", self.checkpoint, "--verify"))
        self.assertIn("hugging_face", PROGRAMS.sluice("inspect", self.checkpoint))
        result = json.loads(PROGRAMS.sluice("evaluate", self.checkpoint, "--data", self.data, "--batches", 2, "--json"))
        self.assertGreater(result["targets"], 100)

    def test_predictions_are_those_of_transformers(self):
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.saved)
        model = transformers.AutoModelForMaskedLM.from_pretrained(self.saved).double().eval()
        ids = tokenizer(SENTENCE, return_tensors="pt")["input_ids"]
        position = ids[0].tolist().index(tokenizer.mask_token_id)
        expected = torch.softmax(model(ids).logits[0, position], -1).topk(5)
        got = json.loads(PROGRAMS.sluice("predict", self.checkpoint, SENTENCE, "--json"))
        self.assertEqual([candidate["id"] for candidate in got["candidates"]], expected.indices.tolist())
        for candidate, probability in zip(got["candidates"], expected.values.tolist()):
            self.assertAlmostEqual(candidate["probability"], probability, delta=1e-5 * probability)

    def config(self, extra=""):
        path = self.folder / "train.yaml"
        path.write_text(f"""
model: {{hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 48, max_position_embeddings: 64,
        hidden_act: gelu_tanh, hidden_dropout_prob: 0, initialization: paper_text}}
data: {{train: {self.data}, sequence_length: 32}}
training: {{steps: 4, global_batch_size: 8, precision: bf16, seed: 7}}
""")
        return path

    def test_training_goes_on_from_it(self):
        run = self.folder / "run"
        PROGRAMS.sluice("train", self.config(), "--resume", self.checkpoint, "--run-folder", run)
        steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()
                 if json.loads(line)["event"] == "train"]
        self.assertEqual(steps, [1, 2, 3, 4])
        self.assertNotIn("hugging_face", PROGRAMS.sluice("inspect", run))
        with self.assertRaisesRegex(RuntimeError, "(?s)exit code 1.*another model.*hidden_act was gelu_tanh, is relu"):
            PROGRAMS.sluice("train", self.config(), "model.hidden_act=relu", "--resume", self.checkpoint, "--run-folder", run)

    def test_shards_and_half_precision(self):
        sharded = self.save("sharded", transformers.BertForMaskedLM, max_shard_size="20KB")
        self.assertTrue((sharded / "model.safetensors.index.json").exists())
        PROGRAMS.sluice("import-hf", sharded, self.folder / "from_shards")
        self.same_weights(self.folder / "from_shards", "from_shards_exported")
        for dtype in (torch.bfloat16, torch.float16):
            half = self.save(f"half_{dtype}", transformers.BertForMaskedLM, dtype)
            PROGRAMS.sluice("import-hf", half, self.folder / f"from_{dtype}")
            self.same_weights(self.folder / f"from_{dtype}", f"from_{dtype}_exported", half)

    def test_next_sentence_head(self):
        saved = self.save("pretraining", transformers.BertForPreTraining)
        PROGRAMS.sluice("import-hf", saved, self.folder / "with_head")
        exported = self.same_weights(self.folder / "with_head", "with_head_exported", saved)
        _, info = transformers.BertForPreTraining.from_pretrained(exported, output_loading_info=True)
        self.assertFalse(any(info.values()), info)
        config = json.loads((saved / "config.json").read_text())
        config["architectures"] = ["BertForMaskedLM"]
        (saved / "config.json").write_text(json.dumps(config))
        report = json.loads(PROGRAMS.sluice("import-hf", saved, self.folder / "without_head", "--json"))
        self.assertEqual(len(report["left_out"]), 4)
        self.assertIn("bert.pooler.dense.weight", report["left_out"])

    def test_names_of_older_versions(self):
        """What transformers 4 and its predecessors saved: gamma and beta, buffers, the tied decoder, no prefix."""
        old = self.copy("old")
        vocabulary = self.folder / "vocabulary" / "vocab.txt"
        (old / "tokenizer.json").unlink()
        shutil.copy(vocabulary, old)

        def change(tensors):
            renamed = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
                       .removeprefix("bert."): tensor for name, tensor in tensors.items()}
            renamed["embeddings.position_ids"] = torch.arange(64)[None]
            renamed["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
            renamed["cls.predictions.decoder.bias"] = renamed.pop("cls.predictions.bias")
            return renamed

        self.rewrite_tensors(old, change)
        PROGRAMS.sluice("import-hf", old, self.folder / "from_old")
        self.same_weights(self.folder / "from_old", "from_old_exported")
        self.assertEqual((self.folder / "from_old" / "vocab.txt").read_bytes(), vocabulary.read_bytes())

    def test_tensors_that_do_not_fit(self):
        def with_tensor(name, make):
            return lambda tensors: tensors | {name: make(tensors)}

        bias, word = "cls.predictions.bias", "bert.embeddings.word_embeddings.weight"
        for number, (part, change) in enumerate([
            ("unexpected tensor bert.extra", with_tensor("bert.extra", lambda t: torch.zeros(2))),
            ("missing tensor cls.predictions.bias", lambda t: {name: x for name, x in t.items() if name != bias}),
            ("tensor cls.predictions.bias has shape (7), expected (500)", with_tensor(bias, lambda t: torch.zeros(7))),
            ("cls.predictions.decoder.weight is not bert.embeddings.word_embeddings.weight",
             with_tensor("cls.predictions.decoder.weight", lambda t: t[word] + 1)),
            ("two tensors are the same parameter", with_tensor(word.removeprefix("bert."), lambda t: t[word].clone())),
        ]):
            folder = self.copy(f"misfit_{number}")
            self.rewrite_tensors(folder, change)
            self.fails(part, "import-hf", folder, self.folder / "misfit")
        self.assertFalse((self.folder / "misfit").exists())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
