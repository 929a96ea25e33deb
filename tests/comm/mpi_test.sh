#!/bin/sh
# mpi_test.sh MPIRUN PROGRAM CASE RANKS: runs PROGRAM CASE on RANKS processes of this machine and checks the exit
# code and every rank's line.
mpirun=$1 program=$2 case=$3 ranks=$4
if [ ! -x "$mpirun" ]; then
  echo "SKIPPED: no mpirun at '$mpirun'"
  exit 0
fi
. "$(dirname "$0")/mpi_settings.sh"
last=$((ranks - 1))
output=$(timeout 90 "$mpirun" -np "$ranks" "$program" "$case" 2>&1)
code=$?
printf '%s\nexit code %s\n' "$output" "$code"

fail() {
  echo "FAILED: $1"
  exit 1
}
case $case in
  collectives) expected_code=0 ;;
  agree) expected_code=2 ;;  # ExitCode::kData
  abort) expected_code=5 ;;  # ExitCode::kDiverged
  *) fail "unknown case" ;;
esac
[ "$code" -eq "$expected_code" ] || fail "expected exit code $expected_code"
echo "$output" | grep -q WRONG && fail "a rank complains"
rank=0
while [ "$rank" -lt "$ranks" ]; do
  case $case in
    collectives) line="rank $rank of $ranks, local $rank of $ranks, mpi (Open MPI .*): all well" ;;
    agree) line="rank $rank stops: rank $last: shard is truncated: train_00003.h5" ;;
    abort) line="rank $last aborts" ;;
  esac
  echo "$output" | grep -q "^$line\$" || fail "no line '$line'"
  rank=$((rank + 1))
done
if [ "$case" = collectives ] && [ "$(echo "$output" | wc -l)" -ne "$ranks" ]; then
  fail "MPI printed something of its own"
fi
exit 0
