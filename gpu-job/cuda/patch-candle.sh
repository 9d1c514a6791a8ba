#!/bin/sh
# Makes patched copies of candle-core and candle-kernels under target/ and prints the arguments that make cargo use them:
#
#     cargo build --release -p gpu-job --features cuda $(gpu-job/cuda/patch-candle.sh)
#
# Nothing of candle lies in this repository: the copies come from cargo's own registry.
set -eu

version=0.11.1
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
out=${1:-${CARGO_TARGET_DIR:-$root/target}/cuda/candle-$version}

cargo fetch --locked --manifest-path "$root/Cargo.toml" >&2
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
find_crate() {
    found=$(find "$registry" -mindepth 2 -maxdepth 2 -type d -name "$1-$version" | head -n 1)
    if [ -z "$found" ]; then
        echo "$1 $version is not in cargo's registry: has the version in Cargo.lock changed?" >&2
        exit 1
    fi
    printf '%s\n' "$found"
}
core=$(find_crate candle-core)
kernels=$(find_crate candle-kernels)
mkdir -p "$out"
python3 "$root/gpu-job/cuda/patch_candle.py" "$core" "$kernels" "$out" >&2
printf '%s\n' "--config patch.crates-io.candle-core.path='$out/candle-core'"
printf '%s\n' "--config patch.crates-io.candle-kernels.path='$out/candle-kernels'"
