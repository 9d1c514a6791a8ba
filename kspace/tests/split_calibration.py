"""Takes the calibration lines of an accelerated ISMRMRD scan out of its image, for calibration.rs.

    split_calibration.py FILE FOLDER

Writes the same readouts as one measurement with a second encoding (one.h5), as two groups of one file (groups.h5), and as two
files (image.h5, calibration.h5). The calibration scan has the middle half of the points of a readout, and an encoding of its own.
"""

import sys

import h5py
import numpy as np

CALIBRATION, BOTH, LAST = 1 << 19, 1 << 20, 1 << 24


def encodings(xml):
    """The header up to its encoding, the encoding, and the rest."""
    first, last = xml.index("<encoding>"), xml.index("</encoding>") + len("</encoding>")
    return xml[:first], xml[first:last], xml[last:]


def write(path, group, xml, records, mode="w"):
    with h5py.File(path, mode, libver=("earliest", "v108")) as f:
        f.create_dataset(f"{group}/xml", data=[xml.encode()], dtype=h5py.string_dtype("ascii"))
        data = f.create_dataset(f"{group}/data", (len(records),), records.dtype, chunks=(1,), maxshape=(None,))
        data[:] = records


def main():
    source, folder = sys.argv[1:]
    with h5py.File(source) as f:
        records, xml = f["dataset/data"][:], f["dataset/xml"][0].decode()
    front, image, rest = encodings(xml.replace(">embedded<", ">separate<"))
    flags = records["head"]["flags"]
    block = (flags & (CALIBRATION | BOTH)) > 0
    # Lines of the image that calibrate too are in both.
    lines, calibration = records[flags & CALIBRATION == 0].copy(), records[block].copy()
    lines["head"]["flags"] &= ~np.uint64(BOTH)
    samples = int(calibration["head"]["number_of_samples"][0])
    half = samples // 2
    for record in calibration:
        head = record["head"]
        values = record["data"].reshape(head["active_channels"], samples, 2)
        record["data"] = values[:, samples // 4:samples // 4 + half].ravel().copy()
    calibration["head"]["flags"] = CALIBRATION
    calibration["head"]["number_of_samples"] = half
    calibration["head"]["center_sample"] = half // 2
    steps = calibration["head"]["idx"]["kspace_encode_step_1"]
    first, last = int(steps.min()), int(steps.max())
    own = image.replace(f"<x>{samples}</x>", f"<x>{half}</x>")
    limits = own[own.index("<minimum>"):own.index("</kspace_encoding_step_1>")]
    own = own.replace(limits, f"<minimum>{first}</minimum><maximum>{last}</maximum><center>84</center>")
    if own == image:
        raise SystemExit("the header of the scan is not as expected")

    lines["head"]["flags"][-1] |= LAST
    apart = calibration.copy()
    apart["head"]["encoding_space_ref"] = 1
    write(f"{folder}/one.h5", "dataset", front + image + own + rest, np.concatenate([apart, lines]))
    write(f"{folder}/groups.h5", "a", front + own + rest, calibration)
    write(f"{folder}/groups.h5", "b", front + image + rest, lines, mode="a")
    write(f"{folder}/calibration.h5", "dataset", front + own + rest, calibration)
    write(f"{folder}/image.h5", "dataset", front + image + rest, lines)


main()
