"""What sharing networks between slices costs and saves, on a synthetic study of several slices.

    slab.py --bin target/debug [--slices 12] [--coils 12] [--matrix 160]

Prints, for each method with its slab and warm steps, the mean and the least PSNR of the slices against the fully sampled images (root
sum of squares) and the CPU seconds of the whole run. Run it with the Python of `make bench-quality`, from the folder of this file's
repository: .venv/bench/bin/python tests/bench/slab.py --bin target/debug
"""
import argparse
import pathlib
import resource
import subprocess
import tempfile

import numpy as np

from scores import Reference, volume

RUNS = [("nwg", None, None), ("raki", 1, 0), ("raki", 3, 0), ("raki", 3, 100), ("raki", 5, 100), ("raki", 5, 200),
        ("auto", 1, 0), ("auto", 3, 100), ("auto", 5, 100)]

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--bin", type=pathlib.Path, required=True)
p.add_argument("--slices", type=int, default=12)
p.add_argument("--coils", type=int, default=12)
p.add_argument("--matrix", type=int, default=160)
a = p.parse_args()


def program(*arguments):
    """CPU seconds of a run of raki-cloud."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(a.bin / "raki-cloud"), *map(str, arguments)], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


with tempfile.TemporaryDirectory() as scratch:
    scratch = pathlib.Path(scratch)
    program("phantom", "--out", scratch / "scan.h5", "--full", scratch / "full.h5", "--slices", a.slices, "--coils", a.coils,
            "--matrix", a.matrix, "--r", 4, "--acs", 32)
    program("reconstruct", scratch / "full.h5", "--out", scratch / "full", "--method", "zero-filled", "--combine", "rss")
    references = [Reference(image) for image in volume(scratch / "full")]
    print("method  slab  warm  mean dB  least dB  CPU s")
    for method, slab, warm in RUNS:
        out = scratch / f"{method}-{slab}-{warm}"
        sharing = () if slab is None else ("--slab", slab, "--warm", warm)
        seconds = program("reconstruct", scratch / "scan.h5", "--out", out, "--method", method, "--combine", "rss", *sharing)
        found = [reference.score(image)["psnr"] for reference, image in zip(references, volume(out))]
        print(f"{method:6}  {slab or '':4}  {'' if warm is None else warm:4}  {np.mean(found):7.2f}  {min(found):8.2f}  {seconds:5.1f}", flush=True)
