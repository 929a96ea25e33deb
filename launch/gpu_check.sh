#!/usr/bin/env bash
# launch/gpu_check.sh [OPTION…]: on a machine with an NVIDIA GPU builds for it, runs the CUDA tests on it, and times a step; one report at the end.
#
#   --emulated        no GPU: the tests on the PTX emulator (preset ci), everything else is said to be left out
#   --tests PATTERN   only those tests of label cuda whose name matches
#   --no-sanitizer    without compute-sanitizer
#   --no-benchmark    without the steps of Sluice and PyTorch
#   --no-install      do not look after Debian packages
#
# Steps: the machine; build (build/gpu: the CUDA runtime, these GPUs' architectures); ctest -L cuda; compute-sanitizer's memcheck and
# racecheck on a few tests; the tests of attention on each GPU; attention against cuDNN; NCCL's sums and training on all GPUs; a step of
# `sluice bench step` beside launch/pytorch_step.py.
# What cannot run is a line of the report and the script goes on. The report, in Markdown, is printed and lies in build/gpu_check/report.md, the steps'
# outputs beside it. Exit code 1: a step failed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

emulated='' pattern=. sanitizer=yes benchmark=yes install=yes
while [ $# -gt 0 ]; do
  case $1 in
    --emulated) emulated=yes ;;
    --tests)
      [ $# -ge 2 ] || stop "--tests wants a pattern, such as '^kernels.attention'"
      pattern=$2 && shift
      ;;
    --no-sanitizer) sanitizer='' ;;
    --no-benchmark) benchmark='' ;;
    --no-install) install='' ;;
    -h | --help) usage && exit 0 ;;
    *) stop "unknown option '$1'; --help lists the options" ;;
  esac
  shift
done

folder=$root/build/gpu_check
rm -rf "$folder" && mkdir -p "$folder"
build=build/gpu
[ -z "$emulated" ] || build=build/ci
failures=0
rows=() measurements=()

# row STEP passed|FAILED|'not run' SENTENCE: a line of the report; FAILED makes the script's exit code 1.
row() {
  say "$1: $2${3:+: $3}"
  rows+=("| $1 | $2 | $3 |")
  if [ "$2" = FAILED ]; then failures=$((failures + 1)); fi
}

# last_line FILE: of what is in it, fit for a cell of a table.
last_line() { { grep -v '^ *$' "$1" || true; } | tail -n 1 | tr '|' '/' | cut -c 1-160; }

# run_step STEP LOG COMMAND…: passed or FAILED by its exit code, its output in LOG.
run_step() {
  local step=$1 log=$folder/$2
  shift 2
  say "$step …"
  if "$@" >"$log" 2>&1 </dev/null; then
    row "$step" passed "$(last_line "$log")"
  else
    row "$step" FAILED "exit code $?; ${log#"$root/"}: $(last_line "$log")"
    return 1
  fi
}

describe_machine() {
  local nvcc
  echo "- $(awk -F ': ' '/model name/ { print $2; exit }' /proc/cpuinfo), $(nproc) cores, $(awk '/MemTotal/ { print int($2 / 1048576) }' /proc/meminfo) GiB"
  if nvcc=$(find_nvcc); then
    echo "- CUDA toolkit $("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p'): $nvcc"
  else
    echo "- no CUDA toolkit"
  fi
  if [ "$gpus" -eq 0 ]; then
    echo "- no GPU"
  else
    nvidia-smi --query-gpu=index,name,memory.total,compute_cap,driver_version --format=csv,noheader | sed 's/^/- GPU /'
  fi
  echo "- commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD 2>/dev/null || echo ', with changes')"
}

# The places that CMake takes (kernels/cuda/toolkit.cmake).
find_nvcc() {
  local nvcc
  for nvcc in "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc "$root/.cuda/toolkit/bin/nvcc"; do
    if [ -x "$nvcc" ]; then echo "$nvcc" && return; fi
  done
  return 1
}

# One a GPU, such as "80;90".
architectures() {
  nvidia-smi --query-gpu=compute_cap --format=csv,noheader | tr -d '. ' | sort -un | paste -sd ';'
}

# The tests of label cuda that are programs, one a line.
cuda_programs() {
  comm -12 <(ctest --test-dir "$build" -N -L '^cuda$' -LE '^slow$' -R "$pattern" | sed -n 's/^ *Test *#[0-9]*: *//p' | sort) \
    <(cmake --build "$build" --target help | sed 's/: .*//' | sort)
}

build_all() {
  local programs
  if [ -n "$emulated" ]; then
    cmake --preset ci
  else
    cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSLUICE_CUDA=ON -DSLUICE_CUDA_RUNTIME=cudart \
      -DSLUICE_CUDA_ARCHITECTURES="$(architectures)"
  fi || return
  mapfile -t programs < <(cuda_programs)
  if [ "${#programs[@]}" -eq 0 ]; then
    echo "no test of label cuda matches '$pattern', or the build is without CUDA (above)" && return 1
  fi
  cmake --build "$build" --parallel "$(job_count)" --target sluice "${programs[@]}"
}

run_suite() {
  # One at a time on a GPU: the tests share its memory.
  local jobs=1
  [ -z "$emulated" ] || jobs=$(job_count)
  run_step "tests of label cuda" suite.log ctest --test-dir "$build" -L '^cuda$' -LE '^slow$' -R "$pattern" --no-tests=error \
    --output-on-failure --parallel "$jobs" || true
  # ctest's last lines say what was skipped; the count is of more use.
  measurements+=("Tests: $(grep -E '^[0-9]+% tests passed' "$folder/suite.log" || echo 'none ran')")
}

run_sanitizer() {
  local tool test filter
  if [ -z "$sanitizer" ]; then row compute-sanitizer 'not run' "--no-sanitizer" && return; fi
  if [ "$gpus" -eq 0 ]; then row compute-sanitizer 'not run' "it needs a GPU; the emulator checks memory and races itself" && return; fi
  if ! command -v compute-sanitizer >/dev/null; then row compute-sanitizer 'not run' "it is not installed" && return; fi
  for tool in memcheck racecheck; do
    while read -r test filter; do
      [ -e "$build/tests/$test" ] || continue  # --tests leaves it out
      run_step "$tool of $test $filter" "$tool.$test.log" timeout 1800 \
        compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/tests/$test" --gtest_filter="$filter" || true
    done <<'TESTS'
kernels.attention_test.cuda AttentionTest.EverySequenceLengthAroundTheTiles
kernels.attention_gate_test.cuda AttentionGateTest.EveryShapeAroundTheTiles
kernels.layer_norm_test.cuda *
kernels.cross_entropy_test.cuda *
TESTS
  done
}

run_on_each_gpu() {
  local gpu
  if [ "$gpus" -lt 2 ]; then row "each GPU" 'not run' "there are $gpus" && return; fi
  if [ ! -e "$build/tests/kernels.attention_test.cuda" ]; then row "each GPU" 'not run' "--tests leaves attention out" && return; fi
  for ((gpu = 0; gpu < gpus; ++gpu)); do
    run_step "attention on GPU $gpu" "gpu$gpu.log" env CUDA_VISIBLE_DEVICES=$gpu "$build/tests/kernels.attention_test.cuda" || true
  done
}

# Whether `runtime.device=cuda` is something that this build trains on; why not is in $folder/device.log.
trains_on_cuda() {
  "$build/bin/sluice" bench step configs/bigram_backcopy/small.yaml runtime.device=cuda --batch 2 --length 32 --steps 1 --json \
    >"$folder/device.log" 2>&1 </dev/null
}

sum_on_all() {
  local -a size=(--mebibytes 1,16,64,256 --steps 20)
  local -a mpirun=(mpirun -n "$((gpus > 0 ? gpus : 2))")
  [ -z "$emulated" ] || size=(--mebibytes 0.001,0.0625 --steps 2)
  if [ -z "$emulated" ] && [ "$gpus" -lt 2 ]; then row "NCCL on all GPUs" 'not run' "there are $gpus" && return; fi
  if ! command -v mpirun >/dev/null; then row "NCCL on all GPUs" 'not run' "mpirun is not installed" && return; fi
  run_step "NCCL on all GPUs" all_reduce.log "${mpirun[@]}" "$build/bin/sluice" bench all-reduce --device cuda "${size[@]}" || return 0
  [ -n "$emulated" ] || measurements+=("Sums over $gpus GPUs, MiB, ms, algorithm GB/s, bus GB/s: $(tail -n +3 "$folder/all_reduce.log" | tr -s ' ' | paste -sd ';')")
}

train_on_all() {
  if [ -z "$can_train" ]; then row "training on all GPUs" 'not run' "$why_not" && return; fi
  local size=(training.steps=20 training.evaluate_every=20 checkpoint.every=20)
  [ -z "$emulated" ] || size=(training.steps=3 training.evaluate_every=3 checkpoint.every=3 training.global_batch_size=2 training.evaluation_batches=1)
  run_step "training on all GPUs" train.log env SLUICE_BIN="$root/$build/bin/sluice" launch/train_mpi.sh "$((gpus > 0 ? gpus : 2))" \
    configs/bigram_backcopy/small.yaml runtime.device=cuda schedule.warmup_steps=1 "${size[@]}" \
    --run-folder "$folder/run" || true
}

run_benchmark() {
  local model config batch length precision attention log python=${SLUICE_ORACLE_PYTHON:-$root/.venv/bin/python}
  if [ -z "$benchmark" ]; then row "step benchmark" 'not run' "--no-benchmark" && return; fi
  if [ "$gpus" -eq 0 ]; then row "step benchmark" 'not run' "it needs a GPU: the emulator has no time" && return; fi
  local peer=''
  if "$python" -c 'import torch, transformers, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    peer=yes
  else
    row "step of PyTorch" 'not run' "$python has no PyTorch with CUDA and transformers (set SLUICE_ORACLE_PYTHON)"
  fi
  [ -n "$can_train" ] || row "step of Sluice" 'not run' "$why_not"
  while read -r model config batch length; do
    for precision in bf16 fp32; do
      for attention in vga vanilla; do
        log=$model-$attention-$precision
        if [ -n "$can_train" ] && run_step "step of Sluice, $log" "$log.sluice.json" \
          "$build/bin/sluice" bench step "$config" runtime.device=cuda --variant $attention --precision $precision --batch "$batch" \
          --length "$length" --json; then
          measurements+=("Sluice, $log, $batch x $length: $(tokens_per_second "$log.sluice.json") tokens/s")
        fi
        if [ -n "$peer" ] && run_step "step of PyTorch, $log" "$log.pytorch.json" \
          "$python" launch/pytorch_step.py --device cuda --threads "$(nproc)" --model "$model" --attention $attention \
          --precision $precision --batch "$batch" --length "$length"; then
          measurements+=("PyTorch, $log, $batch x $length: $(tokens_per_second "$log.pytorch.json") tokens/s")
        fi
      done
    done
  done <<'CASES'
bert configs/bert_base/vga.yaml 64 128
opt configs/opt_125m/vga.yaml 16 512
CASES
}

# Only that both run: cuDNN's is a stand-in here. A build without cuDNN runs ours, and its last line says why not the other.
both_attentions_emulated() {
  local output
  output=$(SLUICE_EMULATOR_COMPUTE_CAPABILITY=90 "$build/bin/sluice" bench attention configs/toy/bert_vga.yaml runtime.device=cuda \
    --precision bf16 --batch 1 --length 16 --causal) || return
  echo "$output"
  if ! grep '^cudnn: not run' <<<"$output"; then echo "both ran; times of the emulator mean nothing"; fi
}

# Our attention beside cuDNN's, where that can run: `sluice bench attention` says why where not.
attention_against_cudnn() {
  local length log
  if [ -z "$can_train" ]; then row "attention against cuDNN" 'not run' "$why_not" && return; fi
  if [ "$gpus" -eq 0 ]; then
    run_step "attention against cuDNN" cudnn.log both_attentions_emulated || true
    return
  fi
  for length in 128 512 2048; do
    log=cudnn.$length.log
    run_step "attention against cuDNN, $length tokens" "$log" "$build/bin/sluice" bench attention configs/bert_base/vga.yaml \
      model.max_position_embeddings=2048 runtime.device=cuda --precision bf16 --batch "$((16384 / length))" --length "$length" || continue
    while read -r line; do measurements+=("Attention, $length tokens: $line"); done < <(grep '^cudnn' "$folder/$log" || true)
  done
}

tokens_per_second() { sed -n 's/.*"tokens_per_s": *\([0-9]*\).*/\1/p' "$folder/$1" | tail -n 1; }

report() {
  local verdict="all that could run passed"
  [ "$failures" -eq 0 ] || verdict="$failures of the steps FAILED"
  echo "# GPU check of Sluice: $verdict"
  echo
  if [ -n "$emulated" ]; then
    echo "On the PTX emulator: this says that the kernels compute the right values in every order that was tried, and nothing of a GPU."
    echo
  fi
  describe_machine
  echo
  echo "| step | result | |"
  echo "| --- | --- | --- |"
  printf '%s\n' "${rows[@]}"
  if [ "${#measurements[@]}" -gt 0 ]; then
    echo
    printf -- '- %s\n' "${measurements[@]}"
  fi
}

gpus=0
if [ -z "$emulated" ] && command -v nvidia-smi >/dev/null && nvidia-smi -L >"$folder/gpus.log" 2>&1; then
  gpus=$(grep -c '^GPU' "$folder/gpus.log" || true)
fi
can_train='' why_not="nothing was built"
if [ -n "$install" ]; then
  run_step "Debian packages" install.log "$root/launch/install_dependencies.sh" --cuda || true
fi
if [ -z "$emulated" ] && [ "$gpus" -eq 0 ]; then
  row build FAILED "no GPU answers to nvidia-smi -L; --emulated does without one"
elif run_step build build.log build_all; then
  if trains_on_cuda; then can_train=yes; else why_not="\`sluice bench step\` with runtime.device=cuda: $(last_line "$folder/device.log")"; fi
  run_suite
  run_sanitizer
  run_on_each_gpu
  attention_against_cudnn
  sum_on_all
  train_on_all
  run_benchmark
fi
report | tee "$folder/report.md"
[ "$failures" -eq 0 ]
