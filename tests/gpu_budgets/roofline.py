"""Predicts the time of a training step on GPUs from counts, and writes docs/gpu_roofline.md. No GPU is asked.

    python3 tests/gpu_budgets/roofline.py            compares the page with what would be written now
    python3 tests/gpu_budgets/roofline.py --write    writes it

An op takes as long as the busiest of three things: memory, tensor cores, the issue of instructions. What it needs of each is
its floor (op_costs.py) times what the emulator measured over the floor (profile_counts.json); how much of a GPU's peak can
be had is assumed, and said in the page.
"""

import argparse
import json
import math
import os
import sys
from dataclasses import dataclass

import op_costs
import roofline_page

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PAGE = "docs/gpu_roofline.md"
TOKENS = 32768  # of a micro-batch, which is a step
TILE = 64  # queries and keys of a tile of attention
MMA_FLOPS = 16 * 8 * 16 * 2
# Counters of profile_counts.json -> cycles of a multiprocessor's quarter that one warp instruction takes of its unit: all
# issue one a cycle; integer multiplications have 16 lanes and special functions 4 (CUDA C++ Programming Guide, throughput of
# arithmetic instructions, compute capabilities 8.0 and 9.0).
CYCLES = {"instructions": 1, "multiplications": 2, "special": 8}


@dataclass(frozen=True)
class Processor:
    """Published peaks, and the shares of them that are assumed."""

    name: str
    flops: float  # bf16, dense
    bandwidth: float  # bytes/s
    multiprocessors: int
    gemm_share: float  # of flops, in products of these sizes
    mma_share: float  # of flops, that mma.sync reaches at best
    bandwidth_share: float = 0.85
    busiest_share: float = 0.75  # how long the busiest unit of a kernel is busy

    def clock(self):
        """That the published peak is computed from: 1024 multiply-adds a cycle and multiprocessor on A100, 2048 on H100."""
        return self.flops / (self.multiprocessors * 2 * (1024 if self.mma_share == 1 else 2048))


PROCESSORS = (Processor("A100 SXM 80 GB", 312e12, 2039e9, 108, 0.75, 1.0), Processor("H100 SXM", 989e12, 3350e9, 132, 0.65, 0.62))


@dataclass(frozen=True)
class Model:
    """BERT-base or OPT-125m on sequences of T tokens, as configs/ has them."""

    name: str
    architecture: str
    T: int
    V: int
    positions: int
    C: int = 768
    H: int = 12
    I: int = 3072
    L: int = 12

    def bert(self):
        return self.architecture == "bert"

    def targets(self):
        return TOKENS * 15 // 100 if self.bert() else TOKENS * (self.T - 1) // self.T

    def parameters(self, gates):
        C, I = self.C, self.I
        layer = 4 * C * C + 4 * C + 2 * C * I + I + C + 4 * C + (C * self.H if gates else 0)
        embedding = (self.V + self.positions + (2 if self.bert() else 0)) * C + 2 * C
        return self.L * layer + embedding + (C * C + 3 * C + self.V if self.bert() else 0)

    def shape(self, gates):
        return {"B": TOKENS // self.T, "T": self.T, "C": self.C, "H": self.H, "I": self.I, "L": self.L, "V": self.V,
                "M": self.targets(), "parameters": self.parameters(gates)}

    def flops(self, gates):
        """Of a step: src/model/operation_count.h, times 3 for backward."""
        C, I, T, L = self.C, self.I, self.T, self.L
        attention = 4 * L * T * C if self.bert() else 2 * L * (T + 1) * C
        head = self.targets() / TOKENS * 2 * (C * self.V + (C * C if self.bert() else 0))
        gate = 2 * L * self.H * C if gates else 0
        return 3 * TOKENS * (2 * L * (4 * C * C + 2 * C * I) + attention + gate + head)


MODELS = (Model("BERT-base", "bert", 128, 30522, 512), Model("BERT-base", "bert", 512, 30522, 512),
          Model("OPT-125m", "opt", 512, 50272, 2050), Model("OPT-125m", "opt", 2048, 50272, 2050))


@dataclass
class Need:
    """What the calls of one op in a step take."""

    flops: float = 0  # of products that cuBLASLt computes
    bytes: float = 0
    cycles: dict = None  # by CYCLES, of quarters of a multiprocessor
    tensor: float = 0  # mma instructions

    def times(self, processor):
        """Seconds by what binds: the op takes the longest."""
        quarters = 4 * processor.multiprocessors * processor.clock() * processor.busiest_share
        busiest = max(self.cycles.values()) if self.cycles else 0
        # The assumed share of mma.sync is of the peak; the share of the busiest unit comes on top.
        tensor = self.tensor * MMA_FLOPS / (processor.flops * processor.mma_share * processor.busiest_share)
        return {"products": self.flops / (processor.flops * processor.gemm_share),
                "memory": self.bytes / (processor.bandwidth * processor.bandwidth_share),
                "tensor cores": tensor, "instructions": busiest / quarters}

    def seconds(self, processor):
        return max(self.times(processor).values())

    def bound(self, processor):
        times = self.times(processor)
        return max(times, key=times.get)


def tiles(shape):
    """Of 64 x 64 pairs with a visible one, of all heads."""
    count = math.ceil(shape["T"] / TILE)
    return shape["B"] * shape["H"] * (count * (count + 1) // 2 if shape["causal"] else count * count)


def extent(op, shape):
    """What instructions grow with."""
    if op in op_costs.PRODUCTS:
        return tiles(shape)
    if op == "cross_entropy":
        return shape["M"] * shape["V"]
    if op.startswith("row_"):
        return shape["M"] * shape["C"]
    if op == "activation_backward_bias":
        return shape["N"] * shape["outputs"]
    return shape["count"] if "count" in shape else shape["N"] * shape.get("C", shape.get("outputs", 0))


def two_sizes(measured, op):
    """The smaller of two measured calls of the gates' products, which differ in their tokens only; None for other ops."""
    return min((entry for entry in measured if entry["op"] == op and op.startswith("attention_gate")),
               key=lambda entry: entry["shape"]["N"], default=None)


def closest(measured, op, shape):
    """The measured call that is most like this one: the same mask, dropout, gate and activation; then the largest."""
    same = ("causal", "drops", "gate", "D", "H", "residual", "stream_goes_on", "activation")
    candidates = [entry for entry in measured if entry["op"] == op]
    return max(candidates, key=lambda entry: (sum(entry["shape"].get(key) == shape.get(key) for key in same), entry["shape"].get("N", 0)))


def partial_sums(op, shape):
    """Bytes of partial sums, written and read: what does not grow with the tokens (the Plans in kernels/cuda)."""
    if op == "layer_norm_backward":
        return min(512, math.ceil(shape["N"] / 8)) * 2 * math.ceil(shape["C"] / 256) * 256 * 4 * 2
    if op == "attention_gate_backward":
        return min(128, math.ceil(shape["N"] / 16)) * shape["H"] * shape["C"] * 4 * 2
    return 0


def bytes_of(op, shape, entry):
    floor = op_costs.floor_bytes(op, shape)
    if partial_sums(op, shape):
        # What is over the floor besides partial sums, as measured: logits' gradients between two kernels.
        rest = entry["moved"] - op_costs.floor_bytes(op, entry["shape"]) - partial_sums(op, entry["shape"])
        return floor + partial_sums(op, shape) + max(0, rest) * shape["N"] / entry["shape"]["N"]
    return floor * entry["moved"] / op_costs.floor_bytes(op, entry["shape"])


def need_of(measured, op, count, shape):
    if op == "linear_bias":
        return Need(bytes=count * op_costs.floor_bytes(op, shape), cycles={})
    if op == "logits_bias":  # written into all logits
        return Need(bytes=count * 4 * shape["M"] * shape["V"], cycles={})
    entry = closest(measured, op, shape)
    scale = extent(op, shape) / extent(op, entry["shape"])
    smaller = two_sizes(measured, op)

    def counted(name):
        if smaller is None:
            return scale * entry[name]
        # What tokens cost, and what does not grow with them.
        slope = (entry[name] - smaller[name]) / (entry["shape"]["N"] - smaller["shape"]["N"])
        return entry[name] + slope * (shape["N"] - entry["shape"]["N"])

    return Need(bytes=count * bytes_of(op, shape, entry), tensor=count * counted("tensor"),
                cycles={name: count * counted(name) * cycles for name, cycles in CYCLES.items()})


def add(needs, name, more):
    need = needs.setdefault(name, Need(cycles={}))
    need.flops += more.flops
    need.bytes += more.bytes
    need.tensor += more.tensor
    for unit, cycles in more.cycles.items():
        need.cycles[unit] = need.cycles.get(unit, 0) + cycles


def product_need(rows, inputs, outputs, count, wide=2):
    """Forward and both products of backward; wide: bytes of a value of y."""
    weights = inputs * outputs
    data = (rows * inputs + weights) * 2 + rows * outputs * wide  # y = x Wᵀ
    data += (rows * outputs + weights + rows * inputs) * 2  # dx = dy W
    data += (rows * outputs + rows * inputs) * 2 + weights * 8  # dW += dyᵀ x
    return Need(flops=count * 6 * rows * weights, bytes=count * data, cycles={})


def needs_of(model, gates, measured):
    """All of a step, by op: dict of Need."""
    shape, needs = model.shape(gates), {}
    C, M = model.C, model.targets()
    for inputs, outputs in ((C, 3 * C), (C, C), (C, model.I), (model.I, C)):
        add(needs, "products of the layers", product_need(TOKENS, inputs, outputs, model.L))
    add(needs, "products of the head", product_need(M, C, model.V, 1, wide=4))
    if model.bert():
        add(needs, "products of the head", product_need(M, C, C, 1))
    for op, count, call in op_costs.step_calls(model.architecture, gates, shape):
        call = {**call, "activation": "gelu_erf" if model.bert() else "relu"}
        if op.startswith("embedding"):
            call["distinct"] = min(TOKENS, model.V) // 2
        if op == "logits_bias":
            call["M"] = M
        add(needs, op, need_of(measured, op, count, call))
    return needs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    with open(os.path.join(HERE, "profile_counts.json"), encoding="utf-8") as file:
        measured = json.load(file)["ops"]
    predictions = [roofline_page.Prediction(model, needs_of(model, False, measured), needs_of(model, True, measured)) for model in MODELS]
    text, path = roofline_page.page(predictions, PROCESSORS, TOKENS), os.path.join(ROOT, PAGE)
    if arguments.write:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    with open(path, encoding="utf-8") as file:
        if file.read() != text:
            print(f"{PAGE} is not what tests/gpu_budgets/profile_counts.json predicts: run roofline.py with --write")
            return 1
    print(f"{PAGE} is what the counts predict")
    return 0


if __name__ == "__main__":
    sys.exit(main())
