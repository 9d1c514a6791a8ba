"""A study on a GPU, method `raki`, beside the same computation in batched PyTorch, in alternation in one run.

    gpu.py --bin FOLDER [--torch PYTHON] [--device cuda] [--slices 92] [--coils 32] [--matrix 320] [--r 4] [--acs 32] [--keep FILE]

FOLDER has raki-cloud and a gpu-job that was built with CUDA. Of the slices of the study `--distinct` are different, each repeated next to itself: the
work is the same, and the scan is simulated sooner. The peer (torch_study.py) runs once in each of its variants, and the quickest one is compared
with. Seconds are medians of the rounds without reading and starting. Exits with 1 when a requirement is missed; with `--device cpu` the
same runs on a small study show that all of it works, and nothing is judged.
"""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading

import numpy as np

from prepared import Prepared
from scores import Reference, volume

STAGES = ("fill", "train", "image")
SIZES = {"slices": (92, 3), "coils": (32, 8), "matrix": (320, 96), "r": (4, 4), "acs": (32, 32), "distinct": (8, 2), "square": (8192, 1024)}
ITERATIONS = 400
GROUP = 16
SECONDS, RATIO, OF_BOUND, GIGABYTES, DECIBEL = 5.0, 2.0, 1.5, 16.0, 0.05
SAMPLE_MS = 50
HERE = pathlib.Path(__file__).parent

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--bin", type=pathlib.Path, required=True)
p.add_argument("--torch", type=pathlib.Path, default=sys.executable, help="a Python that has PyTorch; this one without")
p.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
p.add_argument("--rounds", type=int, default=2)
p.add_argument("--check", type=int, default=2, help="slices that the CPU computes too")
p.add_argument("--keep", type=pathlib.Path, help="the prepared study: taken from there, or left there with its reference beside it")
for name, (gpu, cpu) in SIZES.items():
    p.add_argument(f"--{name}", type=int, help=f"{gpu}, on the CPU {cpu}")
a = p.parse_args()
for name, sizes in SIZES.items():
    setattr(a, name, getattr(a, name) or sizes[a.device == "cpu"])
judged = a.device != "cpu"


def run(*command):
    """What a program prints."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


class Memory:
    """Gigabytes of GPU memory that are in use at most while this is entered, above those before it; None without nvidia-smi."""

    QUERY = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits")

    def __enter__(self):
        self.peak, self.sampler = None, None
        if judged and shutil.which(self.QUERY[0]):
            before = self.peak = int(run(*self.QUERY).split()[0])
            self.sampler = subprocess.Popen([*self.QUERY, "-lms", str(SAMPLE_MS)], stdout=subprocess.PIPE, text=True)

            def follow():
                for line in self.sampler.stdout:
                    self.peak = max(self.peak, int(line))
            self.before, self.follower = before, threading.Thread(target=follow)
            self.follower.start()
        return self

    def __exit__(self, *_):
        if self.sampler:
            self.sampler.terminate()
            self.follower.join()

    @property
    def gigabytes(self):
        return None if self.peak is None else (self.peak - self.before) * 2 ** 20 / 1e9


def make(study, reference, scratch):
    """The prepared study, and the fully sampled images of its slices."""
    scan, full, distinct = scratch / "scan.h5", scratch / "full.h5", scratch / "distinct.safetensors"
    run(a.bin / "raki-cloud", "phantom", "--out", scan, "--full", full, "--slices", a.distinct, "--coils", a.coils,
        "--matrix", a.matrix, "--r", a.r, "--acs", a.acs)
    run(a.bin / "raki-cloud", "prepare", scan, "--out", distinct)
    run(a.bin / "raki-cloud", "reconstruct", full, "--out", scratch / "full", "--method", "zero-filled", "--combine", "rss")
    of = np.arange(a.slices) * a.distinct // a.slices
    Prepared(distinct).write(study, of)
    np.save(reference, volume(scratch / "full")[of])
    scan.unlink(), full.unlink(), distinct.unlink()


def ours(study, out, method, device):
    """Seconds by stage, and images."""
    shutil.rmtree(out, ignore_errors=True)
    with Memory() as memory:
        run(a.bin / "gpu-job", "reconstruct", study, "--out", out, "--method", method, "--combine", "rss", "--device", device)
    manifest = json.loads((out / "manifest.json").read_text())
    if not manifest["device"].startswith(device):
        raise SystemExit(f"gpu-job computed on {manifest['device']}, not on {device}: {manifest['decisions'][0]['reason']}")
    seconds = {row["stage"]: row["seconds"] for row in manifest["timings"]}
    return {"seconds": seconds, "gigabytes": memory.gigabytes, "images": volume(out)}


def peer(study, out, variant):
    printed = run(a.torch, HERE / "torch_study.py", study, "--out", out, "--device", a.device, *variant)
    return {**json.loads(printed), "images": np.load(out)}


def quickest(study, out):
    """The options of the peer's quickest variant; the run is its warm-up."""
    variants = [(), ("--graph",), ("--compile",), ("--graph", "--compile")] if judged else [()]
    totals = {}
    for variant in variants:
        try:
            totals[variant] = peer(study, out, variant)["total"]
            print(f"peer {' '.join(variant) or 'step by step'}: {totals[variant]:.2f} s", flush=True)
        except SystemExit as failed:
            print(f"peer {' '.join(variant)} left out: {failed}", file=sys.stderr)
    if not totals:
        raise SystemExit("no variant of the peer ran")
    return min(totals, key=totals.get)


def median(rows, stage):
    return statistics.median(row["seconds"].get(stage, 0.0) for row in rows)


def total(rows):
    return sum(median(rows, stage) for stage in STAGES)


def largest(values):
    known = [value for value in values if value is not None]
    return max(known) if known else None


def size(gigabytes):
    return "not measured" if gigabytes is None else f"{gigabytes:.2f} GB"


def psnr(references, images):
    return np.array([reference.score(images[at])["psnr"] for at, reference in references.items()])


def compared(study, reference, scratch):
    """Runs everything; returns requirements as (text, whether it is kept)."""
    prepared = Prepared(study)
    slices, coils, lines, points = prepared.kspace.shape
    sampled = np.load(reference)
    # Of equal slices, the first.
    firsts = [at for at in range(slices) if at == 0 or not np.array_equal(sampled[at], sampled[at - 1])]
    references = {at: Reference(sampled[at]) for at in firsts}
    r, check = prepared.sampling["acceleration"], min(a.check, slices)
    print(f"{slices} slices ({len(firsts)} different), {coils} coils, {points} x {lines}, R = {r}, {prepared.sampling['acs_lines']} calibration lines")
    together = min(slices, GROUP)
    rates = json.loads(run(a.torch, HERE / "torch_rates.py", study, "--device", a.device, "--size", a.square, "--slices", together))

    variant = quickest(study, scratch / "peer.npy")
    ours(study, scratch / "raki", "raki", a.device)
    ours(study, scratch / "auto", "auto", a.device)
    raki, torch, auto = [], [], []
    for _ in range(a.rounds):
        raki.append(ours(study, scratch / "raki", "raki", a.device))
        torch.append(peer(study, scratch / "peer.npy", variant))
        auto.append(ours(study, scratch / "auto", "auto", a.device))
    few = scratch / "few.safetensors"
    prepared.write(few, np.arange(check))
    on_cpu = ours(few, scratch / "few", "raki", "cpu")

    it = torch[0]
    print(f"{it['device']}, PyTorch {it['torch']} {' '.join(variant) or 'step by step'}, {it['solution']}\n")
    print("seconds          raki   PyTorch   ratio     auto")
    for stage in STAGES:
        left, right = median(raki, stage), median(torch, stage)
        print(f"{stage:10} {left:10.3f} {right:9.3f} {right / max(left, 1e-9):7.2f} {median(auto, stage):8.3f}")
    mine, theirs = total(raki), total(torch)
    print(f"{'together':10} {mine:10.3f} {theirs:9.3f} {theirs / mine:7.2f} {total(auto):8.3f}")
    for stage in ("open", "read", "finish", "write"):
        other = f"{median(torch, 'read'):9.3f}" if stage == "read" else " " * 9
        print(f"{stage:10} {median(raki, stage):10.3f} {other} {'':7} {median(auto, stage):8.3f}")

    tflop = it["training_gflop"] / 1e3
    bound = tflop / rates["tflop_per_s"]["tf32"]
    trained = median(raki, "train")
    products = rates["products_of_a_step"] * ITERATIONS * slices / together
    print(f"\nproducts of {a.square}³: {rates['tflop_per_s']['f32']:.2f} TFLOP/s, with TF32 {rates['tflop_per_s']['tf32']:.2f}")
    print(f"training and prediction, {tflop:.2f} TFLOP: {tflop / trained:.2f} TFLOP/s, PyTorch {tflop / median(torch, 'train'):.2f}")
    print(f"bound by the rate of products {bound:.3f} s, of which ours is {trained / bound:.2f} times; the products of PyTorch's steps alone {products:.3f} s")
    memory = largest(row["gigabytes"] for row in raki + auto)
    allocated = largest(row["peak_gigabytes"] for row in torch)
    print(f"most memory in use, ours: {size(memory)}; allocated, PyTorch: {size(allocated)}")
    scores = {name: psnr(references, rows[-1]["images"]) for name, rows in [("raki", raki), ("PyTorch", torch), ("auto", auto)]}
    for name, found in scores.items():
        print(f"PSNR {name:8} mean {found.mean():.2f}, least {found.min():.2f} dB")
    both = {at: Reference(sampled[at]) for at in range(check)}
    apart = np.abs(psnr(both, on_cpu["images"]) - psnr(both, raki[-1]["images"])).max()
    print(f"{check} slices on CPU and {a.device}: {apart:.3f} dB apart at most\n")
    return [
        (f"raki in at most {SECONDS} s without reading: {mine:.2f} s", mine <= SECONDS),
        (f"at least {RATIO} times as fast as PyTorch: {theirs / mine:.2f} times", theirs >= RATIO * mine),
        (f"training in at most {OF_BOUND} times the bound of products: {trained / bound:.2f} times", trained <= OF_BOUND * bound),
        (f"less than {GIGABYTES} GB of GPU memory: {size(memory)}", memory is not None and memory < GIGABYTES),
        (f"CPU and {a.device} within {DECIBEL} dB: {apart:.3f} dB", apart <= DECIBEL),
    ]


with tempfile.TemporaryDirectory() as folder:
    scratch = pathlib.Path(folder)
    study = a.keep or scratch / "study.safetensors"
    reference = study.with_suffix(".reference.npy")
    if not (study.exists() and reference.exists()):
        make(study, reference, scratch)
    requirements = compared(study, reference, scratch)
for text, kept in requirements:
    print(f"{'kept' if kept else 'MISSED'}{'' if judged else ', not judged'}: {text}")
sys.exit(1 if judged and not all(kept for _, kept in requirements) else 0)
