"""What each CUDA op has to do at least, by its shape: bytes of global memory and tensor-core instructions.

Bytes: every operand read once and every result written once, where the result is also an operand both. Letters are those
of kernels/api: N rows (tokens), C columns, M rows that the loss looks at, V vocabulary, B, T, H, D of attention. Storage
is bf16 (2 bytes), statistics and gradients of parameters float (4). What is a constant or one number a sample (segments of
AdamW, sample indices of dropout) is left out.

Instructions: products of 16 x 16 blocks of pairs of a query and a key. A block that the mask leaves out as a whole costs
nothing, a block with any visible pair a whole one, as an mma.m16n8k16 does.
"""

import math


def attention_pairs(shape):
    return shape["B"] * shape["T"] * shape["H"] * shape["D"]


def gated(shape):
    return 4 * shape["B"] * shape["T"] * shape["H"] if shape["gate"] else 0


def rows(shape):
    return shape["N"] * shape["C"]


# op -> (bytes of a shape, the same as text).
FLOORS = {
    "attention_forward": (
        lambda s: 4 * 2 * attention_pairs(s) + 4 * s["B"] * s["T"] * s["H"] + gated(s),
        "q, k, v, out: 8 BTHD; log-sum-exp 4 BTH; gate 4 BTH"),
    "attention_backward": (
        lambda s: 8 * 2 * attention_pairs(s) + 4 * s["B"] * s["T"] * s["H"] + 2 * gated(s),
        "q, k, v, out, dout, dq, dk, dv: 16 BTHD; log-sum-exp 4 BTH; gate, dgate 8 BTH"),
    "attention_gate_forward": (
        lambda s: 2 * rows(s) + 2 * s["H"] * s["C"] + 4 * s["N"] * s["H"],
        "source 2 NC; weight 2 HC; gate 4 NH"),
    "attention_gate_backward": (
        lambda s: 6 * rows(s) + 10 * s["H"] * s["C"] + 8 * s["N"] * s["H"],
        "source 2 NC; dsource, added to, 4 NC; weight 2 HC; dweight, added to, 8 HC; gate, dgate 8 NH"),
    "gate_sigmoid_forward": (lambda s: 8 * s["count"], "gate, in place, 8 a value"),
    "gate_sigmoid_backward": (lambda s: 10 * s["count"], "gate, dgate, dlogit: 10 a value"),
    "layer_norm_forward": (
        lambda s: (8 if s["residual"] else 4) * rows(s) + 4 * s["C"] + 8 * s["N"],
        "x, y: 4 NC; residual, sum: 4 NC; weight, bias 4 C; mean, rstd 8 N"),
    "layer_norm_backward": (
        lambda s: (6 + (2 if s["stream_goes_on"] else 0) + (2 if s["drops"] else 0)) * rows(s) + 18 * s["C"] + 8 * s["N"],
        "dy, sum, dsum: 6 NC; gradient of the stream 2 NC; dx, with dropout, 2 NC; weight 2 C; dweight, dbias, added to, 16 C; "
        "mean, rstd 8 N"),
    "embedding_forward": (
        lambda s: 2 * s["C"] * (s["distinct"] + s["T"] + s["S"] + s["N"]) + 4 * s["N"] * (1 if s["S"] < 2 else 2),
        "rows of the tables that are used, y: 2 C each; tokens, segments 4 N each"),
    "embedding_layer_norm": (
        lambda s: 2 * s["C"] * (s["distinct"] + s["T"] + s["S"]) + 4 * rows(s) + 4 * s["C"] + 8 * s["N"]
        + 4 * s["N"] * (1 if s["S"] < 2 else 2),
        "rows of the tables that are used, 2 C each; sum, y: 4 NC; weight, bias 4 C; mean, rstd 8 N; tokens, segments 4 N each"),
    "embedding_backward": (
        lambda s: 2 * rows(s) + 8 * s["C"] * (s["distinct"] + s["T"] + s["S"]) + 4 * s["N"] * (1 if s["S"] < 2 else 2),
        "dy 2 NC; rows of the tables that are used, added to, 8 C each; tokens, segments 4 N each"),
    "cross_entropy": (
        lambda s: 6 * s["M"] * s["V"] + 4 * s["M"], "logits 4 MV; dlogits 2 MV; targets 4 M"),
    "sum_of_squares": (lambda s: 4 * s["count"], "gradient 4 a value"),
    "adamw": (lambda s: 34 * s["count"], "gradient, m, v, master, updated, 32 a value; working weight 2"),
    "sgd": (lambda s: 26 * s["count"], "gradient, momentum, master, updated, 24 a value; working weight 2"),
    "convert": (lambda s: 6 * s["count"], "float and bf16: 6 a value"),
    "add": (lambda s: 6 * s["count"], "x; y, added to: 6 a value"),
    "activation_forward": (lambda s: 4 * s["count"], "x, y: 4 a value"),
    "activation_backward": (lambda s: 6 * s["count"], "x, dy, dx: 6 a value"),
    "activation_backward_bias": (
        lambda s: 6 * s["N"] * s["outputs"] + 8 * s["outputs"], "x, dy, dx: 6 NM; the bias's gradient, added to, 8 M"),
    "dropout": (lambda s: 4 * rows(s), "x, y: 4 NC"),
    "row_gather": (lambda s: 4 * s["M"] * s["C"] + 4 * s["M"], "rows in, rows out: 4 MC; their numbers 4 M"),
    "row_scatter": (lambda s: 4 * s["M"] * s["C"] + 4 * s["M"], "the same"),
    # What linear layers do besides the products, which are cuBLASLt's: the gradient of a bias is a sum of rows of dy.
    "linear_bias": (lambda s: 2 * s["N"] * s["outputs"] + 8 * s["outputs"], "dy 2 NM; the bias's gradient, added to, 8 M"),
    "logits_bias": (lambda s: 2 * s["V"], "bias 2 V; adding it to the logits is the product's"),
}

# Products of T x T pairs: S = QK^T and PV; backward S and dP = dO V^T once more, then dV, dQ, dK.
PRODUCTS = {"attention_forward": 2, "attention_backward": 5}


def floor_bytes(op, shape):
    return FLOORS[op][0](shape)


def blocks_of_pairs(shape):
    """16 x 16 blocks with a visible pair, of one head of one sequence."""
    blocks = math.ceil(shape["T"] / 16)
    return blocks * (blocks + 1) // 2 if shape["causal"] else blocks * blocks


def least_tensor_instructions(op, shape):
    """mma.m16n8k16 of the algorithm: products · blocks · (D / 16) · 2; gates: 16 tokens, 8 heads and 16 columns each, in
    backward two products of 16 tokens, 16 heads and 8 columns. 0 where nothing is multiplied."""
    if op == "attention_gate_forward":
        return math.ceil(shape["N"] / 16) * math.ceil(shape["H"] / 8) * math.ceil(shape["C"] / 16)
    if op == "attention_gate_backward":
        return 2 * math.ceil(shape["N"] / 16) * math.ceil(shape["H"] / 16) * math.ceil(shape["C"] / 8)
    if op not in PRODUCTS:
        return 0
    return PRODUCTS[op] * shape["B"] * shape["H"] * blocks_of_pairs(shape) * math.ceil(shape["D"] / 16) * 2


def step_calls(model, gates, s):
    """The ops of one training step, each with its number of calls and shape. s: what gpu_profile says of the model."""
    tokens = s["B"] * s["T"]
    bert = model == "bert"
    attention = {"B": s["B"], "T": s["T"], "H": s["H"], "D": s["C"] // s["H"], "causal": not bert, "drops": bert,
                 "gate": "query" if gates else ""}
    gate = {"N": tokens, "C": s["C"], "H": s["H"]}
    inner = {"N": tokens, "C": s["C"], "drops": True, "residual": True, "stream_goes_on": not bert}
    alone = {"drops": False, "residual": False, "stream_goes_on": False, "C": s["C"]}
    picked = {"M": s["M"], "C": s["C"]}
    embedding = {"N": tokens, "T": s["T"], "C": s["C"], "S": 1 if bert else 0, "distinct": tokens}
    calls = []
    for direction in ("forward", "backward"):
        calls.append((f"attention_{direction}", s["L"], attention))
        if gates:
            calls.append((f"attention_gate_{direction}", s["L"], gate))
        # The sum that the last branch of OPT is added to goes nowhere else.
        calls.append((f"layer_norm_{direction}", 2 * s["L"] - (0 if bert else 1), inner))
        calls.append((f"layer_norm_{direction}", 0 if bert else 1, {**inner, "stream_goes_on": False}))
        calls.append((f"layer_norm_{direction}", 1 if bert else 0, {**alone, "N": s["M"]}))
        calls.append((f"activation_{direction}", 1 if bert else 0, {"count": s["M"] * s["C"]}))
    # The input LayerNorm: forward in one kernel with the embeddings.
    calls.append(("embedding_layer_norm", 1, {**embedding, "drops": bert}))
    calls.append(("layer_norm_backward", 1, {**alone, "N": tokens, "stream_goes_on": not bert}))
    calls.append(("embedding_backward", 1, embedding))
    # relu is the product's epilogue; in backward both take the bias's gradient along.
    calls.append(("activation_forward", s["L"] if bert else 0, {"count": tokens * s["I"]}))
    calls.append(("activation_backward_bias", s["L"], {"N": tokens, "outputs": s["I"]}))
    calls.append(("dropout", 1 if bert else 0, {"N": tokens, "C": s["C"]}))
    calls += [("row_gather", 1, picked), ("row_scatter", 1, picked), ("cross_entropy", 1, {"M": s["M"], "V": s["V"]})]
    calls += [("sum_of_squares", 1, {"count": s["parameters"]}), ("adamw", 1, {"count": s["parameters"]})]
    for outputs, times, count in ((3 * s["C"], s["L"], tokens), (s["C"], 2 * s["L"], tokens),
                                  (s["C"], 1 if bert else 0, s["M"]), (s["V"], 1 if bert else 0, s["M"])):
        calls.append(("linear_bias", times, {"N": count, "outputs": outputs}))
    calls.append(("logits_bias", 1 if bert else 0, {"V": s["V"]}))
    return [call for call in calls if call[1] > 0]
