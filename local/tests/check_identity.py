"""Compares copies that name their patient with the files they were made of: check_identity.py ORIGINALS COPIES"""

import pathlib
import sys

import numpy as np
import pydicom

EXPECTED = {
    "PatientName": "Ünal^Leyla",
    "PatientID": "4711",
    "PatientBirthDate": "19790405",
    "PatientSex": "F",
    "AccessionNumber": "ACC-9",
    "StudyID": "ST1",
    "ReferringPhysicianName": "Referrer^Max",
    "StudyDate": "20261123",
    "StudyTime": "0815",
    "StudyInstanceUID": "1.2.826.0.1.3680043.2.1125.1",
    "PatientIdentityRemoved": "NO",
}
# What else may differ: identifiers of image and series, and when the image of an enhanced file was made.
OTHER = {"SOPInstanceUID", "SeriesInstanceUID", "ContentDate", "ContentTime", "DeidentificationMethod"}

originals, copies = (sorted(pathlib.Path(folder).glob("*.dcm")) for folder in sys.argv[1:])
assert [path.name for path in originals] == [path.name for path in copies] != []
for before, after in zip(map(pydicom.dcmread, originals), map(pydicom.dcmread, copies)):
    for name, value in EXPECTED.items():
        assert str(after[name].value) == value, name
    assert "DeidentificationMethod" in before and "DeidentificationMethod" not in after
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID != before.SOPInstanceUID
    assert after.SeriesInstanceUID != before.SeriesInstanceUID
    assert np.array_equal(before.pixel_array, after.pixel_array)
    kept = [{it.keyword: it for it in file if it.keyword not in EXPECTED.keys() | OTHER} for file in (before, after)]
    assert kept[0] == kept[1], [name for name in kept[0] if kept[0][name] != kept[1].get(name)]
