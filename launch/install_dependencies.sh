#!/usr/bin/env bash
# launch/install_dependencies.sh [--development] [--oracle] [--cuda] [--list]: installs what the build
# needs, from Debian 12's own packages.
#
#   --development   also clang-format-14 and clang-tidy-14, which .ci/run uses
#   --oracle        also python3-venv, in which launch/test.sh --oracle installs PyTorch
#   --cuda          also what the CUDA backend needs: clang-14 for the emulator, and, where no toolkit of
#                   CUDA 13 is installed, nvcc, cuBLAS, cuDNN and NCCL from PyPI into .cuda (1.5 GB); no
#                   GPU is needed
#   --list          only print the names of Debian's packages, one a line
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
# One toolkit: versions that belong together.
cuda_packages=(
  nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88
  nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
  nvidia-cublas==13.1.0.3 nvidia-cudnn-cu13==9.28.1.4 nvidia-nccl-cu13==2.28.9
)
list_only= cuda=
for option in "$@"; do
  case $option in
    --development) packages+=(clang-format-14 clang-tidy-14) ;;
    --oracle) packages+=(python3-venv) ;;
    --cuda) cuda=yes && packages+=(clang-14 python3-venv) ;;
    --list) list_only=yes ;;
    -h | --help) usage && exit 0 ;;
    *) stop "unknown option '$option'; --help lists the options" ;;
  esac
done
if [ -n "$list_only" ]; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

# The toolkit that CMake would take: the same places (kernels/cuda/toolkit.cmake).
has_cuda_toolkit() {
  local nvcc
  for nvcc in "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc; do
    [ -x "$nvcc" ] && "$nvcc" --version | grep -q 'release 1[3-9]' && say "$nvcc is installed" && return
  done
  return 1
}

# .cuda/toolkit becomes a folder like an installed toolkit: cuDNN and NCCL, which come in folders of
# their own, are linked into it, and libraries get the names that linkers look for.
get_cuda_toolkit() {
  local environment=.cuda/environment wanted="${cuda_packages[*]}" folder part file
  if [ "$(cat .cuda/installed 2>/dev/null)" = "$wanted" ] && [ -x .cuda/toolkit/bin/nvcc ]; then
    say ".cuda has its ${#cuda_packages[@]} packages"
    return
  fi
  say "installing ${#cuda_packages[@]} CUDA packages from PyPI into .cuda: $wanted"
  rm -rf .cuda && mkdir .cuda
  python3 -m venv "$environment" || stop "python3 -m venv failed; is python3-venv installed?"
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    "${cuda_packages[@]}" </dev/null || stop "pip could not install the CUDA packages (above)"
  folder=$(echo "$environment"/lib/python3*/site-packages/nvidia)
  for part in cudnn nccl; do
    [ -d "$folder/$part" ] || continue
    ln -sfr "$folder/$part"/include/* "$folder/cu13/include/"
    ln -sfr "$folder/$part"/lib/*.so* "$folder/cu13/lib/"
  done
  for file in "$folder"/cu13/lib/*.so.*; do
    ln -sf "$(basename "$file")" "${file%%.so.*}.so"
  done
  ln -sfn "${folder#.cuda/}/cu13" .cuda/toolkit
  .cuda/toolkit/bin/nvcc --version >/dev/null || stop ".cuda/toolkit/bin/nvcc does not run"
  echo "$wanted" >.cuda/installed
  say "the toolkit is in .cuda/toolkit, where CMake looks for it"
}

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
  [ -z "$cuda" ] || has_cuda_toolkit || get_cuda_toolkit
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
[ -z "$cuda" ] || has_cuda_toolkit || get_cuda_toolkit
