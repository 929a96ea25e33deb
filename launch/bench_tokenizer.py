#!/usr/bin/env python3
"""Times sluice-tokenize and the Python package `tokenizers` in turns; bench_tokenizer.sh runs it.

The package is timed at its fastest: the tokenizer with offsets switched off (encode_batch_fast), all
lines given at once to its own threads, encodings dropped.
"""

import argparse
import gzip
import json
import lzma
import os
import pathlib
import subprocess
import sys
import time


def read_lines(path):
    opener = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    with opener(path, "rt", encoding="utf-8", newline="\n") as file:
        return [line.rstrip("\n") for line in file]


def package_tokenizer(tokenizers, vocabulary):
    """The package's tokenizer for the vocabulary, and the options that make ours do the same."""
    if vocabulary.is_dir():  # vocab.json and merges.txt: byte-level BPE
        return tokenizers.ByteLevelBPETokenizer(str(vocabulary / "vocab.json"), str(vocabulary / "merges.txt")), [
            "--plain-special-tokens"]
    with open(vocabulary, encoding="utf-8") as file:
        cased = any(line.strip() != line.strip().lower() for line in file if line[0] != "[")
    return tokenizers.BertWordPieceTokenizer(str(vocabulary), lowercase=not cased), [
        "--casing", "cased" if cased else "uncased"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("vocabulary", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    arguments = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)  # read when the package is loaded
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if arguments.threads > 1 else "false"
    import tokenizers

    lines = read_lines(arguments.text)
    megabytes = sum(len(line.encode("utf-8")) for line in lines) / 1e6
    package, options = package_tokenizer(tokenizers, arguments.vocabulary)
    encode = getattr(package._tokenizer, "encode_batch_fast", package._tokenizer.encode_batch)
    command = [arguments.binary, "benchmark", *options, "--threads", str(arguments.threads), "--repeat", "3",
               str(arguments.vocabulary), str(arguments.text)]
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        ours.append(result["megabytes_per_second"])
        start = time.perf_counter()
        encodings = encode(lines, add_special_tokens=False)
        theirs.append(megabytes / (time.perf_counter() - start))
        ids = sum(len(encoding.ids) for encoding in encodings)
        if ids != result["ids"]:
            sys.exit(f"not the same work: {result['ids']} ids, the package {ids}")
        del encodings
    print(json.dumps({
        "text": arguments.text.name, "threads": arguments.threads, "ids": ids,
        "vocabulary": arguments.vocabulary.name,
        "sluice_megabytes_per_second": round(max(ours), 1),
        f"tokenizers_{tokenizers.__version__}_megabytes_per_second": round(max(theirs), 2),
        "ratio": round(max(ours) / max(theirs), 1),
        "smallest_ratio_of_a_round": round(min(a / b for a, b in zip(ours, theirs)), 1)}))


if __name__ == "__main__":
    main()
