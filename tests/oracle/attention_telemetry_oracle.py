#!/usr/bin/env python3
"""Records of attention and gates of a training run, against PyTorch on what attention computes in the exported model, in double.

A run records update 21, which used the weights of the checkpoint before it, on sequences that the data set gives again. Of
vanilla attention, probabilities are also those that transformers itself returns (output_attentions).

    attention_telemetry_oracle.py BUILD_FOLDER bert|opt [CASE…]
"""

import json
import pathlib
import sys
import tempfile

import oracle_setup

oracle_setup.start("torch", "transformers", "safetensors", "numpy")
import exported_model
import torch
from safetensors.torch import load_file
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

HIDDEN, LAYERS, HEADS, INTERMEDIATE, LENGTH, ROWS, LOOKED_AT, BEFORE, SEED = 64, 2, 4, 128, 64, 8, 3, 20, 11
# Scores are off by the roundings of the matrix products before them (training_step_oracle.py), and an entry of a record is a
# mean of them, or of probabilities, which are off by the same share.
TOLERANCE = 4 * (6 * LAYERS * max(INTERMEDIATE, LENGTH)) ** 0.5 * 2.0**-24
MODELS = {"bert": ("wordpiece", "hidden_act: gelu_erf"), "opt": ("bpe", "hidden_act: relu, layer_norm_eps: 1.0e-5")}
GATED = ["model.attention.variant=gated", "model.attention.gate.source=value"]
CASES = {
    "vanilla": [],
    "vga_query": [*GATED, "model.attention.gate.site=query"],
    "vga_key": [*GATED, "model.attention.gate.site=key"],
    "clipped_softmax": ["model.attention.variant=clipped_softmax", "model.attention.clipped_softmax.gamma=-0.015",
                        "model.attention.clipped_softmax.zeta=1.05"],
    "sink_logit": ["model.attention.variant=learnable_sink", "model.attention.learnable_sink=logit"],
    "sink_token": ["model.attention.variant=learnable_sink", "model.attention.learnable_sink=token"],
    "softmax_plus_one": ["model.attention.variant=softmax_plus_one"],
    "relu": ["model.attention.variant=relu"],
    "registers_documents": ["model.attention.register_tokens=3", "data.attention_across_documents=false"],
}


def config(data, architecture):
    return f"""
model: {{architecture: {architecture}, hidden_size: {HIDDEN}, num_hidden_layers: {LAYERS}, num_attention_heads: {HEADS},
        intermediate_size: {INTERMEDIATE}, max_position_embeddings: {LENGTH}, hidden_dropout_prob: 0,
        attention_probs_dropout_prob: 0, {MODELS[architecture][1]}}}
data: {{train: {data}, sequence_length: {LENGTH}}}
optimizer: {{learning_rate: 0.003}}
schedule: {{shape: constant}}
training: {{steps: {BEFORE + 1}, global_batch_size: {ROWS}, precision: fp32, log_every: {BEFORE}, seed: {SEED}}}
checkpoint: {{every: {BEFORE}}}
telemetry: {{attention_statistics_every: 1, gate_statistics_every: {BEFORE}, statistics_sequences: {LOOKED_AT}}}
runtime: {{threads: 1}}
"""


SEEN = []  # a layer's module, query / sqrt(D), key and value, in the order of the layers


def capture(module, query, key, value, attention_mask, **others):
    SEEN.append((module, query * others["scaling"], key, value))  # OPT's is 1: its queries are scaled already
    return exported_model.attention(module, query, key, value, attention_mask, **others)


def attention_of(layer, visible):
    """Scores and p' (B, H, R + T, R + T), p' of the sink token and share of the sink's logit (B, H, R + T)."""
    module, query, key, value = layer
    parts = module.parts
    seen, columns = visible, key
    if parts.sink_key is not None:
        columns = torch.cat([parts.sink_key[None, :, None].expand(len(key), -1, -1, -1), key], dim=2)
        seen = torch.nn.functional.pad(visible, (1, 0), value=True)
    scores = (query @ columns.transpose(-1, -2)).masked_fill(~seen, -torch.inf)
    p = parts.probabilities(scores)
    on_logit = 1 - p.sum(-1)
    if parts.sink_key is None:
        return scores, p, None, on_logit
    return scores[..., 1:], p[..., 1:], p[..., 0], on_logit


def statistics(layer, visible, registers, special, settings):
    """{name: (H)} after docs/metrics.md; special (B, T) says which tokens are."""
    scores, p, on_token, on_logit = attention_of(layer, visible)
    _, _, _, value = layer
    entropy = -torch.special.xlogy(p, p).sum(-1)
    if on_token is not None:
        entropy = entropy - torch.special.xlogy(on_token, on_token)
        on_token = on_token[:, :, registers:]
    tokens = visible.expand(len(p), 1, *visible.shape[2:])[:, 0, registers:, registers:]  # (B, T, T)
    scores, on_registers = scores[:, :, registers:, registers:], p[:, :, registers:, :registers].sum(-1)
    p, entropy, on_logit = p[:, :, registers:, registers:], entropy[:, :, registers:], on_logit[:, :, registers:]
    count = tokens.sum(-1)
    query = count >= 2  # (B, T): sees a token besides itself
    of_first = query & tokens[:, :, 0]
    mean = lambda x, where: torch.stack([x[:, h][where].mean() for h in range(HEADS)])
    masked = torch.where(tokens[:, None], scores, 0)
    delta = masked[..., 0] - masked[..., 1:].sum(-1) / (count - tokens[:, :, 0].long())[:, None].clamp(min=1)
    columns = (p * query[:, None, :, None]).sum(2)  # (B, H, T)
    norms = value[:, :, registers:].norm(dim=-1)
    ratio = lambda x: x[:, :, 0].mean(0) / x[:, :, 1:].mean((0, 2))
    found = {
        "mass_on_first": mean(p[..., 0], of_first),
        "mass_on_special": mean((p * special[:, None, None]).sum(-1), query),
        "mass_on_strongest": columns.max(-1).values.sum(0) / query.sum(),
        "delta_logit": mean(delta, of_first),
        "entropy": mean(entropy, query),
        "value_norm_ratio": ratio(norms),
    }
    variant = settings["variant"]
    if registers:
        found["mass_on_registers"] = mean(on_registers, query)
    if on_token is not None:
        found["mass_on_sink_token"] = mean(on_token, query)
    if variant == "softmax_plus_one" or (variant == "learnable_sink" and on_token is None):
        found["mass_on_sink_logit"] = mean(on_logit, query)
    if variant == "gated" and settings["gate"]["site"] == "key":
        gated = layer[0].parts.value(layer[0].hidden, value)
        found["gated_value_norm_ratio"] = ratio(gated[:, :, registers:].norm(dim=-1))
    return found


def gate_statistics(layer):
    module, _, _, value = layer
    g = torch.sigmoid(value.transpose(1, 2).flatten(2) @ module.gate.weight.T + getattr(module.gate, "bias", 0)).flatten(0, 1)
    entropy = -torch.special.xlogy(g, g) - torch.special.xlogy(1 - g, 1 - g)
    share = lambda where: where.double().mean(0)
    return {"mean": g.mean(0), "variance": g.var(0, unbiased=False), "entropy": entropy.mean(0),
            "share_below": share(g < 0.05), "share_above": share(g > 0.95)}


class Comparison:
    def __init__(self):
        self.worst, self.compared = 0, 0

    def add(self, what, got, expected):
        share = (torch.tensor(got, dtype=torch.float64) - expected).abs() / (1e-2 + expected.abs()) / TOLERANCE
        self.worst, self.compared = max(self.worst, float(share.max())), self.compared + 1
        if not float(share.max()) <= 1:
            raise SystemExit(f"{what}: {got}, expected {expected.tolist()}: {float(share.max()):.3g} times the tolerance")


def record_of(run, event):
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["event"] == event and record["step"] == BEFORE + 1:
            return record
    raise SystemExit(f"{run} has no record {event} of update {BEFORE + 1}")


def special_ids(data, architecture, tokens):
    names = ["[CLS]", "[SEP]", "[MASK]"] if architecture == "bert" else ["</s>"]
    folder = data.parent / "vocabulary"
    if architecture == "bert":
        pieces = (folder / "vocab.txt").read_text().splitlines()
        ids = [pieces.index(name) for name in names]
    else:
        ids = [json.loads((folder / "vocab.json").read_text())[name] for name in names]
    special = torch.zeros_like(tokens, dtype=torch.bool)
    for number in ids:
        special |= tokens == number
    assert special.any()
    return special


def compare_with_transformers(exported, tokens, layers, visible, kind, comparison):
    model = kind.auto_class.from_pretrained(exported, attn_implementation="eager", dtype=torch.float64).eval()
    with torch.no_grad():
        attentions = model(input_ids=tokens, output_attentions=True).attentions
    for layer, theirs in zip(layers, attentions, strict=True):
        difference = (attention_of(layer, visible)[1] - theirs).abs().max()
        assert float(difference) < 2.0**-22, difference  # OPT's softmax is in fp32 whatever the model is in
    comparison.compared += len(attentions)


def check(case, programs, architecture, data, folder):
    run, exported = folder / case, folder / (case + "_exported")
    documents = "data.attention_across_documents=false" in CASES[case]
    programs.sluice("train", folder / "config.yaml", "--run-folder", run, *CASES[case])
    programs.sluice("export-hf", run / "checkpoints" / f"step_{BEFORE:08}", exported)
    programs.step("batches", data, folder / "batch.safetensors", "--rows", ROWS, "--length", LENGTH, "--count", 1, "--first",
                  BEFORE * ROWS, "--training-seed", SEED, *(["--causal"] if architecture == "opt" else []),
                  *(["--documents"] if documents else []))
    batch = {name: tensor[0] for name, tensor in load_file(folder / "batch.safetensors").items()}
    model, _ = exported_model.load(exported, torch.float64)
    SEEN.clear()
    with torch.no_grad():
        exported_model.loss_of(model, batch["tokens"], batch["labels"], batch.get("documents"))
    settings = json.loads((exported / "config.json").read_text())["sluice"]["attention"]
    special = special_ids(data, architecture, batch["tokens"])[:LOOKED_AT]
    attention, comparison = record_of(run, "attention"), Comparison()
    visible = model.visible[:LOOKED_AT]
    looked_at = [tuple(x[:LOOKED_AT] if torch.is_tensor(x) else x for x in layer) for layer in SEEN]
    with torch.no_grad():
        for number, layer in enumerate(looked_at):
            layer[0].hidden = layer[0].hidden[:LOOKED_AT]
            expected = statistics(layer, visible, model.registers, special, settings)
            names = {name.split(".")[1] for name in attention if name.startswith(f"layer_{number}.")}
            assert names == set(expected), names ^ set(expected)
            for name, values in expected.items():
                comparison.add(f"{case} layer {number} {name}", attention[f"layer_{number}.{name}"], values)
        if settings["variant"] == "gated":
            gates = record_of(run, "gates")
            for number, layer in enumerate(SEEN):
                for name, values in gate_statistics(layer).items():
                    comparison.add(f"{case} gates of layer {number} {name}", gates[f"layer_{number}.{name}"], values)
    if case == "vanilla":
        kind = exported_model.MODELS[architecture]
        compare_with_transformers(exported, batch["tokens"][:LOOKED_AT], looked_at, visible, kind, comparison)
    print(f"{architecture} {case}: {comparison.compared} agree, {100 * comparison.worst:.2g} % of the tolerance used", flush=True)


def main():
    torch.set_num_threads(1)
    text = oracle_setup.corpus("valid_wiki_1mb.txt")
    programs, architecture = oracle_setup.Programs(sys.argv[1]), sys.argv[2]
    ALL_ATTENTION_FUNCTIONS.register("sluice", capture)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        # Every paragraph a document, so that each sequence has separators.
        (folder / "paragraphs.txt").write_text("\n\n".join(line for line in text.read_text().splitlines() if line.strip()))
        data = programs.prepare(folder / "paragraphs.txt", folder, 800, MODELS[architecture][0])
        (folder / "config.yaml").write_text(config(data, architecture))
        for case in sys.argv[3:] or CASES:
            check(case, programs, architecture, data, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
