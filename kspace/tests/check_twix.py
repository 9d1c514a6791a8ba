"""Reads a Siemens raw data file with twixtools and prints what is in it as JSON, for siemens.rs to compare.

    check_twix.py FILE COLUMNS

Lines of the image are put in place by their counters, cut to COLUMNS points around the centre of the image where the readout
is oversampled, and combined to one root-sum-of-squares image for each slice.
"""

import json
import sys

import numpy as np
import twixtools


def describe(block):
    """What one readout says, with sums that any wrong, missing or exchanged sample changes."""
    mdh, samples = block.mdh, block.data.astype(np.complex128)
    c = mdh.Counter
    weighted = (samples.ravel() * np.arange(1, samples.size + 1)).sum()
    numbers = [mdh.SamplesInScan, mdh.UsedChannels, mdh.CenterCol, mdh.CutOff.Pre, mdh.CutOff.Post,
               c.Lin, c.Par, c.Ave, c.Sli, c.Eco, c.Phs, c.Rep, c.Set, c.Seg]
    flags = [block.is_flag_set(name) for name in ("REFLECT", "PHASCOR", "NOISEADJSCAN")]
    place = mdh.SliceData.SlicePos
    return [float(x) for x in [*numbers, *flags, place.Sag, place.Cor, place.Tra, weighted.real, weighted.imag]]


def centred_ifft(x, axis):
    return np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(x, axes=axis), axis=axis, norm="ortho"), axes=axis)


def images(blocks, columns):
    """One image for each slice, `[y, x]` in one list."""
    lines = max(block.cLin for block in blocks) + 1
    found = []
    for number in sorted({block.cSlc for block in blocks}):
        of_slice = [block for block in blocks if block.cSlc == number]
        k = np.zeros((*of_slice[0].data.shape, lines), np.complex128)
        for block in of_slice:
            k[..., block.cLin] = block.data[:, ::-1] if block.is_flag_set("REFLECT") else block.data
        x = centred_ifft(k, 1)
        first = k.shape[1] // 2 - columns // 2
        coils = centred_ifft(x[:, first:first + columns], 2)
        found.append(np.sqrt((np.abs(coils) ** 2).sum(0)).T.ravel().tolist())
    return found


def main():
    path, columns = sys.argv[1], int(sys.argv[2])
    scan = twixtools.read_twix(path, verbose=False, parse_pmu=False, parse_geometry=False, keep_syncdata=False)[-1]
    answer = {"readouts": [describe(block) for block in scan["mdb"]],
              "images": images([block for block in scan["mdb"] if block.is_image_scan()], columns)}
    # twixtools prints warnings to the standard output: the answer is its last line.
    print(json.dumps(answer))


main()
