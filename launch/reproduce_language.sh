#!/usr/bin/env bash
# launch/reproduce_language.sh [bert|opt] [OPTION…] [key.path=value…]: the comparison of arXiv 2510.09017, Tables 1 and 2. Trains each
# attention variant on the same data with the same seeds, evaluates in fp32, quantizes to INT8, and prints both tables beside the paper's numbers.
#
#   --size NAME        tiny (default): configs/MODEL_tiny, about 5 minutes a run on a core with AMX; small: configs/opt_mini or
#                      configs/bert_small; base: the paper's recipe, a job array for Slurm (launch/slurm/reproduce_language.sbatch), which is
#                      written and told, not started
#   --submit           base: also submits it
#   --seeds N          seeds 1000, 1001, … (default 2)
#   --variants A,B     of: vanilla, vga, registers, learnable_sink, learnable_sink_token, iga, vga_key_site, clipped_softmax, softmax_plus_one
#                      (default: all)
#   --ablations        instead the questions about gates of configs/ablations, a variant each, with the model and recipe of the size, tiny or small;
#                      beside them vanilla, and baseline, which is VGA. Their runs go to runs/ablations/MODEL_SIZE unless --out is said
#   --steps N          updates of every run instead of the configuration's
#   --text FILE…       your own text instead of the PostgreSQL manual: UTF-8, one paragraph a line, a blank line between documents; .gz and
#                      .xz too
#   --validation FILE… text to evaluate on, with --text; else one document in 20 is held out
#   --out DIR          where runs and report go (default runs/language/MODEL_SIZE)
#   --report           train nothing: the tables of the runs that are there
#
# MODEL is opt unless bert is said. key.path=value goes to every training, as in runtime.threads=1. It can be stopped at any time (Ctrl-C); the
# same command goes on from there. The report is DIR/report (tables.md, tables.json, runs.csv).
set -euo pipefail
caller=$PWD
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source-path=SCRIPTDIR source=run_list.sh
source "$root/launch/run_list.sh"
# shellcheck source-path=SCRIPTDIR source=language_data.sh
source "$root/launch/language_data.sh"

all_variants=(vanilla vga registers learnable_sink learnable_sink_token iga vga_key_site clipped_softmax softmax_plus_one)
model=opt size=tiny seeds=2 steps='' out='' train=yes submit='' ablations='' names=''
text=() validation_text=() settings=()

# Fine-tuning is none of them: it begins with a model that is trained.
take_ablations() {
  local file name
  all_variants=(vanilla baseline)
  for file in configs/ablations/*.yaml; do
    name=$(basename "$file" .yaml)
    [[ $name == baseline || $name == finetune_vga ]] || all_variants+=("$name")
  done
}

# The files of configs/ablations, of which one says what model they train, with this size's model; and its vanilla.
write_ablations() {
  local model_configs=$root/$configs baseline
  configs=$out/configs
  rm -rf "$configs"
  mkdir -p "$configs"
  cp configs/ablations/*.yaml "$configs"
  baseline=$(<configs/ablations/baseline.yaml)
  printf '%s\n' "${baseline/'extends: ../opt_mini/base.yaml'/"extends: \"$model_configs/base.yaml\""}" >"$configs/baseline.yaml"
  echo "extends: \"$model_configs/vanilla.yaml\"" >"$configs/vanilla.yaml"
}

choose_variants() {
  local variant
  variants=("${all_variants[@]}")
  [ -n "$names" ] || return 0
  IFS=, read -ra variants <<<"$names"
  [ ${#variants[@]} -gt 0 ] || stop "--variants wants names; known: ${all_variants[*]}"
  for variant in "${variants[@]}"; do
    [[ " ${all_variants[*]} " == *" $variant "* ]] || stop "there is no variant '$variant'; known: ${all_variants[*]}"
  done
}

while [ $# -gt 0 ]; do
  case $1 in
    bert | opt) model=$1 ;;
    --size)
      [[ ${2:-} =~ ^(tiny|small|base)$ ]] || stop "--size wants tiny, small or base, not '${2:-}'"
      size=$2 && shift
      ;;
    --seeds) number "$1" "${2:-}" && seeds=$2 && shift ;;
    --steps) number "$1" "${2:-}" && steps=$2 && shift ;;
    --variants)
      [ -n "${2:-}" ] || stop "--variants wants names, with commas between them"
      names=$2 && shift
      ;;
    --ablations) ablations=yes ;;
    --out)
      [ -n "${2:-}" ] || stop "--out wants a folder"
      out=$(cd "$caller" && realpath -m --relative-base="$root" "$2") && shift
      ;;
    --text | --validation)
      take_files "$@"
      if [ "$1" = --text ]; then text=("${files[@]}"); else validation_text=("${files[@]}"); fi
      shift ${#files[@]}
      ;;
    --report) train='' ;;
    --submit) submit=yes ;;
    -h | --help) usage && exit ;;
    training.steps=* | training.seed=*) stop "$1: --steps and --seeds say that, for all runs" ;;
    *.*=* | name=*) settings+=("$1") ;;
    *) stop "unknown option '$1'; --help lists the options" ;;
  esac
  shift
done
[ -z "$submit" ] || [ "$size" = base ] || stop "--submit is for --size base"
[ ${#text[@]} -eq 0 ] || [ "$size" != base ] || stop "--text is for --size tiny and small; the base size's data are data.train=FOLDER and data.validation=[FOLDER]"
[ ${#validation_text[@]} -eq 0 ] || [ ${#text[@]} -gt 0 ] || stop "--validation wants --text too"
[ -z "$ablations" ] || [ "$size" != base ] || stop "--ablations is for --size tiny and small, whose models have the four layers of its questions"
[ -z "$ablations" ] || take_ablations
choose_variants
if [ -n "$ablations" ]; then
  out=${out:-runs/ablations/${model}_$size}
else
  out=${out:-runs/language/${model}_$size}
fi

case $model-$size in
  opt-small) configs=configs/opt_mini ;;
  opt-base) configs=configs/opt_125m ;;
  *) configs=configs/${model}_$size ;;
esac
case $model-$size in
  opt-tiny) tokenizer=bpe vocabulary_size=2048 ;;
  opt-small) tokenizer=bpe vocabulary_size=16000 ;;
  bert-tiny) tokenizer=wordpiece vocabulary_size=2048 ;;
  bert-small) tokenizer=wordpiece vocabulary_size=8000 ;;
esac

config_of() { echo "$configs/$1.yaml"; }
advice() { [ "$1" -ne 2 ] || echo "If the text changed, delete $work."; }

# The paper's two ends first, so that a stopped comparison shows most.
runs() {
  local seed variant first
  for first in yes no; do
    for ((seed = 1000; seed < 1000 + seeds; ++seed)); do
      for variant in "${variants[@]}"; do
        case $variant in
          vanilla | vga | baseline) [ $first = no ] || echo "$variant $seed $steps" ;;
          *) [ $first = yes ] || echo "$variant $seed $steps" ;;
        esac
      done
    done
  done
}

# into FILE COMMAND…: its standard output, all of it or nothing.
into() {
  local file=$1
  shift
  "$@" </dev/null >"$file.part" || return
  mv "$file.part" "$file"
}

# What of a run is measured after so many updates is not made again.
finish_run() {
  local run=$1 updates
  updates=$(cat "$run/updates_done")
  [ "$(cat "$run/measured_after" 2>/dev/null)" != "$updates" ] || return 0
  say "evaluate and quantize $run"
  rm -f "$run/evaluate.json" "$run/quantize.json"
  into "$run/evaluate.json" "$sluice" evaluate "$run" --precision fp32 --json || stop "evaluating $run failed (above)"
  into "$run/quantize.json" "$sluice" quantize "$run" --json || stop "quantizing $run failed (above)"
  echo "$updates" >"$run/measured_after"
}

# The tables of all runs of the folder that are measured.
report() {
  local run measured=()
  for run in "$out"/*_seed_*/; do
    [ ! -s "$run/quantize.json" ] || measured+=("${run%/}")
  done
  [ ${#measured[@]} -gt 0 ] || stop "there is no finished run in $out yet"
  "$sluice" compare "${measured[@]}" --out "$out/report"
  say "report: $out/report (tables.md, tables.json, runs.csv)"
}

# A list of runs and the command that makes an array of jobs of it.
plan_cluster() {
  local list shared=$out/settings.txt count command told=() plan=1
  mkdir -p "$out"
  # A task that is killed without a warning loses what came after its checkpoint.
  told=(checkpoint.every=1000 "${settings[@]}" ${steps:+"training.steps=$steps"})
  # Tasks read it when they begin, which may be days from now: those that wait must find what they were queued with.
  if [ ! -s "$shared" ]; then
    printf '%s\n' "${told[@]}" >"$shared"
  elif [ "$(printf '%s\n' "${told[@]}")" != "$(cat "$shared")" ]; then
    stop "$shared, which runs of this folder share, says otherwise: $(paste -sd ' ' "$shared")." \
      "Give that again or another --out; where no task is queued or running, delete it"
  fi
  # A list of other runs is another file: tasks of an earlier one look their lines up when they begin.
  list=$out/runs.txt
  while [ -s "$list" ] && [ "$(runs | awk '{ print $1, $2 }')" != "$(cat "$list")" ]; do
    plan=$((plan + 1))
    list=$out/runs_$plan.txt
  done
  runs | awk '{ print $1, $2 }' >"$list"
  count=$(wc -l <"$list")
  command=(sbatch "--array=0-$((count - 1))" "--job-name=${model}_language" launch/slurm/reproduce_language.sbatch "$configs" "$out" "$list")
  say "$count runs: $list; what they share: $shared"
  say "look through launch/slurm/reproduce_language.sbatch (account, partition, GPUs), then, in $root:"
  echo "  $(printf ' %q' "${command[@]}")"
  say "and when they are through: launch/reproduce_language.sh $model --size base --out ${out@Q} --report"
  [ -z "$submit" ] || "${command[@]}"
}

if [ -n "$train" ] && [ "$size" = base ]; then
  plan_cluster
  exit
fi

bin=build/release/bin
sluice=${SLUICE_BIN:-$bin/sluice}
bin=$(dirname "$sluice")
[ -x "$sluice" ] || [ -n "${SLUICE_BIN:-}" ] || build_for_cpu
[ -x "$sluice" ] || stop "there is no program $sluice; run launch/build.sh"
if [ -z "$train" ]; then
  report
  exit
fi

make_shards "data/language_${model}_$size" "$tokenizer" "$vocabulary_size"
steps=${steps:-$(sed -n 's/^  steps: //p' "$configs/base.yaml")}
[ -z "$ablations" ] || write_ablations
mkdir -p "$out"
[ ! -f "$out/shards_key" ] || [ "$(cat "$out/shards_key")" = "$shards_key" ] ||
  stop "$out holds runs on other text; give another --out, or delete it"
echo "$shards_key" >"$out/shards_key"
settings=(runtime.device=cpu "data.train=$work/train" "data.validation=[$work/validation]" checkpoint.keep_last=1 checkpoint.keep_best=false
  "${settings[@]}")
train_all
report
