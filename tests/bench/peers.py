"""Reconstructions of other software: pygrappa's GRAPPA and BART's L1-ESPIRiT.

k-space is `[coil, ky, kx]` with zeros where nothing is kept, images are `[y, x]`. A peer that is not installed is told by
`missing` and left out.
"""
import os
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np

try:
    from pygrappa import cgrappa
except ImportError:
    cgrappa = None

PYGRAPPA = {"pygrappa .1": 0.1, "pygrappa .01": 0.01}
# Sensitivity maps and weight of the wavelets' L1 norm.
BART = {f"BART {maps} {weight[1:]}": (maps, weight) for maps in (1, 2) for weight in ("0.002", "0.005")}
NAMES = [*PYGRAPPA, *BART]


def missing():
    """What is not installed, as sentences."""
    found = []
    if cgrappa is None:
        found.append("pygrappa is not installed: pip install -r tests/bench/requirements.txt")
    if shutil.which("bart") is None:
        found.append("BART is not installed: apt-get install bart")
    return found


def cpu():
    """CPU seconds of this process and of those it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def rss(coils, axis=0):
    return np.sqrt((np.abs(coils) ** 2).sum(axis))


def image_of(kspace):
    axes = (-2, -1)
    return rss(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes=axes), axes=axes, norm="ortho"), axes=axes))


def block(lines, acs):
    """The calibration lines, as `raki-cloud compare` keeps them."""
    first = lines // 2 - acs // 2
    return slice(first, first + acs)


def pygrappa(kspace, mask, acs, lamda):
    calibration = kspace[:, block(kspace.shape[1], acs)]
    points_first = lambda array: np.ascontiguousarray(array.transpose(2, 1, 0)).astype(complex)
    filled = cgrappa(points_first(kspace), points_first(calibration), kernel_size=(5, 5), coil_axis=-1, lamda=lamda)
    filled = filled.transpose(2, 1, 0)
    filled[:, mask] = kspace[:, mask]
    return image_of(filled)


def write_cfl(path, array):
    dimensions = array.shape + (1,) * (16 - array.ndim)
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, dimensions)) + "\n")
    np.asfortranarray(array.astype(np.complex64)).T.tofile(path.with_suffix(".cfl"))


def read_cfl(path):
    dimensions = [int(length) for length in path.with_suffix(".hdr").read_text().split("\n")[1].split()]
    return np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(dimensions[::-1]).T


def bart(kspace, acs):
    """`{name: (image, CPU seconds)}`. Maps are made once for several weights; their time counts for each."""
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    results, of_maps = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        k, result = (pathlib.Path(folder) / name for name in ("kspace", "result"))
        run = lambda *command: subprocess.run(["bart", *map(str, command)], check=True, env=environment, capture_output=True)
        write_cfl(k, kspace.transpose(2, 1, 0)[:, :, None, :])
        for name, (count, weight) in BART.items():
            maps = pathlib.Path(folder) / f"maps{count}"
            start = cpu()
            if count not in of_maps:
                run("ecalib", "-m", count, "-r", acs, k, maps)
                of_maps[count] = cpu() - start
            start = cpu()
            run("pics", "-S", "-l1", "-r", weight, "-i", 60, k, maps, result)
            image = read_cfl(result)
            image = rss(image.reshape(image.shape[0], image.shape[1], -1), axis=-1).T
            results[name] = (image, of_maps[count] + cpu() - start)
    return results


def reconstruct(kspace, mask, acs):
    """`{name: (image, CPU seconds)}` of every peer that is installed."""
    results = {}
    if cgrappa is not None:
        for name, lamda in PYGRAPPA.items():
            start = cpu()
            image = pygrappa(kspace, mask, acs, lamda)
            results[name] = (image, cpu() - start)
    if shutil.which("bart") is not None:
        results.update(bart(kspace, acs))
    return results
