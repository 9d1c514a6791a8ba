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
    assert len(found) == volumes.shape[3], f"{len(found)} series, {volumes.shape[3]} contrasts"
    for at, path in enumerate(found):
        series = nibabel.as_closest_canonical(nibabel.load(path))
        assert np.allclose(series.affine, expected.affine, atol=1e-3), (series.affine, expected.affine)
        apart = np.abs(series.get_fdata() - volumes[..., at]).max()
        assert apart < 2e-4 * volumes.max(), f"series {at + 1}: voxels differ by {apart}"
