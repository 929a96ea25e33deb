#!/usr/bin/env bash
# launch/test.sh [OPTION…] [-- CTEST_OPTION…]: installs what is missing, builds, and runs the tests.
#
#   --preset NAME   ci (default), debug, asan or tsan
#   --slow          also the tests labelled slow
#   --oracle        also the tests labelled oracle, which ask PyTorch and transformers: makes a Python
#                   environment in .venv once (from PyPI; some gigabytes)
#   --cuda          also the tests labelled cuda where no CUDA toolkit is installed: gets one into .cuda
#   --no-install    do not look after Debian packages
#
# Tests that need something that this machine lacks say SKIPPED and why; ctest lists them at the end.
# Example, one module's tests with their output:  launch/test.sh -- -R '^data' -V
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

preset=ci
left_out=(gpu)
slow= oracle= cuda= install=yes
while [ $# -gt 0 ]; do
  case $1 in
    --preset)
      [ $# -ge 2 ] || stop "--preset wants a name: ci, debug, asan or tsan"
      preset=$2 && shift
      [ "$preset" != release ] || stop "preset release is built without tests; ci is the same with them"
      ;;
    --slow) slow=yes ;;
    --oracle) oracle=yes ;;
    --cuda) cuda=yes ;;
    --no-install) install= ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) stop "unknown option '$1'; --help lists the options" ;;
  esac
  shift
done
[ -n "$slow" ] || left_out+=(slow)
[ -n "$oracle" ] || left_out+=(oracle)

if [ -n "$install" ]; then
  "$root/launch/install_dependencies.sh" ${oracle:+--oracle} ${cuda:+--cuda}
fi
[ -z "$oracle" ] || make_oracle_environment
"$root/launch/build.sh" "$preset"

label_pattern="^($(IFS='|' && echo "${left_out[*]}"))\$"
case $preset in
  asan) export LSAN_OPTIONS=suppressions=$root/tests/lsan_suppressions.txt ;;
  tsan) export TSAN_OPTIONS=suppressions=$root/tests/tsan_suppressions.txt ;;
esac
say "running the tests of build/$preset, without the labels: ${left_out[*]}"
ctest --test-dir "build/$preset" --output-on-failure --parallel "$(job_count)" \
  --label-exclude "$label_pattern" --no-tests=error "$@" </dev/null
