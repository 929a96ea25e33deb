#!/usr/bin/env bash
# launch/install_dependencies.sh [--development] [--oracle] [--list]: installs what the build needs,
# from Debian 12's own packages.
#
#   --development   also clang-format-14 and clang-tidy-14, which .ci/run uses
#   --oracle        also python3-venv, in which launch/test.sh --oracle installs PyTorch
#   --list          only print the names, one a line
#
# Needs root or sudo. When everything is there already it does nothing, and needs neither.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

packages=(
  g++ cmake ninja-build ccache pkg-config git ca-certificates
  libopenmpi-dev openmpi-bin
  libhdf5-dev
  libyaml-cpp-dev
  libabsl-dev
  libdnnl-dev ocl-icd-opencl-dev # oneDNN's CMake configuration asks for OpenCL, also on the CPU
  libhwy-dev
  libgtest-dev libgmock-dev libbenchmark-dev
  libcli11-dev nlohmann-json3-dev
  liblzma-dev zlib1g-dev libxxhash-dev libssl-dev
  python3 xz-utils
)
list_only=
for option in "$@"; do
  case $option in
    --development) packages+=(clang-format-14 clang-tidy-14) ;;
    --oracle) packages+=(python3-venv) ;;
    --list) list_only=yes ;;
    -h | --help) usage && exit 0 ;;
    *) stop "unknown option '$option'; --help lists the options" ;;
  esac
done
if [ -n "$list_only" ]; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  stop "this system has no apt-get. Install the counterparts of these Debian 12 packages, then run" \
    "launch/build.sh: ${packages[*]}"
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  say "all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  # Without a terminal sudo could not ask for a password: then only a sudo that needs none will do.
  if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    as_root=(sudo)
  else
    stop "${#missing[@]} packages are missing and installing them needs root. As root, run:" \
      "apt-get update && apt-get install --no-install-recommends ${missing[*]}"
  fi
fi

say "installing ${#missing[@]} of ${#packages[@]} packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" </dev/null >"$log" 2>&1; }
apt update || { tail -n 15 "$log" >&2; stop "apt-get update failed (above)"; }
apt install --yes --no-install-recommends "${missing[@]}" || {
  tail -n 25 "$log" >&2
  stop "apt-get install failed (above). Sluice is built on Debian 12 (bookworm); other versions may" \
    "name these packages differently"
}
say "installed"
