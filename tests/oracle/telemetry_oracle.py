#!/usr/bin/env python3
"""Records of a training run, against NumPy and PyTorch on the exported model in transformers, in double: activations, and norms of gradients, of
an update and of weights, of the same samples; and attention maps.

    telemetry_oracle.py BUILD_FOLDER bert|opt
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

HIDDEN, LAYERS, HEADS, INTERMEDIATE, LENGTH, BATCH, STEPS, LOOKED_AT, MAPS = 64, 2, 4, 128, 64, 8, 20, 3, 2
# Activations are off by the roundings of the matrix products before them (training_step_oracle.py); a kurtosis is of fourth powers over fourth
# powers, a share of squares over squares, and a gradient goes through all products twice. Updates are differences of rounded weights.
ACTIVATION_TOLERANCE = (6 * LAYERS * max(INTERMEDIATE, LENGTH)) ** 0.5 * 2.0**-24
TOLERANCES = {
    "max_abs": ACTIVATION_TOLERANCE,
    "kurtosis_per_sequence": 8 * ACTIVATION_TOLERANCE,
    "kurtosis_per_token": 8 * ACTIVATION_TOLERANCE,
    "top_channel_share": 4 * ACTIVATION_TOLERANCE,
    "gradient": 16 * ACTIVATION_TOLERANCE,
    "update": 1e-12,
    "weight": 1e-12,
}
MAP_TOLERANCE = 0.5e-4 + ACTIVATION_TOLERANCE  # four digits
MODELS = {
    "bert": ("wordpiece", "hidden_act: gelu_erf", transformers.AutoModelForMaskedLM),
    "opt": ("bpe", "hidden_act: relu, layer_norm_eps: 1.0e-5", transformers.AutoModelForCausalLM),
}


def config(data, architecture):
    return f"""
model: {{architecture: {architecture}, hidden_size: {HIDDEN}, num_hidden_layers: {LAYERS}, num_attention_heads: {HEADS},
        intermediate_size: {INTERMEDIATE}, max_position_embeddings: {LENGTH}, {MODELS[architecture][1]}, hidden_dropout_prob: 0,
        attention_probs_dropout_prob: 0}}
data: {{train: {data}, validation: [{data}], sequence_length: {LENGTH}}}
optimizer: {{learning_rate: 0.003}}
schedule: {{shape: constant}}
training: {{steps: {STEPS + 1}, global_batch_size: {BATCH}, precision: fp32, log_every: 40, evaluation_batches: 1}}
checkpoint: {{every: {STEPS}}}
telemetry: {{statistics_sequences: {LOOKED_AT}, activation_statistics_every: {STEPS + 1}, norm_statistics_every: {STEPS + 1},
            attention_maps_every: {STEPS + 1}, attention_map_sequences: {MAPS}}}
runtime: {{threads: 1}}
"""


def modules(architecture):
    """Which module of transformers has a tensor, and whether it is its output or its input: {our name: (module, side)}."""
    names = {}
    if architecture == "bert":
        names["embedding.sum"] = ("bert.embeddings.LayerNorm", "input")
        names["embedding.norm"] = ("bert.embeddings.LayerNorm", "output")
        for n in range(LAYERS):
            layer, ours = f"bert.encoder.layer.{n}.", f"layer_{n}."
            for theirs, part in (("attention.output.", "attention"), ("output.", "feed_forward")):
                names[f"{ours}{part}.output"] = (f"{layer}{theirs}dense", "output")
                names[f"{ours}{part}.residual_sum"] = (f"{layer}{theirs}LayerNorm", "input")
                names[f"{ours}{part}.norm"] = (f"{layer}{theirs}LayerNorm", "output")
        return names
    decoder = "model.decoder."
    first_norm = lambda n: f"{decoder}layers.{n}.self_attn_layer_norm" if n < LAYERS else f"{decoder}final_layer_norm"
    names["embedding.sum"] = (first_norm(0), "input")
    names["embedding.norm"] = (first_norm(0), "output")
    for n in range(LAYERS):
        layer, ours = f"{decoder}layers.{n}.", f"layer_{n}."
        names[f"{ours}attention.output"] = (f"{layer}self_attn.out_proj", "output")
        names[f"{ours}attention.residual_sum"] = (f"{layer}final_layer_norm", "input")
        names[f"{ours}attention.norm"] = (f"{layer}final_layer_norm", "output")
        names[f"{ours}feed_forward.output"] = (f"{layer}fc2", "output")
        names[f"{ours}feed_forward.residual_sum"] = (first_norm(n + 1), "input")
        names[f"{ours}feed_forward.norm"] = (first_norm(n + 1), "output")
    return names


def watch(model, names):
    """Hooks that fill a dictionary: {our name: (B, T, C)}."""
    seen = {}

    def hook(name, side):
        def remember(_, arguments, output):
            x = arguments[0] if side == "input" else output[0] if isinstance(output, tuple) else output
            seen[name] = x.detach().reshape(-1, LENGTH, HIDDEN).numpy()
        return remember

    for name, (module, side) in names.items():
        model.get_submodule(module).register_forward_hook(hook(name, side))
    return seen


def kurtosis(rows):
    centred = rows - rows.mean(axis=1, keepdims=True)
    return ((centred**4).mean(axis=1) / (rows.std(axis=1, ddof=1) ** 4 + 1e-6)).mean()


def statistics(x):
    channels = (x.reshape(-1, HIDDEN) ** 2).sum(axis=0)
    return {
        "max_abs": np.abs(x).max(),
        "kurtosis_per_sequence": kurtosis(x.reshape(len(x), -1)),
        "kurtosis_per_token": kurtosis(x.reshape(-1, HIDDEN)),
        "top_channel_share": channels.max() / channels.sum(),
    }


class Comparison:
    def __init__(self):
        self.worst, self.compared = 0, 0

    def add(self, what, got, expected, tolerance):
        share = abs(got - expected) / abs(expected) / tolerance
        self.worst, self.compared = max(self.worst, share), self.compared + 1
        if not share <= 1:
            raise SystemExit(f"{what}: {got}, expected {expected}: {share:.3g} times the tolerance {tolerance:.1g}")


def compare_activations(record, seen, comparison):
    looked_at = {name: statistics(x[:LOOKED_AT]) for name, x in seen.items()}
    for name, expected in looked_at.items():
        for what, value in expected.items():
            comparison.add(f"{name}.{what}", record[f"{name}.{what}"], value, TOLERANCES[what])
    assert comparison.compared == 4 * (2 + 6 * LAYERS) == len(record) - 2, (comparison.compared, record.keys())
    # A wrong row unit or one sequence more would show.
    assert max(abs(x["kurtosis_per_sequence"] / x["kurtosis_per_token"] - 1) for x in looked_at.values()) > 0.01
    others = {name: statistics(x) for name, x in seen.items()}
    assert max(abs(others[name]["max_abs"] / x["max_abs"] - 1) for name, x in looked_at.items()) > 0.001


def compare_norms(record, before, after, gradients, comparison):
    names = [name[len("weight."):] for name in record if name.startswith("weight.")]
    assert len(names) * 3 == len(record) - 2 and len(names) > 20 * LAYERS / 2, record.keys()
    for name in names:
        old, new = (weights[name].double().numpy() for weights in (before, after))
        comparison.add("weight." + name, record["weight." + name], np.linalg.norm(new), TOLERANCES["weight"])
        comparison.add("update." + name, record["update." + name], np.linalg.norm(new - old), TOLERANCES["update"])
        # A bias of the keys changes no softmax: its gradient is what rounding leaves.
        if name.endswith(("key.bias", "k_proj.bias")):
            assert record["gradient." + name] < 1e-6
            continue
        comparison.add("gradient." + name, record["gradient." + name], gradients[name], TOLERANCES["gradient"])


def compare_maps(run, model, tokens):
    json_maps = json.loads((run / "attention_maps" / f"step_{STEPS + 1:08d}.json").read_text())
    assert json_maps["step"] == STEPS + 1 and len(json_maps["sequences"]) == MAPS
    with torch.no_grad():
        attentions = model(input_ids=tokens, output_attentions=True).attentions
    worst = 0
    for b, sequence in enumerate(json_maps["sequences"]):
        got = np.array(sequence["layers"])  # (layers, heads, T, T)
        assert got.shape == (LAYERS, HEADS, LENGTH, LENGTH) and len(sequence["tokens"]) == LENGTH, got.shape
        worst = max(worst, np.abs(got - np.stack([a[b].numpy() for a in attentions])).max())
    assert worst <= MAP_TOLERANCE, worst
    return worst


def main():
    torch.set_num_threads(1)
    text = oracle_setup.corpus("valid_wiki_1mb.txt")
    programs, architecture = oracle_setup.Programs(sys.argv[1]), sys.argv[2]
    tokenizer, _, auto_class = MODELS[architecture]
    causal = architecture == "opt"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data = programs.prepare(text, folder, 800, tokenizer)
        (folder / "config.yaml").write_text(config(data, architecture))
        run = folder / "run"
        programs.sluice("train", folder / "config.yaml", "--run-folder", run)
        models, weights = [], []
        for step in (STEPS, STEPS + 1):
            exported = folder / f"exported_{step}"
            programs.sluice("export-hf", run / "checkpoints" / f"step_{step:08d}", exported)
            weights.append(load_file(exported / "model.safetensors"))
            models.append(auto_class.from_pretrained(exported, attn_implementation="eager", dtype=torch.float64).eval())
        programs.step("training-batches", run / "config.yaml", folder / "batch.safetensors", "--first", STEPS * BATCH, "--rows", BATCH, "--count", 1)
        programs.step("batches", data, folder / "validation.safetensors", "--rows", MAPS, "--length", LENGTH, "--count", 1,
                      *(["--causal"] if causal else []))
        batch, validation = (load_file(folder / f"{part}.safetensors") for part in ("batch", "validation"))
        records = {}
        for line in (run / "metrics.jsonl").read_text().splitlines():
            record = json.loads(line)
            if record["event"] in ("activations", "norms"):
                assert record["step"] == STEPS + 1 and record["event"] not in records
                records[record["event"]] = record
        tokens, labels = batch["tokens"][0], batch["labels"][0]
        seen = watch(models[0], modules(architecture))
        logits = models[0](input_ids=tokens).logits
        torch.nn.functional.cross_entropy(logits[labels != -100], labels[labels != -100]).backward()
        comparison = Comparison()
        compare_activations(records["activations"], seen, comparison)
        gradients = {name: parameter.grad.norm().item() for name, parameter in models[0].named_parameters() if parameter.grad is not None}
        compare_norms(records["norms"], *weights, gradients, comparison)
        worst_map = compare_maps(run, models[1], validation["tokens"][0])
    print(f"{architecture}: {comparison.compared} numbers agree, {100 * comparison.worst:.2g} % of the tolerance used; maps to {worst_map:.2g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
