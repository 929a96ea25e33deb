#!/usr/bin/env bash
# launch/bench_tokenizer.sh [OPTION…] VOCABULARY TEXT: how fast is the tokenizer, next to the Python
# package `tokenizers`? VOCABULARY is a vocab.txt of WordPiece, or a folder with vocab.json and merges.txt
# of byte-level BPE. Both read the same lines (text, .xz or .gz) and run in turns, with the same
# number of threads; the best of each is printed, and the ratio, as one line of JSON.
#
#   --threads N     default: all cores
#   --rounds N      turns each; default 5
#   --preset NAME   the build to use; default ci
#   --binary FILE   sluice-tokenize, instead of the preset's
#
# Needs an interpreter with the package in SLUICE_ORACLE_PYTHON, or .venv (launch/test.sh --oracle
# makes it). Example:  launch/bench_tokenizer.sh vocab.txt text.txt --threads 2
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

preset=ci binary='' threads=$(nproc) rounds=5 positional=()
while [ $# -gt 0 ]; do
  case $1 in
    --threads | --rounds | --preset | --binary)
      [ $# -ge 2 ] || stop "$1 wants a value"
      printf -v "${1#--}" %s "$2" && shift
      ;;
    -h | --help) usage && exit 0 ;;
    -*) stop "unknown option '$1'; --help lists the options" ;;
    *) positional+=("$1") ;;
  esac
  shift
done
[ "${#positional[@]}" -eq 2 ] || stop "wants VOCABULARY and TEXT; --help says more"
python=${SLUICE_ORACLE_PYTHON:-$root/.venv/bin/python}
"$python" -c 'import tokenizers' 2>/dev/null ||
  stop "$python has no \`tokenizers\`: set SLUICE_ORACLE_PYTHON or run launch/test.sh --oracle"
if [ -z "$binary" ]; then
  "$root/launch/build.sh" "$preset" sluice-tokenize >&2
  binary=$root/build/$preset/bin/sluice-tokenize
fi
exec "$python" -B "$root/launch/bench_tokenizer.py" --binary "$binary" --threads "$threads" \
  --rounds "$rounds" "${positional[@]}"
