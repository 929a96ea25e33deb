"""What the oracles that ask the Python package `tokenizers` share: arguments, the interpreter that has it, the text."""

import argparse
import lzma
import os
import pathlib
import sys


def arguments():
    """--binary and --shared. With SLUICE_ORACLE_PYTHON set, the program starts again under that interpreter."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--shared", type=pathlib.Path, default=os.environ.get("SLUICE_SHARED", "../shared"))
    parsed = parser.parse_args()
    python = os.environ.get("SLUICE_ORACLE_PYTHON")
    if python and "SLUICE_ORACLE_STARTED" not in os.environ:
        os.environ["SLUICE_ORACLE_STARTED"] = "1"
        os.execv(python, [python, "-B"] + sys.argv)
    return parsed


def package():
    """The package; without it the run ends as skipped."""
    try:
        import tokenizers
    except ImportError:
        print(f"SKIPPED: {sys.executable} has no `tokenizers`; set SLUICE_ORACLE_PYTHON")
        sys.exit(0)
    return tokenizers


def training_text(shared):
    """(path, lines) of the corpus; without it the run ends as skipped."""
    text = shared / "corpus" / "train_wiki_books_10mb.txt.xz"
    if not text.exists():
        print(f"SKIPPED: no {text}")
        sys.exit(0)
    with lzma.open(text, "rt", encoding="utf-8", newline="\n") as file:
        return text, file.read().split("\n")
