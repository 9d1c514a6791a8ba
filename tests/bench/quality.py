"""Image quality of every method beside pygrappa and BART, on the same undersampled k-space, scored by the same code.

    quality.py --bin target/debug [--data FILE ...] [--only NAME ...] [--json FILE]

The files are those of --data, brain8_full.h5 in the folder that the environment variable RAKI_CLOUD_DATA names, and
synthetic scans of 12 and 32 coils, and of 8 with little noise. Figures are PSNR in dB against the fully sampled image; the
last row is the mean of CPU seconds.
On brain8 requirements are checked, of CPU seconds as well, so leave the machine alone meanwhile; the program ends with 1 when one is missed.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import peers
from scores import Reference

CELLS = ["2/20", "3/16", "3/32", "4/20", "4/24", "4/32", "5/32", "6/40"]
METHODS = ["zero-filled", "grappa", "raki-paper", "nwg", "raki", "nwg+sparse", "raki+sparse", "auto"]
BRAIN = "brain8"
# Coils and SNR.
PHANTOMS = {"synthetic-12": (12, 30), "synthetic-32": (32, 30), "synthetic-8": (8, 200)}
# What the noise-weighted fill of its first description reached on brain8, dB, in the order of the cells.
NWG = [39.72, 35.90, 37.27, 33.86, 34.27, 35.21, 33.68, 33.64]
SEEDS = 3
SEED_CELL = "4/32"
# Two programs that compute the same number in another order of sums.
SAME_PSNR, SAME_SSIM = 0.01, 0.001

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--bin", type=pathlib.Path, required=True)
p.add_argument("--data", type=pathlib.Path, action="append", default=[], help="a fully sampled file; may be given several times")
p.add_argument("--only", action="append", help=f"{BRAIN}, {', '.join(PHANTOMS)} or the name of a file of --data")
p.add_argument("--json", type=pathlib.Path, help="file for all figures")
a = p.parse_args()


def program(*arguments):
    """The JSON that raki-cloud prints."""
    command = [str(a.bin / "raki-cloud"), *map(str, arguments), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"raki-cloud {arguments[0]} ended with {done.returncode}, expected 0: see the message above")
    return json.loads(done.stdout)


def compare(file, cells, methods, *more):
    return program("compare", file, "--cells", ",".join(cells), "--methods", ",".join(methods), *more)


def files(scratch):
    """Name and path of every file."""
    folder = os.environ.get("RAKI_CLOUD_DATA")
    brain = pathlib.Path(folder) / "brain8_full.h5" if folder else None
    if brain is not None and brain.is_file():
        yield BRAIN, lambda: brain
    else:
        print(f"{BRAIN} is left out: brain8_full.h5 is not in the folder that RAKI_CLOUD_DATA names ({folder})")
    for file in a.data:
        yield file.name, lambda file=file: file

    def phantom(coils, snr):
        full = scratch / f"full{coils}.h5"
        program("phantom", "--slices", 1, "--coils", coils, "--matrix", 128, "--snr", snr, "--seed", 1, "--out",
                scratch / "under.h5", "--full", full)
        return full

    for name, sizes in PHANTOMS.items():
        yield name, lambda sizes=sizes: phantom(*sizes)


def run(file, scratch):
    """`{cell: {method: figures}}` of our methods and of the peers."""
    export = scratch / "export"
    answer = compare(file, CELLS, METHODS, "--export", export)
    reference = Reference(np.load(export / "reference.npy"))
    table = {}
    for section in answer["cells"]:
        cell, acs = f"{section['acceleration']}/{section['acs']}", section["acs"]
        at = export / cell.replace("/", "-")
        row = {figures["method"]: figures for figures in section["methods"]}
        for name, figures in row.items():
            if "reason" not in figures:
                check(cell, name, figures, reference.score(np.load(at / f"{name}.npy")))
        images = peers.reconstruct(np.load(at / "kspace.npy"), np.load(at / "mask.npy"), acs)
        for name, (image, seconds) in images.items():
            row[name] = {**reference.score(image), "cpu_seconds": seconds}
        table[cell] = row
    return table


def check(cell, name, ours, here):
    """Scores of raki-cloud and of this program must be the same, or neither can be believed."""
    if abs(ours["psnr"] - here["psnr"]) > SAME_PSNR or abs(ours["ssim"] - here["ssim"]) > SAME_SSIM:
        sys.exit(f"{cell} {name}: raki-cloud scores {ours['psnr']:.3f} dB, SSIM {ours['ssim']:.4f}, this program "
                 f"{here['psnr']:.3f} dB, {here['ssim']:.4f}: one of them is wrong")


def show(name, table):
    columns = METHODS + peers.NAMES
    wide = [max(len(column), 6) for column in columns]
    print(f"\n{name}, PSNR in dB")
    print("  " + "cell".ljust(6) + "".join("  " + column.rjust(width) for column, width in zip(columns, wide)))

    def line(label, values):
        texts = ["-" if value is None else f"{value:.2f}" for value in values]
        print("  " + label.ljust(6) + "".join("  " + text.rjust(width) for text, width in zip(texts, wide)))

    for cell, row in table.items():
        line(cell, [row.get(column, {}).get("psnr") for column in columns])
    for label, what in (("mean", "psnr"), ("CPU s", "cpu_seconds")):
        line(label, [mean(table, column, what) for column in columns])


def mean(table, method, what="psnr"):
    values = [row[method][what] for row in table.values() if what in row.get(method, {})]
    return float(np.mean(values)) if values else None


def requirements(file, table):
    """`(what, found, met)` of each requirement; `met` is None where a peer is missing."""
    psnr = lambda cell, method: table[cell][method].get("psnr", float("-inf"))
    found = psnr("4/32", "raki-paper")
    yield "raki-paper at 4/32 is 32.0 dB or more", f"{found:.2f}", found >= 32.0
    for cell, wanted in zip(CELLS, NWG):
        found = psnr(cell, "nwg")
        # Better than described is no failure.
        yield f"nwg at {cell} is 0.1 dB below {wanted} at most", f"{found:.2f}", found >= wanted - 0.1
    raki, nwg = psnr("4/32", "raki"), psnr("4/32", "nwg")
    yield "raki at 4/32 is 0.2 dB below nwg at most", f"{raki:.2f} and {nwg:.2f}", raki >= nwg - 0.2
    yield "raki at 4/32 is 35.0 dB or more", f"{raki:.2f}", raki >= 35.0
    gaps = []
    for cell in CELLS:
        runs = [table[cell][name]["psnr"] for name in peers.BART if name in table[cell]]
        what = f"auto at {cell} is 0.2 dB below the better BART run at most"
        if not runs:
            yield what, "no BART", None
            continue
        gaps.append(psnr(cell, "auto") - max(runs))
        yield what, f"{psnr(cell, 'auto'):.2f} and {max(runs):.2f}", gaps[-1] >= -0.2
    found = f"{np.mean(gaps):+.2f} dB" if gaps else "no BART"
    yield "auto is above the better BART run on average", found, np.mean(gaps) > 0 if gaps else None
    for cell in CELLS:
        better = max(psnr(cell, "nwg+sparse"), psnr(cell, "raki+sparse"))
        found = psnr(cell, "auto")
        yield f"auto at {cell} is 0.1 dB below the better fill at most", f"{found:.2f} and {better:.2f}", found >= better - 0.1
    runs = [compare(file, [SEED_CELL], ["raki", "auto"], "--seed", seed) for seed in range(1, SEEDS)]
    for at, method in enumerate(("raki", "auto")):
        values = [psnr(SEED_CELL, method), *(run["cells"][0]["methods"][at]["psnr"] for run in runs)]
        spread = max(values) - min(values)
        yield f"{method} at {SEED_CELL} with {SEEDS} seeds differs by 0.2 dB at most", f"{spread:.2f}", spread <= 0.2
    seconds = lambda method: mean(table, method, "cpu_seconds")
    found = seconds("nwg")
    yield "nwg takes 1.0 CPU seconds a slice at most", f"{found:.2f}", found <= 1.0
    best = max((name for name in peers.BART if mean(table, name) is not None), key=lambda name: mean(table, name), default=None)
    found = f"{seconds('auto'):.2f} and {seconds(best):.2f}" if best else "no BART"
    yield "auto takes 1.5 times the CPU seconds of the better BART run at most", found, seconds("auto") <= 1.5 * seconds(best) if best else None


def main():
    for sentence in peers.missing():
        print(sentence)
    tables, checks = {}, []
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        for name, file in files(scratch):
            if a.only and name not in a.only:
                continue
            path = file()
            tables[name] = run(path, scratch)
            show(name, tables[name])
            if name == BRAIN:
                print()
                for what, found, met in requirements(path, tables[name]):
                    verdict = "SKIP" if met is None else "PASS" if met else "FAIL"
                    print(f"{verdict}  {what}: {found}")
                    checks.append({"what": what, "found": found, "verdict": verdict})
            # After every file, so that an interrupted run keeps what it has.
            if a.json:
                a.json.write_text(json.dumps({"tables": tables, "requirements": checks}, indent=1) + "\n")
    return 1 if any(check["verdict"] == "FAIL" for check in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
