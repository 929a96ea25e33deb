#!/usr/bin/env python3
"""Loss, every gradient, and 50 AdamW steps of exported models, here and in PyTorch with transformers, on the same real batches.

PyTorch computes in double, so what differs is our rounding. Checkpoints are those of a short run, so that no weight is as it
was drawn. Batches come from the data set's own masking.

    training_step_oracle.py BUILD_FOLDER [VARIANT…]
"""

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
# steps as large as others where gradients are nearly zero, and the curves part, slowly.
LOSS_TOLERANCE, CURVE_TOLERANCE = 1e-6, 1e-5
ROUNDOFF = 2.0**-24  # of a float
# A gradient's relative error in the 2-norm. Each of the `products` matrix products between loss and weight, forward and
# backward, adds errors of about sqrt(terms) roundings of its largest sum, which are independent of each other: they add up as
# squares. 4: activations, LayerNorm and softmax between the products, and their conditioning.
HIDDEN, LAYERS, HEADS, INTERMEDIATE, LENGTH, ROWS = 64, 2, 4, 128, 64, 4
PRODUCTS, TERMS = 2 * (6 * LAYERS + 2), max(INTERMEDIATE, LENGTH * ROWS)
GRADIENT_TOLERANCE = 4 * (PRODUCTS * TERMS) ** 0.5 * ROUNDOFF

CASES = {"vanilla": ["model.attention.variant=vanilla"]} | {
    f"{name}_{site}{'_bias' if bias else ''}": [
        "model.attention.variant=gated", f"model.attention.gate.source={source}", f"model.attention.gate.site={site}",
        f"model.attention.gate.bias={str(bias).lower()}",
    ]
    for name, source in (("vga", "value"), ("iga", "input")) for site in ("query", "key") for bias in (False, True)
}


def write_config(path, data):
    path.write_text(f"""
model: {{hidden_size: {HIDDEN}, num_hidden_layers: {LAYERS}, num_attention_heads: {HEADS}, intermediate_size: {INTERMEDIATE},
        max_position_embeddings: {LENGTH}}}
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
        loss = exported_model.loss_of(model, batches["tokens"][index], batches["labels"][index])
        loss.backward()
        losses.append(loss.item())
        if gradients is None:
            gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
    return torch.tensor(losses, dtype=torch.float64), gradients


def compare(ours, losses, gradients):
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
            "curve": float(curve.max()) / CURVE_TOLERANCE}


def check(case, programs, folder, data):
    run, exported, out = folder / case, folder / (case + "_exported"), folder / (case + ".safetensors")
    programs.sluice("train", folder / "config.yaml", "--run-folder", run, *CASES[case])
    programs.sluice("export-hf", run, exported)
    programs.step("run", run / "checkpoints" / "step_00000020", folder / "batches.safetensors", out,
                  "--steps", STEPS, "--learning-rate", LEARNING_RATE)
    model, info = exported_model.load(exported, torch.float64)
    gates = {name for name in load_file(exported / "model.safetensors") if ".gate." in name}
    assert not info["missing_keys"] and not info["mismatched_keys"], info
    assert set(info["unexpected_keys"]) == gates, info
    assert bool(gates) == (case != "vanilla"), gates
    losses, gradients = train(model, load_file(folder / "batches.safetensors"))
    shares = compare(load_file(out), losses, gradients)
    good = all(share <= 1 for share in shares.values())
    print(f"{case}: {'agrees' if good else 'DIFFERS'}, loss {losses[0]:.4f} to {losses[-1]:.4f}; of the tolerance used: "
          + ", ".join(f"{what} {100 * share:.2g} %" for what, share in shares.items()), flush=True)
    return good


def main():
    torch.set_num_threads(1)
    text = oracle_setup.corpus("valid_wiki_1mb.txt")
    programs = oracle_setup.Programs(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data = programs.prepare(text, folder, 800)
        write_config(folder / "config.yaml", data)
        programs.step("batches", data, folder / "batches.safetensors", "--rows", ROWS, "--length", LENGTH, "--count", 4)
        cases = sys.argv[2:] or list(CASES)
        failed = [case for case in cases if not check(case, programs, folder, data)]
    print(f"{len(cases) - len(failed)} of {len(cases)} agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
