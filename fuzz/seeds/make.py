#!/usr/bin/env python3
"""Makes the files that the fuzzers start from: small, valid, one of every kind.

    make.py [FOLDER]        needs numpy, h5py and the program zstd; writes FOLDER/<target>/, by default beside this script
"""
import bz2
import gzip
import io
import lzma
import pathlib
import struct
import subprocess
import sys
import tarfile
import zipfile

import h5py
import numpy as np

out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
out = out if out.is_dir() else out.parent
rng = np.random.default_rng(0)
IDX = [(name, "<u2") for name in ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast", "phase",
                                  "repetition", "set", "segment")] + [("user", "<u2", 8)]
HEAD = np.dtype([
    ("version", "<u2"), ("flags", "<u8"), ("measurement_uid", "<u4"), ("scan_counter", "<u4"),
    ("acquisition_time_stamp", "<u4"), ("physiology_time_stamp", "<u4", 3), ("number_of_samples", "<u2"),
    ("available_channels", "<u2"), ("active_channels", "<u2"), ("channel_mask", "<u8", 16), ("discard_pre", "<u2"),
    ("discard_post", "<u2"), ("center_sample", "<u2"), ("encoding_space_ref", "<u2"), ("trajectory_dimensions", "<u2"),
    ("sample_time_us", "<f4"), ("position", "<f4", 3), ("read_dir", "<f4", 3), ("phase_dir", "<f4", 3),
    ("slice_dir", "<f4", 3), ("patient_table_position", "<f4", 3), ("idx", IDX), ("user_int", "<i4", 8), ("user_float", "<f4", 8)])
ROW = np.dtype({"names": ["head", "traj", "data"], "formats": [HEAD, h5py.vlen_dtype(np.float32), h5py.vlen_dtype(np.float32)],
                "offsets": [0, 340, 356], "itemsize": 372})


def put(target, name, content):
    (out / target).mkdir(exist_ok=True)
    (out / target / name).write_bytes(content)


def space(tag, x, y, z, fov):
    return (f"<{tag}><matrixSize><x>{x}</x><y>{y}</y><z>{z}</z></matrixSize><fieldOfView_mm><x>{fov[0]}</x><y>{fov[1]}</y>"
            f"<z>{fov[2]}</z></fieldOfView_mm></{tag}>")


def header(x, y, z=1, r=1, trajectory="cartesian", mode="embedded", more="", encodings=1):
    encoding = (f"<encoding>{space('encodedSpace', 2 * x, y, z, (400, 200, 5))}{space('reconSpace', x, y, z, (200, 200, 5))}"
                f"<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{y - 1}</maximum><center>{y // 2}</center>"
                f"</kspace_encoding_step_1></encodingLimits><trajectory>{trajectory}</trajectory>{more}<parallelImaging><accelerationFactor>"
                f"<kspace_encoding_step_1>{r}</kspace_encoding_step_1><kspace_encoding_step_2>1</kspace_encoding_step_2>"
                f"</accelerationFactor><calibrationMode>{mode}</calibrationMode></parallelImaging></encoding>")
    return ('<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><measurementInformation>'
            "<measurementID>1</measurementID><patientPosition>HFS</patientPosition><measurementDependency><dependencyType>Noise"
            "</dependencyType><measurementID>2</measurementID></measurementDependency></measurementInformation>"
            "<acquisitionSystemInformation><systemVendor>V</systemVendor><relativeReceiverNoiseBandwidth>0.79"
            "</relativeReceiverNoiseBandwidth><receiverChannels>2</receiverChannels><coilLabel><coilNumber>0</coilNumber>"
            "<coilName>A</coilName></coilLabel></acquisitionSystemInformation><experimentalConditions><H1resonanceFrequency_Hz>"
            f"123000000</H1resonanceFrequency_Hz></experimentalConditions>{encoding * encodings}"
            "<sequenceParameters><TR>5</TR><TE>2</TE></sequenceParameters></ismrmrdHeader>").encode()


RAMP = ("<trajectoryDescription><identifier>ConventionalEPI</identifier>" + "".join(
    f"<userParameterLong><name>{name}</name><value>{value}</value></userParameterLong>"
    for name, value in (("rampUpTime", 3), ("rampDownTime", 3), ("flatTopTime", 10), ("acqDelayTime", 0), ("numSamples", 16)))
    + "<userParameterDouble><name>dwellTime</name><value>1</value></userParameterDouble></trajectoryDescription>")


def lines(x, y, z=1, r=1, acs=0, epi=False, separate=False):
    """Heads and samples: a noise readout, then the lines of one slice."""
    def row(ky, kz, flags, encoding=0):
        head = np.zeros((), HEAD)
        head["version"], head["flags"], head["encoding_space_ref"] = 1, sum(1 << (flag - 1) for flag in flags), encoding
        head["number_of_samples"], head["active_channels"], head["available_channels"] = 2 * x, 2, 2
        head["center_sample"], head["sample_time_us"] = x, 5
        head["read_dir"], head["phase_dir"], head["slice_dir"] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
        head["idx"]["kspace_encode_step_1"], head["idx"]["kspace_encode_step_2"] = ky, kz
        return head, rng.standard_normal(8 * x).astype(np.float32)
    yield row(0, 0, [19])
    if epi:
        yield from (row(y // 2, 0, [24] + [22] * (at % 2)) for at in range(3))
    for kz in range(z):
        for ky in range(y):
            block = abs(ky - y // 2) <= acs // 2 and acs > 0
            if (ky - y // 2) % r == 0:
                yield row(ky, kz, ([21] if block else []) + ([22] if epi and ky % 2 else []))
            if block and (separate or (ky - y // 2) % r):
                yield row(ky, kz, [20], int(separate))


def ismrmrd(rows, xml):
    file = io.BytesIO()
    with h5py.File(file, "w", libver=("earliest", "v108")) as f:
        f.create_dataset("dataset/xml", data=[xml], dtype=h5py.string_dtype("ascii"))
        rows = list(rows)
        table = np.zeros(len(rows), ROW)
        for at, (head, samples) in enumerate(rows):
            table[at]["head"], table[at]["traj"], table[at]["data"] = head, np.empty(0, np.float32), samples
        f.create_dataset("dataset/data", data=table, chunks=(4,), maxshape=(None,))
    return file.getvalue()


def stream(rows, xml):
    parts = [struct.pack("<HI", 3, len(xml)) + xml]
    parts += [struct.pack("<H", 1008) + head.tobytes() + samples.tobytes() for head, samples in rows]
    return b"".join(parts) + struct.pack("<H", 4)


def fastmri(chunked):
    file = io.BytesIO()
    with h5py.File(file, "w", libver=("earliest", "v108")) as f:
        kspace = (rng.standard_normal((2, 2, 16, 12)) + 0j).astype(np.complex64)
        kspace[..., 1::2] = 0
        f.create_dataset("kspace", data=kspace, **({"chunks": (1, 1, 16, 12), "compression": "gzip"} if chunked else {}))
        f.create_dataset("ismrmrd_header", data=header(8, 12, r=2).decode(), dtype=h5py.string_dtype())
        f.create_dataset("mask", data=np.arange(12) % 2 == 0)
    return file.getvalue()


def twix(vd):
    """Two lines of two channels, after a noise measurement where the format has several."""
    yaps = b"sKSpace.lBaseResolution = 8\nsKSpace.lPhaseEncodingLines = 4\nsRXSPEC.alDwellTime[0] = 5000\n"
    head = struct.pack("<I", 2) + b"Config\0" + struct.pack("<I", 1) + b"\n" + b"MeasYaps\0" + struct.pack("<I", len(yaps)) + yaps
    if not vd:
        # A VB file is told by a header longer than any count.
        head += b"\0" * 10_000
    head = struct.pack("<I", len(head) + 4 + (-(len(head) + 4)) % 32) + head
    head += b"\0" * ((-len(head)) % 32)

    def line(number, flags, samples, channels):
        data = rng.standard_normal((channels, 2 * samples)).astype("<f4")
        counters = struct.pack("<14H", number, *[0] * 13)
        if vd:
            size = 192 + channels * (32 + 8 * samples)
            mdh = struct.pack("<IiIIIHHiiiiQHH", size, 1, number, 0, 0, 0, 0, 0, 0, 0, 0, flags, samples, channels) + counters
            mdh += struct.pack("<HHHHfIHH", 0, 0, samples // 2, 0, 0, 0, 2, 0) + struct.pack("<7f", 0, 0, 0, 1, 0, 0, 0)
            mdh = mdh.ljust(192, b"\0")
            return mdh + b"".join(b"\0" * 32 + row.tobytes() for row in data)
        rows = []
        for channel, row in enumerate(data):
            size = 128 + 8 * samples
            mdh = struct.pack("<IiIII", size, 1, number, 0, 0) + struct.pack("<QHH", flags, samples, channels) + counters
            mdh += struct.pack("<HHHHfIHH", 0, 0, samples // 2, 0, 0, 0, 2, 0)
            mdh = mdh.ljust(124, b"\0") + struct.pack("<HH", channel, 0)
            rows.append(mdh + row.tobytes())
        return b"".join(rows)

    def measurement(flags, count, samples):
        return head + b"".join(line(at, flags, samples, 2) for at in range(count)) + line(0, 1, 0, 1 if vd else 1)

    if not vd:
        return measurement(0, 4, 16)
    parts = [measurement(1 << 25, 1, 32), measurement(0, 4, 16)]
    at, entries, body = 10240, b"", b""
    for number, part in enumerate(parts):
        part += b"\0" * ((-len(part)) % 512)
        entries += struct.pack("<IIQQ", number, number, at, len(part)) + b"name".ljust(64, b"\0") + b"protocol".ljust(64, b"\0")
        at, body = at + len(part), body + part
    return (struct.pack("<II", 0, len(parts)) + entries).ljust(10240, b"\0") + body


def cfl(dims):
    text = ("# Dimensions\n" + " ".join(map(str, dims + [1] * (16 - len(dims)))) + "\n").encode()
    return text + b"\0" + rng.standard_normal(2 * int(np.prod(dims))).astype("<f4").tobytes()


scans = {
    "plain": (lines(8, 12), header(8, 12)),
    "undersampled": (lines(8, 16, r=2, acs=6), header(8, 16, r=2)),
    "volume": (lines(4, 8, z=3, r=2, acs=4), header(4, 8, z=3, r=2)),
    "separate": (lines(8, 16, r=2, acs=6, separate=True), header(8, 16, r=2, mode="separate", encodings=2)),
    "epi": (lines(8, 8, epi=True), header(8, 8, trajectory="epi", more=RAMP)),
}
for name, (rows, xml) in scans.items():
    rows = list(rows)
    put("xml", name + ".xml", xml)
    put("ismrmrd", name + ".h5", ismrmrd(rows, xml))
    put("stream", name + ".mrd", stream(rows, xml))
for chunked in (False, True):
    put("fastmri", f"{'chunked' if chunked else 'plain'}.h5", fastmri(chunked))
put("twix", "vd.dat", twix(True))
put("twix", "vb.dat", twix(False))
for name, dims in {"flat": [8, 12, 1, 2], "volume": [4, 6, 3, 2], "slices": [4, 6, 1, 2] + [1] * 9 + [2]}.items():
    put("cfl", name, cfl(dims))

raw = cfl([4, 6, 1, 2]).split(b"\0", 1)
members = {"a.hdr": raw[0], "a.cfl": raw[1], "b.mrd": stream(*(lambda: (list(lines(4, 6)), header(4, 6)))()), "note.txt": b"text"}
tar = io.BytesIO()
with tarfile.open(fileobj=tar, mode="w") as archive:
    for name, content in members.items():
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
tar = tar.getvalue()
packed = io.BytesIO()
with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, content in members.items():
        archive.writestr(zipfile.ZipInfo(name), content)
nested = io.BytesIO()
with zipfile.ZipFile(nested, "w") as archive:
    archive.writestr(zipfile.ZipInfo("inner.tar.gz"), gzip.compress(tar, mtime=0))
put("archive", "plain.tar", tar)
put("archive", "gzip.tgz", gzip.compress(tar, mtime=0))
put("archive", "xz.txz", lzma.compress(tar))
put("archive", "bzip2.tbz2", bz2.compress(tar))
put("archive", "zstd.tzst", subprocess.run(["zstd", "-c"], input=tar, capture_output=True, check=True).stdout)
put("archive", "zip.zip", packed.getvalue())
put("archive", "nested.zip", nested.getvalue())
