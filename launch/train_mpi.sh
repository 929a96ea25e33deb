#!/usr/bin/env bash
# launch/train_mpi.sh RANKS CONFIG.yaml [key.path=value …] [--run-folder DIR] [--resume auto] …:
# trains with RANKS processes on this machine. What follows RANKS goes to `sluice train` as it is.
#
#   launch/train_mpi.sh 2 configs/toy/bert_vga.yaml training.steps=100
#
# The program is build/release/bin/sluice, or the one that SLUICE_BIN names. Works as root and in a
# container. Cores are divided among the ranks by sluice (runtime.threads); several machines are for a
# scheduler's own mpirun or srun.
set -euo pipefail
caller=$PWD
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

case ${1:-} in
  -h | --help) usage && exit 0 ;;
esac
[ $# -ge 2 ] || stop "wanted: launch/train_mpi.sh RANKS CONFIG.yaml [key.path=value …]"
[[ $1 =~ ^[1-9][0-9]*$ ]] || stop "'$1' is no number of ranks"
ranks=$1
shift
sluice=$(cd "$caller" && realpath -m "${SLUICE_BIN:-$root/build/release/bin/sluice}")
[ -x "$sluice" ] || stop "$sluice is not there; run launch/build.sh first"
command -v mpirun >/dev/null || stop "mpirun is not installed; run launch/install_dependencies.sh"

# Containers often forbid one process to read another's memory; Open MPI then fails in its
# single-copy path instead of leaving it.
if [ -e /.dockerenv ] || [ -e /run/.containerenv ]; then
  export OMPI_MCA_btl_vader_single_copy_mechanism=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
fi

cd "$caller"
exec mpirun -n "$ranks" "$sluice" train "$@" </dev/null
