#!/bin/sh
# nccl_test.sh MPIRUN PROGRAM CASE RANKS: runs PROGRAM CASE on RANKS processes of this machine, each with its own
# GPU, and checks the exit code and what it says. All cases but `sums` are for the emulator.
mpirun=$1 program=$2 case=$3 ranks=$4
if [ ! -x "$mpirun" ]; then
  echo "SKIPPED: no mpirun at '$mpirun'"
  exit 0
fi
. "$(dirname "$0")/mpi_settings.sh"
last=$((ranks - 1))
library='nccl (NCCL [0-9.]*) and mpi (Open MPI .*)'
case $case in
  sums | rank_order) expected_code=0 ;;
  error)
    expected_code=4 # ExitCode::kDevice
    export SLUICE_EMULATOR_NCCL_FAULT="$last:3:error"
    cause="ncclAllReduce failed: rank $last of $ranks: unhandled system error (the fault that was asked for)"
    lines="rank [0-9]* stops: rank 0: .* failed: rank 0 of $ranks: remote process exited.*(rank [0-9]* aborted)"
    ;;
  watch)
    expected_code=4
    export SLUICE_EMULATOR_NCCL_FAULT="$last:2:error"
    lines="rank [0-9]* stops: rank 0: a sum of NCCL failed: rank 0 of $ranks: remote process .*(rank [0-9]* aborted)"
    ;;
  stall)
    expected_code=4
    export SLUICE_EMULATOR_NCCL_FAULT="0:3:stall"
    lines="rank [0-9]* stops: rank 0: ncclAllReduce makes no progress: rank 0 of $ranks: given up after 1000 ms"
    ;;
  missing)
    export SLUICE_EMULATOR_NCCL_TIMEOUT=2
    line="waited 2 s in call 1, ncclAllReduce of 100 values of float32, sum: rank $last has made no call"
    ;;
  mismatch)
    line="ranks differ in call 1: rank 0: ncclAllReduce of 100 values.*; rank $last: ncclAllReduce of 99 values"
    ;;
  host_memory) line="StartAllReduceSum of NCCL's communicator takes memory of the GPU" ;;
  no_wait) line="cudaMemcpyAsync.* reads memory that ncclAllReduce" ;;
  *) echo "FAILED: unknown case" && exit 1 ;;
esac
output=$(timeout 90 "$mpirun" -np "$ranks" "$program" "$case" 2>&1)
code=$?
printf '%s\nexit code %s\n' "$output" "$code"

fail() {
  echo "FAILED: $1"
  exit 1
}
echo "$output" | grep -q '^SKIPPED: ' && exit 0
echo "$output" | grep -q WRONG && fail "a rank complains"
[ "$code" -ne 124 ] || fail "it hangs"
if [ -n "$line" ]; then
  [ "$code" -ne 0 ] || fail "it went on"
  echo "$output" | grep -q "$line" || fail "no line '$line'"
  exit 0
fi
[ "$code" -eq "$expected_code" ] || fail "expected exit code $expected_code"
if [ -n "$lines" ]; then
  echo "$output" | grep -q "$cause" || fail "no line '$cause'"
  [ "$(echo "$output" | grep -c "^$lines\$")" -eq "$ranks" ] || fail "not $ranks lines '$lines'"
  exit 0
fi
rank=0
while [ "$rank" -lt "$ranks" ]; do
  line="rank $rank of $ranks, local $rank of $ranks, $library: all well"
  echo "$output" | grep -q "^$line\$" || fail "no line '$line'"
  rank=$((rank + 1))
done
exit 0
