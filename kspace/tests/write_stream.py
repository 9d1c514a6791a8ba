"""Writes an ISMRMRD file as a stream of messages with the official Python package, for streams.rs.

    write_stream.py SCAN.h5 FOLDER
FOLDER/plain.ismrmrd holds header and readouts; FOLDER/mixed.ismrmrd has every other kind of message between them, of
lengths that put readouts off their alignment, and a trajectory.
"""

import os
import sys

import ismrmrd
import numpy as np
from ismrmrd.serialization import ConfigFile, ConfigText, ProtocolSerializer

source, folder = sys.argv[1:]
dataset = ismrmrd.Dataset(source, "dataset", create_if_needed=False)
header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
readouts = [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]

with ProtocolSerializer(os.path.join(folder, "plain.ismrmrd")) as stream:
    stream.serialize(header)
    for readout in readouts:
        stream.serialize(readout)

with ProtocolSerializer(os.path.join(folder, "mixed.ismrmrd")) as stream:
    stream.serialize(ConfigFile("default.xml"))
    stream.serialize(ConfigText("<configuration/>"))
    stream.serialize(header)
    for number, readout in enumerate(readouts):
        stream.serialize("x" * number)
        if number == 1:
            stream.serialize(ismrmrd.Image.from_array(np.ones((2, 3, 4, 5), np.complex64), field_of_view=(1, 1, 1)))
        if number == 2:
            stream.serialize(ismrmrd.Waveform.from_array(np.ones((3, 7), np.uint32)))
        if number == 3:
            stream.serialize(np.ones((3, 5), np.float64))
        if number == 4:
            with_trajectory = ismrmrd.Acquisition.from_array(readout.data, np.ones((readout.number_of_samples, 2), np.float32))
            with_trajectory.idx.kspace_encode_step_1 = readout.idx.kspace_encode_step_1
            readout = with_trajectory
        stream.serialize(readout)
