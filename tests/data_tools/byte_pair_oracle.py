#!/usr/bin/env python3
"""Compares every id of sluice-tokenize with those of ByteLevelBPETokenizer of the Python package `tokenizers`.

Texts: the shared corpus's files, every code point of Unicode between letters, random lines of all planes,
lines of what GPT-2's division into words looks at, long words, and ill-formed UTF-8 with both kinds of
line ends. Vocabularies: OPT's and GPT-2's, with special tokens recognized and without.

    byte_pair_oracle.py --binary build/bin/sluice-tokenize [--shared ../shared] [--lines 20000]

SLUICE_ORACLE_PYTHON names an interpreter that has the package, where this one has not;
SLUICE_SHARED the folder with corpus/ and vocab/.
"""

import argparse
import lzma
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

from wordpiece_oracle import DEFAULT_CORPUS, FIXED, compare, exhaustive_lines, random_lines

SPECIAL_TOKENS = {"opt": ["</s>", "<pad>"], "gpt2": ["<|endoftext|>"]}
# What the regular expression and the special tokens can see.
SPACES = (" ", " ", " ", "  ", "\t", "\r", "\v", "\f", "\x1c", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u202f",
          "\u205f", "\u3000", "\u200b", "\u180e", "\ufeff")
PARTS = SPACES + ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'", "'S", "'L", "'l", "'r", "\u2019s", "s", "t", "re", "ll",
                  "word", "Word", "the", "e\u0301", "\u0301", "\u00e9", "\u4e2d\u6587", "\u0e2a\u0e27\u0e31\u0e2a", "\ud55c\uae00",
                  "1", "12", "345", "\u0663", "\u00bd", "\u2167", "\u2460", "_", "-", "--", "...", "!", "?!", "\u2014", "(", ")",
                  "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea",
                  "\U000e0041", "\U0010ffff", "\ue000", "\u0378", "</s>", "<pad>", "<s>", "<unk>", "<mask>",
                  "<|endoftext|>", "<|", "<", "</s", "\u0120", "\u010a", "\x00", "\x7f", "\xad", "http://a.bc/d?e=f&g=1")


def structured_lines(count, seed):
    generator = random.Random(seed)
    for _ in range(count):
        yield "".join(generator.choice(PARTS) for _ in range(generator.choice((1, 2, 3, 5, 8, 30))))


def long_lines(seed):
    generator = random.Random(seed)
    for length in (47, 48, 49, 50, 97, 500, 5000):
        for alphabet in ("a", "ab", "aeiou", "etaoinshr", "\u4e2d\u6587\u5b57", "-=", "0123456789", " ", "\U0001f600\u200d"):
            yield "".join(generator.choice(alphabet) for _ in range(length))


def ill_formed_bytes(count, seed):
    """Lines of random bytes among words, some with CR LF, after a byte-order mark."""
    generator = random.Random(seed)
    out = [b"\xef\xbb\xbf"]
    for _ in range(count):
        parts = [generator.choice((b"word ", b"\xe2\x82", b"\xc3\xa9", b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98",
                                   bytes([generator.randrange(256)]), b"'s", b"  "))
                 for _ in range(generator.randrange(12))]
        line = b"".join(parts).replace(b"\n", b" ")
        out.append(line + generator.choice((b"\n", b"\n", b"\r\n", b"\r\r\n")))
    return b"".join(out)


def lines_of(path):
    """The lines as sluice's reader gives them: U+FFFD for what is ill-formed, no mark, no line ends."""
    data = lzma.open(path).read() if path.suffix == ".xz" else path.read_bytes()
    lines = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace").split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def write_texts(folder, count, seed):
    texts = {"fixed": FIXED, "exhaustive": exhaustive_lines(), "random": random_lines(count, seed),
             "structured": structured_lines(count, seed), "long": long_lines(seed)}
    for name, lines in texts.items():
        (folder / name).write_bytes("".join(line + "\n" for line in lines).encode("utf-8"))
    (folder / "ill_formed").write_bytes(ill_formed_bytes(count // 4, seed))
    return [folder / name for name in (*texts, "ill_formed")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--shared", type=pathlib.Path, default=os.environ.get("SLUICE_SHARED", "../shared"))
    parser.add_argument("--lines", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=20240707)
    arguments = parser.parse_args()
    python = os.environ.get("SLUICE_ORACLE_PYTHON")
    if python and "SLUICE_ORACLE_STARTED" not in os.environ:
        os.environ["SLUICE_ORACLE_STARTED"] = "1"
        os.execv(python, [python, "-B"] + sys.argv)
    if not (arguments.shared / "vocab" / "opt-vocab.json").exists():
        print(f"SKIPPED: no vocabularies in {arguments.shared}")
        return 0
    try:
        import tokenizers
    except ImportError:
        print(f"SKIPPED: {sys.executable} has no `tokenizers`; set SLUICE_ORACLE_PYTHON")
        return 0
    print(f"tokenizers {tokenizers.__version__}, random seed {arguments.seed}")
    corpus = [arguments.shared / "corpus" / name for name in DEFAULT_CORPUS]
    lines = ids = failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        made = write_texts(folder, arguments.lines, arguments.seed)
        for model, special in SPECIAL_TOKENS.items():
            vocabulary = folder / model
            vocabulary.mkdir()
            for file in ("vocab.json", "merges.txt"):
                shutil.copy(arguments.shared / "vocab" / f"{model}-{file}", vocabulary / file)
            for recognize in (True, False):
                tokenizer = tokenizers.ByteLevelBPETokenizer(str(vocabulary / "vocab.json"),
                                                             str(vocabulary / "merges.txt"))
                command = [arguments.binary, "ids", str(vocabulary)]
                if recognize:
                    tokenizer.add_special_tokens(special)
                else:
                    command.append("--plain-special-tokens")
                for path in (corpus + made if recognize else made):
                    result = compare(f"{model} {'special' if recognize else 'plain'} {path.name}", lines_of(path), path,
                                     tokenizer, command)
                    lines += result[0]
                    ids += result[1]
                    failures += result[2]
    print(f"{lines} lines, {ids} ids, {failures} differences")
    return 1 if failures or ids == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
