#!/usr/bin/env python3
"""Compares the byte-level BPE vocabulary that sluice-data learns with that of the Python package `tokenizers`.

Both take, of equally frequent pairs, the one with the smaller ids, and ids of bytes follow their characters,
so vocab.json and merges.txt must be the same bytes.

    byte_pair_learner_oracle.py --binary build/bin/sluice-data [--shared ../shared]
"""

import pathlib
import subprocess
import sys
import tempfile

import tokenizers_oracle

SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>"]
FILES = ("vocab.json", "merges.txt")


def learn_theirs(tokenizers, lines, size, folder):
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(lines, vocab_size=size, min_frequency=2, special_tokens=SPECIAL_TOKENS,
                                  show_progress=False)
    folder.mkdir()
    tokenizer.save_model(str(folder))


def learn_ours(binary, text, size, folder):
    subprocess.run([binary, "learn-vocabulary", "--tokenizer", "bpe", "--size", str(size), "--out", str(folder),
                    str(text)], check=True, stdout=subprocess.DEVNULL)


def first_difference(ours, theirs):
    for number, (a, b) in enumerate(zip(ours.split("\n"), theirs.split("\n")), 1):
        if a != b:
            return f"line {number}: ours {a[:100]!r}, theirs {b[:100]!r}"
    return "one is longer"


def main():
    arguments = tokenizers_oracle.arguments()
    tokenizers = tokenizers_oracle.package()
    text, lines = tokenizers_oracle.training_text(arguments.shared)
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        for size in (1000, 8000, 50265):
            ours, theirs = (pathlib.Path(name) / f"{who}_{size}" for who in ("ours", "theirs"))
            learn_theirs(tokenizers, lines, size, theirs)
            learn_ours(arguments.binary, text, size, ours)
            for file in FILES:
                a, b = ((folder / file).read_text(encoding="utf-8") for folder in (ours, theirs))
                failures += a != b
                print(f"size {size} {file}: {len(a)} characters, " +
                      ("the same" if a == b else f"theirs {len(b)}; {first_difference(a, b)}"))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
