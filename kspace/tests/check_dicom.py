"""Compares what dcm2niix makes of a folder of DICOM files with a NIfTI file: check_dicom.py FOLDER IMAGE.nii.gz DCM2NIIX"""

import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

folder, image, program = sys.argv[1:]
expected = nibabel.as_closest_canonical(nibabel.load(image))
with tempfile.TemporaryDirectory() as out:
    subprocess.run([program, "-z", "n", "-b", "n", "-f", "series_%s", "-o", out, folder], check=True, stdout=subprocess.DEVNULL)
    found = sorted(pathlib.Path(out).glob("*.nii"))
    volumes = expected.get_fdata()
    volumes = volumes[..., None] if volumes.ndim == 3 else volumes
    series = [nibabel.as_closest_canonical(nibabel.load(path)) for path in found]
    voxels = [it.get_fdata() for it in series]
    joined = np.concatenate([it[..., None] if it.ndim == 3 else it for it in voxels], axis=3)
    assert joined.shape == volumes.shape, f"{len(found)} series make {joined.shape}, expected {volumes.shape}"
    for it in series:
        assert np.allclose(it.affine, expected.affine, atol=1e-3), (it.affine, expected.affine)
    apart = np.abs(joined - volumes).max(axis=(0, 1, 2)) / volumes.max()
    assert apart.max() < 2e-4, f"voxels of the volumes differ by {apart}"
