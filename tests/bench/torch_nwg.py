"""The noise-weighted fill (`nwg` of docs/quality.md) of many slices at once, in PyTorch.

Moments are batched complex products in double precision, ridges of all slices are solved together, and missing samples are filled in tiles
that share a slice, a line of the gap and a step of energy.
"""
import math
import time

import torch

TAPS = 7
SOURCE_LINES = 2
REFIT_LINES = 64
REFITS = 2
STEPS = 10
WEAKEST = 1e-4
SMOOTH_EQUATIONS = (3, 7)
SMOOTH_READOUT = 15
EXPONENT = 0.7
FLOOR = 3.0
RIDGE = 0.5
SMALLEST_RIDGE = 1e-9
NOISE_WINDOW = 4
NOISE_SHARE = 0.1
TILE = 128


def mean_over(length, width, device, mirrored=True):
    """The matrix that takes means over `width` neighbours: mirrored at the ends, or of those that there are."""
    at = torch.arange(length)[:, None] + torch.arange(-(width // 2), width // 2 + 1)
    if mirrored:
        at = at % (2 * length)
        at = torch.minimum(at, 2 * length - 1 - at)
    inside = (at >= 0) & (at < length)
    matrix = torch.zeros(length, length, dtype=torch.float64).scatter_add_(1, at.clamp(0, length - 1), inside.double())
    return (matrix / matrix.sum(1, keepdim=True)).to(device)


def power(kspace):
    """Power `[slice, line, kx]` of `[slice, coil, line, kx]`, summed over the coils."""
    return torch.view_as_real(kspace).double().square().sum((1, -1))


def patches(lines, step, taps=TAPS):
    """Views `[slice, coil, line, tap, row, place]` of two lines `step` apart at every place of `[slice, coil, line, kx]`."""
    slices, coils, rows, points = lines.shape
    by_slice, by_coil, by_line, by_point = lines.stride()
    return lines.as_strided((slices, coils, SOURCE_LINES, taps, rows - step, points - taps + 1),
                            (by_slice, by_coil, by_line * step, by_point, by_line, by_point), lines.storage_offset())


def refit_region(sampling):
    """First line and end of a refit: around the calibration block, inside the acquired range."""
    whole = sampling["last"] + 1 - sampling["first"]
    lines = min(max(REFIT_LINES, sampling["acs_lines"] + 2 * sampling["acceleration"]), whole)
    first = sampling["acs_first"] + sampling["acs_lines"] // 2 - lines // 2
    first = min(max(first, sampling["first"]), sampling["last"] + 1 - lines)
    return first, first + lines


def noise_variance(calibration):
    """Complex noise variance `[slice]` of a sample, from the weakest moments of windows of calibration lines."""
    windows = calibration.unfold(2, NOISE_WINDOW, 1).unfold(3, NOISE_WINDOW, 1)
    x = windows.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3).to(torch.complex128)
    size, count = x.shape[1:]
    empty = max(size - count, 0)
    lowest = max(int((size - empty) * NOISE_SHARE), 1)
    mean = torch.linalg.eigvalsh(x @ x.mH)[:, empty:empty + lowest].mean(1) / count
    ratio = size / count
    ratio = min(ratio, 0.8) if ratio <= 1 else max(ratio, 1.25)
    return (mean / (1 - math.sqrt(ratio)) ** 2).clamp(min=0)


def by_triangles(cross, factors):
    """What `torch.cholesky_solve` does, in two products with inverse triangles."""
    half = torch.linalg.solve_triangular(factors, cross.expand(*factors.shape[:2], *cross.shape[2:]), upper=False)
    return torch.linalg.solve_triangular(factors.mH, half, upper=True)


def quickest_solution(slices, patch, targets, device):
    """The solution of many systems that is quicker on this device, for which libraries differ much."""
    systems = torch.eye(patch, dtype=torch.complex128, device=device).repeat(slices, STEPS, 1, 1)
    cross = torch.ones(slices, 1, patch, targets, dtype=torch.complex128, device=device)
    seconds = {}
    for solution in (torch.cholesky_solve, by_triangles):
        for _ in range(2):
            wait(device)
            start = time.perf_counter()
            solution(cross, systems)
            wait(device)
            seconds[solution] = time.perf_counter() - start
    return min(seconds, key=seconds.get)


def wait(device):
    """Until the device has done everything it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize()


class Fill:
    """The fill of slices of one sampling. `solution` solves for factors of Cholesky."""

    def __init__(self, sampling, mask, solution):
        self.sampling, self.mask, self.solution = sampling, mask, solution
        self.acceleration, self.offset = sampling["acceleration"], sampling["offset"]
        self.region = refit_region(sampling)

    def __call__(self, kspace, noise, taught):
        """`kspace`, `[slice, coil, ky, kx]`, with the missing lines filled, and, where networks are `taught`, what the kernels predict of
        the region that they learn from, `[slice, coil, offset of the sources, line, kx]`. `noise` is the complex noise variance of each slice."""
        energy = self.energy(kspace, noise)
        block = kspace[:, :, self.sampling["acs_first"]:][:, :, :self.sampling["acs_lines"]]
        first, end = self.region
        fit = self.fit(block, noise)
        for _ in range(REFITS):
            filled = self.apply(kspace, energy, *fit, self.missing(first, end), self.offset)
            fit = self.fit(filled[:, :, first:end], noise)
        missing = self.missing(self.sampling["first"], self.sampling["last"] + 1)
        filled = self.apply(kspace, energy, *fit, missing, self.offset)
        if not taught:
            return filled, None
        off = lambda offset: [line for line in range(first, end) if (line - offset) % self.acceleration]
        predicted = [self.apply(filled, energy, *fit, off(offset), offset)[:, :, first:end] for offset in range(self.acceleration)]
        return filled, torch.stack(predicted, 2)

    def missing(self, first, end):
        return [line for line in range(first, end) if not self.mask[line]]

    def energy(self, kspace, noise):
        """Signal energy `[slice, ky, kx]` around every sample, of the acquired lines."""
        lines, points = kspace.shape[2:]
        device = kspace.device
        apart = (torch.arange(lines)[:, None] - torch.arange(lines)).abs()
        near = torch.exp(-0.5 * (apart / self.acceleration).double() ** 2) * (apart <= 4 * self.acceleration) * self.mask
        near = (near / near.sum(1, keepdim=True).clamp(min=1e-30)).to(device)
        smooth = near @ (power(kspace) @ mean_over(points, SMOOTH_READOUT, device).mT)
        return (smooth - kspace.shape[1] * noise[:, None, None]).clamp(min=0)

    def fit(self, lines, noise):
        """Weights `[slice, step of energy, patch, target]` from all places of `[slice, coil, line, kx]`, and the mean signal energy."""
        slices, coils, count, points = lines.shape
        rows, places = count - self.acceleration, points - TAPS + 1
        patch, targets, device = coils * SOURCE_LINES * TAPS, coils * (self.acceleration - 1), lines.device
        energies, of_noise = power(lines), coils * noise[:, None, None]
        mean = (energies.mean((1, 2)) - coils * noise).clamp(min=torch.finfo(torch.float64).tiny)
        energies = energies.unfold(2, TAPS, 1).sum(-1)
        energies = (energies[:, :rows] + energies[:, self.acceleration:]) / (SOURCE_LINES * TAPS)
        energies = mean_over(rows, SMOOTH_EQUATIONS[0], device) @ energies @ mean_over(places, SMOOTH_EQUATIONS[1], device).mT
        energies = (energies - of_noise).clamp(min=0)
        weights = (energies + FLOOR * of_noise) ** -EXPONENT
        weights /= weights.mean((1, 2), keepdim=True)

        equations = torch.empty(slices, patch + targets, rows, places, dtype=torch.complex128, device=device)
        roots = weights.sqrt()[:, None]
        sources = equations[:, :patch].unflatten(1, (coils, SOURCE_LINES, TAPS))
        torch.mul(patches(lines, self.acceleration), roots[:, None, None], out=sources)
        for line, to in enumerate(equations[:, patch:].unflatten(1, (self.acceleration - 1, coils)).unbind(1)):
            torch.mul(lines[:, :, 1 + line:1 + line + rows, TAPS // 2:TAPS // 2 + places], roots, out=to)
        equations = equations.flatten(2)
        moments = equations[:, :patch] @ equations.mH
        normal, cross = moments[..., :patch], moments[..., patch:]

        middles = WEAKEST ** (1 - (torch.arange(STEPS, dtype=torch.float64, device=device) + 0.5) / STEPS)
        of_energy = (weights * energies).sum((1, 2)) / mean
        ridges = RIDGE * noise[:, None] * (of_energy[:, None] / middles - weights.sum((1, 2))[:, None])
        least = SMALLEST_RIDGE / math.sqrt(patch) * torch.linalg.matrix_norm(normal)
        systems = normal[:, None].repeat(1, STEPS, 1, 1)
        systems.diagonal(dim1=-2, dim2=-1).add_(torch.maximum(ridges, least[:, None])[..., None])
        solved = self.solution(cross[:, None], torch.linalg.cholesky_ex(systems)[0])
        return solved.conj().to(torch.complex64), mean

    def apply(self, kspace, energy, weights, mean, wanted, offset):
        """`kspace` with the lines `wanted` predicted from those of the grid at `offset`."""
        slices, coils, _, points = kspace.shape
        device, gap = kspace.device, self.acceleration - 1
        within = torch.tensor([(line - offset) % self.acceleration - 1 for line in wanted], device=device)
        wanted = torch.tensor(wanted, device=device)
        relative = (energy[:, wanted] / mean[:, None, None]).clamp(min=WEAKEST)
        steps = ((1 - relative.log() / math.log(WEAKEST)) * STEPS).long().clamp(max=STEPS - 1)

        # Samples in the order of their weights, in tiles of one slice, one line of the gap and one step; the last sample fills up a tile.
        keys = ((torch.arange(slices, device=device)[:, None, None] * gap + within[:, None]) * STEPS + steps).flatten()
        order = keys.argsort()
        counts = torch.bincount(keys, minlength=slices * gap * STEPS)
        tiles = (counts + TILE - 1) // TILE
        key = torch.arange(len(counts), device=device).repeat_interleave(tiles)
        number = torch.arange(len(key), device=device) - (tiles.cumsum(0) - tiles)[key]
        lanes = number[:, None] * TILE + torch.arange(TILE, device=device)
        samples = order[(counts.cumsum(0) - counts)[key][:, None] + torch.minimum(lanes, counts[key][:, None] - 1)]
        at_slice, line = samples // (len(wanted) * points), samples // points % len(wanted)
        kx, line, within = samples % points, wanted[line], within[line]

        edge = TAPS // 2
        padded = torch.nn.functional.pad(kspace, (edge, edge, self.acceleration, self.acceleration))
        # The grid line before, of lines that begin `acceleration` earlier.
        sources = patches(padded, self.acceleration).permute(0, 4, 5, 1, 2, 3)[at_slice, line - 1 - within + self.acceleration, kx]
        weights = weights.unflatten(3, (gap, coils)).permute(0, 3, 1, 2, 4).flatten(0, 2)
        filled = kspace.clone()
        filled.permute(0, 2, 3, 1)[at_slice, line, kx] = sources.flatten(2) @ weights[key]
        return filled
