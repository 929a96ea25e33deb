#!/usr/bin/env bash
# launch/reproduce_bigram_backcopy.sh [OPTION…]: trains the Bigram-Backcopy models of
# docs/bigram_backcopy.md and checks its thresholds T1 to T12.
#
#   (none)             the reduced tier: headline model, batch 32; 4,000 updates of vanilla, VGA, IGA, and
#                      both at the key site, with three seeds each; vanilla and VGA of the first seed go on to
#                      10,000. Hours on two cores; what the thresholds need comes first
#   --quick            a width of 64 and 64 tokens, 1,000 updates: about ten minutes on two cores. No
#                      threshold is calibrated for this size: it shows directions only. Three seeds of vanilla
#                      and VGA, one of the others
#   --full             batch 512, vanilla and VGA with one seed: days on two cores, for a GPU
#   --seeds N          seeds 42, 43, … of each arm instead
#   --optional         also, with one seed and last, attention without a softmax (relu), three layers and,
#                      but for --quick, three layers by SGD: what Guo et al. show beside
#   --steps N          updates of every run instead
#   --device NAME      cpu (default) or cuda
#   --out DIR          where runs and the report go (default runs/bigram_backcopy/TIER)
#   --check            train nothing, check what is there
#
# It can be stopped at any time (Ctrl-C); the same command goes on from there. The report is DIR/report.
set -euo pipefail
caller=$PWD
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source-path=SCRIPTDIR source=run_list.sh
source "$root/launch/run_list.sh"

tier=reduced steps='' seeds='' out='' device=cpu train=yes optional=no
while [ $# -gt 0 ]; do
  case $1 in
    --quick) tier=quick ;;
    --full) tier=full ;;
    --steps)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || stop "--steps wants a number, not '${2:-}'"
      steps=$2 && shift
      ;;
    --seeds)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || stop "--seeds wants a number, not '${2:-}'"
      seeds=$2 && shift
      ;;
    --device)
      [[ ${2:-} =~ ^(cpu|cuda)$ ]] || stop "--device wants cpu or cuda, not '${2:-}'"
      device=$2 && shift
      ;;
    --out)
      [ -n "${2:-}" ] || stop "--out wants a folder"
      out=$(cd "$caller" && realpath -m --relative-base="$root" "$2") && shift
      ;;
    --optional) optional=yes ;;
    --check) train=no ;;
    -h | --help) usage && exit ;;
    *) stop "unknown option $1; --help lists them" ;;
  esac
  shift
done
out=${out:-runs/bigram_backcopy/$tier}
sluice=${SLUICE_BIN:-build/release/bin/sluice}
[ -x "$sluice" ] || [ -n "${SLUICE_BIN:-}" ] || launch/build.sh release
[ -x "$sluice" ] || stop "there is no program $sluice; run launch/build.sh"

settings=("runtime.device=$device" checkpoint.keep_last=1 checkpoint.keep_best=false)
case $tier in
  quick)
    settings+=(model.hidden_size=64 model.intermediate_size=256 model.max_position_embeddings=64
      data.sequence_length=64 data.validation_sequences=256 optimizer.learning_rate=3e-3
      "schedule.warmup_steps=$((${steps:-1000} < 50 ? ${steps:-1000} : 50))" training.global_batch_size=64 training.evaluate_every=1000
      checkpoint.every=250)
    short=${steps:-1000} long=${steps:-1000}
    ;;
  reduced)
    settings+=(training.global_batch_size=32 training.evaluate_every=1000 checkpoint.every=250)
    short=${steps:-4000} long=${steps:-10000}
    ;;
  full)
    settings+=(training.global_batch_size=512 training.evaluate_every=1000 checkpoint.every=20)
    [ "$device" != cpu ] || settings+=(training.gradient_accumulation_steps=16)
    short=${steps:-10000} long=$short
    ;;
esac

# ARM SEED UPDATES, in the order in which they run; one that was run before goes on.
runs() {
  local arm seed last=$((41 + ${seeds:-3})) last_of_others=$((41 + ${seeds:-3}))
  [ "$tier" != quick ] || last_of_others=$((41 + ${seeds:-1}))
  [ "$tier" != full ] || last=$((41 + ${seeds:-1})) last_of_others=0
  for ((seed = 42; seed <= last; ++seed)); do
    for arm in vanilla vga; do echo "$arm $seed $short"; done
  done
  [ "$tier" = full ] || for arm in iga vga_key_site iga_key_site; do echo "$arm 42 $short"; done
  for arm in vanilla vga; do echo "$arm 42 $long"; done
  for ((seed = 43; seed <= last_of_others; ++seed)); do
    for arm in iga vga_key_site iga_key_site; do echo "$arm $seed $short"; done
  done
  [ "$optional" = yes ] || return 0
  echo "relu 42 $short"
  echo "three_layers 42 $short"
  # The quick tier's learning rate is AdamW's.
  [ "$tier" = quick ] || echo "three_layers_sgd 42 $short"
}

config_of() { echo "configs/bigram_backcopy/$1.yaml"; }
finish_run() { :; }

[ "$train" = no ] || train_all

finished=()
while read -r run; do
  [ ! -f "$run/metrics.jsonl" ] || finished+=("$run")
done < <({ runs | awk -v out="$out" '{ print out "/" $1 "_seed_" $2 }' && printf '%s\n' "$out"/*_seed_*; } | awk '!seen[$0]++')
[ ${#finished[@]} -gt 0 ] || stop "there is no run in $out yet"
[ "$tier" != quick ] ||
  say "the quick tier shows directions only: thresholds are of the headline model, width 256 and 256 tokens"
"$sluice" check bigram-backcopy "${finished[@]}" --out "$out/report"
say "report: $out/report (verdicts.md, verdicts.json, records.csv, curves as .svg)"
