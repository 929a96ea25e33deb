#!/usr/bin/env python3
"""Compares every id of sluice-tokenize with those of the Python package `tokenizers`.

Texts: the shared corpus's files, every code point of Unicode between letters, and random lines of
all planes with a bias towards what normalization finds hard. Uncased and cased, with BERT's
vocabularies; the made texts also with a vocabulary of single characters, where [UNK] hides nothing.

    wordpiece_oracle.py --binary build/bin/sluice-tokenize [--shared ../shared] [--lines 20000]
        [--corpus FILE…]                                            (FILE: instead of the default)

SLUICE_ORACLE_PYTHON names an interpreter that has the package, where this one has not;
SLUICE_SHARED the folder with corpus/ and vocab/.
"""

import argparse
import gzip
import lzma
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

DEFAULT_CORPUS = ("train_wiki_books_1mb.txt", "valid_wiki_1mb.txt", "valid_books_1mb.txt",
                  "train_wiki_books_10mb.txt.xz")
SURROGATES = range(0xD800, 0xE000)
# Ranges where lower case, decomposition, reordering, classes or widths are at their strangest.
HARD_RANGES = (
    (0x00, 0x20), (0x20, 0x7F), (0x7F, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700),
    (0x900, 0xE00), (0xF00, 0xFD0), (0x1000, 0x1200), (0x1AB0, 0x1B80), (0x1DC0, 0x2070),
    (0x20D0, 0x2100), (0x2100, 0x2190), (0x2C00, 0x2E80), (0x2E80, 0x3300), (0x4DB0, 0x4E20),
    (0x9FE0, 0xA100), (0xA640, 0xA900), (0xAA60, 0xAC40), (0xD780, 0xD800), (0xE000, 0xE010),
    (0xF8F0, 0xFB50), (0xFE00, 0xFE70), (0xFEF0, 0x10000), (0x10400, 0x10500), (0x10A00, 0x10D80),
    (0x11000, 0x11D60), (0x16E40, 0x17000), (0x1BC90, 0x1BCB0), (0x1D150, 0x1D200),
    (0x1E000, 0x1E960), (0x1F1E0, 0x1F200), (0x1F300, 0x1F700), (0x20000, 0x20010),
    (0x2A6D0, 0x2A710), (0x2F7F0, 0x2FA30), (0xE0000, 0xE0200), (0x10FFF0, 0x110000))
# Kept by accent stripping although of a combining class: what canonical ordering can be seen on.
MOVING = (0x302E, 0x302F, 0x9BE, 0x111C0, 0x16FF0, 0x16FF1, 0x1D165, 0x1D166, 0x1D16D, 0x1D16E,
          0x1D172, 0x1D15E, 0x1D160, 0x1D1BC, 0x345, 0x327, 0x301, 0x34F, 0x94D, 0x1133B, 0x1193D)
FIXED = ("İstanbul ISPARTA ıI ŞİŞLİ", "STRASSE straße ẞ", "ΟΔΥΣΣΕΥΣ Όσος ς Σ", "ᾳ ͅα ᾼ ᾼ ᾷ", "ﬁ ﬃ Ǆ ǅ ǆ Å Å K Ω",
         "한국어 각 갂 각 ᄀ ᅡ ᆨ", "👩‍👩‍👧‍👦 👍🏽 🇩🇪 ❤️", "a\u200bb a\u200db a\u2060b a\ufeffb \u00ad-", "中文abc中文 日本語テキスト ｶﾞ",
         "x" * 100 + " " + "y" * 101 + " " + "é" * 100 + " " + "é" * 101, "##ing ## # [CLS] [MASK]x[sep]",
         "don't o'clock -- … “q” ‘q’ «q» 3.14 1,000 a_b @ $ ^ ` ~ |", "\u0340\u0341\u0343\u0344 ≠ ≯ ;;··", "\r a\rb \t\v\f\x00\x01\x7f\x85\u2028\u2029z")


def exhaustive_lines():
    """Every code point but LF, between letters and alone."""
    points = [c for c in range(0x110000) if c not in SURROGATES and c != 0x0A]
    for i in range(0, len(points), 40):  # words of less than 100 characters
        chars = [chr(c) for c in points[i:i + 40]]
        yield "a" + "a".join(chars) + "b " + " ".join(chars)


def random_char(generator):
    kind = generator.random()
    if kind < 0.35:
        return chr(generator.randrange(0x20, 0x7F))
    if kind < 0.45:
        return chr(generator.choice(MOVING))
    if kind < 0.85:
        return chr(generator.randrange(*generator.choice(HARD_RANGES)))
    while True:
        c = generator.randrange(0x110000)
        if c not in SURROGATES:
            return chr(c)


def random_lines(count, seed):
    generator = random.Random(seed)
    for _ in range(count):
        mixed = generator.random() < 0.5
        low, high = generator.choice(HARD_RANGES)
        chars = []
        for _ in range(generator.choice((1, 3, 10, 40, 150, 400))):
            if mixed:
                chars.append(random_char(generator))
            else:  # one script, with spaces and accents
                c = generator.random()
                chars.append(" " if c < 0.1 else chr(generator.choice(MOVING)) if c < 0.2
                             else chr(generator.randrange(low, high)))
        line = "".join(chars).replace("\n", " ")
        yield line + ("\r" if generator.random() < 0.1 else "")


def write_character_vocabulary(path):
    """Every assigned character but most ideographs, private use and syllables: first and later piece."""
    points = {c for c in range(0x21, 0x110000) if c not in SURROGATES
              and unicodedata.category(chr(c)) not in ("Cn", "Co") and not chr(c).isspace()
              and not (0x3400 <= c < 0x9F00 or 0xAC00 <= c < 0xD700 or 0x17000 <= c < 0x1B000
                       or 0x20100 <= c < 0x2F800)}
    for low, high in HARD_RANGES:
        points.update(c for c in range(low, high) if c > 0x20 and c not in SURROGATES
                      and not chr(c).isspace())
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for c in sorted(points):
        tokens += [chr(c), "##" + chr(c)]
    path.write_bytes("".join(token + "\n" for token in tokens).encode("utf-8"))


def open_text(path):
    opener = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    return opener(path, "rt", encoding="utf-8", newline="\n")


def compare(name, lines, path, tokenizer, command):
    """Returns (lines, ids, differences) and prints the first differences."""
    ours = subprocess.Popen(command + [str(path)], stdout=subprocess.PIPE, text=True)
    count = ids = differences = 0
    batch = []

    def check():
        nonlocal count, ids, differences
        for line, encoding in zip(batch, tokenizer.encode_batch(batch, add_special_tokens=False)):
            text = ours.stdout.readline()
            count += 1
            ids += len(encoding.ids)
            if not text or text.split() != [str(i) for i in encoding.ids]:
                differences += 1
                if differences <= 5:
                    print(f"{name} line {count}: {line[:200]!r}\n  theirs {encoding.ids[:60]}\n"
                          f"  ours   {text[:400].strip() if text else 'nothing'}")
        batch.clear()

    for line in lines:
        batch.append(line.rstrip("\n"))
        if len(batch) == 1000:
            check()
    check()
    if ours.stdout.readline():
        differences += 1
        print(f"{name}: more lines than the text has")
    if ours.wait() != 0:
        differences += 1
        print(f"{name}: exit code {ours.returncode}")
    print(f"{name}: {count} lines, {ids} ids, {differences} differences")
    return count, ids, differences


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--shared", type=pathlib.Path,
                        default=os.environ.get("SLUICE_SHARED", "../shared"))
    parser.add_argument("--lines", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=pathlib.Path, nargs="*")
    arguments = parser.parse_args()
    python = os.environ.get("SLUICE_ORACLE_PYTHON")
    if python and "SLUICE_ORACLE_STARTED" not in os.environ:
        os.environ["SLUICE_ORACLE_STARTED"] = "1"
        os.execv(python, [python, "-B"] + sys.argv)
    if not (arguments.shared / "vocab").is_dir():
        print(f"SKIPPED: no vocabularies in {arguments.shared}")
        return 0
    try:
        import tokenizers
    except ImportError:
        print(f"SKIPPED: {sys.executable} has no `tokenizers`; set SLUICE_ORACLE_PYTHON")
        return 0
    print(f"tokenizers {tokenizers.__version__}, random seed {arguments.seed}")
    corpus = arguments.corpus
    if corpus is None:
        corpus = [arguments.shared / "corpus" / name for name in DEFAULT_CORPUS]
    failures = ids = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        made = {"fixed": FIXED, "exhaustive": exhaustive_lines(),
                "random": random_lines(arguments.lines, arguments.seed)}
        for name, lines in made.items():
            (folder / name).write_bytes("".join(line + "\n" for line in lines).encode("utf-8"))
        made = [folder / name for name in made]
        characters = folder / "characters.txt"
        write_character_vocabulary(characters)
        vocabularies = arguments.shared / "vocab"
        for casing in ("uncased", "cased"):
            for vocabulary, texts in ((vocabularies / f"bert-base-{casing}-vocab.txt", corpus + made),
                                      (characters, made)):
                tokenizer = tokenizers.BertWordPieceTokenizer(str(vocabulary),
                                                              lowercase=casing == "uncased")
                command = [arguments.binary, "ids", "--casing", casing, str(vocabulary)]
                for path in texts:
                    with open_text(path) as lines:
                        result = compare(f"{casing} {vocabulary.name} {path.name}", lines, path,
                                         tokenizer, command)
                    ids += result[1]
                    failures += result[2]
    print(f"{ids} ids, {failures} differences")
    return 1 if failures or ids == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
