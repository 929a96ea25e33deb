#!/usr/bin/env python3
"""Writes byte_pair_goldens.json: lines with the ids that ByteLevelBPETokenizer of the Python package `tokenizers` gives
them, with a vocabulary that the package learnt from these lines.

All text is written here or drawn at random; none is taken from a corpus.

    make_byte_pair_goldens.py tests/data_tools/byte_pair_goldens.json
"""

import json
import pathlib
import sys
import tempfile

import tokenizers

from byte_pair_oracle import long_lines, structured_lines
from make_wordpiece_goldens import WRITTEN
from wordpiece_oracle import FIXED, random_lines

SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>"]
SIZE = 700


def main():
    lines = list(WRITTEN) + list(FIXED)
    lines += [line[:40] for line in random_lines(60, seed=3)] + list(structured_lines(150, seed=4))
    lines += [line[:200] for line in list(long_lines(seed=5))[::5]]
    learner = tokenizers.ByteLevelBPETokenizer()
    learner.train_from_iterator(lines, vocab_size=SIZE, min_frequency=2, special_tokens=SPECIAL_TOKENS,
                                show_progress=False)
    with tempfile.TemporaryDirectory() as folder:
        learner.save_model(folder)
        paths = [str(pathlib.Path(folder) / name) for name in ("vocab.json", "merges.txt")]
        tokens = json.loads(pathlib.Path(paths[0]).read_text(encoding="utf-8"))
        merges = pathlib.Path(paths[1]).read_text(encoding="utf-8").split("\n")[1:-1]
        plain = tokenizers.ByteLevelBPETokenizer(*paths)
        special = tokenizers.ByteLevelBPETokenizer(*paths)
        special.add_special_tokens(["</s>", "<pad>"])  # those that transformers makes special for OPT
    assert list(tokens.values()) == list(range(SIZE))
    rows = [{"text": line, "ids": special.encode(line).ids} for line in lines]
    for row in rows:
        if (ids := plain.encode(row["text"]).ids) != row["ids"]:
            row["plain"] = ids  # without recognized special tokens

    def compact(value):
        return json.dumps(value, separators=(",", ":"))

    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write(f'{{"made_by":"tokenizers {tokenizers.__version__}",\n')
        for name, values in (("tokens", list(tokens)), ("merges", merges)):
            file.write(f'"{name}":[' + ",".join(("\n" if i % 20 == 19 else "") + compact(value)
                                                for i, value in enumerate(values)) + "],\n")
        file.write('"lines":[\n' + ",\n".join(compact(row) for row in rows) + "]}\n")


if __name__ == "__main__":
    main()
