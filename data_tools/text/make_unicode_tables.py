#!/usr/bin/env python3
"""Writes unicode_tables.cc, what BERT's text normalization does with every code point, and
character_class_tables.cc, what byte-level BPE's division into words takes for \\p{L}, \\p{N} and \\s.

The reference is the Python package `tokenizers` itself, asked code point by code point, because it
mixes several versions of Unicode (general categories of Unicode 8, decompositions of Unicode 10 or
so, the lower case of the Rust release it was built with; the classes of the regular expression are
those of Unicode 16). Only the values of the combining classes come from Python's unicodedata; they
never change once assigned.

    make_unicode_tables.py unicode_tables.cc character_class_tables.cc    (needs `tokenizers`)
"""

import sys
import textwrap
import unicodedata

import tokenizers
from tokenizers import normalizers, pre_tokenizers

HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic in unicode_tables.cc's readers
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def bert_normalizer(**on):
    steps = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**steps, **on}).normalize_str


def ranges(code_points):
    """Sorted code points as [first, last] pairs."""
    out = []
    for c in sorted(code_points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def class_ranges(class_of):
    out = []
    for c in sorted(class_of):
        if out and out[-1][1] == c - 1 and out[-1][2] == class_of[c]:
            out[-1][1] = c
        else:
            out.append([c, c, class_of[c]])
    return out


def lower_ranges(lower):
    """{c: lower} as [first, last, step, delta]: every step-th code point of the range moves by delta."""
    out = []
    for c in sorted(lower):
        delta = lower[c] - c
        if out and out[-1][3] == delta:
            first, last, step, _ = out[-1]
            if c - last == step or (first == last and c - last <= 2):
                out[-1] = [first, c, c - last, delta]
                continue
        out.append([c, c, 1, delta])
    return out


def probe():
    """Asks the package for every code point."""
    clean = bert_normalizer(clean_text=True)
    cjk = bert_normalizer(handle_chinese_chars=True)
    strip = bert_normalizer(strip_accents=True)
    lowercase = bert_normalizer(lowercase=True)
    nfd = normalizers.NFD().normalize_str
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    removed, space, ideograph, punctuation, accents, barriers = (set() for _ in range(6))
    lower, stripped, combining = {}, {}, {}
    for c in CODE_POINTS:
        char = chr(c)
        cleaned = clean(char)
        if cleaned == "":
            removed.add(c)
        elif cleaned == " ":
            space.add(c)
        if cjk(char) != char:
            ideograph.add(c)
        pieces = len(split("a" + char + "a"))
        if pieces == 3:
            punctuation.add(c)
        # What splits words as white space, but is not mapped to a space, is removed before that.
        assert pieces != 2 or c in space or c in removed, hex(c)
        if lowercase(char) != char:
            lower[c] = lowercase(char)
        if c in HANGUL:
            continue
        decomposed = nfd(char)
        # U+1D167 has class 1, U+0345 class 240: any class but 0 changes places with one of them.
        moves = nfd("a" + char + "\U0001D167") != "a" + decomposed + "\U0001D167" or (
            nfd("a\u0345" + char) != "a\u0345" + decomposed)
        result = strip(char)
        if result == "":
            (accents if moves else barriers).add(c)
        elif result != char:
            stripped[c] = result
        elif moves:
            combining[c] = unicodedata.combining(char)
            assert combining[c] > 0 and c not in punctuation, hex(c)
    assert lower.pop(0x130) == "i\u0307"  # the only one of two characters; accents go before it
    assert all(len(v) == 1 for v in lower.values())
    # Inside of one decomposition no removed character may stop a reordering that matters.
    assert not any(ord(x) in barriers for c in stripped for x in nfd(chr(c))
                   if any(ord(y) in combining for y in nfd(chr(c))))
    return dict(removed=removed, space=space, ideograph=ideograph, punctuation=punctuation,
                accents=accents, barriers=barriers, lower={c: ord(v) for c, v in lower.items()},
                stripped=stripped, combining=combining)


def probe_classes():
    """The classes of BPE's regular expression: a code point between two of its class is one word with them."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    members = dict(letters=set(), numbers=set(), others=set(), spaces=set())
    for c in CODE_POINTS:
        char = chr(c)
        fits = [name for name, x in (("letters", "a"), ("numbers", "1"), ("others", "!"))
                if len(split(x + char + x)) == 1]
        # White space fits none of them, and runs of it at the end are one word.
        assert len(fits) == 1 or (not fits and len(split("a" + char * 3)) == 2), hex(c)
        members[fits[0] if fits else "spaces"].add(c)
    return members


def array(kind, name, cells):
    body = textwrap.fill(", ".join(cells), 98, break_long_words=False, break_on_hyphens=False)
    return f"constexpr {kind} {name}[] = {{\n{body}}};\n"


def table(kind, name, rows):
    return array(kind, name, ["{" + ",".join(f"{v:#x}" if i < 2 else str(v)
                                             for i, v in enumerate(row)) + "}" for row in rows])


def decompositions(stripped):
    """One character each: runs of neighbours with their targets in a row; longer ones by themselves."""
    runs, targets, longer = [], [], []
    for c in sorted(stripped):
        sequence = [ord(x) for x in stripped[c]]
        if len(sequence) > 1:
            assert len(sequence) <= 4
            longer.append([c] + sequence + [0] * (4 - len(sequence)))
            continue
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
        targets.append(sequence[0])
    sequences = ["{" + ",".join(f"{v:#x}" for v in row) + "}" for row in longer]
    return (table("CodePointRange", "kSingleRuns", runs) +
            array("uint32_t", "kSingleTargets", [f"{t:#x}" for t in targets]) +
            array("CodePointSequence", "kSequences", sequences))


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(f"// Generated by make_unicode_tables.py from tokenizers {tokenizers.__version__}; do not edit.\n" +
                   text)


def write_classes(path):
    c = probe_classes()
    write(path, f"""#include "data_tools/text/unicode_tables.h"

// clang-format off
namespace sluice {{
namespace {{

{table("CodePointRange", "kLetters", ranges(c["letters"]))}{table("CodePointRange", "kNumbers", ranges(c["numbers"]))}{table("CodePointRange", "kSpaces", ranges(c["spaces"]))}
}}  // namespace

const CharacterClassTables& BytePairCharacterClasses() {{
  static constexpr CharacterClassTables kTables = {{
      .letters = kLetters,
      .numbers = kNumbers,
      .spaces = kSpaces,
  }};
  return kTables;
}}

}}  // namespace sluice
""")


def main():
    p = probe()
    write(sys.argv[1], f"""#include "data_tools/text/unicode_tables.h"

// clang-format off
namespace sluice {{
namespace {{

{table("CodePointRange", "kRemoved", ranges(p["removed"]))}{table("CodePointRange", "kSpace", ranges(p["space"]))}{table("CodePointRange", "kIdeographs", ranges(p["ideograph"]))}{table("CodePointRange", "kPunctuation", ranges(p["punctuation"]))}{table("CodePointRange", "kAccents", ranges(p["accents"]))}{table("CodePointRange", "kBarriers", ranges(p["barriers"]))}{table("CombiningRange", "kCombining", class_ranges(p["combining"]))}{table("LowerCaseRange", "kLowerCase", lower_ranges(p["lower"]))}{decompositions(p["stripped"])}
}}  // namespace

const UnicodeTables& BertUnicodeTables() {{
  static constexpr UnicodeTables kTables = {{
      .removed = kRemoved,
      .space = kSpace,
      .ideographs = kIdeographs,
      .punctuation = kPunctuation,
      .accents = kAccents,
      .barriers = kBarriers,
      .combining = kCombining,
      .lower_case = kLowerCase,
      .single_runs = kSingleRuns,
      .single_targets = kSingleTargets,
      .sequences = kSequences,
  }};
  return kTables;
}}

}}  // namespace sluice
""")
    write_classes(sys.argv[2])


if __name__ == "__main__":
    main()
