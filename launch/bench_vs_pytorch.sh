#!/usr/bin/env bash
# launch/bench_vs_pytorch.sh [OPTION…]: times a training step of Sluice and of PyTorch with transformers in turn, on this machine.
#
#   --json           only the result: one JSON line a case
#   --skip-compile   PyTorch eager only; else torch.compile too, minutes a case, and the better counts
#   --rounds N       times that both run (2); medians over the rounds are compared
#   --cases PATTERN  those whose name matches, e.g. '^opt.*bf16'
#   --preset NAME    the build of Sluice: release (default) or ci
#   --no-install     do not look after Debian packages
#
# Cases: bert-base-128x16 and opt-125m-512x4, with VGA and vanilla attention, in bf16 and fp32; dropout 0.1. A line is {"case", "dtype",
# "sluice_tokens_per_s", "pytorch_tokens_per_s", "ratio", "matmul_share", …}; matmul_share: of the matmul rate measured in the same process.
# PyTorch comes from PyPI into .venv (some gigabytes), unless SLUICE_ORACLE_PYTHON names a Python that has it. docs/performance.md has results.
# Leave the machine to it: everything else that runs makes both slower, and not alike.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

json= compile=yes rounds=2 pattern=. preset=release install=yes
while [ $# -gt 0 ]; do
  case $1 in
    --json) json=yes ;;
    --skip-compile) compile= ;;
    --rounds | --cases | --preset)
      [ $# -ge 2 ] || stop "$1 wants a value"
      case $1 in
        --rounds) rounds=$2 ;;
        --cases) pattern=$2 ;;
        --preset) preset=$2 ;;
      esac
      shift
      ;;
    --no-install) install= ;;
    -h | --help) usage && exit 0 ;;
    *) stop "unknown option '$1'; --help lists the options" ;;
  esac
  shift
done
[[ $rounds =~ ^[1-9][0-9]*$ ]] || stop "--rounds wants a number above 0, not '$rounds'"

progress() { [ -n "$json" ] || say "$@"; }

[ -z "$install" ] || "$root/launch/install_dependencies.sh" --oracle >&2
make_oracle_environment >&2
"$root/launch/build.sh" "$preset" sluice >&2
sluice=build/$preset/bin/sluice
threads=${OMP_NUM_THREADS:-$(nproc)}
export OMP_NUM_THREADS=$threads
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

# combine CASE DTYPE: the JSON line of what $runs/CASE.* hold.
combine() {
  "$SLUICE_ORACLE_PYTHON" - "$runs" "$@" <<'PYTHON'
import json, pathlib, statistics, sys
folder, case, dtype = sys.argv[1:]
def median(kind, key):
    lines = (pathlib.Path(folder) / f"{case}.{kind}")
    values = [json.loads(line)[key] for line in lines.read_text().splitlines()] if lines.exists() else []
    return statistics.median(values) if values else None
sluice, eager, compiled = (median(kind, "tokens_per_s") for kind in ("sluice", "eager", "compiled"))
pytorch = max(eager, compiled or 0)
print(json.dumps({
    "case": case, "dtype": dtype, "sluice_tokens_per_s": round(sluice, 1), "pytorch_tokens_per_s": round(pytorch, 1),
    "ratio": round(sluice / pytorch, 3), "matmul_share": round(median("sluice", "matmul_share"), 3),
    "pytorch_compiled": pytorch != eager, "planned_mib": round(median("sluice", "planned_mib")),
    "peak_resident_mib": round(median("sluice", "peak_resident_mib")),
    "pytorch_peak_resident_mib": round(median("eager", "peak_resident_mib"))}))
PYTHON
}

# time_pytorch KIND CASE OPTION…: appends a line to $runs/CASE.KIND.
time_pytorch() {
  local kind=$1 case=$2
  shift 2
  "$SLUICE_ORACLE_PYTHON" launch/pytorch_step.py --threads "$threads" "$@" >>"$runs/$case.$kind" 2>"$runs/errors" </dev/null ||
    { cat "$runs/errors" >&2 && stop "PyTorch ($kind) failed at $case"; }
}

found=
for dtype in bf16 fp32; do
  for attention in vga vanilla; do
    for model in bert opt; do
      case $model in
        bert) case=bert-base-128x16-$attention-$dtype size=(--batch 16 --length 128) config=() ;;
        opt) case=opt-125m-512x4-$attention-$dtype size=(--batch 4 --length 512) config=(configs/opt_125m/vga.yaml) ;;
      esac
      [[ $case =~ $pattern ]] || continue
      found=yes
      peer=(--model $model --attention $attention --precision $dtype "${size[@]}")
      for ((round = 1; round <= rounds; ++round)); do
        progress "$case, round $round of $rounds"
        "$sluice" bench step "${config[@]}" --variant $attention --precision $dtype "${size[@]}" --json >>"$runs/$case.sluice" </dev/null
        time_pytorch eager "$case" "${peer[@]}"
      done
      if [ -n "$compile" ]; then
        progress "$case, torch.compile"
        time_pytorch compiled "$case" --compile "${peer[@]}"
      fi
      combine "$case" $dtype
    done
  done
done
[ -n "$found" ] || stop "no case matches '$pattern'"
