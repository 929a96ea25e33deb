"""Judges the CUDA kernels by what ptxas makes of them, without a GPU: budgets.txt, and docs/gpu_budgets.md.

    python3 tests/gpu_budgets/gpu_budgets_test.py               compiles all kernels and compares
    python3 tests/gpu_budgets/gpu_budgets_test.py --write       the same, and writes docs/gpu_budgets.md
    python3 tests/gpu_budgets/gpu_budgets_test.py --self-test   shows that the comparison fails where it has to

Fails where a kernel exceeds its budget, has none, or the page is not what would be written now. Another version of CUDA
allocates registers otherwise: there the page is not compared (SKIPPED, unless a budget is exceeded). The page's second part
is profile_test.py's.
"""

import argparse
import fnmatch
import os
import re
import shutil
import sys
from dataclasses import dataclass

import measured_kernels
import page_part
from measured_kernels import ARCHITECTURES, PROCESSORS, Compiler, Kernel, Processor

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PAGE = "docs/gpu_budgets.md"


@dataclass(frozen=True)
class Budget:
    """A line of budgets.txt."""

    pattern: str
    registers: int  # at most, on either architecture
    spill_bytes: int
    shared_bytes: int  # static and dynamic
    blocks: tuple  # resident at least, by ARCHITECTURES


def read_budgets(text):
    budgets = []
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 6 or not all(word.isdigit() for word in words[1:]):
            raise ValueError(f"budgets.txt:{number}: a pattern without spaces and five numbers are wanted: {line}")
        registers, spills, shared, *blocks = (int(word) for word in words[1:])
        budgets.append(Budget(words[0], registers, spills, shared, tuple(blocks)))
    return budgets


def matches(budget, kernel):
    return fnmatch.fnmatchcase(kernel.label().replace(" ", ""), budget.pattern)


def problems_of(kernel, budget):
    problems = []
    for architecture, blocks in zip(ARCHITECTURES, budget.blocks):
        shared = kernel.static_shared[architecture] + kernel.dynamic_shared
        for what, value, limit in (("registers", kernel.registers[architecture], budget.registers),
                                   ("bytes spilled", kernel.spill_bytes[architecture], budget.spill_bytes),
                                   ("bytes of shared memory", shared, budget.shared_bytes)):
            if value > limit:
                problems.append(f"{kernel.source}: {kernel.label()} on {architecture}: {value} {what}, budget {limit}")
        if kernel.blocks(architecture) < blocks:
            problems.append(f"{kernel.source}: {kernel.label()} on {architecture}: {kernel.blocks(architecture)} blocks "
                            f"resident, budget {blocks}")
    return problems


def compare(kernels, budgets):
    """Problems, as sentences. The first line that matches a kernel is its budget."""
    problems, used = [], set()
    for kernel in kernels:
        budget = next((budget for budget in budgets if matches(budget, kernel)), None)
        if budget is None:
            problems.append(f"{kernel.source}: {kernel.label()} has no line in tests/gpu_budgets/budgets.txt")
            continue
        used.add(budget)
        problems += problems_of(kernel, budget)
    return problems + [f"budgets.txt: no kernel is left for {budget.pattern}" for budget in budgets if budget not in used]


def span(values):
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"


def of_both(kernels, value):
    """"20" or "18–20" where both architectures agree, else "20 / 22"."""
    each = [span([value(kernel, architecture) for kernel in kernels]) for architecture in ARCHITECTURES]
    return each[0] if each[0] == each[1] else " / ".join(each)


def table_row(first, kernels):
    cells = [*first, span([kernel.threads for kernel in kernels]),
             of_both(kernels, lambda kernel, architecture: kernel.registers[architecture]),
             of_both(kernels, lambda kernel, architecture: kernel.spill_bytes[architecture]),
             of_both(kernels, lambda kernel, architecture: kernel.static_shared[architecture]),
             span([kernel.dynamic_shared for kernel in kernels]),
             *(span([kernel.blocks(architecture) for kernel in kernels]) for architecture in ARCHITECTURES)]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


HEADER = """# What the CUDA kernels need of a multiprocessor

Written by `tests/gpu_budgets/gpu_budgets_test.py --write` from what ptxas of CUDA {version} says, and compared by the same test with every run
(label `cuda`). The budgets are in `tests/gpu_budgets/budgets.txt`. No GPU was asked, and no time follows from these numbers alone.

- Registers are of a thread, spills and shared memory in bytes of a block. Two values are sm_80 / sm_90; a range is over the instantiations.
- Spills have to be 0 in attention: its sums live in registers, and a spill is traffic in the tile loop.
- Blocks are what a multiprocessor can hold at once, computed from the other columns: 65536 registers, given to a warp by 256 and to warps by 4; shared
  memory of {shared}, of which 1 KiB a block is the system's; 2048 threads; 32 blocks.
"""


def page(kernels, version):
    shared = ", ".join(f"{processor.shared_bytes // 1024} KiB ({processor.name})" for processor in PROCESSORS.values())
    columns = ["threads", "registers", "spills", "static shared", "dynamic shared"]
    columns += [f"blocks on {processor.name}" for processor in PROCESSORS.values()]
    lines = [HEADER.format(version=version, shared=shared)]

    def begin_table(*first):
        lines.append("| " + " | ".join([*first, *columns]) + " |")
        lines.append("| " + " | ".join(["---"] * len(first) + ["---:"] * len(columns)) + " |")

    lines.append("## All kernels\n")
    begin_table("file", "kernel", "instantiations")
    groups = {}
    for kernel in kernels:
        groups.setdefault((re.sub(r"_(float|bf16|fp16)\.cu$", "_*.cu", kernel.source), kernel.name), []).append(kernel)
    for (source, name), members in sorted(groups.items()):
        lines.append(table_row([f"`{source}`", name, len(members)], members))
    lines.append("\n## The tiles of attention\n")
    lines.append("By storage type and columns of a tile, which serves all head sizes up to it. bf16 and fp16 multiply on tensor cores, float does not.\n")
    begin_table("kernel", "type", "columns")
    for kernel in kernels:
        if kernel.name in measured_kernels.DYNAMIC_SHARED:
            lines.append(table_row([kernel.name, *kernel.arguments.split(", ")], [kernel]))
    return "\n".join(lines) + "\n"


def version_of(text):
    found = re.search(r"ptxas of CUDA ([0-9.]+)", text)
    return found.group(1) if found else ""


def self_test():
    a100 = PROCESSORS["sm_80"]
    # By hand. 256 threads of 32 registers: 8 blocks by threads. 128 threads of 255: 8 warps of 8192 registers: 2 blocks.
    # 48 KiB + 1 KiB: 3 of 164 KiB. 33 registers are 40: 51 warps, 48 in fours: 6 blocks of 8 warps.
    for threads, registers, shared, expected in ((256, 32, 0, 8), (128, 255, 0, 2), (128, 32, 48 * 1024, 3), (256, 33, 0, 6),
                                                 (32, 16, 0, 32), (128, 32, 163 * 1024 + 1, 0)):
        actual = a100.resident_blocks(threads, registers, shared)
        assert actual == expected, f"{threads} threads, {registers} registers, {shared} bytes: {actual}, not {expected}"
    assert Processor("x", 102400, 101376).resident_blocks(64, 32, 101376) == 1

    def kernel(registers=40, spills=0, static=1024):
        both = lambda value: dict.fromkeys(ARCHITECTURES, value)
        return Kernel("a.cu", "AKernel", "bf16, 64", 128, 0, both(registers), both(spills), both(static))

    budget = read_budgets("# a comment\nAKernel<bf16,*> 40 0 1024 12 12\n")
    assert compare([kernel()], budget) == [], compare([kernel()], budget)
    for bad, words in ((kernel(registers=41), "41 registers"), (kernel(spills=4), "4 bytes spilled"),
                       (kernel(static=1025), "1025 bytes of shared"), (kernel(registers=80), "6 blocks")):
        assert any(words in problem for problem in compare([bad], budget)), words
    assert "no kernel is left" in compare([], budget)[0]
    assert "has no line" in compare([kernel()], [])[0]
    assert version_of(page([kernel()], "13.0")) == "13.0"
    assert page([kernel()], "13.0") != page([kernel(registers=39)], "13.0")
    signature = "void sluice::cuda::(anonymous namespace)::Some<sluice::bf16, (int)64>(sluice::cuda::Args<float>, bool)"
    assert measured_kernels.name_and_arguments(signature) == ("Some", "bf16, 64")
    both = page_part.with_second_part("one\n", f"{page_part.SECOND_PART}\n\ntwo\n")
    assert page_part.with_first_part(both, "three\n") == f"three\n\n{page_part.SECOND_PART}\n\ntwo\n"
    assert page_part.with_second_part(both, f"{page_part.SECOND_PART}\n") == f"one\n\n{page_part.SECOND_PART}\n"
    print("the comparison fails where it has to")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--nvcc", default=shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc")
    parser.add_argument("--host", default="g++", help="the host's compiler")
    parser.add_argument("--launcher", default=shutil.which("ccache") or "", help="of a compiler cache; empty: none")
    parser.add_argument("--folder", default=os.path.join(ROOT, "build", "gpu_budgets"), help="for objects")
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    if arguments.self_test:
        self_test()
        return 0
    compiler = Compiler(arguments.nvcc, arguments.host, arguments.launcher, ROOT, os.path.abspath(arguments.folder))
    kernels = measured_kernels.measure(compiler, arguments.jobs)
    with open(os.path.join(HERE, "budgets.txt"), encoding="utf-8") as file:
        problems = compare(kernels, read_budgets(file.read()))
    path, text = os.path.join(ROOT, PAGE), page(kernels, compiler.version())
    with open(path, encoding="utf-8") as file:
        there = file.read()
    text = page_part.with_first_part(there, text)
    if arguments.write:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        there = text
    same_version = version_of(there) == compiler.version()
    if same_version and there != text:
        problems.append(f"{PAGE} is not what the kernels are now: run this test with --write")
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems in {len(kernels)} kernels")
    if not problems and not same_version:
        print(f"SKIPPED: {PAGE} is of CUDA {version_of(there)}, and this is {compiler.version()}: only the budgets were compared")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
