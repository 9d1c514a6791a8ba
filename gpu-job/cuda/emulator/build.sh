#!/bin/sh
# Builds the emulator with all kernels of gpu-job into a folder:
#
#     eval "$(gpu-job/cuda/compiler.sh)"                      # for the headers of CUDA; nothing of it is run
#     gpu-job/cuda/emulator/build.sh target/cuda/emulator
#     LD_LIBRARY_PATH=$PWD/target/cuda/emulator PROGRAM
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
sources=$(CDPATH='' cd -- "$here/../../src" && pwd)
out=${1:?the folder to build into}
headers=${CUDA_HOME:?run eval "\$(gpu-job/cuda/compiler.sh)" first}/include

# Products and sums are fused, as nvcc does it; complex products do not look for NaN.
compile() {
    g++ -std=c++17 -O3 -march=native -ffp-contract=fast -fno-math-errno -fcx-limited-range -fPIC -fvisibility=hidden \
        -pthread -Wall -I"$here" -isystem "$headers" "$@"
}

rm -rf "$out/kernels"
mkdir -p "$out/kernels"
out=$(CDPATH='' cd -- "$out" && pwd)

# A kernel becomes a function of C++ that only its file sees, so that two files may use the same names.
# Shared memory whose size is given at launch becomes a pointer.
units=0
find "$sources" "$here" -name '*.cu' | sort >"$out/kernels/list"
while read -r file; do
    units=$((units + 1))
    unit=$out/kernels/$units
    sed -E -e 's/extern "C" __global__/__global__/' \
        -e 's/extern __shared__ (__align__\([0-9]+\) )?([a-zA-Z0-9_ ]+) ([a-zA-Z0-9_]+)\[\];/\2 *\3 = static_cast<\2 *>(emulator::dynamic_shared());/' \
        "$file" >"$unit.body"
    # Names after macros and conditions, as the compiler sees them.
    names=$(compile -iquote "$(dirname "$file")" -E -P -D'__global__=EMULATED' -D'__launch_bounds__(...)=' -x c++ "$unit.body" |
        grep -oE 'EMULATED +void +[a-zA-Z0-9_]+' | awk '{ print $3 }')
    {
        echo '#include "device.h"'
        echo 'namespace {'
        echo "#line 1 \"$file\""
        cat "$unit.body"
        for name in $names; do echo "EMULATED_KERNEL(\"$file\", $name)"; done
        echo '}'
    } >"$unit.cpp"
    compile -iquote "$(dirname "$file")" -Wno-unused-function -Wno-unknown-pragmas -c -o "$unit.o" "$unit.cpp"
done <"$out/kernels/list"

compile -shared -Wl,-soname,libcuda.so.1 -o "$out/libcuda.so.1" \
    "$here/memory.cpp" "$here/parallel.cpp" "$here/blocks.cpp" "$here/modules.cpp" "$here/driver.cpp" "$out"/kernels/*.o
ln -sf libcuda.so.1 "$out/libcuda.so"
for library in cublas.so.13 cufft.so.12 curand.so.10; do
    name=${library%%.*}
    compile -shared "-Wl,-soname,lib$library" "-Wl,-rpath,\$ORIGIN" -o "$out/lib$library" "$here/$name.cpp" "$out/libcuda.so.1"
    # A library of the system that has no number in its name would be taken instead.
    ln -sf "lib$library" "$out/lib$name.so"
done
compile "-Wl,-rpath,\$ORIGIN" -o "$out/selftest" "$here/selftest.cpp" \
    "$out/libcuda.so.1" "$out/libcublas.so.13" "$out/libcufft.so.12"
