#!/usr/bin/env python3
"""`sluice quantize` and `sluice evaluate --int8` against the same by hand in PyTorch and NumPy (fake_quantization.py): perplexity.

    quantization_oracle.py BUILD_FOLDER bert|opt

The two round matrix products differently, by about 1e-6 of a tensor's range. A value that is so near the middle between two
codes goes to the other one: of 2^b codes about 2^b * 2e-6 of all values, a step of which moves them by sqrt(12) times their
quantization error. Independent of each other, they move a loss by sqrt(12 * 2^b * 2e-6), under a tenth for b <= 8, of what
quantization does to it. (LayerNorms of 16 bits among others of 6 have many such values, of steps 2^-10 as large.) What it does
is taken batch by batch, where gaps of both signs cannot hide each other: their root mean square. Weights of one bit less, the
smallest mistake there is, must differ by more than the tolerance.
"""

import dataclasses
import json
import math
import pathlib
import sys
import tempfile

import oracle_setup

oracle_setup.start("torch", "transformers", "safetensors", "numpy")
import torch
from fake_quantization import FP32, Bert, Opt, Settings, asymmetric, symmetric
from safetensors.torch import load_file

HIDDEN, LAYERS, HEADS, INTERMEDIATE, LENGTH, ROWS, BATCHES, CALIBRATION = 64, 2, 4, 128, 64, 4, 6, 3
MODELS = {
    "bert": (Bert, "wordpiece", "hidden_act: gelu_erf", 1e-12, ("minmax", 100.0)),
    "opt": (Opt, "bpe", "hidden_act: relu, layer_norm_eps: 1.0e-5", 1e-5, ("mse", 99.999)),
}


VARIANTS = {"vanilla": "vanilla", "gated": "gated", "iga": "gated, gate: {source: input}"}
# Of the gated model, at W6A6: what the command line says, and what that is by hand.
OPTIONS = [
    (("--activation-method", "symmetric"), {"symmetric": True}),
    (("--activation-ranges", "current"), {"current": True}),
    (("--percentile", 99.5), {"percentile": 99.5}),
    (("--per-channel",), {"per_channel": True}),
    (("--gate-value", "unquantized"), {"gate_reads_quantized_value": False}),
    (("--int16-layer-norms", "final"), {"int16_norms": "final"}),
    (("--int16-layer-norms", "all"), {"int16_norms": "all"}),
]


def check_published_quantizers():
    """The published code's own numbers, which the quantizers by hand have to give."""
    x = torch.tensor([-1.2, -1, -0.3, 0, 0.01, 1.5, 3, 4])
    scale, steps = asymmetric(x, -1.0, 3.0, 8).codes
    codes = [int(code) for code in steps + 64]
    good = abs(scale - 0.0156862745) < 1e-9 and codes == [0, 0, 45, 64, 65, 160, 255, 255]
    scale, steps = symmetric(torch.tensor([-0.5, -0.1, 0, 0.2, 0.51]), -0.5, 0.51, 8).codes
    good = good and abs(scale - 0.0040157480) < 1e-9 and [int(code) for code in steps] == [-125, -25, 0, 50, 127]
    print(f"published quantizers: {'the same' if good else 'OTHER NUMBERS'}", flush=True)
    return good


def config(data, architecture, variant):
    return f"""
model: {{architecture: {architecture}, hidden_size: {HIDDEN}, num_hidden_layers: {LAYERS}, num_attention_heads: {HEADS},
        intermediate_size: {INTERMEDIATE}, max_position_embeddings: {LENGTH}, {MODELS[architecture][2]},
        attention: {{variant: {VARIANTS[variant]}}}}}
data: {{train: {data}, sequence_length: {LENGTH}}}
optimizer: {{learning_rate: 0.003}}
schedule: {{shape: constant}}
training: {{steps: 150, global_batch_size: 16, precision: fp32, log_every: 150}}
runtime: {{threads: 1}}
"""


def by_hand(kind, tensors, batches, settings, epsilon):
    """The mean loss of each batch. Its mean is the log of the published perplexity where batches have one size."""
    integers = settings.integers
    model = kind(tensors, HEADS, dataclasses.replace(settings, integers=False), epsilon)
    for tokens in batches["tokens"][:CALIBRATION]:
        model.logits(tokens)
    model.calibrating, model.settings = False, settings
    loss = lambda tokens, labels: torch.nn.functional.cross_entropy(model.logits(tokens).flatten(0, 1), labels.flatten(), ignore_index=-100)
    losses = torch.stack([loss(*batch).double() for batch in zip(batches["tokens"], batches["labels"])])
    assert (model.products > 0) == integers
    return losses


def size(differences):
    return float(differences.square().mean().sqrt())


def check(programs, folder, data, architecture, variant):
    kind, _, _, epsilon, (ranges, percentile) = MODELS[architecture]
    run, exported = folder / f"run_{variant}", folder / f"exported_{variant}"
    (folder / "config.yaml").write_text(config(data, architecture, variant))
    programs.sluice("train", folder / "config.yaml", "--run-folder", run)
    programs.sluice("export-hf", run, exported)
    tensors, batches = load_file(exported / "model.safetensors"), load_file(folder / "batches.safetensors")
    report = json.loads(programs.sluice(
        "quantize", run, "--data", data, "--batch-size", ROWS, "--batches", BATCHES, "--calibration-data", data,
        "--calibration-batches", CALIBRATION, "--calibration-batch-size", ROWS, "--sweep", "W8A8,W4A8,W6A6", "--json"))
    base = Settings(FP32, FP32, ranges, percentile, kind is Opt, gate_reads_input=variant == "iga")
    losses = lambda weights, activations, integers=False, **more: by_hand(
        kind, tensors, batches, dataclasses.replace(base, bits=activations, weight_bits=weights, integers=integers, **more), epsilon)
    exact, good = losses(FP32, FP32), True
    for got in report["quantized"]:
        weights, activations = got["weight_bits"], got["activation_bits"]
        expected, wrong = losses(weights, activations), losses(weights - 1, activations)
        tolerance = 0.1 * size(expected - exact)
        difference = abs(math.log(got["perplexity"]) - float(expected.mean()))
        good = good and difference <= tolerance < size(wrong - expected)
        print(f"{architecture} {variant} W{weights}A{activations}: log perplexity {math.log(got['perplexity']):.6f}, by hand "
              f"{expected.mean():.6f}, fp32 {exact.mean():.6f}; {100 * difference / tolerance:.2g} % of the tolerance {tolerance:.1g} "
              f"used; a bit less would use {100 * size(wrong - expected) / tolerance:.0f} %", flush=True)
    if variant == "gated":
        options = [*OPTIONS, (("--gate-position", "before" if kind is Opt else "behind"), {"context_before_gate": kind is not Opt})]
        good = all([check_option(programs, run, data, f"{architecture} {' '.join(map(str, option))}", option, by, losses)
                    for option, by in options]) and good
    return check_integers(programs, run, data, architecture, variant, losses) and good


def check_option(programs, run, data, name, option, by, losses):
    """Besides: of what the option changes, a tenth may be missing."""
    report = json.loads(programs.sluice(
        "quantize", run, "--data", data, "--batch-size", ROWS, "--batches", BATCHES, "--calibration-data", data,
        "--calibration-batches", CALIBRATION, "--calibration-batch-size", ROWS, "--weight-bits", 6, "--activation-bits", 6, "--json", *option))
    got = math.log(report["quantized"][0]["perplexity"])
    exact, expected, without = losses(FP32, FP32), losses(6, 6, **by), losses(6, 6)
    tolerance, difference = 0.1 * size(expected - exact), abs(got - float(expected.mean()))
    ignored = abs(float((without - expected).mean()))
    print(f"{name}: log perplexity {got:.6f}, by hand {expected.mean():.6f}; {100 * difference / tolerance:.2g} % of the tolerance "
          f"{tolerance:.1g} used; without the option {100 * ignored / tolerance:.2g} %", flush=True)
    return difference <= tolerance and difference < 0.1 * ignored


def check_integers(programs, run, data, architecture, variant, losses):
    """8-bit products: the same tolerance, of the same gap."""
    got = json.loads(programs.sluice(
        "evaluate", run, "--int8", "--data", data, "--batch-size", ROWS, "--batches", BATCHES, "--calibration-data", data,
        "--calibration-batches", CALIBRATION, "--calibration-batch-size", ROWS, "--json"))
    exact, expected, wrong = losses(FP32, FP32), losses(8, 8, integers=True), losses(7, 8, integers=True)
    tolerance, difference = 0.1 * size(expected - exact), abs(math.log(got["perplexity"]) - float(expected.mean()))
    gated_product = architecture == "opt" and variant != "vanilla"  # is not quantized again
    layers = LAYERS * (3 if gated_product else 4)
    print(f"{architecture} {variant} int8: log perplexity {math.log(got['perplexity']):.6f}, by hand {expected.mean():.6f}; "
          f"{100 * difference / tolerance:.2g} % of the tolerance {tolerance:.1g} used; a bit less would use "
          f"{100 * size(wrong - expected) / tolerance:.0f} %; {got['int8']['layers_in_integers']} layers", flush=True)
    return difference <= tolerance < size(wrong - expected) and got["int8"]["layers_in_integers"] == layers


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    if not check_published_quantizers():
        return 1
    text = oracle_setup.corpus("valid_wiki_1mb.txt")
    programs, architecture = oracle_setup.Programs(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data = programs.prepare(text, folder, 800, MODELS[architecture][1])
        programs.step("batches", data, folder / "batches.safetensors", "--rows", ROWS, "--length", LENGTH, "--count", BATCHES,
                      *(["--causal"] if architecture == "opt" else []))
        good = [check(programs, folder, data, architecture, variant) for variant in VARIANTS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
