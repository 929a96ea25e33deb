#!/usr/bin/env python3
"""Writes tests/golden/bert_tiny_*.golden and opt_tiny_*.golden: one training step of a tiny BERT or
OPT in PyTorch and Hugging Face transformers, in float32, to which Sluice's models are held.

    python3 tests/golden/make_goldens.py            writes them
    python3 tests/golden/make_goldens.py --check    says whether the ones that are there still agree

Each golden holds the inputs, every weight by its Hugging Face name ("weight/NAME"), the logits at
the targets' positions, the loss (mean over the targets) and its gradient for every weight
("gradient/NAME"). Dropout is 0. BERT: one row is padded, so that masks matter, and one has two
segments. OPT: pre-LN, each token predicts the next one; its token table may be narrower than the
model and projected. The variants are the attention module's; their definition is in VARIANTS and
GatedSelfAttention, OPT_VARIANTS and GatedOptAttention.
Layout of the file: tests/support/golden_file.h. Needs torch and transformers (launch/test.sh
--oracle makes an environment that has them).
"""

import json
import os
import struct
import sys

import torch
import transformers
from transformers.models.bert import modeling_bert
from transformers.models.opt import modeling_opt

# B rows, T positions, C hidden, H heads of D, L layers, V words: docs/glossary.md.
B, T, C, H, L, V = 3, 16, 32, 2, 2, 97
LENGTHS = (16, 16, 11)  # tokens of each row; what follows is padding
MASK_ID, PAD_ID, IGNORE = 4, 0, -100
SEED = 20250917

# name: (source, site) of the gate; None: no gate.
VARIANTS = {
    "vanilla": None,
    "vga_query": ("value", "query"),
    "vga_key": ("value", "key"),
    "iga_query": ("input", "query"),
    "iga_key": ("input", "key"),
}

# name: ((source, site) of the gate or None, word_embed_proj_dim).
OPT_VARIANTS = {
    "vanilla": (None, C),
    "vga_query": (("value", "query"), C),
    "vga_key": (("value", "key"), C),
    "iga_query": (("input", "query"), C),
    "projected": (None, 12),
}


class GatedSelfAttention(modeling_bert.BertSelfAttention):
    """transformers' self-attention with one gate a head, g = sigmoid(source W^T + b).

    source value: the whole value row, all heads, bias included; input: the module's input.
    site query: O'[i,h] = g[i,h] O[i,h].  site key: O'[i,h] = sum_j P[i,j,h] g[j,h] V[j,h].
    """

    def __init__(self, config, source, site):
        super().__init__(config)
        self.source, self.site = source, site
        self.gate = torch.nn.Linear(config.hidden_size, config.num_attention_heads)

    def forward(self, hidden_states, attention_mask=None, **kwargs):
        rows, positions, _ = hidden_states.shape
        value_rows = self.value(hidden_states)  # (B, T, C)
        gate = torch.sigmoid(self.gate(value_rows if self.source == "value" else hidden_states))
        split = lambda x: x.view(rows, positions, H, C // H).transpose(1, 2)  # (B, H, T, D)
        value = split(value_rows)
        if self.site == "key":
            value = value * gate.transpose(1, 2).unsqueeze(-1)
        output, weights = modeling_bert.eager_attention_forward(
            self, split(self.query(hidden_states)), split(self.key(hidden_states)), value,
            attention_mask, scaling=self.scaling,
        )  # (B, T, H, D)
        if self.site == "query":
            output = output * gate.unsqueeze(-1)
        return output.reshape(rows, positions, C), weights


class GatedOptAttention(modeling_opt.OPTAttention):
    """The same gates in OPT's attention, which masks what comes later."""

    def __init__(self, config, layer, source, site):
        super().__init__(config, layer_idx=layer)
        self.source, self.site = source, site
        self.gate = torch.nn.Linear(config.hidden_size, config.num_attention_heads)

    def forward(self, hidden_states, **kwargs):
        rows, positions, _ = hidden_states.shape
        value_rows = self.v_proj(hidden_states)  # (B, T, C)
        gate = torch.sigmoid(self.gate(value_rows if self.source == "value" else hidden_states))
        split = lambda x: x.view(rows, positions, H, C // H).transpose(1, 2)  # (B, H, T, D)
        value = split(value_rows)
        if self.site == "key":
            value = value * gate.transpose(1, 2).unsqueeze(-1)
        scores = split(self.q_proj(hidden_states)) @ split(self.k_proj(hidden_states)).mT
        later = torch.ones(positions, positions, dtype=torch.bool).triu(1)
        probabilities = (scores * (C // H) ** -0.5).masked_fill(later, -torch.inf).softmax(-1)
        output = (probabilities @ value).transpose(1, 2)  # (B, T, H, D)
        if self.site == "query":
            output = output * gate.unsqueeze(-1)
        return self.out_proj(output.reshape(rows, positions, C)), None


def draw_weights(model):
    """Every weight from one seed, in the order of names, so that no library's initialization matters.

    Larger than at the start of a training: else the gates are all 0.5 and every score is 0."""
    generator = torch.Generator().manual_seed(SEED)
    for name, weight in sorted(model.named_parameters()):
        noise = torch.randn(weight.shape, generator=generator)
        scale = 0.5 if "gate" in name else 0.1 if weight.dim() == 1 else 0.2
        is_norm = name.endswith(("LayerNorm.weight", "layer_norm.weight"))
        with torch.no_grad():
            weight.copy_(noise * scale + (1.0 if is_norm else 0.0))
    return model.train()


def make_opt(variant):
    gate, width = OPT_VARIANTS[variant]
    config = transformers.OPTConfig(
        vocab_size=V, hidden_size=C, num_hidden_layers=L, num_attention_heads=H, ffn_dim=64,
        max_position_embeddings=32, word_embed_proj_dim=width, do_layer_norm_before=True,
        activation_function="relu", dropout=0.0, attention_dropout=0.0, layerdrop=0.0,
        attn_implementation="eager",
    )
    model = transformers.OPTForCausalLM(config)
    if gate is not None:
        for number, layer in enumerate(model.model.decoder.layers):
            layer.self_attn = GatedOptAttention(config, number, *gate)
    return draw_weights(model)


def run_opt(variant):
    """{name: tensor} of everything that the golden holds."""
    model = make_opt(variant)
    ids = torch.randint(4, V, (B, T), generator=torch.Generator().manual_seed(SEED + 2))
    output = model(input_ids=ids, labels=ids)
    output.loss.backward()
    positions = torch.arange(B * T).view(B, T)[:, :-1].flatten()
    arrays = {
        "input_ids": ids, "positions": positions, "targets": ids[:, 1:].flatten(),
        "logits": output.logits.view(B * T, V)[positions], "loss": output.loss,
    }
    return {name: tensor.detach() for name, tensor in arrays.items()} | gradients_of(model)


def gradients_of(model):
    arrays = {}
    for name, weight in model.named_parameters():  # tied weights are listed once
        assert weight.grad is not None and torch.isfinite(weight.grad).all(), name
        arrays[f"weight/{name}"] = weight
        arrays[f"gradient/{name}"] = weight.grad
    return {name: tensor.detach() for name, tensor in arrays.items()}


def make_model(variant):
    config = transformers.BertConfig(
        vocab_size=V, hidden_size=C, num_hidden_layers=L, num_attention_heads=H,
        intermediate_size=64, max_position_embeddings=32, type_vocab_size=2, hidden_act="gelu",
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, layer_norm_eps=1e-12,
        pad_token_id=PAD_ID, attn_implementation="eager",
    )
    model = transformers.BertForMaskedLM(config)
    if VARIANTS[variant] is not None:
        for layer in model.bert.encoder.layer:
            layer.attention.self = GatedSelfAttention(config, *VARIANTS[variant])
    return draw_weights(model)


def make_inputs():
    generator = torch.Generator().manual_seed(SEED + 1)
    ids = torch.randint(5, V, (B, T), generator=generator)
    segments = torch.zeros(B, T, dtype=torch.long)
    segments[1, 7:] = 1
    padding_mask = torch.arange(T)[None, :] < torch.tensor(LENGTHS)[:, None]
    ids[~padding_mask] = PAD_ID
    # Different numbers of targets in the rows: a mean of the rows' means would be another loss.
    positions = torch.tensor([1, 4, 5, 11, T + 2, T + 15, 2 * T + 0, 2 * T + 7, 2 * T + 10])
    targets = ids.flatten()[positions].clone()
    ids.view(-1)[positions[::2]] = MASK_ID
    return ids, segments, padding_mask, positions, targets


def run(variant):
    """{name: tensor} of everything that the golden holds."""
    model = make_model(variant)
    ids, segments, padding_mask, positions, targets = make_inputs()
    labels = torch.full((B * T,), IGNORE)
    labels[positions] = targets
    output = model(input_ids=ids, token_type_ids=segments, attention_mask=padding_mask.long(),
                   labels=labels.view(B, T))
    output.loss.backward()
    arrays = {
        "input_ids": ids, "token_type_ids": segments, "lengths": torch.tensor(LENGTHS),
        "masked_positions": positions, "targets": targets,
        "logits": output.logits.view(B * T, V)[positions], "loss": output.loss,
    }
    return {name: tensor.detach() for name, tensor in arrays.items()} | gradients_of(model)


def write(path, arrays, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in arrays.items():
        floating = tensor.dtype.is_floating_point
        payload = tensor.to(torch.float32 if floating else torch.int64).contiguous().numpy()
        blob = payload.astype("<f4" if floating else "<i8").tobytes()
        header[name] = {
            "dtype": "F32" if floating else "I64", "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(blob)],
        }
        data += blob
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def read(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    header.pop("__metadata__")
    kinds = {"F32": torch.float32, "I64": torch.int64}
    return {
        name: torch.frombuffer(
            bytearray(data[slice(*entry["data_offsets"])]), dtype=kinds[entry["dtype"]]
        ).reshape(entry["shape"])
        for name, entry in header.items()
    }


def difference(old, new):
    """None, or how two sets of arrays differ by more than float32 arithmetic in another order may."""
    if old.keys() != new.keys():
        return f"other names: {sorted(old.keys() ^ new.keys())}"
    for name in old:
        scale = max(float(new[name].abs().max()), 1e-2)
        if old[name].shape != new[name].shape or not torch.allclose(
            old[name].double(), new[name].double(), rtol=0, atol=1e-5 * scale
        ):
            return f"{name} differs"
    return None


def main():
    torch.set_num_threads(1)
    folder = os.path.dirname(os.path.abspath(__file__))
    metadata = {
        "made_by": "tests/golden/make_goldens.py", "seed": str(SEED),
        "torch": torch.__version__, "transformers": transformers.__version__,
        "heads": str(H), "layers": str(L),
    }
    bert = {"layer_norm_eps": "1e-12", "hidden_act": "gelu_erf"}
    opt = {"layer_norm_eps": "1e-5", "hidden_act": "relu"}
    goldens = [(f"bert_tiny_{name}", lambda name=name: run(name), gate, bert)
               for name, gate in VARIANTS.items()]
    goldens += [(f"opt_tiny_{name}", lambda name=name: run_opt(name), gate, opt)
                for name, (gate, _) in OPT_VARIANTS.items()]
    failures = 0
    for name, make, gate, model in goldens:
        path = os.path.join(folder, f"{name}.golden")
        arrays = make()
        gate_text = {"gate_source": gate[0], "gate_site": gate[1]} if gate else {}
        if "--check" in sys.argv[1:]:
            reason = difference(read(path), arrays)
            failures += reason is not None
            print(f"{os.path.basename(path)}: {reason or 'agrees'}")
        else:
            variant = {"variant": "gated" if gate else "vanilla"}
            write(path, arrays, metadata | model | variant | gate_text)
            print(f"{os.path.basename(path)}: loss {float(arrays['loss']):.6f}, "
                  f"{len(arrays)} arrays, {os.path.getsize(path)} bytes")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
