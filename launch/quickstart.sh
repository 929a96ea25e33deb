#!/usr/bin/env bash
# launch/quickstart.sh [OPTION…]: from a fresh clone to a trained model with value-state gated
# attention, in a quarter of an hour on two cores.
#
#   --text FILE…       your own text instead of the PostgreSQL manual: UTF-8, one paragraph a line, a
#                      blank line between documents; .gz and .xz too
#   --minutes N        train about this long (default 6): a few steps are timed, and the number of
#                      updates follows from their speed
#   --steps N          train this many updates instead
#   --ranks N          MPI processes (default 2)
#   --vocabulary N     size of the WordPiece vocabulary (default 8000)
#   --run-folder DIR   where the run goes (default runs/quickstart)
#   --no-install       do not look after Debian packages
#
# Stages: install, build, text, vocabulary, prepare, train, evaluate, inspect, predict. What is there
# already is kept: a second call goes on where the first one stopped.
set -euo pipefail
caller=$PWD
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source-path=SCRIPTDIR source=language_data.sh
source "$root/launch/language_data.sh"

config=configs/toy/bert_vga.yaml
bin=build/release/bin
run_folder=runs/quickstart
vocabulary_size=8000 ranks=2 minutes=6 steps="" install=yes
text=() validation_text=()
while [ $# -gt 0 ]; do
  case $1 in
    --text)
      take_files "$@"
      text=("${files[@]}")
      shift ${#files[@]}
      ;;
    --minutes) number "$1" "${2:-}" && minutes=$2 && shift ;;
    --steps) number "$1" "${2:-}" && steps=$2 && shift ;;
    --ranks) number "$1" "${2:-}" && ranks=$2 && shift ;;
    --vocabulary) number "$1" "${2:-}" && vocabulary_size=$2 && shift ;;
    --run-folder)
      [ $# -ge 2 ] || stop "--run-folder wants a folder"
      run_folder=$(cd "$caller" && realpath -m --relative-base="$root" "$2")
      shift
      ;;
    --no-install) install= ;;
    -h | --help) usage && exit 0 ;;
    *) stop "unknown option '$1'; --help lists the options" ;;
  esac
  shift
done

advice() {
  case $1 in
    75) echo "It was stopped on request." ;;
    5) echo "The training diverged; try a smaller optimizer.learning_rate in $config." ;;
    4) echo "Look at free memory and disk space (free -h; df -h .)." ;;
    3) echo "If $run_folder is of an older version, delete it or give --run-folder." ;;
    2) echo "If the text changed, delete $work." ;;
    *) echo "" ;;
  esac
}

# Updates that fit into the minutes, by the fastest of a few timed steps, between 300 and 5000. 0.9: two
# ranks share the memory, and evaluations and checkpoints take their part.
steps_for_minutes() {
  "$bin/sluice" bench step "$config" --batch 64 --length 64 --steps 25 --json </dev/null |
    python3 -c 'import json, sys
step_s = json.load(sys.stdin)["min_s"]
print(int(max(300, min(5000, 0.9 * 60 * int(sys.argv[1]) / step_s))))' "$minutes"
}

train() {
  launch/train_mpi.sh "$ranks" "$config" --run-folder "$run_folder" --resume auto \
    "data.train=$work/train" "data.validation=[$work/validation]" \
    "training.steps=$steps"
}

# A sentence with one word masked: of the manual, or of the user's own held-out text.
sentences() {
  if [ ${#text[@]} -eq 0 ]; then
    echo "A table consists of rows and [MASK]."
    echo "This command can only be executed by a [MASK]."
    echo "The default value of this [MASK] is zero."
  else
    python3 - "$work/text/validation.txt" <<'END'
import sys
lines = [line.split() for line in open(sys.argv[1], encoding="utf-8")]
lines = [words for words in lines if len(words) >= 8][:200]
for words in lines[:: max(1, len(lines) // 3)][:3]:
    words = words[:24]
    middle = max(range(2, len(words) - 1), key=lambda i: (words[i].isalpha(), -abs(i - len(words) // 2)))
    words[middle] = "[MASK]"
    print(" ".join(words))
END
  fi
}

predict() {
  local sentence
  while IFS= read -r sentence; do
    "$bin/sluice" predict "$run_folder" "$sentence" </dev/null
  done < <(sentences)
}

if [ -n "$install" ]; then
  launch/install_dependencies.sh
fi
build_for_cpu

make_shards data/quickstart wordpiece "$vocabulary_size"

# Timed once: a second call must ask for the same run.
if [ -z "$steps" ]; then
  steps_file=$work/steps_for_${minutes}_minutes
  [ -s "$steps_file" ] || steps_for_minutes >"$steps_file"
  steps=$(cat "$steps_file")
  [[ $steps =~ ^[1-9][0-9]*$ ]] || { rm -f "$steps_file"; stop "timing a step failed (above)"; }
  say "train: $steps updates fit into $minutes minutes on this machine"
fi

# The run's own marks lie beside the text, so that the run folder is sluice's alone.
run_mark=$work/run_$(realpath -m "$run_folder" | sha256sum | cut -c1-12)
run_key="$shards_key $(cat configs/toy/base.yaml "$config" | sha256sum | cut -c1-64) $steps"
if [ ! -d "$run_folder" ]; then
  rm -f "$run_mark.key" "$run_mark.done"
elif [ "$(cat "$run_mark.key" 2>/dev/null)" != "$run_key" ]; then
  stop "$run_folder holds a run with other text, steps or configuration; give another --run-folder," \
    "or delete it"
fi
printf '%s' "$run_key" >"$run_mark.key"
stage_marker=$run_mark.done stage train "$config on $ranks MPI ranks; log, metrics and checkpoints go to $run_folder" \
  "$run_key" train

say "evaluate: loss and perplexity on the held-out text"
"$bin/sluice" evaluate "$run_folder" </dev/null
say "inspect: what each head's gate did"
"$bin/sluice" inspect "$run_folder" --gates </dev/null
say "predict: what belongs where [MASK] is"
predict
say "done. Look into $run_folder; README.md says what to try next"
