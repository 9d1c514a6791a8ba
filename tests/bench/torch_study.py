"""Reconstructs a prepared study with method `raki` in batched PyTorch, as fast as it can be written there: the peer of `make bench-gpu`.

    torch_study.py STUDY.safetensors [--out IMAGES.npy] [--device cuda] [--method raki|nwg] [--group 32] [--graph] [--compile]

The same fill, networks, loss, schedule and windows as raki-cloud's, with random numbers of its own, and a root sum of squares of the coils. What
the result does not need is left out: the fill before the networks ends with the lines that they learn from, and the noise level of the
noise scan is believed. Products may use TF32. Clocks run from samples in pinned memory to images in memory; loading libraries and first uses are in
`start`. Prints one JSON line.
"""
import argparse
import json
import os
import pathlib
import sys
import time

began = time.perf_counter()
import numpy as np
import torch

import torch_raki
from prepared import Prepared
from torch_nwg import Fill, SOURCE_LINES, TAPS, noise_variance, quickest_solution, wait

STAGES = ("fill", "train", "image")
WARM_STEPS = 5

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("study", type=pathlib.Path)
p.add_argument("--out", type=pathlib.Path, help="file of the magnitude images [slice, y, x]")
p.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
p.add_argument("--method", choices=["raki", "nwg"], default="raki")
p.add_argument("--group", type=int, help="slices whose networks are trained together; 32 on a GPU")
p.add_argument("--chunk", type=int, help="slices that are filled together; 12 on a GPU, 2.4 GB of equations for 32 coils of 320 points")
p.add_argument("--graph", action="store_true", help="gradients as a CUDA graph")
p.add_argument("--compile", action="store_true", help="torch.compile between the products")
p.add_argument("--seed", type=int, default=0)


def images_of(kspace):
    """Root sum of squares `[slice, y, x]` of centred unitary transforms."""
    images = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(kspace, (2, 3)), norm="ortho"), (2, 3))
    return torch.view_as_real(images).square().sum((1, -1)).sqrt()


def reconstruct(kspace, noise, fill, a, seconds, iterations=torch_raki.ITERATIONS):
    """Images of a group of slices in memory."""
    def lap(stage, since):
        wait(a.device)
        seconds[stage] += time.perf_counter() - since
        return time.perf_counter()

    clock = time.perf_counter()
    kspace = kspace.to(a.device, non_blocking=True)
    if noise is None:
        block = kspace[:, :, fill.sampling["acs_first"]:][:, :, :fill.sampling["acs_lines"]]
        noise = torch.cat([noise_variance(part) for part in block.split(a.chunk)])
    else:
        noise = torch.full((len(kspace),), noise, dtype=torch.float64, device=a.device)
    parts = zip(kspace.split(a.chunk), noise.split(a.chunk))
    filled, linear = zip(*(fill(part, level, a.method == "raki") for part, level in parts))
    filled = torch.cat(filled)
    clock = lap("fill", clock)
    if a.method == "raki":
        scale = torch_raki.scales(kspace)
        layers = torch_raki.train(filled, torch.cat(linear), noise, scale, fill, a, iterations)
        filled = torch_raki.predict(layers, kspace, filled, scale, fill)
        clock = lap("train", clock)
    images = torch.cat([images_of(part) for part in filled.split(a.chunk)]).cpu()
    lap("image", clock)
    return images


def main():
    a = p.parse_args()
    on_gpu = a.device.type == "cuda"
    a.group = a.group or (32 if on_gpu else 4)
    a.chunk = a.chunk or (12 if on_gpu else 2)
    if a.graph and not on_gpu:
        print("no graphs without CUDA: gradients are computed step by step", file=sys.stderr)
        a.graph = False
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_grad_enabled(False)
    torch.manual_seed(a.seed)
    if not on_gpu:
        torch.set_num_threads(int(os.environ.get("RAYON_NUM_THREADS", os.cpu_count())))

    start = time.perf_counter()
    study = Prepared(a.study)
    kspace = torch.empty(study.kspace.shape, dtype=torch.complex64, pin_memory=on_gpu)
    kspace.numpy()[:] = study.kspace
    seconds = {"read": time.perf_counter() - start, "start": start - began}

    start = time.perf_counter()
    coils, acceleration = kspace.shape[1], study.sampling["acceleration"]
    solution = quickest_solution(min(a.chunk, len(kspace)), coils * SOURCE_LINES * TAPS, coils * (acceleration - 1), a.device)
    fill = Fill(study.sampling, torch.from_numpy(study.mask), solution)
    sizes = {len(group) for group in kspace.split(a.group)}
    for size in sizes:
        reconstruct(kspace[:size], study.noise_variance, fill, a, dict.fromkeys(STAGES, 0.0), WARM_STEPS)
    seconds["start"] += time.perf_counter() - start
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()

    seconds.update(dict.fromkeys(STAGES, 0.0))
    groups = [reconstruct(group, study.noise_variance, fill, a, seconds) for group in kspace.split(a.group)]
    images = torch.cat(groups).numpy() * np.float32(study.factor)
    if not np.isfinite(images).all():
        raise SystemExit("training did not converge: an image has values that are not finite")
    if a.out:
        np.save(a.out, images)
    print(json.dumps({
        "torch": torch.__version__, "device": torch.cuda.get_device_name() if on_gpu else "cpu", "slices": len(images), "group": a.group,
        "solution": solution.__name__, "graph": a.graph, "compile": a.compile, "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "training_gflop": round(len(images) * torch_raki.operations(coils, kspace.shape[3], fill), 3),
        "total": round(sum(seconds[stage] for stage in STAGES), 4),
        "peak_gigabytes": round(torch.cuda.max_memory_allocated() / 1e9, 3) if on_gpu else None}))


main()
