"""How fast a device multiplies matrices, by PyTorch.

    torch_rates.py STUDY.safetensors [--device cuda] [--size 8192] [--slices 32]

Rates of square single-precision products, without and with TF32, and the seconds that the products of a training step of `raki` take by
themselves for so many slices of a prepared study, with TF32. Prints one JSON line.
"""
import argparse
import json
import math
import pathlib
import time
import types

import torch

from prepared import Prepared
from torch_nwg import refit_region, wait
from torch_raki import Training, targets_of

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
p.add_argument("study", type=pathlib.Path)
for name, default in [("size", 8192), ("slices", 32), ("rounds", 20)]:
    p.add_argument(f"--{name}", type=int, default=default)
a = p.parse_args()
torch.set_grad_enabled(False)


def seconds(work):
    """Mean over some rounds, the best of three."""
    best = math.inf
    for _ in range(3):
        work()
        wait(a.device)
        start = time.perf_counter()
        for _ in range(a.rounds):
            work()
        wait(a.device)
        best = min(best, (time.perf_counter() - start) / a.rounds)
    return best


def rate(allow_tf32):
    """10^12 operations a second of a square product."""
    torch.backends.cuda.matmul.allow_tf32 = allow_tf32
    left, right, out = torch.randn(3, a.size, a.size, device=a.device)
    return 2 * a.size ** 3 / seconds(lambda: torch.mm(left, right, out=out)) / 1e12


rates = {"f32": rate(False), "tf32": rate(True)}
study = Prepared(a.study)
_, coils, _, points = study.kspace.shape
first, end = refit_region(study.sampling)
lines = torch.randn(a.slices, 2 * coils, end - first, points, device=a.device)
weights = torch.ones(a.slices, end - first, points, device=a.device)
acceleration = study.sampling["acceleration"]
it = Training(lines, targets_of(lines, acceleration), weights, acceleration, types.SimpleNamespace(compile=False))
patches = it.under_window(0)[0]
features, pulled = it.hidden_1.view(it.pulled_1.shape), it.pulled_1.view(it.hidden_1.shape)
first, second, third = it.layers
products = [(first, patches.mT, it.hidden_1), (second, features, it.hidden_2), (third, it.hidden_2, it.parts),
            (it.pulled, it.hidden_2.mT, third.grad), (third.mT, it.pulled, it.pulled_2),
            (it.pulled_2, features.mT, second.grad), (second.mT, it.pulled_2, it.pulled_1), (pulled, patches, first.grad)]
step = seconds(lambda: [torch.bmm(x, y, out=to) for x, y, to in products])
print(json.dumps({"tflop_per_s": {name: round(rate, 4) for name, rate in rates.items()}, "products_of_a_step": step}))
