"""Seconds of a RAKI training step in PyTorch, as fast as it can be written there: layer 1 of all networks as one product,
layers 2 and 3 as batched products, a gradient by hand that is never taken of the patches, results written in place, fused Adam.

    torch_step.py [--coils 16] [--r 4] [--lines 32] [--samples 256] [--window 0.25]

The arithmetic of `bench_raki` on the same sizes, on as many threads as RAYON_NUM_THREADS says. Prints one JSON line.
"""
import argparse
import json
import math
import os
import time

import torch

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name, default in [("coils", 16), ("r", 4), ("lines", 32), ("samples", 256), ("steps", 4), ("rounds", 24)]:
    p.add_argument(f"--{name}", type=int, default=default)
p.add_argument("--window", type=float, default=0.25)
a = p.parse_args()
torch.set_num_threads(int(os.environ.get("RAYON_NUM_THREADS", os.cpu_count())))
torch.manual_seed(0)

KERNEL_1, KERNEL_3, HIDDEN_1, HIDDEN_2 = 5, 3, 32, 8
nets, outputs, rows = 2 * a.coils, a.r - 1, a.lines - a.r
inputs = nets * 2 * KERNEL_1
columns = math.ceil(a.window * (a.samples - KERNEL_1 - KERNEL_3 + 2))
width, valid = columns + KERNEL_3 - 1, rows - a.r
positions = width * rows
taps = [(tap % KERNEL_3, tap // KERNEL_3 * a.r) for tap in range(2 * KERNEL_3)]

patches = 0.005 * torch.randn(inputs, positions)
targets = 0.005 * torch.randn(nets, outputs, columns, valid)
weights = [0.1 * torch.randn(nets * HIDDEN_1, inputs), 0.1 * torch.randn(nets, HIDDEN_2, HIDDEN_1),
           0.1 * torch.randn(nets, len(taps) * outputs, HIDDEN_2)]
for weight in weights:
    weight.grad = torch.zeros_like(weight)
adam = torch.optim.Adam(weights, lr=1e-2, fused=True)

hidden_1 = torch.empty(nets * HIDDEN_1, positions)
hidden_2 = torch.empty(nets, HIDDEN_2, positions)
parts = torch.empty(nets, len(taps) * outputs, positions)
pulled_1, pulled_2 = torch.empty(nets, HIDDEN_1, positions), torch.empty_like(hidden_2)
pulled_taps = torch.zeros(nets, len(taps), outputs, width, rows)


def under(tensor, tap):
    """What a tap adds to the outputs."""
    column, row = taps[tap]
    return tensor[:, tap, :, column:column + columns, row:row + valid]


def through_relu(gradient, features):
    torch.ops.aten.threshold_backward.grad_input(gradient, features, 0, grad_input=gradient)


def step():
    torch.mm(weights[0], patches, out=hidden_1).relu_()
    features = hidden_1.view(nets, HIDDEN_1, positions)
    torch.bmm(weights[1], features, out=hidden_2).relu_()
    torch.bmm(weights[2], hidden_2, out=parts)
    shaped = parts.view(nets, len(taps), outputs, width, rows)
    residual = under(shaped, 0) - targets
    for tap in range(1, len(taps)):
        residual += under(shaped, tap)
    loss = residual.flatten(1).norm(dim=1)
    residual /= loss.view(nets, 1, 1, 1)
    for tap in range(len(taps)):
        under(pulled_taps, tap).copy_(residual)
    pulled = pulled_taps.view(nets, len(taps) * outputs, positions)
    torch.bmm(pulled, hidden_2.mT, out=weights[2].grad)
    through_relu(torch.bmm(weights[2].mT, pulled, out=pulled_2), hidden_2)
    torch.bmm(pulled_2, features.mT, out=weights[1].grad)
    through_relu(torch.bmm(weights[1].mT, pulled_2, out=pulled_1), features)
    torch.mm(pulled_1.view(nets * HIDDEN_1, positions), patches.mT, out=weights[0].grad)
    adam.step()
    return loss


best = math.inf
with torch.no_grad():
    step()
    for _ in range(a.rounds):
        start = time.perf_counter()
        for _ in range(a.steps):
            step()
        best = min(best, (time.perf_counter() - start) / a.steps)
multiplied = 4 * HIDDEN_1 * inputs + 6 * (HIDDEN_1 * HIDDEN_2 + HIDDEN_2 * len(taps) * outputs)
print(json.dumps({"torch": torch.__version__, "seconds_per_step": round(best, 6),
                  "gflop_per_s": round(nets * positions * multiplied / best / 1e9, 1)}))
