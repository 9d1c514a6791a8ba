"""Reads a Siemens raw data file with twixtools and prints what is in it as JSON, for siemens.rs to compare.

    check_twix.py FILE COLUMNS

Lines of the image are put in place by their counters, cut to COLUMNS points around the centre of the image where the readout
is oversampled, and combined to one root-sum-of-squares image for each slice. For an echo planar scan there are two more such
images, both before phase correction: as twixtools regrids it, and as the positions of its samples define it.
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


def rss(coils):
    """`[coil, x, y]` to `[y, x]` in one list."""
    return np.sqrt((np.abs(coils) ** 2).sum(0)).T.ravel().tolist()


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
        found.append(rss(coils))
    return found


def regridded(scan):
    """Image of the one slice that twixtools maps: ramps regridded, oversampling removed, reversed lines mirrored."""
    lines = twixtools.map_twix(scan)["image"]
    for flag in ("regrid", "remove_os", "squeeze_singletons"):
        lines.flags[flag] = True
    # What halves the readout keeps no energy: its transforms are not unitary.
    kspace = np.sqrt(2) * np.moveaxis(lines[:], 0, 2).astype(np.complex128)
    return rss(centred_ifft(centred_ifft(kspace, 1), 2))


def exact(scan, blocks, columns):
    """Image of the one slice by the definition of its samples: those of a line are the Fourier transform of its pixels at the areas
    that the gradient has passed. The pixels are the least squares solution. As many are taken as the widest gap determines.
    """
    meas = scan["hdr"]["Meas"]
    up, flat, down, delay = (meas[f"alRegrid{name}"][0] for name in
                             ("RampupTime", "FlattopTime", "RampdownTime", "DelaySamplesTime"))
    count = blocks[0].data.shape[1]
    dwell = meas["aflRegridADCDuration"][0] / count
    # The gradient itself, summed in steps of a nanosecond.
    time = np.arange(0, up + flat + down, 1e-3) + 5e-4
    gradient = np.interp(time, [0, up, up + flat, up + flat + down], [0, 1, 1, 0])
    area = np.concatenate([[0], np.cumsum(gradient)]) * 1e-3

    def at(sample):
        return np.interp(delay + dwell * sample, np.arange(len(area)) * 1e-3, area)

    spacing = (at(count) - at(0)) / count
    middle = delay + dwell * (np.arange(count) + 0.5)
    k = (at(np.arange(count) + 0.5) - area[-1] / 2) / spacing
    # The receiver stays at the frequency that belongs to the plateau.
    ahead = k - (middle - (up + flat + down) / 2) / spacing
    width = int(count / np.diff(k).max())
    x = np.arange(width) - width // 2
    pixels = np.linalg.pinv(np.exp(-2j * np.pi * np.outer(k, x) / count))
    first = width // 2 - columns // 2
    field = 2 * scan["hdr"]["MeasYaps"]["sSliceArray"]["asSlice"][0]["dReadoutFOV"]
    image = np.zeros((blocks[0].data.shape[0], columns, max(block.cLin for block in blocks) + 1), np.complex128)
    for block in blocks:
        line = block.data[:, ::-1] if block.is_flag_set("REFLECT") else block.data
        line = line * np.exp(-2j * np.pi * block.mdh.ReadOutOffcentre / field * ahead)
        image[..., block.cLin] = np.sqrt(count) * (line @ pixels[first:first + columns].T)
    return rss(centred_ifft(image, 2))


def main():
    path, columns = sys.argv[1], int(sys.argv[2])
    scan = twixtools.read_twix(path, verbose=False, parse_pmu=False, parse_geometry=False, keep_syncdata=False)[-1]
    answer = {"readouts": [describe(block) for block in scan["mdb"]],
              "images": images([block for block in scan["mdb"] if block.is_image_scan()], columns)}
    if scan["hdr"]["Meas"].get("alRegridMode", [1])[0] == 2:
        blocks = [block for block in scan["mdb"] if block.is_image_scan() and not block.is_flag_set("PHASCOR")]
        answer.update(regridded=regridded(scan), exact=exact(scan, blocks, columns))
    # twixtools prints warnings to the standard output: the answer is its last line.
    print(json.dumps(answer))


main()
