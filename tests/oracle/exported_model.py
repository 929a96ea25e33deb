"""An exported model in PyTorch, with what transformers lacks put in: attention_variants.py, registers, document masks."""

import json
import pathlib

import torch
import transformers
from safetensors.torch import load_file
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from attention_variants import VARIANTS, Own, visible


def attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, **_):
    """The mask is the model's own, `visible` (B or 1, 1, T, T), not that of transformers, which knows neither registers nor documents."""
    assert not dropout
    parts, hidden, seen = module.parts, module.hidden, module.model_of[0].visible
    used = parts.value(hidden, value)
    if parts.sink_key is not None:
        sink = lambda x: x[None, :, None].expand(len(key), -1, -1, -1)
        key, used = torch.cat([sink(parts.sink_key), key], dim=2), torch.cat([sink(parts.sink_value), used], dim=2)
        seen = torch.nn.functional.pad(seen, (1, 0), value=True)
    scores = (query @ key.transpose(-1, -2) * scaling).masked_fill(~seen, -torch.inf)
    output = parts.output(hidden, value, parts.probabilities(scores) @ used)
    return output.transpose(1, 2).contiguous(), None


transformers.utils.logging.disable_progress_bar()
ALL_ATTENTION_FUNCTIONS.register("sluice", attention)
ALL_MASK_ATTENTION_FUNCTIONS.register("sluice", ALL_MASK_ATTENTION_FUNCTIONS["eager"])


def remember_hidden(module, arguments, keywords):
    module.hidden = arguments[0] if arguments else keywords["hidden_states"]


class Bert:
    auto_class, causal = transformers.AutoModelForMaskedLM, False

    @staticmethod
    def attention_modules(model):
        return {f"bert.encoder.layer.{n}.attention.self.": layer.attention.self for n, layer in enumerate(model.bert.encoder.layer)}

    @staticmethod
    def register_place(model):
        """The owner of the register table, its name, and the module that the registers enter before."""
        return model.bert.embeddings, "register_embeddings", model.bert.embeddings.LayerNorm


class Opt:
    auto_class, causal = transformers.AutoModelForCausalLM, True

    @staticmethod
    def attention_modules(model):
        return {f"model.decoder.layers.{n}.self_attn.": layer.self_attn for n, layer in enumerate(model.model.decoder.layers)}

    @staticmethod
    def register_place(model):
        return model.model.decoder, "embed_registers", model.model.decoder.layers[0]


MODELS = {"bert": Bert, "opt": Opt}  # by model_type


def add_registers(model, kind, weights):
    """Rows of a table before each row of hidden states; they have no position."""
    owner, name, reader = kind.register_place(model)
    (table,) = (tensor for key, tensor in weights.items() if key.endswith(f".{name}.weight"))
    setattr(owner, name, Own({"weight": table}, ""))

    def prepend(module, arguments):
        registers = getattr(owner, name).weight
        return (torch.cat([registers.expand(len(arguments[0]), -1, -1), arguments[0]], dim=1), *arguments[1:])

    reader.register_forward_pre_hook(prepend)


def load(folder, dtype):
    """The model in `dtype` without dropout, and what transformers said of the files: missing and unexpected keys."""
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    kind, settings = MODELS[config["model_type"]], config["sluice"]["attention"]
    model, info = kind.auto_class.from_pretrained(folder, attn_implementation="sluice", dtype=torch.float32, output_loading_info=True)
    weights = load_file(folder / "model.safetensors")
    model.registers, model.causal = settings.get("register_tokens", 0), kind.causal
    if model.registers:
        add_registers(model, kind, weights)
    parts = []
    for prefix, module in kind.attention_modules(model).items():
        tensors = {name[len(prefix):]: tensor for name, tensor in weights.items() if name.startswith(prefix)}
        parts.append((module, tensors))
        module.model_of = [model]  # in a list: not a child
        module.register_forward_pre_hook(remember_hidden, with_kwargs=True)
    model = model.to(dtype)
    for module, tensors in parts:
        module.parts = VARIANTS[settings["variant"]](module, settings, {name: x.to(dtype) for name, x in tensors.items()})
    state = model.state_dict()
    with torch.no_grad():
        for name in info["unexpected_keys"]:
            state[name].copy_(weights[name])
    # transformers gives the embedding of [PAD] no gradient; padding is never a token here, so it may have one.
    model.get_input_embeddings().padding_idx = None
    return model.eval(), info


def loss_of(model, tokens, labels, documents=None):
    """The mean over targets, in nats; labels are -100 where nothing is asked; documents keep attention within themselves."""
    model.visible = visible(tokens.shape[1], model.registers, model.causal, documents)
    logits = model(input_ids=tokens, **({"use_cache": False} if model.causal else {})).logits[:, model.registers:]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
