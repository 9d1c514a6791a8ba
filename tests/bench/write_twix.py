"""Writes a large Siemens raw data file in the layout of VD, to compare readers with.

    write_twix.py FILE [--slices 32] [--lines 256] [--channels 16] [--samples 512]
"""
import argparse
import pathlib

import numpy as np

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("file", type=pathlib.Path)
p.add_argument("--slices", type=int, default=32)
p.add_argument("--lines", type=int, default=256)
p.add_argument("--channels", type=int, default=16)
p.add_argument("--samples", type=int, default=512)
a = p.parse_args()

CHANNEL = np.dtype([("length", "<u4"), ("meas", "<u4"), ("counter", "<u4"), ("zeros", "<u4", 3), ("id", "<u2"), ("unused", "<u2"),
                    ("crc", "<u4"), ("data", "<c8", a.samples)])
SCAN = np.dtype([("length", "<u4"), ("meas", "<u4"), ("counter", "<u4"), ("times", "<u4", 2), ("system", "<u2", 2),
                 ("table", "<i4", 4), ("mask", "<u8"), ("samples", "<u2"), ("channels", "<u2"), ("loops", "<u2", 14),
                 ("cut", "<u2", 2), ("column", "<u2"), ("coil", "<u2"), ("offcentre", "<f4"), ("since_rf", "<u4"),
                 ("line", "<u2"), ("partition", "<u2"), ("position", "<f4", 3), ("quaternion", "<f4", 4), ("rest", "u1", 64)])
READOUT = np.dtype([("scan", SCAN), ("channels", CHANNEL, a.channels)])
assert SCAN.itemsize == 192 and CHANNEL.itemsize == 32 + 8 * a.samples

PROTOCOL = {
    "Config": '<XProtocol> { <ParamMap.""> { <ParamString."PatientPosition"> { "HFS" } } }\n',
    "Dicom": '<XProtocol> { <ParamMap.""> { <ParamString."SoftwareVersions"> { "syngo MR E11" } '
             '<ParamDouble."flReadoutOSFactor"> { <Precision> 6 2.0 } } }\n',
    "MeasYaps": f"""### ASCCONV BEGIN ###
sKSpace.lBaseResolution = {a.samples // 2}
sKSpace.lPhaseEncodingLines = {a.lines}
sRXSPEC.alDwellTime[0] = 5000
sSliceArray.asSlice[0].dReadoutFOV = 220.0
sSliceArray.asSlice[0].dPhaseFOV = 220.0
sSliceArray.asSlice[0].dThickness = 3.0
### ASCCONV END ###
""",
}

header = np.uint32(len(PROTOCOL)).tobytes()
for name, text in PROTOCOL.items():
    header += name.encode() + b"\0" + np.uint32(len(text)).tobytes() + text.encode()
length = -(-(len(header) + 4) // 32) * 32
header = np.uint32(length).tobytes() + header.ljust(length - 4, b"\0")

rng = np.random.default_rng(1)
block = np.zeros(a.lines, READOUT)
scan, channels = block["scan"], block["channels"]
scan["length"], scan["meas"], scan["mask"] = READOUT.itemsize, 1, 1 << 3
scan["samples"], scan["channels"], scan["column"], scan["line"] = a.samples, a.channels, a.samples // 2, a.lines // 2
scan["quaternion"] = [0.5**0.5, 0, 0, 0.5**0.5]
channels["length"], channels["meas"], channels["id"] = CHANNEL.itemsize << 8, 1, np.arange(a.channels)
channels["data"].real = rng.standard_normal(channels["data"].shape)
channels["data"].imag = rng.standard_normal(channels["data"].shape)

end = np.zeros(1, SCAN)
end["length"], end["meas"], end["mask"] = 352, 1, 1
with open(a.file, "wb") as f:
    table = np.zeros(10_240, np.uint8)
    table[:32].view("<u8")[:] = [1 << 32, 1 | 1 << 32, 10_240, length + a.slices * block.nbytes + 352]
    f.write(table.tobytes() + header)
    for number in range(a.slices):
        scan["loops"][:, 0], scan["loops"][:, 2] = np.arange(a.lines), number
        scan["counter"] = 1 + number * a.lines + np.arange(a.lines)
        channels["counter"] = scan["counter"][:, None]
        scan["position"][:, 2] = 3.3 * number
        f.write(block.tobytes())
    f.write(end.tobytes() + bytes(160))
