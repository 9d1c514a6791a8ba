"""Writes fastMRI files in several layouts with h5py, for fastmri.rs, and prints what is in them as JSON.

    write_fastmri.py FOLDER
"""

import json
import os
import sys

import h5py
import numpy as np

SLICES, COILS, READOUT, PHASE, ACQUIRED, CENTRE = 5, 3, 24, 20, 17, 8
XML = f"""<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<encoding><encodedSpace><matrixSize><x>{READOUT}</x><y>{PHASE}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>400</x><y>200</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>12</x><y>12</y><z>1</z></matrixSize>
<fieldOfView_mm><x>200</x><y>200</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{ACQUIRED - 1}</maximum><center>{CENTRE}</center>
</kspace_encoding_step_1></encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""

rng = np.random.default_rng(2)
full = rng.standard_normal((2, SLICES, COILS, READOUT, PHASE)).astype(np.float32)
full = (full[0] + 1j * full[1]).astype(np.complex64)
left = PHASE // 2 - CENTRE
full[..., :left] = 0
full[..., left + ACQUIRED:] = 0
mask = np.zeros(PHASE, bool)
mask[left:left + ACQUIRED:3] = True
mask[8:12] = True
under = full * mask
folder = sys.argv[1]


def save(name, kspace, mask=None, xml=XML, user=0, **layout):
    with h5py.File(os.path.join(folder, name + ".h5"), "w", userblock_size=user) as f:
        f.create_dataset("kspace", data=kspace, **layout)
        if xml is not None:
            f["ismrmrd_header"] = xml
        if mask is not None:
            f["mask"] = mask
        f["reconstruction_rss"] = np.zeros((SLICES, 12, 12), np.float32)
        f.attrs["patient_id"] = "Jane Doe"


save("contiguous", full)
save("undersampled", under, mask)
save("float_mask", under, mask.astype(np.float32))
save("chunked", under, chunks=(1, COILS, READOUT, PHASE), compression="gzip", shuffle=True)
save("chunks_across_slices", under, chunks=(2, 2, 7, 9), compression="gzip")
save("fixed_text", under, xml=np.bytes_(XML))
save("user_block", under, user=512)
save("no_header", under, xml=None)
save("single_coil", under[:, 0])
save("single_coil_chunked", under[:, 0], chunks=(3, 5, 20), compression="gzip")
save("other_mask", under, np.roll(mask, 1))
save("short_mask", under, mask[:-1])
save("samples_outside", np.where(np.arange(PHASE) == 0, np.complex64(1), full))
save("doubles", under.astype(np.complex128))
save("zeros", np.zeros_like(under))
save("five_axes", under[None])
save("empty", np.zeros((0, COILS, READOUT, PHASE), np.complex64))
with h5py.File(os.path.join(folder, "huge.h5"), "w") as f:
    f.create_dataset("kspace", (60000, 64, 640, 640), np.complex64, chunks=(1, 1, 64, 64), compression="gzip")
with h5py.File(os.path.join(folder, "never_written.h5"), "w") as f:
    f.create_dataset("kspace", (100, 64, 640, 640), np.complex64, chunks=(1, 1, 64, 64), compression="gzip")
with h5py.File(os.path.join(folder, "never_written_contiguous.h5"), "w") as f:
    f.create_dataset("kspace", (100, 64, 640, 640), np.complex64)


def columns(kspace):
    """Every acquired column: slice, column, and a sum that any exchanged sample changes."""
    for s in range(SLICES):
        for p in range(PHASE):
            samples = kspace[s, ..., p].astype(np.complex128).ravel()
            if samples.any():
                total = (samples * (1 + np.arange(samples.size))).sum()
                yield [s, p, total.real, total.imag]


json.dump({"full": list(columns(full)), "under": list(columns(under)), "single": list(columns(under[:, 0]))}, sys.stdout)
