#!/usr/bin/env bash
# launch/build.sh [PRESET] [TARGET…]: configures and builds one preset of CMakePresets.json.
#
#   release   optimized: what users run (default)     build/release/bin
#   ci        the same, compiler warnings are errors  build/ci/bin
#   debug     no optimization, DCHECK on              build/debug/bin
#   asan      AddressSanitizer and UBSan              build/asan/bin
#   tsan      ThreadSanitizer                         build/tsan/bin
#
# Without TARGET everything is built, tests included for every preset but release. SLUICE_CUDA=ON or
# OFF in the environment says whether with CUDA; else it is on where a CUDA toolkit is, also where an
# earlier build of the folder was without.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

case ${1:-} in
  -h | --help) usage && exit 0 ;;
esac
preset=${1:-release}
[ $# -eq 0 ] || shift

for tool in cmake ninja g++ pkg-config mpicxx; do
  command -v "$tool" >/dev/null ||
    stop "$tool is not installed; run launch/install_dependencies.sh first"
done
cmake --list-presets | grep -q "\"$preset\"" ||
  stop "there is no preset '$preset'; launch/build.sh --help lists them"

options=()
[ "$preset" != release ] || options=(-DSLUICE_BUILD_TESTS=OFF)
case $preset in
  asan | tsan) [ -z "${SLUICE_CUDA:-}" ] || options+=("-DSLUICE_CUDA=$SLUICE_CUDA") ;; # the preset says
  *) options+=("-DSLUICE_CUDA=${SLUICE_CUDA:-AUTO}") ;;
esac
log=$root/build/$preset/configure.log
mkdir -p "$root/build/$preset"
say "configuring build/$preset"
if ! cmake --preset "$preset" "${options[@]}" >"$log" 2>&1; then
  grep -A 12 'CMake Error' "$log" >&2 || tail -n 20 "$log" >&2
  stop "configuring failed (above; all of it is in ${log#"$root/"}). If a package was not found, run" \
    "launch/install_dependencies.sh. If this is an old build folder, delete build/$preset"
fi
say "building build/$preset with $(job_count) jobs"
cmake --build "build/$preset" --parallel "$(job_count)" ${1:+--target "$@"}
say "built; programs are in build/$preset/bin: $(ls "build/$preset/bin" 2>/dev/null | tr '\n' ' ')"
