"""Compares what pydicom reads of a folder of DICOM files with a NIfTI file: check_pydicom.py FOLDER IMAGE.nii.gz"""

import pathlib
import sys

import nibabel
import numpy as np
import pydicom

folder, image = sys.argv[1:]
nifti = nibabel.load(image)
volumes = nifti.get_fdata()
volumes = volumes[..., None] if volumes.ndim == 3 else volumes
slices = volumes.shape[2]
# NIfTI is RAS, DICOM is LPS.
affine = np.diag([-1, -1, 1, 1]) @ nifti.affine
axes = affine[:3, :3]
lengths = np.array(nifti.header.get_zooms()[:3], dtype=float)
known = nifti.header["sform_code"] > 0

images = []
for path in sorted(pathlib.Path(folder).glob("*.dcm")):
    file = pydicom.dcmread(path)
    pixels = file.pixel_array
    if file.SOPClassUID == pydicom.uid.MRImageStorage:
        time = file.get("TemporalPositionIdentifier", 1)
        assert ("TemporalPositionIdentifier" in file) == (file.get("NumberOfTemporalPositions", 1) > 1)
        images.append((file.SeriesNumber, time, file, file, file, file, pixels))
        continue
    assert file.SOPClassUID == pydicom.uid.EnhancedMRImageStorage, file.SOPClassUID
    (shared,) = file.SharedFunctionalGroupsSequence
    (measures,), (plane,), (values,) = (
        shared.PixelMeasuresSequence,
        shared.PlaneOrientationSequence,
        shared.PixelValueTransformationSequence,
    )
    pointers = [item.DimensionIndexPointer for item in file.DimensionIndexSequence]
    assert len(file.PerFrameFunctionalGroupsSequence) == file.NumberOfFrames
    for at, groups in enumerate(file.PerFrameFunctionalGroupsSequence):
        (content,) = groups.FrameContentSequence
        time = content.get("TemporalPositionIndex", 1)
        found = [1 if pointer == 0x00209056 else content[pointer].value for pointer in pointers]
        assert list(content.DimensionIndexValues) == found, (content.DimensionIndexValues, found)
        assert content.InStackPositionNumber == at % slices + 1
        frame = pixels.reshape(-1, *pixels.shape[-2:])[at]
        images.append((file.SeriesNumber, time, groups.PlanePositionSequence[0], plane, measures, values, frame))

assert len(images) == volumes.shape[2] * volumes.shape[3], f"{len(images)} images, volumes of {volumes.shape}"
order = [image[:2] for image in images]
assert order == sorted(order), "images are not in the order of series and time"
for at, (_, _, position, plane, measures, values, pixels) in enumerate(images):
    volume, slice = divmod(at, slices)
    expected = volumes[:, :, slice, volume].T
    step = float(values.RescaleSlope)
    found = pixels * step + float(values.RescaleIntercept)
    apart = np.abs(found - expected).max()
    assert apart <= 0.5001 * step, f"image {at + 1}: voxels differ by {apart / step} steps"
    assert np.allclose(measures.PixelSpacing, lengths[[1, 0]], atol=1e-4)
    assert np.isclose(float(measures.SpacingBetweenSlices), lengths[2], atol=1e-4)
    if not known:
        continue
    assert np.allclose(position.ImagePositionPatient, (affine @ [0, 0, slice, 1])[:3], atol=1e-3)
    directions = np.array(plane.ImageOrientationPatient, dtype=float).reshape(2, 3)
    assert np.allclose(directions, (axes / lengths).T[:2], atol=1e-5)
