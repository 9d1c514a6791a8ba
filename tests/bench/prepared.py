"""The file that `raki-cloud prepare` writes, read and written as what it is: a length, a JSON header, arrays."""
import json

import numpy as np

KINDS = {"C64": np.complex64, "U8": np.uint8, "F32": np.float32}
ALIGNMENT = 8
SLICE_MM = 3


class Prepared:
    """A study whose slices are all sampled alike; its arrays stay in the file until they are used."""

    def __init__(self, path):
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        self.metadata = {name: json.loads(text) for name, text in header.pop("__metadata__").items()}
        place = lambda array: (KINDS[array["dtype"]], "r", 8 + length + array["data_offsets"][0], tuple(array["shape"]))
        self.arrays = {name: np.memmap(path, *place(array)) for name, array in header.items()}
        self.kspace = self.arrays["kspace"]
        self.mask = self.arrays["mask"][0] == 1
        self.sampling = self.metadata["entries"][0]["sampling"]
        if "acs" in self.arrays or any(entry["sampling"] != self.sampling for entry in self.metadata["entries"]):
            raise SystemExit(f"{path}: expected slices that are sampled alike, with their calibration lines in k-space")

    def step(self, name):
        """Parameters of a step of the preparation, where it was done."""
        return next((step["parameters"] for step in self.metadata["steps"] if step["name"] == name), {})

    @property
    def factor(self):
        """What every sample was divided by."""
        return self.step("normalise").get("factor", 1.0)

    @property
    def noise_variance(self):
        """Complex noise variance of a sample, where the noise scan tells it."""
        whitened = self.step("prewhiten")
        if "partitions" in self.step("transform_partitions") or not (whitened.get("dwell_us") and whitened.get("dwell_noise_us")):
            return None
        return 2 / self.step("average").get("copies", 1) / self.factor ** 2

    def write(self, path, slices):
        """A study of these slices of this one, in this order, next to each other in space. One may be there several times."""
        arrays = {name: array[slices] if name in ("kspace", "geometry", "mask") else array for name, array in self.arrays.items()}
        positions, normals = arrays["geometry"][:, :3], arrays["geometry"][:, 9:]
        positions[:] = positions[0] + SLICE_MM * np.arange(len(slices))[:, None] * normals
        entries = [{**self.metadata["entries"][of], "slice": at} for at, of in enumerate(slices)]
        header, end = {"__metadata__": {name: json.dumps(value) for name, value in {**self.metadata, "entries": entries}.items()}}, 0
        names = {kind: name for name, kind in KINDS.items()}
        for name, array in arrays.items():
            header[name] = {"dtype": names[array.dtype.type], "shape": array.shape, "data_offsets": [end, end + array.nbytes]}
            end += array.nbytes
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % ALIGNMENT)
        with open(path, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for array in arrays.values():
                np.ascontiguousarray(array).tofile(file)
