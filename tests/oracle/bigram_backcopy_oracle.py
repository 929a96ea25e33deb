#!/usr/bin/env python3
"""Sink, drain and risks of Bigram-Backcopy models as `sluice evaluate` prints them, against NumPy in double: the table from its
formula, the decoder from its weights, every figure from its definition (docs/bigram_backcopy.md).

    bigram_backcopy_oracle.py BUILD_FOLDER [CASE…]
"""

import json
import pathlib
import sys
import tempfile

import oracle_setup

oracle_setup.start("numpy", "safetensors")
import numpy as np
from safetensors.numpy import load_file

LAYERS, HEADS, HIDDEN, INTERMEDIATE, LENGTH, SEQUENCES, TOKENS, TRIGGERS = 2, 2, 32, 64, 48, 24, 64, 3
# Scores are off by the roundings of the matrix products before them (training_step_oracle.py); probabilities, norms, gates and
# losses by the same share. Of sizes below 1 the same number is taken as it is.
TOLERANCE = 4 * (6 * LAYERS * max(INTERMEDIATE, LENGTH)) ** 0.5 * 2.0**-24
GATED = ["model.attention.variant=gated"]
CASES = {
    "vanilla": [],
    "vga": [*GATED, "model.attention.gate.source=value"],
    "iga": [*GATED, "model.attention.gate.source=input"],
    "vga_key": [*GATED, "model.attention.gate.source=value", "model.attention.gate.site=key"],
    "relu": ["model.attention.variant=relu"],
}
CONFIG = f"""
model: {{architecture: bigram_backcopy, vocab_size: {TOKENS + 1}, hidden_size: {HIDDEN}, num_hidden_layers: {LAYERS}, num_attention_heads: {HEADS},
        intermediate_size: {INTERMEDIATE}, max_position_embeddings: {LENGTH}, hidden_act: relu, layer_norm_eps: 1.0e-5, hidden_dropout_prob: 0,
        attention_probs_dropout_prob: 0}}
data: {{source: bigram_backcopy, sequence_length: {LENGTH}, validation_sequences: {SEQUENCES}}}
optimizer: {{learning_rate: 0.005}}
schedule: {{shape: constant}}
training: {{steps: 200, global_batch_size: 16, precision: fp32, log_every: 200}}
runtime: {{threads: 1}}
"""


def table():
    """(marginal, rows): m_j ∝ (j + 4)^-1.4; w_ij = m_j (-ln u_ij)^2.5, u of SplitMix64 with state 7, and triggers of at most 0.9."""
    marginal = (np.arange(TOKENS) + 4.0) ** -1.4
    marginal /= marginal.sum()
    state, mask, u = 7, 2**64 - 1, []
    for _ in range(TOKENS * TOKENS):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        u.append((((z ^ (z >> 31)) >> 11) + 0.5) / 2.0**53)
    rows = marginal * (-np.log(np.array(u).reshape(TOKENS, TOKENS))) ** 2.5
    rows /= rows.sum(1, keepdims=True)
    of_triggers = rows[:, :TRIGGERS].sum(1)
    for row, q in zip(rows, of_triggers):
        if q > 0.9:
            row[:TRIGGERS] *= 0.9 / q
            row[TRIGGERS:] *= 0.1 / (1 - q)
    return marginal, rows


def layer_norm(x, weights, name):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weights[name + ".weight"] + weights[name + ".bias"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Decoder:
    def __init__(self, weights, case):
        self.weights, self.case = weights, case

    def attend(self, name, x):
        """What attention adds, and what is looked at: scores, P (B, H, T, T), values (B, T, C), gates (B, T, H) or None."""
        B, T, C = x.shape
        split = lambda y: y.reshape(B, T, HEADS, C // HEADS).transpose(0, 2, 1, 3)
        q, k, v = (x @ self.weights[f"{name}.{part}.weight"].T for part in ("query", "key", "value"))
        scores = split(q) @ split(k).transpose(0, 1, 3, 2) / np.sqrt(C // HEADS)
        seen = np.tril(np.ones((T, T), bool))
        if self.case == "relu":
            p = np.where(seen, np.maximum(scores, 0), 0) / np.arange(1, T + 1)[:, None]
        else:
            e = np.where(seen, np.exp(scores - np.where(seen, scores, -np.inf).max(-1, keepdims=True)), 0)
            p = e / e.sum(-1, keepdims=True)
        gates, values = None, split(v)
        if self.case not in ("vanilla", "relu"):
            gates = sigmoid((x if self.case == "iga" else v) @ self.weights[name + ".gate.weight"].T)
        by_head = None if gates is None else gates.transpose(0, 2, 1)[..., None]
        if self.case == "vga_key":
            values = values * by_head
        context = p @ values
        if self.case in ("vga", "iga"):
            context = context * by_head
        return context.transpose(0, 2, 1, 3).reshape(B, T, C) @ self.weights[name + ".output.weight"].T, (scores, p, v, gates)

    def run(self, tokens, attention=1, feed_forward=1):
        """Probabilities of the next token, and of each layer what is looked at with the stream behind it."""
        w, seen = self.weights, []
        x = w["token_embedding.weight"][tokens] + w["position_embedding.weight"][: tokens.shape[1]]
        for n in range(LAYERS):
            added, looked_at = self.attend(f"layers.{n}.attention", layer_norm(x, w, f"layers.{n}.attention_norm"))
            x = x + attention * added
            inner = np.maximum(layer_norm(x, w, f"layers.{n}.feed_forward_norm") @ w[f"layers.{n}.feed_forward.up.weight"].T, 0)
            x = x + feed_forward * (inner @ w[f"layers.{n}.feed_forward.down.weight"].T)
            seen.append((*looked_at, x))
        logits = layer_norm(x, w, "final_norm") @ w["unembedding.weight"].T
        logits -= logits.max(-1, keepdims=True)
        return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), seen


def risks(tokens, p):
    marginal, rows = table()
    trigger = tokens < TRIGGERS
    b, i = np.nonzero(trigger)
    copies = -np.log(p[b, i, tokens[b, i - 1]])
    oracle = np.zeros((TOKENS + 1, TOKENS + 1))  # of <s> the unigrams, as published; it never comes again
    oracle[:TOKENS, :TOKENS], oracle[TOKENS, :TOKENS] = rows, marginal
    asked = oracle[tokens]
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(asked > 0, asked * np.log(asked), 0).sum(-1)
        excess = np.where(asked > 0, asked * (np.log(asked) - np.log(p)), 0).sum(-1)
    guo = excess[~trigger].mean()
    return {"backcopy_risk": copies.mean(), "bigram_risk": excess[:, 1:][~trigger[:, 1:]].mean(), "bigram_risk_guo": guo,
            "bigram_cross_entropy_guo": guo + entropy[~trigger].mean()}


def sinks(tokens, looked_at, output):
    """Of one layer: means over sequences, heads and positions at once, as the definitions say them."""
    scores, p, values, gates, stream = looked_at
    B, T = tokens.shape
    trigger, first = tokens < TRIGGERS, np.arange(T)[None, :].repeat(B, 0) == 0
    queries, triggers = ~trigger & ~first, trigger
    of = lambda x, where: x[np.broadcast_to(where[:, None], x.shape)].mean()  # x (B, H, T)
    entropy = -(np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0)).sum(-1)
    previous = np.concatenate([np.zeros(p.shape[:2] + (1,)), np.diagonal(p, -1, 2, 3)], -1)
    reached = np.tril(np.ones((T, T)))
    mean_of = lambda mask: (scores * mask).sum(-1) / np.maximum(mask.sum(-1), 1)
    behind_start = reached * (np.arange(T) > 0)
    by_token, by_type = scores[..., 0] - mean_of(behind_start), scores[..., 0] - mean_of(behind_start * (1 - np.eye(T)))
    late = np.arange(T)[None, :].repeat(B, 0) >= 2
    types = {t: of(by_type, (tokens == t) & late) for t in range(TOKENS) if ((tokens == t) & late).any()}
    others = [value for t, value in types.items() if t >= TRIGGERS]
    norms = np.linalg.norm(values @ output.T, axis=-1)
    residual = np.linalg.norm(stream, axis=-1)
    figures = {
        "attention_to_start": of(p[..., 0], queries), "attention_to_start_guo": of(p[..., 0], ~trigger),
        "attention_to_triggers": of((p * trigger[:, None, None, :]).sum(-1), queries), "attention_entropy": of(entropy, queries),
        "attention_to_previous": of(previous, triggers), "delta_logit_type": np.mean(others),
        "delta_logit_type_p10": np.quantile(others, 0.1), "delta_logit_type_p90": np.quantile(others, 0.9),
        "delta_logit_type_trigger": np.mean([value for t, value in types.items() if t < TRIGGERS]),
        "delta_logit_token": of(by_token, queries), "delta_logit_token_trigger": of(by_token, triggers),
        "value_norm_start": np.linalg.norm(values[:, 0], axis=-1).mean(), "output_value_norm_start": norms[:, 0].mean(),
        "value_ratio": norms[:, 0].mean() / norms[queries].mean(), "residual_norm_start": residual[:, 0].mean(),
        "residual_norm_others": residual[:, 1:].mean(), "residual_gap": residual[:, 0].mean() - residual[:, 1:].mean(),
    }
    if gates is not None:
        figures |= {"gate_non_trigger": gates[queries].mean(), "gate_trigger": gates[triggers].mean(), "gate_start": gates[:, 0].mean()}
    return figures


def expected(case, weights, tokens):
    decoder = Decoder(weights, case)
    p, seen = decoder.run(tokens)
    figures = risks(tokens, p)
    for prefix, parts in (("no_attention.", {"attention": 0}), ("no_feed_forward.", {"feed_forward": 0})):
        figures |= {prefix + name: value for name, value in risks(tokens, decoder.run(tokens, **parts)[0]).items()}
    for n, looked_at in enumerate(seen):
        of_layer = sinks(tokens, looked_at, weights[f"layers.{n}.attention.output.weight"])
        if case == "vga_key":
            gated = looked_at[2][:, 0] * looked_at[3][:, 0].repeat(HIDDEN // HEADS, -1)
            of_layer["gated_value_norm_start"] = np.linalg.norm(gated, axis=-1).mean()
        figures |= {f"layer_{n}.{name}": value for name, value in of_layer.items()}
    return figures


def check(programs, folder, case):
    run, config = folder / case, folder / "config.yaml"
    config.write_text(CONFIG)
    programs.sluice("train", config, *CASES[case], "--run-folder", run)
    got = json.loads(programs.sluice("evaluate", run, "--batch-size", 7, "--no-outliers", "--json"))["bigram_backcopy"]
    (checkpoint,) = (run / "checkpoints").glob("step_*")
    programs.step("training-batches", config, folder / "batches.safetensors", "--validation", "--rows", SEQUENCES, "--count", 1)
    programs.step("run", checkpoint, folder / "batches.safetensors", folder / "weights.safetensors", "--steps", 0)
    weights = {name.removeprefix("weight/"): value.astype(np.float64)
               for name, value in load_file(folder / "weights.safetensors").items() if name.startswith("weight/")}
    wanted = expected(case, weights, load_file(folder / "batches.safetensors")["tokens"][0])
    good = wanted.keys() == got.keys()
    if not good:
        print(f"{case}: other names: {sorted(wanted.keys() ^ got.keys())}")
    used = {name: abs(got[name] - value) / (TOLERANCE * max(1, abs(value))) for name, value in wanted.items() if name in got}
    worst = max(used, key=used.get)
    print(f"{case}: {len(used)} figures, up to {100 * used[worst]:.2g} % of the tolerance {TOLERANCE:.1g} used, by {worst}: {got[worst]:.6g}; "
          f"attention to <s> {got['layer_1.attention_to_start']:.3f}, backcopy risk {got['backcopy_risk']:.3f}", flush=True)
    for name in (name for name, share in used.items() if not share <= 1):
        print(f"  {name}: {got[name]}, by hand {wanted[name]}")
    return good and all(share <= 1 for share in used.values())


def main():
    marginal, rows = table()
    # The published golden values of the table.
    assert np.allclose(marginal[:4], [0.136992, 0.100236, 0.077655, 0.062581], atol=5e-7)
    assert np.allclose(rows[5, :4], [0.28094016911, 0.01240660450, 0.01458208897, 0.01212338479], rtol=1e-9)
    programs = oracle_setup.Programs(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        good = [check(programs, pathlib.Path(name), case) for case in sys.argv[2:] or CASES]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
