"""Image quality against the noise-free image, which only a phantom has.

    truth.py --bin target/debug [--snr 30]

A fully sampled scan has noise, and the root sum of squares of many coils turns it into a floor that a refined image does not have: against
such a reference a better image can score lower. For 12 and 32 coils at R = 4 with 32 lines this prints the PSNR of every method against the
noise-free image and against the fully sampled noisy one. Run it with .venv/bench/bin/python, which `make bench-quality` makes.
"""
import argparse
import pathlib
import subprocess
import tempfile

from scores import Reference, volume

RUNS = [("grappa", "none"), ("raki-paper", "none"), ("nwg", "none"), ("raki", "none"), ("nwg", "sparse"), ("auto", "sparse")]
NO_NOISE = 1_000_000

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--bin", type=pathlib.Path, required=True)
p.add_argument("--snr", type=float, default=30)
a = p.parse_args()


def program(*arguments):
    subprocess.run([str(a.bin / "raki-cloud"), *map(str, arguments)], check=True, capture_output=True)


for coils in (12, 32):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for name, snr in [("truth", NO_NOISE), ("noisy", a.snr)]:
            program("phantom", "--out", scratch / f"{name}.h5", "--full", scratch / f"{name}-full.h5", "--slices", 1, "--coils", coils,
                    "--matrix", 128, "--r", 4, "--acs", 32, "--snr", snr, "--seed", 1)
            program("reconstruct", scratch / f"{name}-full.h5", "--out", scratch / name, "--method", "zero-filled", "--combine", "rss")
        truth, noisy = (Reference(volume(scratch / name)[0]) for name in ("truth", "noisy"))
        print(f"{coils} coils             against the truth   against the fully sampled scan")
        print(f"fully sampled        {truth.score(volume(scratch / 'noisy')[0])['psnr']:8.2f} dB")
        for method, refine in RUNS:
            out = scratch / f"{method}-{refine}"
            program("reconstruct", scratch / "noisy.h5", "--out", out, "--method", method, "--combine", "rss", "--refine", refine)
            image = volume(out)[0]
            name = method + ("+sparse" if refine == "sparse" and method != "auto" else "")
            print(f"{name:20} {truth.score(image)['psnr']:8.2f} dB         {noisy.score(image)['psnr']:8.2f} dB", flush=True)
