"""The attention variants in PyTorch, a small function each, after docs/attention_variants.md and kernels/api/attention.h.

A variant's function gets an attention module of transformers, the settings under the key `sluice` of config.json, and the
module's own tensors of the export by their last names ("gate.weight"). It adds their parameters to the module, under those
names, and returns what it does otherwise than softmax attention, as Parts.
"""

import dataclasses
from typing import Callable

import torch


@dataclasses.dataclass
class Parts:
    """Attention in three parts; hidden (B, T, C) is the module's input; query, key, value and output are (B, H, T, D)."""

    value: Callable = lambda hidden, value: value
    # scores (B, H, T, T) are -inf where a key is not seen; what comes out is multiplied with the values
    probabilities: Callable = lambda scores: torch.softmax(scores, dim=-1)
    output: Callable = lambda hidden, value, output: output
    # a key and a value (H, D) before those of every row
    sink_key: torch.Tensor | None = None
    sink_value: torch.Tensor | None = None


class Own(torch.nn.Module):
    """Parameters under names of ours, with zeros for now."""

    def __init__(self, tensors, prefix):
        super().__init__()
        for name, tensor in tensors.items():
            if name.startswith(prefix):
                self.register_parameter(name.removeprefix(prefix), torch.nn.Parameter(torch.zeros_like(tensor)))


def vanilla(module, settings, tensors):
    return Parts()


def linear_logits(gate, settings, source):
    """(B, T, H or H D) of source (B, T, H, D)."""
    H, D = source.shape[2:]
    bias = getattr(gate, "bias", 0)
    if settings.get("per_head_slice", False):  # weight (H or H D, D): a head reads its own features
        return torch.einsum("bthe,hge->bthg", source, gate.weight.view(H, -1, D)).flatten(2) + bias
    return source.flatten(2) @ gate.weight.T + bias


def mlp_logits(gate, settings, source):
    """Of each head's own features, K hidden units a head."""
    H, D = source.shape[2:]
    hidden = torch.relu(torch.einsum("bthe,hke->bthk", source, gate.hidden.weight.view(H, -1, D)) + gate.hidden.bias.view(H, -1))
    return torch.einsum("bthk,hk->bth", hidden, gate.weight) + gate.bias


def free_logits(gate, settings, source):
    return gate.logit.expand(*source.shape[:3])


LOGITS = {"linear": linear_logits, "mlp": mlp_logits, "free_scalar": free_logits}


def gate_scale(settings):
    scale = settings.get("scale", "1")
    return 1 / (settings.get("initial_probability", 0) or 0.5) if scale == "one_at_start" else float(scale)


def gated(module, settings, tensors):
    """scale * sigma(logit / temperature) of a head or a channel, on the output of its own position (query site) or on the value
    (key site)."""
    settings = settings["gate"]
    if settings.get("layers") and not any(name.startswith("gate.") for name in tensors):
        return Parts()  # a layer without gates
    module.gate = Own({name: tensor for name, tensor in tensors.items() if not name.startswith("gate.hidden.")}, "gate.")
    if any(name.startswith("gate.hidden.") for name in tensors):
        module.gate.hidden = Own(tensors, "gate.hidden.")
    logits, scale = LOGITS[settings.get("predictor", "linear")], gate_scale(settings)
    per_channel = settings.get("granularity", "head") == "channel"

    def gate(hidden, value):
        """(B, H, T, 1 or D)"""
        B, H, T, D = value.shape
        source = value.transpose(1, 2) if settings.get("source", "value") == "value" else hidden.view(B, T, H, D)
        gates = scale * torch.sigmoid(logits(module.gate, settings, source) / settings.get("temperature", 1))
        return gates.view(B, T, H, D if per_channel else 1).transpose(1, 2)

    if settings["site"] == "query":
        return Parts(output=lambda hidden, value, output: output * gate(hidden, value))
    return Parts(value=lambda hidden, value: value * gate(hidden, value))


def clipped_softmax(module, settings, tensors):
    clip = settings["clipped_softmax"]
    gamma, zeta = clip["gamma"], clip["zeta"]

    def probabilities(scores):
        clipped = ((zeta - gamma) * torch.softmax(scores, dim=-1) + gamma).clamp(0, 1)
        return clipped * (scores > -torch.inf)

    return Parts(probabilities=probabilities)


def softmax_with_a_logit(scores, logit):
    """One more column of the scores, whose probability then belongs to no key; logit (H)."""
    column = logit.view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
    return torch.softmax(torch.cat([column, scores], dim=-1), dim=-1)[..., 1:]


def learnable_sink(module, settings, tensors):
    module.sink = Own(tensors, "sink.")
    if settings["learnable_sink"] == "logit":
        return Parts(probabilities=lambda scores: softmax_with_a_logit(scores, module.sink.logit))
    return Parts(sink_key=module.sink.key, sink_value=module.sink.value)


def softmax_plus_one(module, settings, tensors):
    return Parts(probabilities=lambda scores: softmax_with_a_logit(scores, scores.new_zeros(scores.shape[1])))


def relu(module, settings, tensors):
    def probabilities(scores):
        seen = scores > -torch.inf
        return torch.relu(scores) / seen.sum(dim=-1, keepdim=True)

    return Parts(probabilities=probabilities)


VARIANTS = {
    "vanilla": vanilla, "gated": gated, "clipped_softmax": clipped_softmax, "learnable_sink": learnable_sink,
    "softmax_plus_one": softmax_plus_one, "relu": relu,
}


def visible(length, registers, causal, documents):
    """Which key a query sees: (B or 1, 1, T, T), T = registers + length; documents (B, length) or None.

    Everybody sees the registers. Besides, without documents, they see what ordinary tokens in their place would; with
    documents nothing, since nothing may cross from one to another.
    """
    place = torch.arange(-registers, length)
    query, key = place[:, None], place[None, :]
    seen = (key <= query) if causal else torch.ones(registers + length, registers + length, dtype=torch.bool)
    seen = seen[None]
    if documents is not None:
        numbers = torch.nn.functional.pad(documents, (registers, 0), value=-1)
        seen = seen & (numbers[:, :, None] == numbers[:, None, :])
    return (seen | (key < 0))[:, None]
