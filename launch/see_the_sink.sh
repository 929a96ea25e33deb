#!/usr/bin/env bash
# launch/see_the_sink.sh [OPTION…]: an attention sink, as it forms and as it does not. Trains a tiny OPT with vanilla attention and one with VGA
# side by side, a core each, shows their curves in the terminal, and ends with a page about both: sink, values, outliers, what INT8 costs at
# each checkpoint, maps of attention; ten minutes in all from a built tree.
#
#   --text FILE…   your own text instead of the PostgreSQL manual: UTF-8, one paragraph a line, a blank line between documents; .gz and .xz too
#   --minutes N    train about this long (default 8), 500 to 3000 updates: a few steps are timed. The sink needs about 1000
#   --steps N      train this many updates instead
#   --out DIR      where runs and page go (default runs/see_the_sink)
#
# It can be stopped at any time (Ctrl-C); the same command goes on from there. launch/reproduce_language.sh compares more, and with several seeds.
set -euo pipefail
caller=$PWD
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source-path=SCRIPTDIR source=language_data.sh
source "$root/launch/language_data.sh"

configs=configs/opt_tiny
out=runs/see_the_sink minutes='' steps=''
text=() validation_text=() settings=()
while [ $# -gt 0 ]; do
  case $1 in
    --text)
      take_files "$@"
      text=("${files[@]}")
      shift ${#files[@]}
      ;;
    --minutes) number "$1" "${2:-}" && minutes=$2 && shift ;;
    --steps) number "$1" "${2:-}" && steps=$2 && shift ;;
    --out)
      [ -n "${2:-}" ] || stop "--out wants a folder"
      out=$(cd "$caller" && realpath -m --relative-base="$root" "$2") && shift
      ;;
    -h | --help) usage && exit ;;
    training.steps=*) stop "$1: --steps or --minutes says that, for both" ;;
    *.*=*) settings+=("$1") ;;
    *) stop "unknown option '$1'; --help lists the options" ;;
  esac
  shift
done

advice() { [ "$1" -ne 2 ] || echo "If the text changed, delete $work."; }

# Updates that fit into the minutes, by the fastest of a few timed steps; 0.8: evaluations, checkpoints, and two runs share the memory.
steps_for_minutes() {
  "$sluice" bench step "$configs/vga.yaml" model.vocab_size=2048 runtime.threads=1 --batch 64 --length 64 --steps 15 --json </dev/null |
    python3 -c 'import json, sys
print(int(max(500, min(3000, 0.8 * 60 * int(sys.argv[1]) / json.load(sys.stdin)["min_s"]))))' "${minutes:-8}"
}

sluice=${SLUICE_BIN:-build/release/bin/sluice}
bin=$(dirname "$sluice")
[ -x "$sluice" ] || [ -n "${SLUICE_BIN:-}" ] || build_for_cpu
[ -x "$sluice" ] || stop "there is no program $sluice; run launch/build.sh"
make_shards data/language_opt_tiny bpe 2048

mkdir -p "$out"
# What a second call must find as it was, the number of updates that was timed among it.
key_file=$out/made_of
if [ -z "$steps" ]; then
  [ -n "$minutes" ] || steps=$(sed -n 's/^updates //p' "$key_file" 2>/dev/null || true)
  [ -n "$steps" ] || steps=$(steps_for_minutes)
  [[ $steps =~ ^[1-9][0-9]*$ ]] || stop "timing a step failed (above)"
fi
[ ! -f "$key_file" ] || grep -qxF "text $shards_key" "$key_file" || stop "$out holds runs on other text; give another --out, or delete it"
printf '%s\n' "text $shards_key" "updates $steps" >"$key_file"

say "vanilla and VGA: $steps updates each; log, metrics and checkpoints go to $out"
status=0
launch/watch_runs.py --sluice "$sluice" --steps "$steps" --run vanilla "$configs/vanilla.yaml" "$out/vanilla" \
  --run VGA "$configs/vga.yaml" "$out/vga" runtime.device=cpu runtime.threads=1 "data.train=$work/train" "data.validation=[$work/validation]" \
  checkpoint.keep_last=1 checkpoint.keep_best=false telemetry.attention_maps_every=250 telemetry.quantization_probe=auto "${settings[@]}" || status=$?
[ "$status" -eq 0 ] || STOP_CODE=$status stop "the training ended with code $status. The same command goes on from here"
"$sluice" report "$out/vanilla" "$out/vga" --out "$out/report.html" </dev/null
say "done: open $out/report.html. For INT8 on all of the data: sluice quantize $out/vanilla; for all variants: launch/reproduce_language.sh"
