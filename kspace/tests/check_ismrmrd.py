"""Opens an ISMRMRD file with the official Python package and prints what is in it as JSON, for phantom.rs to compare.

    check_ismrmrd.py FILE
"""

import json
import sys

import ismrmrd
import ismrmrd.xsd
import numpy as np


def describe(acquisition):
    """What one readout says, with sums that any wrong, missing or exchanged sample changes."""
    samples = acquisition.data.astype(np.complex128)
    channel, sample = np.indices(samples.shape)
    weighted = (samples * (1 + channel * samples.shape[1] + sample)).sum()
    idx = acquisition.idx
    mask = sum(int(word) << (64 * i) for i, word in enumerate(acquisition.channel_mask))
    return {
        "version": acquisition.version,
        "flags": acquisition.flags,
        "noise": acquisition.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT),
        "scan_counter": acquisition.scan_counter,
        "samples": acquisition.number_of_samples,
        "channels": acquisition.active_channels,
        "available_channels": acquisition.available_channels,
        "mask_bits": bin(mask).count("1"),
        "center_sample": acquisition.center_sample,
        "trajectory_dimensions": acquisition.trajectory_dimensions,
        "trajectory_samples": int(acquisition.traj.size),
        "sample_time_us": acquisition.sample_time_us,
        "position": list(acquisition.position),
        "read_dir": list(acquisition.read_dir),
        "phase_dir": list(acquisition.phase_dir),
        "slice_dir": list(acquisition.slice_dir),
        "counters": [
            idx.kspace_encode_step_1, idx.kspace_encode_step_2, idx.average, idx.slice, idx.contrast,
            idx.phase, idx.repetition, idx.set, idx.segment,
        ],
        "weighted": [weighted.real, weighted.imag],
        "energy": float((np.abs(samples) ** 2).sum()),
    }


def main():
    dataset = ismrmrd.Dataset(sys.argv[1], "dataset", create_if_needed=False)
    header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
    encoding = header.encoding[0]
    limits = encoding.encodingLimits
    space = lambda s: [s.matrixSize.x, s.matrixSize.y, s.matrixSize.z,
                       s.fieldOfView_mm.x, s.fieldOfView_mm.y, s.fieldOfView_mm.z]
    limit = lambda l: [l.minimum, l.maximum, l.center]
    parallel = encoding.parallelImaging
    json.dump({
        "encodings": len(header.encoding),
        "encoded": space(encoding.encodedSpace),
        "recon": space(encoding.reconSpace),
        "trajectory": encoding.trajectory.value,
        "step_1": limit(limits.kspace_encoding_step_1),
        "slice": limit(limits.slice),
        "acceleration": parallel and parallel.accelerationFactor.kspace_encoding_step_1,
        "calibration": parallel and parallel.calibrationMode.value,
        "patient_position": header.measurementInformation.patientPosition.value,
        "receiver_channels": header.acquisitionSystemInformation.receiverChannels,
        "coil_labels": [c.coilNumber for c in header.acquisitionSystemInformation.coilLabel],
        "h1_frequency_hz": header.experimentalConditions.H1resonanceFrequency_Hz,
        "tr": list(header.sequenceParameters.TR),
        "readouts": [describe(dataset.read_acquisition(i)) for i in range(dataset.number_of_acquisitions())],
    }, sys.stdout)


main()
