# Sourced by the other scripts of this folder, never run: paths, job count, compiler cache, MPI in a
# container. What is set already stays as it is.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# say WHAT: one line with the time since the outermost script started.
export SLUICE_SCRIPT_STARTED=${SLUICE_SCRIPT_STARTED:-$(date +%s)}
say() {
  local seconds=$(($(date +%s) - SLUICE_SCRIPT_STARTED))
  printf '[%2d min %02d s] %s\n' $((seconds / 60)) $((seconds % 60)) "$*"
}

# stop SENTENCE…: what is wrong and what to do about it, to stderr; exit code 1, or the one that
# STOP_CODE names.
stop() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit "${STOP_CODE:-1}"
}

# usage: the comment block at the top of the running script, without its first line.
usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }

# number OPTION VALUE: stops unless it is one above 0.
number() { [[ $2 =~ ^[1-9][0-9]*$ ]] || stop "$1 wants a number, not '$2'"; }

# take_files OPTION ARGUMENT…: the arguments up to the next option or key.path=value, relative to the folder `caller`, become the array
# `files` of absolute paths. Stops when one is missing.
take_files() {
  local option=$1 file
  shift
  files=()
  while [ $# -gt 0 ] && [[ $1 != --* ]]; do
    file=$(cd "$caller" && realpath -m "$1")
    if [[ $1 == *.*=* && ! -e $file ]]; then break; fi
    [ -f "$file" ] || stop "there is no file $file"
    files+=("$file")
    shift
  done
  [ ${#files[@]} -gt 0 ] || stop "$option wants one file or more"
}

# The programs of build/release for a CPU: a build that is there stays with CUDA or without; a new one is without, as kernels
# for GPUs take minutes to compile.
build_for_cpu() {
  local before
  before=$(sed -n 's/^SLUICE_CUDA:STRING=//p' "$root/build/release/CMakeCache.txt" 2>/dev/null || true)
  SLUICE_CUDA=${SLUICE_CUDA:-${before:-OFF}} launch/build.sh release
}

# Compilers at once: one a core, but no more than one for each 1.5 GB of free memory.
job_count() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/MemAvailable/ { print int($2 / 1572864) }' /proc/meminfo)
  [ "$memory" -ge 1 ] || memory=1
  echo $((cores < memory ? cores : memory))
}

# Makes .venv unless it is there and complete, or SLUICE_ORACLE_PYTHON names another Python.
make_oracle_environment() {
  local python=${SLUICE_ORACLE_PYTHON:-$root/.venv/bin/python}
  if ! "$python" -c 'import torch, transformers, tokenizers, safetensors, numpy, tensorboard' 2>/dev/null; then
    [ -z "${SLUICE_ORACLE_PYTHON:-}" ] ||
      stop "$python (SLUICE_ORACLE_PYTHON) lacks torch, transformers, tokenizers, safetensors, numpy or tensorboard"
    say "making .venv with torch, transformers, tokenizers, safetensors, numpy and tensorboard"
    python3 -m venv "$root/.venv" || stop "python3 -m venv failed; run launch/install_dependencies.sh --oracle"
    "$python" -m pip install --quiet --disable-pip-version-check \
      torch transformers tokenizers safetensors numpy tensorboard </dev/null ||
      stop "pip could not install torch, transformers, tokenizers, safetensors, numpy and tensorboard (above)"
  fi
  export SLUICE_ORACLE_PYTHON=$python
}

# The compiler cache serves a second clone in another folder too.
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root} CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR:-1}

# Open MPI refuses root and more ranks than cores unless it is told otherwise; both are normal in a
# container. Ranks are not bound: sluice divides the cores among the ranks of a machine itself
# (runtime.threads).
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
export OMPI_MCA_rmaps_base_oversubscribe=${OMPI_MCA_rmaps_base_oversubscribe:-1}
export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-none}
