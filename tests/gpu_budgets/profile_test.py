"""Judges the CUDA kernels by what they do on the emulator: profile_budgets.txt, docs/gpu_budgets.md, profile_counts.json.

    python3 tests/gpu_budgets/profile_test.py --program build/ci/tests/gpu_profile            runs every op and compares
    python3 tests/gpu_budgets/profile_test.py --program build/ci/tests/gpu_profile --write    the same, and writes both files
    python3 tests/gpu_budgets/profile_test.py --self-test                  shows that the comparison fails where it has to

Fails where an op exceeds its budget, has none, or a file is not what would be written now. Another version of CUDA makes
other PTX: there the files are not compared (SKIPPED, unless a budget is exceeded).
"""

import argparse
import fnmatch
import json
import os
import sys
from dataclasses import dataclass

import op_costs
import page_part
import profile_counts
from profile_counts import Measured, Step

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PAGE, COUNTS = "docs/gpu_budgets.md", "tests/gpu_budgets/profile_counts.json"
FACTORS = ("conflicts", "sectors", "tensor", "moved", "requested")
# A budget of 1.05 allows what is printed as 1.050.
ROUNDING = 0.0005


@dataclass(frozen=True)
class Budget:
    """A line of profile_budgets.txt."""

    pattern: str
    limits: dict  # by FACTORS; those that are not limited are left out


def read_budgets(text):
    budgets = []
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 1 + len(FACTORS):
            raise ValueError(f"profile_budgets.txt:{number}: a pattern without spaces and {len(FACTORS)} numbers or - are wanted: {line}")
        limits = {factor: float(word) for factor, word in zip(FACTORS, words[1:]) if word != "-"}
        budgets.append(Budget(words[0], limits))
    return budgets


def entries_of(ops, steps):
    """(label, factors) of all that has a budget."""
    entries = [(op.label(), op.factors()) for op in ops]
    for step in steps:
        entries += [(f"step:{step.label}:{op}", {"moved": step.moved[op] / step.floor[op]}) for op in step.floor]
        entries.append((f"step:{step.label}:all", {"moved": step.total()}))
    return entries


def compare(ops, steps, budgets):
    """Problems, as sentences. The first line that matches is the budget."""
    problems, used = [], set()
    for label, factors in entries_of(ops, steps):
        budget = next((budget for budget in budgets if fnmatch.fnmatchcase(label, budget.pattern)), None)
        if budget is None:
            problems.append(f"{label} has no line in tests/gpu_budgets/profile_budgets.txt")
            continue
        used.add(budget.pattern)
        for factor, value in factors.items():
            if value is None:
                continue
            if factor not in budget.limits:
                problems.append(f"{label}: {factor} {value:.3f}, and {budget.pattern} has no budget for it")
            elif value > budget.limits[factor] + ROUNDING:
                problems.append(f"{label}: {factor} {value:.3f}, budget {budget.limits[factor]}")
    for op in ops:
        counted, least = op.counts["shared_in_loops"]
        if counted != least:
            problems.append(f"{op.label()}: {counted} wavefronts of shared memory in loops, {least} without bank conflicts")
    return problems + [f"profile_budgets.txt: nothing is left for {budget.pattern}" for budget in budgets
                       if budget.pattern not in used]


INTRODUCTION = f"""{page_part.SECOND_PART}

Written by `tests/gpu_budgets/profile_test.py --write` from counts of the PTX of CUDA {{version}}, and compared by the same test with every run (label
`cuda`). Budgets and the reasons for those above 1 are in `tests/gpu_budgets/profile_budgets.txt`. bf16, one call each. Every factor is what was counted over
the least that it could be, so 1 is best.

- **conflicts**: wavefronts of shared memory, over what they would be if no banks conflicted. Within loops (tile loops among them) the factor has to be 1
  everywhere, which the test asks for without a budget.
- **sectors**: sectors of 32 bytes that the instructions asked for, over those that the same bytes would fill side by side: 1 is coalesced.
- **tensor**: tensor-core instructions (mma.m16n8k16), over those of the algorithm: products × blocks of 16 × 16 pairs that the mask leaves × D / 16 × 2.
  Forward has two products, backward five. Tiles are of 64 × 64 pairs or less, so tails and diagonals cost more than their blocks.
- **moved**: different sectors that each kernel read or wrote, over the floor: what a kernel must get from memory if the caches forget everything between two
  kernels and nothing within one. The floor is of the whole op, every operand read once and every result written once (below).
- **requested**: all sectors that instructions asked for, over the same floor: what comes out of the caches, as keys and values do that several blocks read.

Instructions are a warp's, of PTX: ptxas turns one into none, one or several.

| op | shape | instructions | tensor-core | conflicts | sectors | tensor | moved | requested |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""

STEPS = """
### The bytes of one step

Of all kernels of ours in one training step of small models (two layers, hidden size 128, two sequences of 64 tokens, bf16), over the floors of their ops; the
products of linear layers are cuBLASLt's and not counted. AdamW dominates: so few tokens share its weights. What an op adds to its floor is partial sums in
workspace and what one of its kernels hands to the next; it grows slower than the floor with more tokens.

| op |"""


def number(value):
    return "" if value is None else f"{value:.3f}"


def page(ops, steps, version):
    lines = [INTRODUCTION.format(version=version)]
    for op in ops:
        shape = op.label().split(":")[1].replace(",", ", ")
        factors = op.factors()
        tensor = op.counts["tensor"] or ""
        lines.append(f"| {op.op} | {shape} | {op.counts['instructions']} | {tensor} | "
                     + " | ".join(number(factors[factor]) for factor in FACTORS) + " |")
    lines.append(STEPS + "".join(f" {step.label.replace(',', ', ')} |" for step in steps))
    lines.append("| --- |" + " ---: |" * len(steps))
    for op in sorted({op for step in steps for op in step.floor}):
        cells = [f"{step.moved[op] / step.floor[op]:.3f}" if op in step.floor else "" for step in steps]
        lines.append(f"| {op} | " + " | ".join(cells) + " |")
    lines.append("| all | " + " | ".join(f"{step.total():.3f}" for step in steps) + " |")
    lines.append("| all, bytes | " + " | ".join(str(sum(step.moved.values())) for step in steps) + " |")
    lines.append("\n### The floors\n\nBytes, in bf16 (`tests/gpu_budgets/op_costs.py`):\n\n| op | operands and results |\n| --- | --- |")
    lines += [f"| {op} | {text} |" for op, (_, text) in op_costs.FLOORS.items()]
    return "\n".join(lines) + "\n"


def counts_text(ops, version):
    """What tests/gpu_budgets/roofline.py predicts times from: one line an op."""
    lines = [json.dumps({"op": op.op, "shape": op.shape, **op.counts}, sort_keys=True) for op in ops]
    return f'{{"cuda": "{version}", "ops": [\n' + ",\n".join(lines) + "\n]}\n"


def self_test():
    def op(**changes):
        counts = {"instructions": 1000, "tensor": 64, "multiplications": 1, "special": 1, "shared": [100, 100],
                  "shared_in_loops": [80, 80], "global": [160, 160], "moved": 4224}
        shape = {"B": 1, "T": 16, "H": 1, "D": 32, "causal": False, "drops": False, "gate": ""}
        return Measured("attention_forward", shape, {**counts, "tensor": 8, **changes})

    # By hand: q, k, v, out of 16 rows of 32 values of 2 bytes, and 16 floats; two products of one block, D / 16 · 2 = 4 each.
    assert op().floor() == 4 * 16 * 32 * 2 + 64
    assert op_costs.least_tensor_instructions("attention_forward", op().shape) == 8
    causal = {**op().shape, "T": 40, "causal": True}
    assert op_costs.least_tensor_instructions("attention_backward", causal) == 5 * 6 * 4
    assert op_costs.least_tensor_instructions("attention_gate_forward", {"N": 20, "H": 12, "C": 64}) == 2 * 2 * 4
    assert op_costs.least_tensor_instructions("attention_gate_backward", {"N": 20, "H": 12, "C": 64}) == 2 * 2 * 1 * 8
    budgets = read_budgets("attention_forward:* 1 1.05 1 1.02 1.3 # a comment\nstep:bert:* - - - 1.1 -\n")
    step = Step("bert", {"adamw": 110}, {"adamw": 100})
    assert compare([op()], [step], budgets) == [], compare([op()], [step], budgets)
    for bad, words in ((op(shared=[104, 100]), "conflicts 1.040"), (op(**{"global": [170, 160]}), "sectors 1.062"),
                       (op(tensor=9), "tensor 1.125"), (op(moved=4320), "moved 1.038"),
                       (op(**{"global": [180, 180]}), "requested 1.385"),
                       (op(shared_in_loops=[81, 80]), "81 wavefronts of shared memory in loops")):
        assert any(words in problem for problem in compare([bad], [step], budgets)), (words, compare([bad], [step], budgets))
    assert "moved 1.120" in compare([op()], [Step("bert", {"adamw": 112}, {"adamw": 100})], budgets)[0]
    assert "has no line" in compare([op()], [step], budgets[1:])[0]
    assert "nothing is left" in compare([op()], [], budgets)[0]
    assert "has no budget for it" in compare([op()], [step], read_budgets("attention* - 1 1 1.1 2\nstep:* - - - 2 -"))[0]
    # The seeded transposition of tests/emulator/profiled_kernels.cu: 32 rows in, 32 columns out of one bank.
    assert profile_counts.ratio([32 + 32 * 32, 64]) == 16.5
    print("the comparison fails where it has to")


def stale(path, there, now, write):
    if write and there != now:
        with open(path, "w", encoding="utf-8") as file:
            file.write(now)
        return []
    return [] if there == now else [f"{os.path.relpath(path, ROOT)} is not what the kernels do now: run this test with --write"]


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "ci", "tests", "gpu_profile"))
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.self_test:
        self_test()
        return 0
    version, ops, steps = profile_counts.measure(arguments.program)
    problems = compare(ops, steps, read_budgets(read("tests/gpu_budgets/profile_budgets.txt")))
    counts, text = read(COUNTS) if os.path.exists(os.path.join(ROOT, COUNTS)) else "", read(PAGE)
    same_version = arguments.write or counts.startswith(f'{{"cuda": "{version}"')
    if same_version:
        problems += stale(os.path.join(ROOT, COUNTS), counts, counts_text(ops, version), arguments.write)
        now = page_part.with_second_part(text, page(ops, steps, version))
        problems += stale(os.path.join(ROOT, PAGE), text, now, arguments.write)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems in {len(ops)} calls and {len(steps)} steps")
    if not problems and not same_version:
        print(f"SKIPPED: {COUNTS} is of another CUDA than {version}: only the budgets were compared")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
