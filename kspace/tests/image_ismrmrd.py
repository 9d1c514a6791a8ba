"""Images of a fully sampled ISMRMRD file by the official package and NumPy, for prepare.rs.

    image_ismrmrd.py FILE
Prints a JSON list of slices in the order of their place along z: root sum of squares over the coils, `[y, x]` in one row, after
readout oversampling was removed. Noise readouts are left out, and nothing is prewhitened.
"""

import json
import sys

import ismrmrd
import ismrmrd.xsd
import numpy as np


def centred(transform, data, axes):
    return np.fft.fftshift(transform(np.fft.ifftshift(data, axes), axes=axes, norm="ortho"), axes)


dataset = ismrmrd.Dataset(sys.argv[1], create_if_needed=False)
encoding = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header()).encoding[0]
x, y = encoding.encodedSpace.matrixSize.x, encoding.encodedSpace.matrixSize.y
kept = round(x * encoding.reconSpace.fieldOfView_mm.x / encoding.encodedSpace.fieldOfView_mm.x)
slices = {}
for number in range(dataset.number_of_acquisitions()):
    line = dataset.read_acquisition(number)
    if line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT):
        continue
    place, kspace = slices.setdefault(line.idx.slice, (line.position[2], np.zeros((line.active_channels, y, x), np.complex64)))
    kspace[:, line.idx.kspace_encode_step_1] = line.data
images = []
for _, kspace in sorted(slices.values(), key=lambda entry: entry[0]):
    hybrid = centred(np.fft.ifftn, kspace, (2,))[:, :, x // 2 - kept // 2:x // 2 - kept // 2 + kept]
    image = centred(np.fft.ifftn, hybrid, (1,))
    images.append(np.sqrt((np.abs(image) ** 2).sum(0)).ravel().tolist())
print(json.dumps(images))
