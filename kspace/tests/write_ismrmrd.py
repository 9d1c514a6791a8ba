"""Writes one small scan as ISMRMRD HDF5 in many layouts, and files that only look like it, for formats.rs.

    write_ismrmrd.py FOLDER
Files in FOLDER/good hold the same readouts, which are printed as JSON; those in FOLDER/other are to be refused; that in
FOLDER/several holds several measurements, that in FOLDER/bare no header.
"""

import json
import os
import sys

import h5py
import numpy as np

HEAD = np.dtype([
    ("version", "<u2"), ("flags", "<u8"), ("measurement_uid", "<u4"), ("scan_counter", "<u4"),
    ("acquisition_time_stamp", "<u4"), ("physiology_time_stamp", "<u4", 3),
    ("number_of_samples", "<u2"), ("available_channels", "<u2"), ("active_channels", "<u2"),
    ("channel_mask", "<u8", 16), ("discard_pre", "<u2"), ("discard_post", "<u2"),
    ("center_sample", "<u2"), ("encoding_space_ref", "<u2"), ("trajectory_dimensions", "<u2"),
    ("sample_time_us", "<f4"), ("position", "<f4", 3), ("read_dir", "<f4", 3),
    ("phase_dir", "<f4", 3), ("slice_dir", "<f4", 3), ("patient_table_position", "<f4", 3),
    ("idx", [("kspace_encode_step_1", "<u2"), ("kspace_encode_step_2", "<u2"), ("average", "<u2"),
             ("slice", "<u2"), ("contrast", "<u2"), ("phase", "<u2"), ("repetition", "<u2"),
             ("set", "<u2"), ("segment", "<u2"), ("user", "<u2", 8)]),
    ("user_int", "<i4", 8), ("user_float", "<f4", 8)])
FLOATS = h5py.vlen_dtype(np.float32)
PAIR = np.dtype([("real", "<f4"), ("imag", "<f4")])
XML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<subjectInformation><patientName>M\u00fcller</patientName></subjectInformation>
<experimentalConditions><H1resonanceFrequency_Hz>123200000</H1resonanceFrequency_Hz></experimentalConditions>
<encoding><encodedSpace><matrixSize><x>16</x><y>40</y><z>1</z></matrixSize>
<fieldOfView_mm><x>400</x><y>200</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>8</x><y>40</y><z>1</z></matrixSize>
<fieldOfView_mm><x>200</x><y>200</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits/><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>""".encode("latin-1")


def record(packed, data=FLOATS):
    """The C library aligns references to eight bytes; the Python package packs them."""
    offsets, size = ([0, 340, 356], 372) if packed else ([0, 344, 360], 376)
    return np.dtype({"names": ["head", "traj", "data"], "formats": [HEAD, FLOATS, data],
                     "offsets": offsets, "itemsize": size})


def readouts():
    """Heads and samples; sizes differ, so that heap objects of many lengths share a collection."""
    rng = np.random.default_rng(1)
    for line in range(40):
        channels, samples = (2, 16) if line else (2, 5)
        head = np.zeros((), HEAD)
        head["version"], head["flags"], head["scan_counter"] = 1, (1 << 18) if line == 0 else 0, line
        head["number_of_samples"], head["available_channels"], head["active_channels"] = samples, channels, channels
        head["discard_pre"], head["discard_post"], head["center_sample"] = line % 3, line % 2, samples // 2
        head["sample_time_us"], head["position"] = 2.5, (line, -line, .5 * line)
        head["read_dir"], head["phase_dir"], head["slice_dir"] = (0, 1, 0), (0, 0, 1), (1, 0, 0)
        for number, name in enumerate(HEAD["idx"].names[:9]):
            head["idx"][name] = line if number == 0 else (line + number) % 5
        data = rng.standard_normal((channels, samples, 2)).astype(np.float32)
        yield head, data


def fill(dataset, data):
    rows = np.zeros(40, dataset.dtype)
    for row, (head, samples) in enumerate(readouts()):
        rows[row]["head"], rows[row]["traj"] = head, np.empty(0, np.float32)
        rows[row]["data"] = samples.reshape(-1, 2).view(PAIR).ravel() if data is PAIR else samples.ravel()
    dataset[:] = rows


def scan(path, group="dataset", packed=False, data=None, mode="w", xml=None, libver=("earliest", "v108"), user=0, **layout):
    with h5py.File(path, mode, libver=libver, userblock_size=user) as f:
        xml = xml or f.create_dataset(f"{group}/xml", data=[XML], dtype=h5py.string_dtype("ascii"))
        vlen = FLOATS if data is None else h5py.vlen_dtype(data)
        # A type of its own, with offsets that numpy would not choose.
        fill(f.create_dataset(f"{group}/data", (40,), record(packed, vlen), **layout), data)


def good(folder):
    path = lambda name: os.path.join(folder, name + ".h5")
    one = {"chunks": (1,), "maxshape": (None,)}
    scan(path("c_library"), **one)
    scan(path("python_package"), packed=True, **one)
    scan(path("deflated"), chunks=(16,), maxshape=(None,), compression="gzip", shuffle=True)
    scan(path("deflated_with_checksum"), chunks=(7,), compression="gzip", fletcher32=True)
    scan(path("contiguous"))
    scan(path("latest"), libver="latest", **one)
    scan(path("latest_contiguous"), libver="latest", packed=True)
    scan(path("latest_deflated"), libver="latest", chunks=(16,), compression="gzip")
    scan(path("version_110"), libver=("v110", "v110"), **one)
    scan(path("pairs"), data=PAIR, **one)
    scan(path("user_block"), user=1024, **one)
    scan(path("user_block_contiguous"), user=512)
    scan(path("other_name"), group="2026-11-24 10:00", **one)
    scan(path("with_images"), **one)
    with h5py.File(path("with_images"), "a") as f:
        f["dataset/image_0/data"] = np.zeros((1, 1, 1, 8, 8), np.float32)
        f["images/xml"], f["notes"] = XML, "text"
    with h5py.File(path("fixed_text"), "w") as f:
        f.create_dataset("dataset/xml", data=np.array([XML], "S2000"))
    scan(path("fixed_text"), mode="a", xml=True, **one)


def other(folder):
    path = lambda name: os.path.join(folder, name + ".h5")
    one = {"chunks": (1,), "maxshape": (None,)}
    scan(path("doubles"), data=np.dtype("<f8"), **one)
    scan(path("lzf"), chunks=(16,), compression="lzf")
    with h5py.File(path("images_only"), "w") as f:
        f["dataset/xml"], f["dataset/image_0/data"] = XML, np.zeros((1, 1, 1, 8, 8), np.float32)
    with h5py.File(path("plain"), "w") as f:
        f["Jane Doe/weights"], f["x"] = np.zeros(8), 1
    with h5py.File(path("empty"), "w", libver=("earliest", "v108")) as f:
        f["dataset/xml"] = [XML]
        f.create_dataset("dataset/data", (0,), record(False), maxshape=(None,), chunks=(1,))
    with h5py.File(path("fewer_samples"), "w", libver=("earliest", "v108")) as f:
        f["dataset/xml"] = [XML]
        data = f.create_dataset("dataset/data", (40,), record(False), **one)
        fill(data, None)
        row = data[7]
        row["head"]["number_of_samples"] = 17
        data[7] = row
    with h5py.File(path("never_written"), "w", libver=("earliest", "v108")) as f:
        f["dataset/xml"] = [XML]
        f.create_dataset("dataset/data", (40,), record(False), **one)


def bare(folder):
    """Readouts without a header, beside a list of other things."""
    path = os.path.join(folder, "bare.h5")
    scan(path, xml=True)
    with h5py.File(path, "a") as f:
        f["other/data"] = np.zeros(8)


def several(folder):
    """One measurement, then noise beside images, then the first one under a second name."""
    path = os.path.join(folder, "groups.h5")
    one = {"chunks": (1,), "maxshape": (None,)}
    scan(path, group="b", **one)
    scan(path, group="a", mode="a", **one)
    with h5py.File(path, "a", libver=("earliest", "v108")) as f:
        data = f["a/data"]
        for number, row in enumerate(data[:]):
            row["head"]["flags"] = 1 << 18
            data[number] = row
        f["c"] = f["b"]
        f["images/xml"] = XML
        f["images/image_0/data"] = np.zeros((1, 1, 1, 8, 8), np.float32)


def describe(head, data):
    samples = data.astype(np.float64).reshape(-1, 2)
    weight = 1 + np.arange(len(samples))
    return {
        "flags": int(head["flags"]), "samples": int(head["number_of_samples"]), "channels": int(head["active_channels"]),
        "discard": [int(head["discard_pre"]), int(head["discard_post"])], "center": int(head["center_sample"]),
        "position": head["position"].tolist(), "phase_dir": head["phase_dir"].tolist(),
        "counters": [int(head["idx"][name]) for name in HEAD["idx"].names[:9]],
        "weighted": (samples * weight[:, None]).sum(0).tolist(),
    }


for name, write in (("good", good), ("other", other), ("several", several), ("bare", bare)):
    os.makedirs(os.path.join(sys.argv[1], name))
    write(os.path.join(sys.argv[1], name))
json.dump([describe(head, data) for head, data in readouts()], sys.stdout)
