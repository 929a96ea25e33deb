"""BERT and OPT with simulated quantization, written by hand on the weights of an export, without a look at the program's code: plain
fp32 PyTorch, one class a model. With Settings.integers, linear layers whose input and weight are quantized are products of whole
numbers instead, in NumPy.
"""

import dataclasses

import numpy as np
import torch
from torch.nn.functional import embedding, gelu, layer_norm, linear


FP32 = 32  # bits that leave everything as it is


def dequantized(scale, steps):
    """scale · steps, that remembers both."""
    value = scale * steps
    value.codes = scale, steps
    return value


def asymmetric(x, low, high, bits):
    if bits == FP32:
        return x
    low, high, codes = min(low, 0.0), max(high, 1e-8), 2**bits - 1
    step = np.float32((np.float32(high) - np.float32(low)) / np.float32(codes))
    zero = float(np.clip(np.rint(-np.float32(low) / step), 0, codes))
    scale = float(max(step, np.float32(1e-8)))
    return dequantized(scale, torch.clamp(torch.round(x / scale) + zero, 0, codes) - zero)


def symmetric(x, low, high, bits):
    if bits == FP32:
        return x
    low, high = min(low, 0.0), max(high, 1e-8)
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if low < 0 else (0, 2**bits - 1)
    scale = float(max(np.float32(max(-low, high)) / np.float32(highest), np.float32(1e-8)))
    return dequantized(scale, torch.clamp(torch.round(x / scale), lowest, highest))


def weight(w, bits, ranges):
    if bits == FP32:
        return w
    low, high = float(w.min()), float(w.max())
    if ranges == "mse":
        largest = max(abs(low), high) + 0.5
        best = None
        for c in range(1, 101):
            limit = c * largest / 100
            candidate = symmetric(w, 0.0 if low >= 0 else -limit, limit, bits)
            error = float(((w - candidate).double() ** 2).sum())
            if best is None or error < best[0]:
                best = (error, candidate)
        return best[1]
    return symmetric(w, low, high, bits)


def weight_by_rows(w, bits, ranges):
    """A range for each output of a linear layer."""
    return torch.stack([weight(row, bits, ranges) for row in w])


@dataclasses.dataclass
class Settings:
    bits: int
    weight_bits: int
    ranges: str  # of weights
    percentile: float
    context_before_gate: bool  # OPT
    integers: bool = False
    per_channel: bool = False
    symmetric: bool = False  # activations
    current: bool = False  # ranges of the last calibration batch
    gate_reads_quantized_value: bool = True
    gate_reads_input: bool = False  # IGA
    int16_norms: str = "none"  # gammas and outputs of LayerNorms: none, final, all


class Model:
    def __init__(self, tensors, heads, settings, epsilon):
        self.tensors, self.heads, self.settings, self.epsilon = tensors, heads, settings, epsilon
        self.ranges, self.calibrating, self.quantized, self.products = {}, True, {}, 0
        self.final = self.final_norm()  # the last LayerNorm and its output, as they are called below

    def q(self, name, x):
        """An activation's quantizer."""
        if self.calibrating:
            p = self.settings.percentile
            batch = (float(x.min()), float(x.max())) if p == 100 else tuple(
                float(v) for v in np.percentile(x.numpy().astype(np.float64), [100 - p, p]))
            old = None if self.settings.current else self.ranges.get(name)
            self.ranges[name] = batch if old is None else tuple(0.9 * a + 0.1 * b for a, b in zip(old, batch))
        bits = self.bits_of(name, self.settings.bits, "norm" in name or name == "e2")
        return (symmetric if self.settings.symmetric else asymmetric)(x, *self.ranges[name], bits)

    def bits_of(self, name, bits, is_norm):
        wide = {"none": False, "all": is_norm, "final": name in self.final}[self.settings.int16_norms]
        return 16 if wide else bits

    def w(self, name, linear=False):
        """A weight, quantized once."""
        if name not in self.quantized:
            quantized = weight_by_rows if linear and self.settings.per_channel else weight
            bits = self.bits_of(name, self.settings.weight_bits, "norm" in name.lower())
            self.quantized[name] = quantized(self.tensors[name + ".weight"], bits, self.settings.ranges)
        return self.quantized[name]

    def linear(self, name, x):
        weight, bias = self.w(name, linear=True), self.tensors[name + ".bias"]
        if not self.settings.integers or not hasattr(x, "codes"):
            return linear(x, weight, bias)
        (x_scale, x_steps), (scale, steps) = x.codes, weight.codes
        sums = x_steps.numpy().astype(np.int64) @ steps.numpy().astype(np.int64).T
        self.products += 1
        return torch.from_numpy((x_scale * scale) * sums.astype(np.float64)).float() + bias

    def norm(self, name, x):
        return layer_norm(x, x.shape[-1:], self.w(name), self.tensors[name + ".bias"], self.epsilon)

    def split(self, x):
        B, T, C = x.shape
        return x.view(B, T, self.heads, C // self.heads).transpose(1, 2)

    def attention(self, layer, names, x, causal):
        """The context (B, T, C) behind quantizer and gate. Scores are quantized before the mask."""
        projections = {n: self.linear(names[n], x) for n in ("query", "key", "value")}
        query, key, value = (self.q(f"{layer} {n}", projection) for n, projection in projections.items())
        T, D = x.shape[1], x.shape[2] // self.heads
        scores = self.q(f"{layer} scores", self.split(query) @ self.split(key).transpose(-1, -2) / D**0.5)
        if causal:
            scores = scores + torch.full((T, T), -torch.inf).triu(1)
        probabilities = self.q(f"{layer} probabilities", torch.softmax(scores, -1))
        context = (probabilities @ self.split(value)).transpose(1, 2).reshape(x.shape)
        if self.settings.context_before_gate:
            context = self.q(f"{layer} context", context)
        gate_weight = self.tensors.get(names["gate"] + ".weight")
        if gate_weight is not None:
            read = value if self.settings.gate_reads_quantized_value else projections["value"]
            gate = torch.sigmoid((x if self.settings.gate_reads_input else read) @ gate_weight.T + self.tensors.get(names["gate"] + ".bias", 0))
            context = context * gate.repeat_interleave(D, dim=-1)
        return context if self.settings.context_before_gate else self.q(f"{layer} context", context)


class Bert(Model):
    def layers(self):
        return sum(name.endswith("attention.self.query.weight") for name in self.tensors)

    def final_norm(self):
        last = self.layers() - 1
        return f"bert.encoder.layer.{last}.output.LayerNorm", f"{last} norm2"

    def logits(self, tokens):
        e, q = "bert.embeddings.", self.q
        x = embedding(tokens, self.w(e + "word_embeddings")) + self.w(e + "token_type_embeddings")[0]
        x = q("e0", x) + self.w(e + "position_embeddings")[: tokens.shape[1]]
        x = q("e2", self.norm(e + "LayerNorm", q("e1", x)))
        for n in range(self.layers()):
            layer = f"bert.encoder.layer.{n}."
            names = {part: layer + f"attention.self.{part}" for part in ("query", "key", "value", "gate")}
            out = q(f"{n} dense", self.linear(layer + "attention.output.dense", self.attention(n, names, x, False)))
            x = q(f"{n} norm1", self.norm(layer + "attention.output.LayerNorm", q(f"{n} sum1", x + out)))
            inner = q(f"{n} activated", gelu(self.linear(layer + "intermediate.dense", x)))
            out = q(f"{n} ffn", self.linear(layer + "output.dense", inner))
            x = q(f"{n} norm2", self.norm(layer + "output.LayerNorm", q(f"{n} sum2", x + out)))
        t, head = self.tensors, "cls.predictions."
        x = gelu(linear(x, t[head + "transform.dense.weight"], t[head + "transform.dense.bias"]))
        x = layer_norm(x, x.shape[-1:], t[head + "transform.LayerNorm.weight"], t[head + "transform.LayerNorm.bias"], self.epsilon)
        return linear(x, t[e + "word_embeddings.weight"], t[head + "bias"])


class Opt(Model):
    def final_norm(self):
        return "model.decoder.final_layer_norm", "norm"

    def logits(self, tokens):
        d, q = "model.decoder.", self.q
        x = q("e", embedding(tokens, self.w(d + "embed_tokens")) + self.w(d + "embed_positions")[2 : tokens.shape[1] + 2])
        for n in range(sum(name.endswith("self_attn.q_proj.weight") for name in self.tensors)):
            layer = f"{d}layers.{n}."
            names = {part: f"{layer}self_attn.{part[0]}_proj" for part in ("query", "key", "value")} | {"gate": layer + "self_attn.gate"}
            y = q(f"{n} norm1", self.norm(layer + "self_attn_layer_norm", x))
            x = q(f"{n} sum1", x + q(f"{n} out", self.linear(layer + "self_attn.out_proj", self.attention(n, names, y, True))))
            y = q(f"{n} norm2", self.norm(layer + "final_layer_norm", x))
            inner = q(f"{n} activated", torch.relu(self.linear(layer + "fc1", y)))
            x = q(f"{n} sum2", x + q(f"{n} ffn", self.linear(layer + "fc2", inner)))
        return linear(q("norm", self.norm(d + "final_layer_norm", x)), self.tensors[d + "embed_tokens.weight"])
