"""What every oracle here begins with: an interpreter that has PyTorch, transformers and safetensors, the programs, and text.

A test that lacks something prints a line that begins with "SKIPPED: " and ends with exit code 0; ctest counts it as skipped.
"""

import os
import pathlib
import subprocess
import sys

ENVIRONMENT = dict(
    os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_btl_vader_single_copy_mechanism="none",
    OMP_NUM_THREADS="1",
)


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(0)


def start(*packages):
    """Goes on in the interpreter that SLUICE_ORACLE_PYTHON names; skips where it lacks a package. Nothing asks the network."""
    python = os.environ.get("SLUICE_ORACLE_PYTHON")
    if python and "SLUICE_ORACLE_STARTED" not in os.environ:
        os.environ["SLUICE_ORACLE_STARTED"] = "1"
        os.execv(python, [python, "-B"] + sys.argv)
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
    for package in packages:
        try:
            __import__(package)
        except ImportError:
            skip(f"{sys.executable} has no `{package}`; set SLUICE_ORACLE_PYTHON")


def corpus(name):
    path = pathlib.Path(os.environ.get("SLUICE_SHARED", "../shared")) / "corpus" / name
    if not path.exists():
        skip(f"no {path}")
    return path.resolve()


class Programs:
    """The programs of a build folder; a call that fails raises with what the program said."""

    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()

    def run(self, program, *arguments):
        command = [str(self.build / program), *map(str, arguments)]
        done = subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def sluice(self, *arguments):
        return self.run("bin/sluice", *arguments)

    def sluice_data(self, *arguments):
        return self.run("bin/sluice-data", *arguments)

    def step(self, *arguments):
        return self.run("tests/oracle_step", *arguments)

    def prepare(self, text, folder, size, tokenizer="wordpiece"):
        """Learns a vocabulary of `size` tokens from `text` and makes shards of it: folder/vocabulary, folder/data."""
        self.sluice_data("learn-vocabulary", "--tokenizer", tokenizer, "--size", size, "--out", folder / "vocabulary", text)
        self.sluice_data("prepare", "--tokenizer", tokenizer, "--vocabulary", folder / "vocabulary", "--out", folder / "data", text)
        return folder / "data"
