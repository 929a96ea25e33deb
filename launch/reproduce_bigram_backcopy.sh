#!/usr/bin/env bash
# launch/reproduce_bigram_backcopy.sh [OPTION…]: trains the Bigram-Backcopy models of
# docs/bigram_backcopy.md and checks its thresholds T1 to T12.
#
#   (none)             the reduced tier: headline model, batch 32; 4,000 updates of vanilla and VGA with
#                      three seeds and of IGA, VGA and IGA at the key site with one; then vanilla and VGA of
#                      the first seed go on to 10,000. Hours on two cores
#   --quick            a width of 64 and 64 tokens, 1,000 updates: about ten minutes on two cores. No
#                      threshold is calibrated for this size: it shows directions only
#   --full             batch 512, vanilla and VGA with one seed: days on two cores, for a GPU
#   --steps N          updates of every run instead
#   --device NAME      cpu (default) or cuda
#   --out DIR          where runs and the report go (default runs/bigram_backcopy/TIER)
#   --check            train nothing, check what is there
#
# It can be stopped at any time (Ctrl-C); the same command goes on from there. The report is DIR/report.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

tier=reduced steps='' out='' device=cpu train=yes
while [ $# -gt 0 ]; do
  case $1 in
    --quick) tier=quick ;;
    --full) tier=full ;;
    --steps)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || stop "--steps wants a number, not '${2:-}'"
      steps=$2 && shift
      ;;
    --device) device=${2:?--device wants cpu or cuda} && shift ;;
    --out) out=${2:?--out wants a folder} && shift ;;
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
      schedule.warmup_steps=50 training.global_batch_size=64 training.evaluate_every=1000
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
  local arm seed
  if [ "$tier" != full ]; then
    for seed in 42 43 44; do
      for arm in vanilla vga; do echo "$arm $seed $short"; done
    done
    for arm in iga vga_key_site iga_key_site; do echo "$arm 42 $short"; done
  fi
  for arm in vanilla vga; do echo "$arm 42 $long"; done
}

folder() { echo "$out/${1}_seed_$2"; }
updates_done() { cat "$(folder "$1" "$2")/updates_done" 2>/dev/null || echo 0; }

# Updates that are left of all runs together; a run that appears twice counts once.
updates_left() {
  runs | sort -k1,2 -k3,3n | awk -v out="$out" '
    { most[$1 "_seed_" $2] = $3 }
    END {
      for (run in most) {
        done = 0
        file = out "/" run "/updates_done"
        getline done < file
        if (most[run] > done) left += most[run] - done
      }
      print left + 0
    }'
}

train_one() {
  local arm=$1 seed=$2 updates=$3 began status=0 before left seconds
  before=$(updates_done "$arm" "$seed")
  [ "$before" -lt "$updates" ] || return 0
  left=$(updates_left)
  if [ "$timed_updates" -gt 0 ]; then
    seconds=$((timed_seconds * left / timed_updates))
    say "$arm, seed $seed, to $updates updates; all that is left: $left updates, about $((seconds / 60)) min"
  else
    say "$arm, seed $seed, to $updates updates; all that is left: $left updates"
  fi
  began=$(date +%s)
  "$sluice" train "configs/bigram_backcopy/$arm.yaml" --run-folder "$(folder "$arm" "$seed")" \
    "${settings[@]}" "training.seed=$seed" "training.steps=$updates" </dev/null || status=$?
  [ "$status" -eq 0 ] || STOP_CODE=$status stop \
    "the training ended with code $status (above). The same command goes on from here"
  echo "$updates" >"$(folder "$arm" "$seed")/updates_done"
  timed_seconds=$((timed_seconds + $(date +%s) - began))
  timed_updates=$((timed_updates + updates - before))
}

timed_seconds=0 timed_updates=0
if [ "$train" = yes ]; then
  while read -r arm seed updates; do
    train_one "$arm" "$seed" "$updates"
  done < <(runs)
fi

finished=()
while read -r run; do
  [ ! -f "$run/metrics.jsonl" ] || finished+=("$run")
done < <(runs | awk -v out="$out" '{ run = out "/" $1 "_seed_" $2 } !seen[run]++ { print run }')
[ ${#finished[@]} -gt 0 ] || stop "there is no run in $out yet"
[ "$tier" != quick ] ||
  say "the quick tier shows directions only: thresholds are of the headline model, width 256 and 256 tokens"
"$sluice" check bigram-backcopy "${finished[@]}" --out "$out/report"
say "report: $out/report (verdicts.md, verdicts.json, curves as .svg)"
