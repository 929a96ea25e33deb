#!/usr/bin/env python3
"""Writes wordpiece_goldens.json: lines with the ids that the Python package `tokenizers` gives them.

The vocabulary is made for these lines: their characters (some left out, so that [UNK] occurs), and a
few longer pieces. All text is written here or drawn at random; none is taken from a corpus.

    make_wordpiece_goldens.py tests/data_tools/wordpiece_goldens.json
"""

import json
import pathlib
import sys
import tempfile

import tokenizers
from tokenizers import normalizers

from wordpiece_oracle import FIXED, random_lines

WRITTEN = (
    "", " ", "  \t ", "A sluice is a gate in a channel.", "The sluices were ungated; the gatekeepers left.",
    "Unbelievable, unbelievably UNBELIEVABLE!", "gate gates gated gating regating g ga gat",
    "It's the keeper's own: can't, won't, didn't -- 'tis so.", "e-mail: keeper@example.org (24/7), $9.99, 50%",
    "naïve café résumé Ångström façade coöperate Zoë", "Grüße aus Köln, Straße 5; ÄÖÜ äöü",
    "Čeština: žluťoučký kůň úpěl ďábelské ódy", "Việt Nam: Đường phố Hà Nội, tiếng Việt",
    "Ελληνικά: Ο ΣΙΣΥΦΟΣ, ὁ Ὅμηρος ᾄδει", "Русский язык: Ёлка, Йод, й и ё", "עִבְרִית: שָׁלוֹם", "العَرَبِيَّة: سَلَام ١٢٣",
    "हिन्दी: नमस्ते दुनिया, क़लम", "বাংলা: কো কৌ", "ไทย: สวัสดีครับ", "தமிழ்: கொ கோ கௌ", "ಕನ್ನಡ: ಕೋ ಕೊ", "မြန်မာ: ဦး",
    "中文分词 and 日本語の文章、ガギグ ｶﾞｷﾞｸﾞ", "豈更車 丽 \U0002F800 \U00020000", "한글 각각 뷁 ᄒ ᅡ ᆫ", "㍿ ﷺ ½ ² ™ ℡ Ⅷ ⑧",
    "[MASK] the [MASK]. [CLS]gate[SEP] [PAD][UNK] [mask] [MASK", "[[MASK]] [ MASK ] [MASK]s un[MASK]able",
    "##gate ## gate##s #gate", "\x00a\x01b\x1fc\x7fd\x80e\x9ff", "a\u00a0b\u2003c\u3000d\u200be\u202ff",
    "x\u0301\u0345\u0327y \u0301z \u0301", "a\u302e\U0001d165\U00016ff0b \u302e\u034f\U0001d165\u302e",
    "\U0001d15e\U0001d160\u302e\U0001d1bb", "g" * 99, "g" * 100, "g" * 101, "ga" * 50 + " " + "ga" * 51,
    "é" * 101, "e\u0301" * 100, "가" * 34 + " " + "각" * 33 + " " + "각" * 34,
    "wrapped\r", "two\r\rparts", "\ufeffmark", "end\ufffdof\ufffftext", "tab\tand\x0bvertical\x0cfeed",
    "\u1e9e\u1e9b\u0323 \u0130i\u0131I \u01c4\u01c5\u01c6 \u03a3\u03c3\u03c2", "\ua7cb\ua7dc\U00010d50\U00016ea0 Ꭰꭰ Აა")
PIECES = ("sluice", "gate", "##s", "##d", "##gate", "un", "##able", "##ably", "##believ", "the", "keep",
          "##er", "gat", "##ing", "is", "in", "a", "Un", "The", "ga", "##ga", "##keeper", "left", "##as", "mask")


def write_vocabulary(lines, path):
    clean = normalizers.BertNormalizer(lowercase=True).normalize_str
    keep_case = normalizers.BertNormalizer(lowercase=False).normalize_str
    characters = sorted({c for line in lines for c in clean(line) + keep_case(line)
                         if not c.isspace()})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for number, c in enumerate(characters):
        if ord(c) > 0x7F and number % 11 == 0:
            continue
        tokens += [c, "##" + c]
    tokens += [piece for piece in PIECES if piece not in tokens]
    path.write_bytes("".join(token + "\n" for token in tokens).encode("utf-8"))
    return tokens


def main():
    lines = list(WRITTEN) + list(FIXED)
    lines += [line[:40].rstrip("\r") for line in random_lines(160, seed=3)]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "vocab.txt"
        tokens = write_vocabulary(lines, path)
        kinds = {casing: tokenizers.BertWordPieceTokenizer(str(path), lowercase=casing == "uncased")
                 for casing in ("uncased", "cased")}
        rows = [{"text": line, **{casing: kind.encode(line, add_special_tokens=False).ids
                                  for casing, kind in kinds.items()}} for line in lines]
    def compact(value):
        return json.dumps(value, separators=(",", ":"))

    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write(f'{{"made_by":"tokenizers {tokenizers.__version__}",\n')
        file.write('"vocabulary":[' + ",".join(("\n" if i % 100 == 99 else "") + compact(token)
                                               for i, token in enumerate(tokens)) + "],\n")
        file.write('"lines":[\n' + ",\n".join(compact(row) for row in rows) + "]}\n")


if __name__ == "__main__":
    main()
