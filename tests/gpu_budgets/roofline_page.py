"""The text of docs/gpu_roofline.md."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    model: object  # roofline.Model
    vanilla: dict  # roofline.Need by op
    gated: dict


INTRODUCTION = """# A roofline without a GPU

**Every time on this page is a prediction. No GPU was measured, and none of our kernels has run on one.** Written by `tests/gpu_budgets/roofline.py --write` from
counts of the emulator ([gpu_budgets.md](gpu_budgets.md)), and compared by the same script with every run of the tests.

## What is assumed

| | {names} |
| --- | {rules} |
| bf16 on tensor cores, dense, TFLOP/s | {flops} |
| memory, GB/s | {bandwidth} |
| multiprocessors | {multiprocessors} |
| clock that the first line implies, GHz | {clock} |
| of it that cuBLASLt's products reach | {gemm} |
| of it that mma.sync can reach at all | {mma} |
| of the memory's rate that a kernel reaches | {memory} |
| of a kernel's time in which its busiest unit is busy | {busiest} |

- The peaks are NVIDIA's, of the data sheets of A100 (SXM4, 80 GB; the one with 40 GB has 1555 GB/s) and H100 (SXM5). All shares are assumptions, from what is
  generally seen: products of 768 × 3072 and {tokens} rows fill an A100 better than an H100; on H100 mma.sync, which our attention uses, reaches 60 to 65 % of
  what wgmma does; good kernels get 80 to 90 % of a memory's rate.
- A step is one micro-batch of {tokens} tokens, forward, backward and update, in bf16. Recipes are those of `configs/bert_base` (dropout 0.1, in attention too, 15 % of
  tokens are targets) and `configs/opt_125m` (dropout 0.1 outside of attention). One GPU: nothing is exchanged. The host keeps ahead: launches cost nothing.
- Memory: floors of ops times what was *moved* over the floor, partial sums by their plans. Nothing is kept in the L2 cache from one kernel to the next.
- Instructions: PTX's as the emulator counted them. Machine code has about as many: sizes of the code for sm_80 are 0.90 to 0.99 of it in attention's forward, 1.1 to
  1.25 in cross_entropy and the gates' products. One a cycle and quarter of a multiprocessor, integer multiplications (Philox) two cycles, special functions
  eight. They grow with the tiles of attention or with elements.
- An op takes as long as the slowest of memory, tensor cores and instructions, and ops follow each other.
- Share of peak (MFU): FLOPs of `src/model/operation_count.h`, three times forward, over time and peak. What backward computes again does not count.
"""

COMPARED = """
## Beside published rates

Other programs', as their authors report them (MFU where marked * is computed from the rate with the formula above or its like). Models, sequence lengths and
hardware differ as said; ours are predictions, theirs were measured.

| who | model, hardware, length | rate a GPU | MFU |
| --- | --- | --- | --- |
| llm.c | GPT-2 124M, 8 × A100 80 GB, 1024 | 218 k tokens/s | 56 %* |
| llm-foundry | MPT-125M, 8 × A100 80 GB, 2048 | 141 to 143 k tokens/s | 44.5 to 44.8 % |
| llm-foundry | MPT-125M, 8 × A100 80 GB, 1024 | 156 k tokens/s | 43.2 % |
| llm.c | GPT-2 1558M, 8 × H100, 1024 | 46.8 k tokens/s | 46.5 %* |
| LLM.Q | Qwen2.5 0.5B, 1 × H100 | 149 k tokens/s | 47 % (its own count) |
| MosaicML | BERT-base of Hugging Face, 8 × A100, 128 | 866 sequences/s, 111 k tokens/s | |
| NVIDIA DeepLearningExamples, PyTorch | BERT-large, 1 × A100 80 GB, 128 | 580 sequences/s | 45 %* |
"""


MOST_COST = 0.02  # that VGA should have over vanilla


def percent(value):
    return f"{100 * value:.1f} %"


def milliseconds(seconds):
    return f"{1000 * seconds:.3f}"


def total(needs, processor):
    return sum(need.seconds(processor) for need in needs.values())


def cost(prediction, processor):
    """Of gates: time of a gated step over a vanilla one, minus 1."""
    return total(prediction.gated, processor) / total(prediction.vanilla, processor) - 1


def summary(predictions, processors, tokens):
    lines = ["\n## What comes out\n", "| model | length | GPU | ms a step | tokens/s | share of peak | VGA: ms a step | cost of VGA |",
             "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |"]
    for prediction in predictions:
        model = prediction.model
        for processor in processors:
            vanilla = total(prediction.vanilla, processor)
            lines.append(f"| {model.name} | {model.T} | {processor.name} | {1000 * vanilla:.1f} | {tokens / vanilla / 1000:.0f} k | "
                         f"{percent(model.flops(False) / vanilla / processor.flops)} | {1000 * total(prediction.gated, processor):.1f} | "
                         f"{percent(cost(prediction, processor))} |")
    return lines


def gate_lines(predictions, processors):
    """Where the cost of VGA comes from, and what would be left of it if the gates' own kernels were bound by memory."""
    over = [f"{prediction.model.name} of {prediction.model.T} tokens on {processor.name}" for prediction in predictions
            for processor in processors if cost(prediction, processor) > MOST_COST]
    lines = ["\n## The cost of VGA\n",
             f"It should be {percent(MOST_COST)} or less. Predicted above that: {', '.join(over) if over else 'nothing'}.\n",
             "Within attention the gate costs next to nothing. V·W_g and its backward (dV and dW_g) are on tensor cores; in backward the gradients of logits, which "
             "are float, are sums of three bf16. The last column is what VGA would cost if both were bound by memory alone.\n",
             "| model | length | GPU | gates forward, ms | gates backward, ms | in attention, ms | cost | bound by memory alone |",
             "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |"]
    for prediction in predictions:
        for processor in processors:
            gated, vanilla = prediction.gated, prediction.vanilla
            forward, backward = (gated[f"attention_gate_{way}"] for way in ("forward", "backward"))
            attention = sum(gated[f"attention_{way}"].seconds(processor) - vanilla[f"attention_{way}"].seconds(processor)
                            for way in ("forward", "backward"))
            saved = sum(need.seconds(processor) - need.times(processor)["memory"] for need in (forward, backward))
            best = (total(gated, processor) - saved) / total(vanilla, processor) - 1
            lines.append(f"| {prediction.model.name} | {prediction.model.T} | {processor.name} | {milliseconds(forward.seconds(processor))} | "
                         f"{milliseconds(backward.seconds(processor))} | {milliseconds(attention)} | {percent(cost(prediction, processor))} | {percent(best)} |")
    return lines


def op_lines(prediction, processors):
    model = prediction.model
    lines = [f"\n### {model.name}, {model.T} tokens a sequence, VGA\n",
             "| op | GFLOP of products | GB | million warp instructions |"
             + "".join(f" {processor.name}: ms | bound by | share |" for processor in processors),
             "| --- | ---: | ---: | ---: |" + " ---: | --- | ---: |" * len(processors)]
    for op, need in sorted(prediction.gated.items(), key=lambda item: -item[1].seconds(processors[0])):
        flops = need.flops + need.tensor * 4096
        cells = [op, f"{flops / 1e9:.1f}" if flops else "", f"{need.bytes / 1e9:.3f}",
                 f"{need.cycles['instructions'] / 1e6:.1f}" if need.cycles else ""]
        for processor in processors:
            cells += [milliseconds(need.seconds(processor)), need.bound(processor),
                      percent(need.seconds(processor) / total(prediction.gated, processor))]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def assumptions(processors, tokens):
    def row(value):
        return " | ".join(value(processor) for processor in processors)

    return INTRODUCTION.format(
        names=row(lambda p: p.name), rules=" | ".join(["---:"] * len(processors)), flops=row(lambda p: f"{p.flops / 1e12:.0f}"),
        bandwidth=row(lambda p: f"{p.bandwidth / 1e9:.0f}"), multiprocessors=row(lambda p: str(p.multiprocessors)),
        clock=row(lambda p: f"{p.clock() / 1e9:.2f}"), gemm=row(lambda p: f"{100 * p.gemm_share:.0f} %"),
        mma=row(lambda p: f"{100 * p.mma_share:.0f} %"), memory=row(lambda p: f"{100 * p.bandwidth_share:.0f} %"),
        busiest=row(lambda p: f"{100 * p.busiest_share:.0f} %"), tokens=tokens)


def page(predictions, processors, tokens):
    lines = [assumptions(processors, tokens).rstrip()]
    lines += summary(predictions, processors, tokens) + [COMPARED.rstrip()]
    lines += gate_lines(predictions, processors)
    lines.append("\n## Op by op\n\nProducts of attention and of the layers are both FLOPs that are really computed, what backward computes again included.")
    for prediction in predictions:
        lines += op_lines(prediction, processors)
    return "\n".join(lines) + "\n"
