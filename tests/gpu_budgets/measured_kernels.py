"""What ptxas makes of every CUDA kernel: registers, spills, shared memory, and the blocks that fit a multiprocessor.

Compiles kernels/cuda/*.cu for both architectures (through the compiler cache) and reads what ptxas says. The size of
a block is read from the PTX (`.maxntid`), and dynamic shared memory, which only the launchers know, from a probe: an
array of device memory of the size of the struct that a launcher asks for.
"""

import concurrent.futures
import math
import os
import re
import subprocess
from dataclasses import dataclass, field

ARCHITECTURES = ("sm_80", "sm_90")
# Kernel -> what its launcher asks for as dynamic shared memory, with the kernel's template arguments.
DYNAMIC_SHARED = {
    "AttentionForwardKernel": "ForwardShared",
    "AttentionBackwardQueriesKernel": "BackwardQueriesShared",
    "AttentionBackwardKeysKernel": "BackwardKeysShared",
}
PROBE_HEADERS = ("attention_forward.cuh", "attention_backward_queries.cuh", "attention_backward_keys.cuh")


@dataclass(frozen=True)
class Processor:
    """Limits of one multiprocessor: CUDA C++ Programming Guide, "Compute Capabilities"."""

    name: str
    shared_bytes: int  # of a multiprocessor
    shared_bytes_of_block: int  # at most
    registers: int = 65536
    threads: int = 2048
    blocks: int = 32
    # Units of allocation, and what the system keeps of each block's shared memory.
    registers_unit_of_warp: int = 256
    warps_unit: int = 4
    shared_unit: int = 128
    shared_reserved: int = 1024

    def resident_blocks(self, threads, registers, shared_bytes):
        """Blocks that fit at once; 0: not even one."""
        warps = math.ceil(threads / 32)
        of_warp = math.ceil(max(registers, 1) * 32 / self.registers_unit_of_warp) * self.registers_unit_of_warp
        warps_by_registers = self.registers // of_warp // self.warps_unit * self.warps_unit
        of_block = math.ceil((shared_bytes + self.shared_reserved) / self.shared_unit) * self.shared_unit
        if shared_bytes > self.shared_bytes_of_block:
            return 0
        return min(self.blocks, self.threads // 32 // warps, warps_by_registers // warps, self.shared_bytes // of_block)


PROCESSORS = {
    "sm_80": Processor("A100", shared_bytes=164 * 1024, shared_bytes_of_block=163 * 1024),
    "sm_90": Processor("H100", shared_bytes=228 * 1024, shared_bytes_of_block=227 * 1024),
}


@dataclass
class Kernel:
    """One instantiation."""

    source: str  # the file's name
    name: str  # without namespaces
    arguments: str  # of the template, as written in an instantiation; empty: no template
    threads: int = 0  # of a block
    dynamic_shared: int = 0
    registers: dict = field(default_factory=dict)  # by architecture, as all below
    spill_bytes: dict = field(default_factory=dict)  # stores and loads
    static_shared: dict = field(default_factory=dict)

    def label(self):
        return f"{self.name}<{self.arguments}>" if self.arguments else self.name

    def blocks(self, architecture):
        return PROCESSORS[architecture].resident_blocks(
            self.threads, self.registers[architecture], self.static_shared[architecture] + self.dynamic_shared)


@dataclass(frozen=True)
class Compiler:
    """How a .cu file is compiled; launcher: of a compiler cache, or empty."""

    nvcc: str
    host: str
    launcher: str
    root: str
    folder: str  # for objects

    def command(self, *options):
        return [*([self.launcher] if self.launcher else []), self.nvcc, "-ccbin", self.host, "-cudart=none", "-std=c++20",
                "-O3", "--expt-relaxed-constexpr", "-I.", "-Isrc", *options]

    def run(self, *options):
        done = subprocess.run(self.command(*options), cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"nvcc failed: {' '.join(self.command(*options))}\n{done.stdout}")
        return done.stdout

    def version(self):
        return re.search(r"release ([0-9.]+)", subprocess.check_output([self.nvcc, "--version"], text=True)).group(1)


def demangled(names):
    said = subprocess.run(["c++filt"], input="\n".join(names), stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(zip(names, said.split("\n")))


def name_and_arguments(signature):
    """"void sluice::cuda::(anonymous namespace)::Name<sluice::bf16, 64>(…)" -> ("Name", "bf16, 64")."""
    text = signature.replace("(anonymous namespace)::", "").replace("sluice::cuda::", "").replace("sluice::", "")
    found = re.match(r"(?:void )?(\w+)(<.*?>)?\(", re.sub(r"\((?:int|bool|long)\)", "", text))
    if not found:
        raise RuntimeError(f"cannot read the name of a kernel: {signature}")
    return found.group(1), (found.group(2) or "<>")[1:-1]


PTXAS_ENTRY = re.compile(
    r"Compiling entry function '(?P<symbol>\w+)' for '(?P<architecture>\w+)'\n"
    r".*?\n\s*\d+ bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads\n"
    r"[^\n]*Used (?P<registers>\d+) registers(?P<rest>[^\n]*)")
PTX_ENTRY = re.compile(rb"\.entry (\w+)\((.*?)\n\{", re.DOTALL)


def kernels_of(source, ptxas_log, object_bytes):
    """The kernels of one .cu file, by what ptxas printed and by the PTX in the object."""
    threads = {}
    for symbol, head in PTX_ENTRY.findall(object_bytes):
        bounds = re.search(rb"\.maxntid (\d+), (\d+), (\d+)", head)
        threads[symbol.decode()] = math.prod(int(n) for n in bounds.groups()) if bounds else 0
    kernels = {}
    names = demangled(sorted({found["symbol"] for found in PTXAS_ENTRY.finditer(ptxas_log)}))
    for found in PTXAS_ENTRY.finditer(ptxas_log):
        symbol, architecture = found["symbol"], found["architecture"]
        name, arguments = name_and_arguments(names[symbol])
        kernel = kernels.setdefault(symbol, Kernel(source, name, arguments, threads.get(symbol, 0)))
        kernel.registers[architecture] = int(found["registers"])
        kernel.spill_bytes[architecture] = int(found["stores"]) + int(found["loads"])
        shared = re.search(r"(\d+) bytes smem", found["rest"])
        kernel.static_shared[architecture] = int(shared.group(1)) if shared else 0
    for kernel in kernels.values():
        if kernel.threads == 0:
            raise RuntimeError(f"{source}: {kernel.label()} has no __launch_bounds__")
        if set(kernel.registers) != set(ARCHITECTURES):
            raise RuntimeError(f"{source}: ptxas said nothing of {kernel.label()} for every architecture")
    return list(kernels.values())


def compile_kernels(compiler, source):
    target = os.path.join(compiler.folder, source + ".o")
    # As a release is compiled (kernels/cuda/toolkit.cmake), and one PTX besides.
    code = ["-gencode", "arch=compute_80,code=compute_80"]
    for architecture in ARCHITECTURES:
        code += ["-gencode", f"arch={architecture.replace('sm', 'compute')},code={architecture}"]
    log = compiler.run("--no-compress", *code, "-lineinfo", "-Xptxas", "-v", "-c", f"kernels/cuda/{source}", "-o", target)
    with open(target, "rb") as file:
        return kernels_of(source, log, file.read())


def probe_dynamic_shared(compiler, kernels):
    """Sets dynamic_shared of those that ask for it."""
    asking = [kernel for kernel in kernels if kernel.name in DYNAMIC_SHARED]
    lines = [f'#include "kernels/cuda/{header}"' for header in PROBE_HEADERS] + ["using namespace sluice;"]
    lines += [f"__device__ unsigned char probe_{i}[sizeof(cuda::{DYNAMIC_SHARED[kernel.name]}<{kernel.arguments}>)];"
              for i, kernel in enumerate(asking)]
    source, ptx = os.path.join(compiler.folder, "probe.cu"), os.path.join(compiler.folder, "probe.ptx")
    with open(source, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    compiler.run("-arch=compute_80", "-ptx", source, "-o", ptx)
    with open(ptx, encoding="utf-8") as file:
        sizes = dict(re.findall(r"\bprobe_(\d+)\[(\d+)\]", file.read()))
    for i, kernel in enumerate(asking):
        kernel.dynamic_shared = int(sizes[str(i)])


def asks_for_dynamic_shared(compiler):
    """Kernels whose text declares dynamic shared memory: each has to be in DYNAMIC_SHARED."""
    names = set()
    folder = os.path.join(compiler.root, "kernels", "cuda")
    for file_name in sorted(os.listdir(folder)):
        if not file_name.endswith((".cu", ".cuh")):
            continue
        with open(os.path.join(folder, file_name), encoding="utf-8") as file:
            text = file.read()
        for found in re.finditer(r"extern __shared__", text):
            names.add(re.findall(r"(\w+Kernel)\(", text[:found.start()])[-1])
    return names


def measure(compiler, jobs):
    """All kernels, in the order of files and names."""
    unknown = asks_for_dynamic_shared(compiler) - set(DYNAMIC_SHARED)
    if unknown:
        raise RuntimeError(f"{', '.join(sorted(unknown))}: how much dynamic shared memory? Add it to DYNAMIC_SHARED")
    sources = sorted(name for name in os.listdir(os.path.join(compiler.root, "kernels", "cuda")) if name.endswith(".cu"))
    os.makedirs(compiler.folder, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        kernels = [kernel for each in pool.map(lambda source: compile_kernels(compiler, source), sources) for kernel in each]
    probe_dynamic_shared(compiler, kernels)

    def in_order(kernel):
        numbers = [int(number) for number in re.findall(r"\b\d+\b", kernel.arguments)]
        return kernel.source, kernel.name, kernel.arguments.split(",")[0], numbers, kernel.arguments

    return sorted(kernels, key=in_order)
