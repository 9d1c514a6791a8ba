#!/bin/sh
# Installs nvcc from PyPI under target/ and prints the variables a CUDA build needs. No root, no GPU, no driver:
#
#     eval "$(gpu-job/cuda/compiler.sh)"
#
# The CUDA 12 packages of PyPI hold no nvcc, so this is CUDA 13: GPUs of compute capability 7.5 and later.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
out=${1:-${CARGO_TARGET_DIR:-$root/target}/cuda/toolkit-13.0}
packages='nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85 nvidia-cuda-runtime==13.0.96'

if [ ! -e "$out/complete" ]; then
    rm -rf "$out"
    python3 -m venv "$out/venv" >&2
    # shellcheck disable=SC2086 # a list of packages
    "$out/venv/bin/pip" install --quiet --disable-pip-version-check $packages >&2
    site=$(find "$out/venv/lib" -type d -path '*/site-packages/nvidia/cu13' | head -n 1)
    if [ -z "$site" ]; then
        echo "the CUDA packages were installed, but hold no folder nvidia/cu13" >&2
        exit 1
    fi
    mkdir -p "$out/cuda/lib64"
    ln -s "$site/bin" "$site/include" "$site/nvvm" "$out/cuda/"
    ln -s "$site"/lib/* "$out/cuda/lib64/"
    # The packages carry no name without a version.
    [ -e "$out/cuda/lib64/libcudart.so" ] || ln -s libcudart.so.13 "$out/cuda/lib64/libcudart.so"
    "$out/cuda/bin/nvcc" --version >&2
    touch "$out/complete"
fi
cat <<VARIABLES
export CUDA_HOME='$out/cuda'
export CUDA_PATH='$out/cuda'
export PATH='$out/cuda/bin':"\$PATH"
export CUDA_COMPUTE_CAP="\${CUDA_COMPUTE_CAP:-75}"
VARIABLES
