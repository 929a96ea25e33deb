#!/usr/bin/env python3
"""Loss, every gradient, and 50 AdamW steps of exported models, here and in PyTorch with transformers, on the same real batches.

PyTorch computes in double, so what differs is our rounding. Checkpoints are those of a short run, so that no weight is as it
was drawn. Batches come from the data set's own masking.

    training_step_oracle.py BUILD_FOLDER bert|opt [CASE…]
"""

import json
import pathlib
import sys
import tempfile

import oracle_setup

oracle_setup.start("torch", "transformers", "safetensors")
import exported_model
import torch
from safetensors.torch import load_file

STEPS, LEARNING_RATE, BETAS, EPS, WEIGHT_DECAY, MAX_NORM = 50, 1e-3, (0.9, 0.999), 1e-8, 0.01, 1.0
# Relative. The loss is a mean of a hundred rounded terms; Adam divides by the gradients' size, so it makes of rounding errors
# steps as large as others where gradients are nearly zero, and the curves part, slowly. With ReLU they also part in jumps: a
# unit that is seldom on has a first gradient here and none there when rounding turns it on, and Adam makes a whole step of it.
LOSS_TOLERANCE, CURVE_TOLERANCE, RELU_CURVE_TOLERANCE = 1e-6, 1e-5, 1e-3
ROUNDOFF = 2.0**-24  # of a float
# A gradient's relative error in the 2-norm. Each of the `products` matrix products between loss and weight, forward and
# backward, adds errors of about sqrt(terms) roundings of its largest sum, which are independent of each other: they add up as
# squares. 4: activations, LayerNorm and softmax between the products, and their conditioning.
HIDDEN, LAYERS, HEADS, INTERMEDIATE, LENGTH, ROWS = 64, 2, 4, 128, 64, 4
PRODUCTS, TERMS = 2 * (6 * LAYERS + 2), max(INTERMEDIATE, LENGTH * ROWS)
GRADIENT_TOLERANCE = 4 * (PRODUCTS * TERMS) ** 0.5 * ROUNDOFF

REGISTERS, DOCUMENTS = "model.attention.register_tokens=3", "data.attention_across_documents=false"


def variant(name, **keys):
    """Overrides that choose model.attention.variant and set keys below model.attention."""
    return [f"model.attention.variant={name}"] + [f"model.attention.{key.replace('__', '.')}={value}" for key, value in keys.items()]


def gate(source, site, bias="false", **keys):
    return variant("gated", gate__source=source, gate__site=site, gate__bias=bias,
                   **{f"gate__{key}": value for key, value in keys.items()})


GATES = {f"{name}_{site}": (source, site) for name, source in (("vga", "value"), ("iga", "input")) for site in ("query", "key")}
CASES = (
    {"vanilla": variant("vanilla"), "gelu_tanh": ["model.hidden_act=gelu_tanh"]}
    | {f"{name}{'_bias' if bias == 'true' else ''}": gate(*which, bias) for name, which in GATES.items() for bias in ("false", "true")}
    | {f"{name}_slice": gate(*which, "true", per_head_slice="true") for name, which in GATES.items()}
    | {f"{name}_channel": gate(*which, "true", granularity="channel") for name, which in GATES.items()}
    | {f"{name}_channel_slice": gate(*which, granularity="channel", per_head_slice="true") for name, which in GATES.items()}
    | {
        "mlp_query": variant("gated", gate__source="input", gate__predictor="mlp", gate__predictor_hidden_size=4),
        "mlp_key": variant("gated", gate__site="key", gate__predictor="mlp"),
        "free_scalar": variant("gated", gate__predictor="free_scalar"),
        "free_scalar_key": variant("gated", gate__predictor="free_scalar", gate__site="key", gate__initial_probability=0.9,
                                   gate__scale="one_at_start"),
        "temperature": variant("gated", gate__temperature=0.5),
        "temperature_channel": variant("gated", gate__temperature=2, gate__granularity="channel", gate__site="key"),
        "scale": gate("value", "query", "true", initial_probability=0.25, scale="one_at_start", initializer_range=0.01),
        "first_layer": variant("gated", gate__layers="[0]"),
        "last_layer_mlp": variant("gated", gate__layers="[1]", gate__predictor="mlp"),
        # A row's probabilities are about 1/64: gamma below clips many of them to 0.
        "clipped_softmax": variant("clipped_softmax", clipped_softmax__gamma=-0.015, clipped_softmax__zeta=1.05),
        "clipped_softmax_alpha": variant("clipped_softmax", clipped_softmax__alpha=0.5),
        "sink_logit": variant("learnable_sink", learnable_sink="logit"),
        "sink_token": variant("learnable_sink", learnable_sink="token"),
        "softmax_plus_one": variant("softmax_plus_one"),
        "rectified": variant("relu"),
        "registers": [REGISTERS],
        "documents": [DOCUMENTS],
        "registers_documents": [REGISTERS, DOCUMENTS],
        "registers_documents_vga": [REGISTERS, DOCUMENTS, *gate("value", "query")],
        "registers_documents_rectified": [REGISTERS, DOCUMENTS, *variant("relu")],
        "registers_sink_token": [REGISTERS, *variant("learnable_sink", learnable_sink="token")],
    }
)
# The variants with GELU in OPT as well, so that the curve's bound can be tight; OPT's own ReLU once.
OPT_CASES = CASES | {"relu": ["model.hidden_act=relu"], "projected": ["model.word_embed_proj_dim=24"]}
MODELS = {"bert": ("wordpiece", CASES, "hidden_act: gelu_erf"), "opt": ("bpe", OPT_CASES, "hidden_act: gelu_erf, layer_norm_eps: 1.0e-5")}
# Of the tensors, those that transformers has no place for.
OWN = (".gate.", ".sink.", ".register_embeddings.", ".embed_registers.")


def write_config(path, data, architecture):
    path.write_text(f"""
model: {{architecture: {architecture}, hidden_size: {HIDDEN}, num_hidden_layers: {LAYERS}, num_attention_heads: {HEADS},
        intermediate_size: {INTERMEDIATE}, max_position_embeddings: {LENGTH}, {MODELS[architecture][2]}}}
data: {{train: {data}, sequence_length: {LENGTH}}}
optimizer: {{learning_rate: {LEARNING_RATE}, beta1: {BETAS[0]}, beta2: {BETAS[1]}, eps: {EPS}, weight_decay: {WEIGHT_DECAY},
            max_grad_norm: {MAX_NORM}}}
schedule: {{shape: constant}}
training: {{steps: 20, global_batch_size: 8, precision: fp32, log_every: 20}}
runtime: {{threads: 1}}
""")


def make_optimizer(model):
    decays = lambda name: "bias" not in name and "LayerNorm.weight" not in name
    groups = [{"params": [p for n, p in model.named_parameters() if decays(n) == decay], "weight_decay": WEIGHT_DECAY * decay}
              for decay in (True, False)]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=EPS)


def train(model, batches):
    """Losses of all steps, and the gradients of the first, by name."""
    optimizer, losses, gradients = make_optimizer(model), [], None
    for step in range(STEPS):
        index = step % batches["tokens"].shape[0]
        optimizer.zero_grad()
        loss = exported_model.loss_of(model, **{name: tensor[index] for name, tensor in batches.items()})
        loss.backward()
        losses.append(loss.item())
        if gradients is None:
            gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
    return torch.tensor(losses, dtype=torch.float64), gradients


def compare(ours, losses, gradients, curve_tolerance):
    """Shares of the tolerances that were used: of the first loss, the worst gradient, the curve. At most 1 is agreement."""
    names = {name.removeprefix("gradient/") for name in ours if name.startswith("gradient/")}
    assert names == set(gradients), names ^ set(gradients)
    errors = {}
    for name, expected in gradients.items():
        got = ours["gradient/" + name].double()
        # A bias is one more column of its weight's product, [dW db] = dY^T [X 1], and is judged by the norm of both: a key's
        # bias moves all scores of a query alike, so its own gradient is zero but for rounding.
        weight = gradients.get(name.removesuffix(".bias") + ".weight")
        norm = float(expected.norm()) if weight is None or weight is expected else float(torch.hypot(expected.norm(), weight.norm()))
        assert bool(torch.isfinite(got).all()) and norm > 0, name
        errors[name] = float((got - expected).norm()) / norm / GRADIENT_TOLERANCE
    curve = ((ours["losses"].double() - losses) / losses).abs()
    worst = max(errors, key=errors.get)
    return {"loss": float(curve[0]) / LOSS_TOLERANCE, f"gradient of {worst}": errors[worst],
            "curve": float(curve.max()) / curve_tolerance}


def check(case, overrides, programs, folder):
    run, exported, out = folder / case, folder / (case + "_exported"), folder / (case + "_step.safetensors")
    batches = folder / ("documents.safetensors" if DOCUMENTS in overrides else "batches.safetensors")
    programs.sluice("train", folder / "config.yaml", "--run-folder", run, *overrides)
    report = json.loads(programs.sluice("export-hf", run, exported, "--json"))
    programs.step("run", run / "checkpoints" / "step_00000020", batches, out, "--steps", STEPS, "--learning-rate", LEARNING_RATE)
    model, info = exported_model.load(exported, torch.float64)
    own = {name for name in load_file(exported / "model.safetensors") if any(part in name for part in OWN)}
    assert not info["missing_keys"] and not info["mismatched_keys"], info
    assert own == set(info["unexpected_keys"]) == set(report["own_parameters"]), (info, report)
    losses, gradients = train(model, load_file(batches))
    # In the feed-forward part, in the gates' perceptron, or in the place of the softmax, where a score is on or off.
    has_relu = model.config.to_dict().get("activation_function") == "relu" or any(
        key.endswith(("predictor=mlp", "attention.variant=relu")) for key in overrides)
    shares = compare(load_file(out), losses, gradients, RELU_CURVE_TOLERANCE if has_relu else CURVE_TOLERANCE)
    good = all(share <= 1 for share in shares.values())
    print(f"{case}: {'agrees' if good else 'DIFFERS'}, loss {losses[0]:.4f} to {losses[-1]:.4f}, own tensors {len(own)}; of the "
          "tolerance used: " + ", ".join(f"{what} {100 * share:.2g} %" for what, share in shares.items()), flush=True)
    return good


def main():
    torch.set_num_threads(1)
    text = oracle_setup.corpus("valid_wiki_1mb.txt")
    programs, architecture = oracle_setup.Programs(sys.argv[1]), sys.argv[2]
    tokenizer, known, _ = MODELS[architecture]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data = programs.prepare(text, folder, 800, tokenizer)
        write_config(folder / "config.yaml", data, architecture)
        causal = ["--causal"] if architecture == "opt" else []
        for file, options in (("batches", []), ("documents", ["--documents"])):
            programs.step("batches", data, folder / f"{file}.safetensors", "--rows", ROWS, "--length", LENGTH, "--count", 4,
                          *causal, *options)
        cases = sys.argv[3:] or list(known)
        failed = [case for case in cases if not check(case, known[case], programs, folder)]
    print(f"{architecture}: {len(cases) - len(failed)} of {len(cases)} agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
