#!/usr/bin/env python3
"""Copies two candle crates and changes what keeps `--features cuda` from a program that starts without CUDA.

    patch_candle.py CANDLE_CORE CANDLE_KERNELS OUT

candle-core    binds CUDA when it is first used (`dynamic-loading`) and not when the program is linked.
candle-kernels stops after its PTX. The kernels it would compile next are for quantised and mixture-of-experts models,
               take most of the build time and force a link with CUDA; calling one panics.
"""
import pathlib
import re
import shutil
import sys


def replace_once(path, pattern, replacement):
    text = path.read_text()
    changed, count = re.subn(pattern, replacement, text, flags=re.S)
    if count != 1:
        sys.exit(f"{path.name}: found {count} places to change, expected 1: this is not the candle version the patch is for")
    path.write_text(changed)


def copy(source, target):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    # cargo checks registry crates against this list; a path dependency has none.
    (target / ".cargo-checksum.json").unlink(missing_ok=True)
    (target / ".cargo-ok").unlink(missing_ok=True)


def panicking(declarations):
    """Foreign functions become functions of the same type, calling convention included, that panic."""
    body = re.sub(r"//[^\n]*", "", declarations)
    functions, count = re.subn(
        r"pub fn (\w+)\(([^)]*)\)([^;]*);",
        r'#[allow(unused_variables)]\npub unsafe extern "C" fn \1(\2)\3 { panic!("\1 is not part of this build") }\n', body)
    if count < 40 or functions.count('extern "C"') != count:
        sys.exit(f"ffi.rs: found {count} functions, expected about 50: this is not the candle version the patch is for")
    return functions


def main(core, kernels, out):
    copy(core, out / "candle-core")
    copy(kernels, out / "candle-kernels")
    replace_once(out / "candle-core/Cargo.toml", r'"dynamic-linking"', '"dynamic-loading"')
    build = out / "candle-kernels/build.rs"
    replace_once(build, r"    let mut moe_sources = vec!\[.*\n    Ok\(\(\)\)\n", "    Ok(())\n")
    replace_once(build, r'const CUTILE_FEATURE[^\n]*\n', "")
    ffi = out / "candle-kernels/src/ffi.rs"
    text = ffi.read_text()
    found = re.fullmatch(r'(.*?)#\[allow\(dead_code\)\]\s*#\[allow\(improper_ctypes\)\]\s*extern "C" \{\n(.*)\n\}\s*', text, re.S)
    if not found:
        sys.exit("ffi.rs: no single extern block: this is not the candle version the patch is for")
    ffi.write_text(found[1] + panicking(found[2]))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(pathlib.Path, sys.argv[1:]))
