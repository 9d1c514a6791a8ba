"""PSNR, NRMSE and SSIM as `kspace::numerics::metrics` defines them, written once more from the definition.

Images are `[y, x]`. Every image is first multiplied by the factor that fits the reference best over the signal.
"""
import gzip

import numpy as np

SIGNAL = 0.08
CLOSING_STEPS = 3
WINDOW = 7


def shifted(mask, grow):
    """One step of dilation (`grow`) or erosion with a cross; outside the image nothing is set."""
    padded = np.pad(mask, 1)
    parts = [padded[1:-1, 1:-1], padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
    return (np.logical_or if grow else np.logical_and).reduce(parts)


def object_of(signal):
    """The signal, closed and without holes. A hole is what cannot be reached from outside the image."""
    closed = signal
    for grow in [True] * CLOSING_STEPS + [False] * CLOSING_STEPS:
        closed = shifted(closed, grow)
    closed = closed | signal
    free = np.pad(~closed, 1, constant_values=True)
    outside = np.zeros_like(free)
    open_ = [(0, 0)]
    outside[0, 0] = True
    while open_:
        y, x = open_.pop()
        for to in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= to[0] < free.shape[0] and 0 <= to[1] < free.shape[1] and free[to] and not outside[to]:
                outside[to] = True
                open_.append(to)
    return ~outside[1:-1, 1:-1]


def box_mean(image):
    half = WINDOW // 2
    padded = np.pad(image, half, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (WINDOW, WINDOW))
    return windows.mean(axis=(2, 3))


class Reference:
    """A reference image and what is measured against it."""

    def __init__(self, image):
        self.image = np.asarray(image, np.float64)
        self.peak = self.image.max()
        self.signal = self.image > SIGNAL * self.peak
        self.object = object_of(self.signal)

    def score(self, image):
        """`{"psnr": dB, "nrmse": ..., "ssim": ...}` of an image."""
        image = np.asarray(image, np.float64)
        signal = self.signal
        image = image * ((image[signal] * self.image[signal]).sum() / max((image[signal] ** 2).sum(), 1e-30))
        error = image - self.image
        nrmse = np.linalg.norm(error[signal]) / np.linalg.norm(self.image[signal])
        psnr = 20 * np.log10(self.peak / np.sqrt((error[self.object] ** 2).mean()))
        return {"psnr": float(psnr), "nrmse": float(nrmse), "ssim": float(self.ssim(image))}

    def ssim(self, image):
        x, y = self.object * self.image / self.peak, self.object * image / self.peak
        mean_x, mean_y = box_mean(x), box_mean(y)
        sample = WINDOW ** 2 / (WINDOW ** 2 - 1)
        var_x = (box_mean(x * x) - mean_x ** 2) * sample
        var_y = (box_mean(y * y) - mean_y ** 2) * sample
        cov = (box_mean(x * y) - mean_x * mean_y) * sample
        c1, c2 = 0.01 ** 2, 0.03 ** 2
        value = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
        value /= (mean_x ** 2 + mean_y ** 2 + c1) * (var_x + var_y + c2)
        return value[self.object].mean()


def volume(folder):
    """Images [slice, y, x] of a result: single precision behind a NIfTI-1 header."""
    content = gzip.decompress((folder / "image.nii.gz").read_bytes())
    size = np.frombuffer(content, "<i2", 3, 42)
    start = int(np.frombuffer(content, "<f4", 1, 108)[0])
    return np.frombuffer(content, "<f4", int(np.prod(size)), start).reshape(size[::-1])
