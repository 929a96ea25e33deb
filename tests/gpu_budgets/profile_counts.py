"""Reads what gpu_profile counted, and works out how far each op is from what it would do at best."""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass

import op_costs
from measured_kernels import name_and_arguments

SECTOR_BYTES = 32
# Which op of op_costs.py a kernel belongs to: by its name, else by its file.
OP_OF_KERNEL = {
    "AttentionForwardKernel": "attention_forward",
    "AttentionBackwardQueriesKernel": "attention_backward",
    "AttentionBackwardKeysKernel": "attention_backward",
    "GateForwardKernel": "attention_gate_forward",
    "GateProductKernel": "attention_gate_forward",
    "ActivationForwardKernel": "activation_forward",
    "ActivationBackwardKernel": "activation_backward",
    "SumOfSquaresKernel": "sum_of_squares",
    "SumKernel": "sum_of_squares",
    "SpreadBiasKernel": "logits_bias",
}
OP_OF_FILE = {
    "activation_bias.cu": "activation_backward_bias",
    "attention_gate_backward.cu": "attention_gate_backward",
    "layer_norm.cu": "layer_norm_forward",
    "layer_norm_backward.cu": "layer_norm_backward",
    "embedding.cu": "embedding_forward",
    "embedding_layer_norm.cu": "embedding_layer_norm",
    "embedding_backward.cu": "embedding_backward",
    "cross_entropy.cu": "cross_entropy",
    "adamw.cu": "adamw",
    "parameter_update.cu": "adamw",  # what decides it
    "sgd.cu": "sgd",
    "dropout.cu": "dropout",
    "row_gather.cu": "row_gather",  # and row_scatter
    "linear_bias.cu": "linear_bias",
}
SUMMED = ("instructions", "tensor", "multiplications", "special")


@dataclass(frozen=True)
class Measured:
    """One call of an op."""

    op: str
    shape: dict
    counts: dict  # SUMMED over its kernels; "shared", "shared_in_loops", "global": [counted, at best]; "moved": bytes

    def label(self):
        words = [f"{key}={value}" for key, value in sorted(self.shape.items())
                 if key != "B" and not isinstance(value, bool) and value != ""]
        words += [key for key, value in sorted(self.shape.items()) if value is True]
        return f"{self.op}:{','.join(words)}"

    def floor(self):
        return op_costs.floor_bytes(self.op, self.shape)

    def factors(self):
        """What budgets limit, in the order of profile_budgets.txt; None: there is nothing of it."""
        least = op_costs.least_tensor_instructions(self.op, self.shape)
        return {"conflicts": ratio(self.counts["shared"]),
                "sectors": ratio(self.counts["global"]),
                "tensor": self.counts["tensor"] / least if least else None,
                "moved": self.counts["moved"] / self.floor(),
                "requested": self.counts["global"][0] * SECTOR_BYTES / self.floor()}


def ratio(counted):
    return counted[0] / counted[1] if counted[1] else None


def sum_of(kernels):
    counts = {key: sum(kernel[key] for kernel in kernels) for key in SUMMED}
    for key in ("shared", "shared_in_loops", "global"):
        counts[key] = [sum(kernel[key][side] for kernel in kernels) for side in (0, 1)]
    counts["moved"] = SECTOR_BYTES * sum(sum(kernel["sectors"]) for kernel in kernels)
    return counts


def op_of(kernel):
    name = name_and_arguments(kernel["name"])[0]
    op = OP_OF_KERNEL.get(name) or OP_OF_FILE.get(kernel["file"])
    if op is None:
        raise RuntimeError(f"{kernel['file']}: {name} belongs to no op: add it to OP_OF_KERNEL or OP_OF_FILE")
    return op


@dataclass(frozen=True)
class Step:
    """One training step of a small model."""

    label: str  # "bert" or "opt,gated"
    moved: dict  # bytes by op
    floor: dict

    def total(self):
        return sum(self.moved.values()) / sum(self.floor.values())


def step_of(entry):
    calls = op_costs.step_calls(entry["model"], entry["gated"], entry["shape"])
    floor, times = {}, {}
    for op, count, shape in calls:
        times[op] = times.get(op, 0) + count
        # One kernel serves both.
        key = "row_gather" if op == "row_scatter" else op
        floor[key] = floor.get(key, 0) + count * op_costs.floor_bytes(op, shape)
    seen = {op.replace(" ", "_"): count for op, count in entry["calls"].items()}
    if entry["model"] == "bert":  # the product and the same kernel
        seen["activation_forward"] += seen["linear_activation_forward"]
    seen["activation_backward_bias"] = seen["linear_activation_backward"]
    for op, count in seen.items():
        if not op.startswith("linear") and op != "zero" and times.get(op, 0) != count:
            raise RuntimeError(f"a step of {entry['model']} calls {op} {count} times, and op_costs.py says {times.get(op, 0)}")
    moved = dict.fromkeys(floor, 0)
    for kernel in entry["kernels"]:
        moved[op_of(kernel)] += SECTOR_BYTES * sum(kernel["sectors"])
    return Step(entry["model"] + (",gated" if entry["gated"] else ""), moved, floor)


def measure(program):
    """Runs gpu_profile: the version of CUDA, calls of ops, and steps."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "profile.json")
        subprocess.run([program, path], check=True)
        with open(path, encoding="utf-8") as file:
            profile = json.load(file)
    ops = [Measured(entry["op"], entry["shape"], sum_of(entry["kernels"])) for entry in profile["ops"]]
    return profile["cuda"], ops, [step_of(entry) for entry in profile["steps"]]
