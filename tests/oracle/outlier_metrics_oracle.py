#!/usr/bin/env python3
"""Outlier metrics of `sluice evaluate`, against NumPy on what hooks see in the exported model in transformers, in double.

    outlier_metrics_oracle.py BUILD_FOLDER bert|opt
"""

import json
import pathlib
import sys
import tempfile

import oracle_setup

oracle_setup.start("torch", "transformers", "safetensors", "numpy")
import numpy as np
import torch
import transformers
from safetensors.torch import load_file

HIDDEN, LAYERS, HEADS, INTERMEDIATE, LENGTH, ROWS, BATCHES, KURTOSIS_BATCHES = 64, 2, 4, 128, 64, 4, 5, 3
# Activations are off by the roundings of the matrix products before them (training_step_oracle.py); a kurtosis is of fourth
# powers over fourth powers.
NORM_TOLERANCE = (6 * LAYERS * max(INTERMEDIATE, LENGTH)) ** 0.5 * 2.0**-24
KURTOSIS_TOLERANCE = 8 * NORM_TOLERANCE
MODELS = {
    "bert": ("wordpiece", "hidden_act: gelu_erf", transformers.AutoModelForMaskedLM),
    "opt": ("bpe", "hidden_act: relu, layer_norm_eps: 1.0e-5", transformers.AutoModelForCausalLM),
}


def config(data, architecture):
    return f"""
model: {{architecture: {architecture}, hidden_size: {HIDDEN}, num_hidden_layers: {LAYERS}, num_attention_heads: {HEADS},
        intermediate_size: {INTERMEDIATE}, max_position_embeddings: {LENGTH}, {MODELS[architecture][1]}}}
data: {{train: {data}, sequence_length: {LENGTH}}}
optimizer: {{learning_rate: 0.003}}
schedule: {{shape: constant}}
training: {{steps: 40, global_batch_size: 8, precision: fp32, log_every: 40}}
runtime: {{threads: 1}}
"""


def rows_of(x, unit):
    return x.reshape(len(x), -1) if unit == "sequence" else x.reshape(-1, x.shape[-1])


def kurtosis(rows):
    centred = rows - rows.mean(axis=1, keepdims=True)
    return (centred**4).mean(axis=1) / (rows.std(axis=1, ddof=1) ** 4 + 1e-6)


def statistics(batches):
    """{unit: (inf norm, kurtosis)} of one tensor's batches (B, T, C)."""
    means = {}
    for unit in ("sequence", "token"):
        norms = np.concatenate([np.abs(rows_of(x, unit)).max(axis=1) for x in batches])
        peaks = np.concatenate([kurtosis(rows_of(x, unit)) for x in batches[:KURTOSIS_BATCHES]])
        means[unit] = (norms.mean(), peaks.mean())
    return means


class Seen:
    """What hooks see, by name of the module; of some also the first input, under NAME + ".input"."""

    def __init__(self, model, names, inputs=()):
        self.tensors = {}
        for name in names:
            model.get_submodule(name).register_forward_hook(self.hook(name, name in inputs))

    def hook(self, name, with_input):
        def remember(_, arguments, output):
            self.add(name, output[0] if isinstance(output, tuple) else output)
            if with_input:
                self.add(name + ".input", arguments[0])
        return remember

    def add(self, name, x):
        self.tensors.setdefault(name, []).append(x.reshape(ROWS, LENGTH, -1).numpy())


def of_bert(model):
    """What the published lines are, after the program that printed them: {our name: value}."""
    layers = [f"bert.encoder.layer.{n}.output." for n in range(LAYERS)]
    dense, norms = [name + "dense" for name in layers], [name + "LayerNorm" for name in layers]
    seen = Seen(model, dense + norms, norms)

    def metrics(found):
        sequence = lambda names, which: [found[name]["sequence"][which] for name in names]
        peaks = sequence(dense + norms, 1)
        return {
            "max_inf_norm_feed_forward_output_per_sequence": max(sequence(dense, 0)),
            "max_inf_norm_feed_forward_residual_sum_per_sequence": max(sequence([n + ".input" for n in norms], 0)),
            "max_inf_norm_feed_forward_norm_per_sequence": max(sequence(norms, 0)),
            "average_kurtosis_feed_forward_output_and_norm_per_sequence": sum(peaks) / len(peaks),
            "max_kurtosis_feed_forward_output_and_norm_per_sequence": max(peaks),
        }

    return seen, metrics


def of_opt(model):
    layers = [f"model.decoder.layers.{n}" for n in range(LAYERS)]
    per_token = [layer + part for layer in layers for part in (".fc2", ".final_layer_norm")]
    per_sequence = ["model.decoder.final_layer_norm", *layers] + [
        layer + part for layer in layers for part in (".self_attn.out_proj", ".self_attn_layer_norm")]
    first_norms = [layer + ".final_layer_norm" for layer in layers]
    seen = Seen(model, per_sequence + per_token, first_norms)

    def metrics(found):
        values = lambda which: [found[n]["sequence"][which] for n in per_sequence] + [found[n]["token"][which] for n in per_token]
        return {
            "max_inf_norm_all_tensors_mixed_rows": max(values(0)),
            "max_inf_norm_feed_forward_output_per_token": max(found[layer + ".fc2"]["token"][0] for layer in layers),
            "max_inf_norm_layer_output_per_sequence": max(found[layer]["sequence"][0] for layer in layers),
            "max_inf_norm_attention_residual_sum_per_token": max(found[n + ".input"]["token"][0] for n in first_norms),
            "average_kurtosis_all_tensors_mixed_rows": sum(values(1)) / len(values(1)),
            "max_kurtosis_all_tensors_mixed_rows": max(values(1)),
            "max_kurtosis_layer_output_per_sequence": max(found[layer]["sequence"][1] for layer in layers),
        }

    return seen, metrics


class Comparison:
    def __init__(self):
        self.worst, self.compared = 0, 0

    def add(self, what, got, expected):
        tolerance = KURTOSIS_TOLERANCE if "kurtosis" in what else NORM_TOLERANCE
        share = abs(got - expected) / abs(expected) / tolerance
        self.worst, self.compared = max(self.worst, share), self.compared + 1
        if not share <= 1:
            raise SystemExit(f"{what}: {got}, expected {expected}: {share:.3g} times the tolerance {tolerance:.1g}")


def main():
    torch.set_num_threads(1)
    text = oracle_setup.corpus("valid_wiki_1mb.txt")
    programs, architecture = oracle_setup.Programs(sys.argv[1]), sys.argv[2]
    tokenizer, _, auto_class = MODELS[architecture]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data = programs.prepare(text, folder, 800, tokenizer)
        (folder / "config.yaml").write_text(config(data, architecture))
        programs.sluice("train", folder / "config.yaml", "--run-folder", folder / "run")
        programs.sluice("export-hf", folder / "run", folder / "exported")
        programs.step("batches", data, folder / "batches.safetensors", "--rows", ROWS, "--length", LENGTH, "--count", BATCHES,
                      *(["--causal"] if architecture == "opt" else []))
        got = json.loads(programs.sluice("evaluate", folder / "run", "--data", data, "--batch-size", ROWS, "--batches", BATCHES,
                                         "--kurtosis-batches", KURTOSIS_BATCHES, "--precision", "fp32", "--json"))["outliers"]
        model = auto_class.from_pretrained(folder / "exported", attn_implementation="eager", dtype=torch.float64).eval()
        seen, metrics = (of_bert if architecture == "bert" else of_opt)(model)
        with torch.no_grad():
            for tokens in load_file(folder / "batches.safetensors")["tokens"]:
                model(input_ids=tokens)
    found = {name: statistics(batches) for name, batches in seen.tensors.items()}
    comparison = Comparison()
    for tensor in got["tensors"]:
        for unit, (norm, peak) in found.get(tensor["huggingface"], {}).items():
            what = f"{tensor['huggingface']} per {unit}: "
            comparison.add(what + "inf norm", tensor[f"per_{unit}"]["inf_norm"], norm)
            comparison.add(what + "kurtosis", tensor[f"per_{unit}"]["kurtosis"], peak)
    assert comparison.compared == 4 * (2 * LAYERS if architecture == "bert" else 5 * LAYERS + 1), comparison.compared
    expected = metrics(found)
    assert expected.keys() == got["metrics"].keys(), (expected, got["metrics"])
    for name, value in expected.items():
        comparison.add(name, got["metrics"][name], value)
    # The units are far apart, so that a wrong one would show.
    apart = max(abs(units["sequence"][0] / units["token"][0] - 1) for units in found.values())
    assert apart > 0.1, apart
    print(f"{architecture}: {comparison.compared} numbers agree, {100 * comparison.worst:.2g} % of the tolerance used")
    return 0


if __name__ == "__main__":
    sys.exit(main())
