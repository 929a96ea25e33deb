#!/usr/bin/env python3
"""An OPT that transformers made and saved, with a vocabulary that the package `tokenizers` learnt: imported, used, trained, exported.

    huggingface_opt_oracle.py BUILD_FOLDER
"""

import json
import pathlib
import sys
import tempfile
import unittest

import oracle_setup

oracle_setup.start("torch", "transformers", "safetensors", "tokenizers")
import tokenizers
import torch
import transformers

PROGRAMS = oracle_setup.Programs(sys.argv[1])
TEXT = oracle_setup.corpus("valid_wiki_1mb.txt")
PROMPT = "The river is in the north of"
POSITIONS = 48


class Opt(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.vocabulary, cls.saved, cls.checkpoint = (cls.folder / name for name in ("vocabulary", "saved", "imported"))
        cls.vocabulary.mkdir()
        learner = tokenizers.ByteLevelBPETokenizer()
        learner.train([str(TEXT)], vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False)
        learner.save_model(str(cls.vocabulary))
        PROGRAMS.sluice_data("prepare", "--tokenizer", "bpe", "--vocabulary", cls.vocabulary, "--out", cls.folder / "data", TEXT)
        torch.manual_seed(1)
        model = transformers.OPTForCausalLM(transformers.OPTConfig(
            vocab_size=400, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=POSITIONS, word_embed_proj_dim=16))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(cls.saved)
        transformers.GPT2Tokenizer.from_pretrained(
            cls.vocabulary, bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>", add_bos_token=True,
        ).save_pretrained(cls.saved)
        PROGRAMS.sluice("import-hf", cls.saved, cls.checkpoint)
        cls.exported = cls.folder / "exported"
        PROGRAMS.sluice("export-hf", cls.checkpoint, cls.exported)

    def test_the_same_files_come_out(self):
        self.assertEqual((self.exported / "model.safetensors").read_bytes(), (self.saved / "model.safetensors").read_bytes())
        for name in ("vocab.json", "merges.txt"):
            self.assertEqual((self.exported / name).read_bytes(), (self.vocabulary / name).read_bytes(), name)

    def test_transformers_loads_the_export_in_full(self):
        model, info = transformers.AutoModelForCausalLM.from_pretrained(self.exported, output_loading_info=True)
        self.assertFalse(any(info.values()), info)
        self.assertIsInstance(model, transformers.OPTForCausalLM)
        ours, theirs = (json.loads((folder / "config.json").read_text()) for folder in (self.exported, self.saved))
        for key in theirs.keys() - {"transformers_version", "use_cache"}:
            self.assertEqual(ours[key], theirs[key], key)

    def test_its_tokenizer_gives_our_ids(self):
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.exported)
        self.assertEqual(tokenizer(PROMPT)["input_ids"][0], 2)
        for text in (PROMPT, "  It's 12 m.</s> <unk> <s>", "Zoë ö 漢字", ""):
            got = json.loads(PROGRAMS.sluice("predict", self.checkpoint, text, "--tokens", 1, "--json"))
            self.assertEqual(got["prompt"], tokenizer(text)["input_ids"], text)

    def test_continuations_are_those_of_transformers(self):
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.exported)
        model = transformers.AutoModelForCausalLM.from_pretrained(self.exported).double().eval()
        ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
        got = json.loads(PROGRAMS.sluice("predict", self.checkpoint, PROMPT, "--tokens", 8, "--json"))
        for token in got["tokens"]:
            with torch.no_grad():
                expected = torch.softmax(model(ids).logits[0, -1], -1)
            self.assertEqual(token["id"], int(expected.argmax()))
            self.assertAlmostEqual(token["probability"], float(expected.max()), delta=1e-5 * float(expected.max()))
            ids = torch.cat([ids, torch.tensor([[token["id"]]])], dim=1)

    def test_training_goes_on_from_it(self):
        config = self.folder / "train.yaml"
        config.write_text(f"""
model: {{architecture: opt, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 48, hidden_act: relu,
        max_position_embeddings: {POSITIONS}, word_embed_proj_dim: 16, layer_norm_eps: 1.0e-5, hidden_dropout_prob: 0}}
data: {{train: {self.folder / "data"}, sequence_length: 32}}
optimizer: {{learning_rate: 0.003}}
schedule: {{shape: constant}}
training: {{steps: 20, global_batch_size: 8, precision: fp32, log_every: 1}}
runtime: {{threads: 1}}
""")
        run = self.folder / "run"
        PROGRAMS.sluice("train", config, "--resume", self.checkpoint, "--run-folder", run)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if line["event"] == "train"]
        self.assertEqual([line["step"] for line in steps], list(range(1, 21)))
        self.assertLess(steps[-1]["loss"], steps[0]["loss"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
