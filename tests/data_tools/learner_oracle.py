#!/usr/bin/env python3
"""Compares the vocabulary that sluice-data learns with that of the Python package `tokenizers`.

Of equally frequent pairs the package takes the one with the smaller ids, and its ids of single
characters follow a hash map's order, another in each run; ours are sorted. So the two part where
the wanted size cuts through pairs of one frequency: 99.8 % of the tokens must be the same
(99.90 to 100 % were seen).

    learner_oracle.py --binary build/bin/sluice-data [--shared ../shared]
"""

import pathlib
import subprocess
import sys
import tempfile

import tokenizers_oracle

SHARED_TOKENS_WANTED = 0.998


def package_tokens(tokenizers, lines, size, cased):
    tokenizer = tokenizers.BertWordPieceTokenizer(lowercase=not cased)
    tokenizer.train_from_iterator(lines, vocab_size=size, min_frequency=2, limit_alphabet=1000,
                                  show_progress=False)
    return set(tokenizer.get_vocab())


def our_tokens(binary, text, size, cased, folder):
    out = pathlib.Path(folder) / f"{size}_{cased}"
    subprocess.run([binary, "learn-vocabulary", "--size", str(size), "--out", str(out), str(text)] +
                   ["--cased"] * cased, check=True, stdout=subprocess.DEVNULL)
    return set((out / "vocab.txt").read_bytes().decode("utf-8").removesuffix("\n").split("\n"))


def main():
    arguments = tokenizers_oracle.arguments()
    tokenizers = tokenizers_oracle.package()
    text, lines = tokenizers_oracle.training_text(arguments.shared)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for size, cased in ((30522, False), (8000, False), (28996, True)):
            theirs = package_tokens(tokenizers, lines, size, cased)
            ours = our_tokens(arguments.binary, text, size, cased, folder)
            share = len(ours & theirs) / max(len(ours | theirs), 1)
            good = len(ours) == len(theirs) == size and share >= SHARED_TOKENS_WANTED
            failures += not good
            print(f"size {size} cased {cased}: {len(ours)} tokens, theirs {len(theirs)}, "
                  f"share of the same {share:.5f}, only ours {sorted(ours - theirs)[:5]}, "
                  f"only theirs {sorted(theirs - ours)[:5]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
