"""Reads ISMRMRD images with the official package and prints them as JSON, for ismrmrd_images.rs.

    check_ismrmrd_images.py FILE
"""

import json
import sys

import ismrmrd
import ismrmrd.xsd

dataset = ismrmrd.Dataset(sys.argv[1], mode="r")
document = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
encoding = document.encoding[0]


def describe(image):
    head = image.getHead()
    plane = image.data[0, 0]
    return {
        "matrix": list(image.matrix_size),
        "field_of_view": list(image.field_of_view),
        "directions": [list(vector) for vector in (image.position, image.read_dir, image.phase_dir, image.slice_dir)],
        "counters": [image.slice, image.contrast, image.phase, image.repetition, image.set],
        "codes": [head.version, image.data_type, image.image_type, image.image_index, image.channels],
        "history": image.meta["ImageProcessingHistory"],
        "real": plane.real.ravel().tolist(),
        "imaginary": plane.imag.ravel().tolist(),
    }


print(json.dumps({
    "vendor": document.acquisitionSystemInformation.systemVendor,
    "field": document.acquisitionSystemInformation.systemFieldStrength_T,
    "frequency": document.experimentalConditions.H1resonanceFrequency_Hz,
    "echo": document.sequenceParameters.TE,
    "recon": [encoding.reconSpace.matrixSize.x, encoding.reconSpace.matrixSize.y],
    "slices": encoding.encodingLimits.slice.maximum + 1,
    "images": [describe(dataset.read_image("image_0", number)) for number in range(dataset.number_of_images("image_0"))],
}))
