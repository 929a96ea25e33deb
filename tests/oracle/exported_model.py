"""An exported model in PyTorch, with what transformers lacks put in: the attention variants, a small function each.

A variant's function gets an attention module of transformers, the settings under the key `sluice` of config.json, and the
module's own tensors of the export by their last names ("gate.weight"). It adds their parameters to the module, under those
names, and returns what it does otherwise than softmax attention, as Parts.
"""

import dataclasses
import json
import pathlib
from typing import Callable

import torch
import transformers
from safetensors.torch import load_file
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


@dataclasses.dataclass
class Parts:
    """Attention in three parts; hidden (B, T, C) is the module's input; query, key, value and output are (B, H, T, D)."""

    value: Callable = lambda hidden, value: value
    probabilities: Callable = lambda scores: torch.softmax(scores, dim=-1)  # scores (B, H, T, T), masked with -inf or very low
    output: Callable = lambda hidden, value, output: output


def vanilla(module, settings, tensors):
    return Parts()


def gated(module, settings, tensors):
    """sigma(source W^T + b), one gate a head: on the output of its own position (query site), or on the value (key site)."""
    heads, width = tensors["gate.weight"].shape
    module.gate = torch.nn.Linear(width, heads, bias="gate.bias" in tensors)
    settings = settings["gate"]

    def gate(hidden, value):
        source = value.transpose(1, 2).flatten(2) if settings["source"] == "value" else hidden
        return torch.sigmoid(module.gate(source)).transpose(1, 2).unsqueeze(-1)

    if settings["site"] == "query":
        return Parts(output=lambda hidden, value, output: output * gate(hidden, value))
    return Parts(value=lambda hidden, value: value * gate(hidden, value))


VARIANTS = {"vanilla": vanilla, "gated": gated}


def attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, **_):
    assert not dropout
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    parts, hidden = module.parts, module.hidden
    output = parts.probabilities(scores) @ parts.value(hidden, value)
    return parts.output(hidden, value, output).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register("sluice", attention)
ALL_MASK_ATTENTION_FUNCTIONS.register("sluice", ALL_MASK_ATTENTION_FUNCTIONS["eager"])


def remember_hidden(module, arguments, keywords):
    module.hidden = arguments[0] if arguments else keywords["hidden_states"]


# Of each model_type: how the class is found, and where its attention modules are.
MODELS = {
    "bert": (
        transformers.AutoModelForMaskedLM,
        lambda model: {f"bert.encoder.layer.{n}.attention.self.": layer.attention.self
                       for n, layer in enumerate(model.bert.encoder.layer)},
    ),
}


def load(folder, dtype):
    """The model in `dtype` without dropout, and what transformers said of the files: missing and unexpected keys."""
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    auto_class, attention_modules = MODELS[config["model_type"]]
    model, info = auto_class.from_pretrained(folder, attn_implementation="sluice", dtype=torch.float32, output_loading_info=True)
    weights = load_file(folder / "model.safetensors")
    for prefix, module in attention_modules(model).items():
        tensors = {name[len(prefix):]: tensor for name, tensor in weights.items() if name.startswith(prefix)}
        module.parts = VARIANTS[config["sluice"]["attention"]["variant"]](module, config["sluice"]["attention"], tensors)
        module.register_forward_pre_hook(remember_hidden, with_kwargs=True)
    state = model.state_dict()
    with torch.no_grad():
        for name in info["unexpected_keys"]:
            state[name].copy_(weights[name])
    # transformers gives the embedding of [PAD] no gradient; padding is never a token here, so it may have one.
    model.get_input_embeddings().padding_idx = None
    return model.to(dtype).eval(), info


def loss_of(model, tokens, labels):
    """The mean over targets, in nats; labels are -100 where nothing is asked."""
    logits = model(input_ids=tokens).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
