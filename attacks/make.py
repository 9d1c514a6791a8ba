"""Makes the files of this folder, the same bytes every time.

    python attacks/make.py

Needs h5py and numpy besides the standard library. Every file is malicious or damaged on purpose, none does harm by being
kept, and `expected.json` says of each what the project answers. `kspace/tests/attacks.rs` holds the readers to it.
"""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np

HERE = Path(__file__).parent
LARGEST = 100_000
HDF5 = b"\x89HDF\r\n\x1a\n"
BOMB = HDF5 + bytes(64 << 20)
TIME = (2026, 1, 1, 0, 0, 0)


def packed(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return info, data


def header(name: bytes, size: bytes, kind: bytes = b"0", magic: bytes = b"ustar\x0000") -> bytearray:
    """A tar header with a size field of our own choice."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[257 : 257 + len(magic)] = magic
    return sealed(block)


def sealed(block: bytearray) -> bytearray:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return block


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def zip_of(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name, TIME), data, method)
    return bytearray(out.getvalue())


def directory(archive: bytes, number: int = 0) -> int:
    """Where an entry of the directory of a zip archive begins."""
    at = -1
    for _ in range(number + 1):
        at = archive.index(b"PK\x01\x02", at + 1)
    return at


def zstd_bomb() -> bytes:
    """A frame of one raw block with a signature and blocks that repeat one byte."""
    block = lambda last, kind, size: struct.pack("<I", last | kind << 1 | size << 3)[:3]
    run = block(0, 1, 128 << 10) + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x58" + block(0, 0, 8) + HDF5 + run * 8192 + block(1, 1, 1) + b"\0"


def archives() -> dict[str, bytes]:
    files = {
        "gzip-bomb.gz": packed(BOMB),
        "bzip2-bomb.bz2": bz2.compress(BOMB),
        "xz-bomb.xz": lzma.compress(BOMB),
        "zstd-bomb.zst": zstd_bomb(),
        "zip-bomb.zip": bytes(zip_of(("scan.h5", BOMB))),
        "tar-bomb.tar.gz": packed(tar(member("scan.h5", BOMB))),
        "nested-bomb.tar": tar(member("a.tar.gz", packed(tar(member("scan.h5.gz", packed(BOMB)))))),
        "bomb-in-zip.zip": bytes(zip_of(("scan.h5.gz", packed(BOMB)), method=zipfile.ZIP_STORED)),
        "gzip-of-gzip.gz": packed(packed(packed(BOMB))),
    }
    # xz holds the longest archive: a million empty members, of which all but a few are never read.
    encoder = lzma.LZMACompressor(preset=1)
    entry = bytes(header(b"a", b"00000000000\0"))
    parts = [encoder.compress(entry * 1000) for _ in range(1000)] + [encoder.compress(bytes(1024)), encoder.flush()]
    files["million-members.tar.xz"] = b"".join(parts)

    scan = HDF5 + b"no HDF5 file at all"
    names = ["../../../../../../tmp/raki-escape.h5", "/tmp/raki-escape.h5", "C:\\raki-escape.h5", "..\\..\\raki-escape.h5"]
    files["traversal.tar"] = tar(*[member(name, scan) for name in names])
    files["traversal.zip"] = bytes(zip_of(*[(name, scan) for name in names]))
    links = [
        member("scan.h5", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member("folder", kind=tarfile.SYMTYPE, link="/tmp"),
        member("other.h5", kind=tarfile.LNKTYPE, link="scan.h5"),
        member("null.h5", kind=tarfile.CHRTYPE),
        member("disk.h5", kind=tarfile.BLKTYPE),
        member("pipe.h5", kind=tarfile.FIFOTYPE),
    ]
    files["links.tar"] = tar(*links)
    through = tar(member("folder", kind=tarfile.SYMTYPE, link="/tmp"), member("folder/raki-escape.txt", b"written"))
    files["through-link.tar"] = through
    link = zipfile.ZipInfo("scan.h5", TIME)
    link.create_system, link.external_attr = 3, 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    files["link.zip"] = out.getvalue()

    files["huge-claim.tar"] = bytes(header(b"scan.h5", b"\x80\0\0\0\x7f" + b"\xff" * 7)) + padded(scan)
    files["octal-claim.tar"] = bytes(header(b"scan.h5", b"77777777777\0")) + padded(scan)
    record = b"28 size=9223372036854775807\n"
    files["pax-size.tar"] = (
        bytes(header(b"pax", b"%011o\0" % len(record), b"x")) + padded(record) + bytes(header(b"scan.h5", b"00000000010\0"))
        + padded(scan) + bytes(1024)
    )
    # One reader takes the size of the extended header and another the plain one: they see other members.
    hidden = bytes(header(b"hidden.h5", b"%011o\0" % len(scan))) + padded(scan)
    record = b"13 size=1024\n"
    files["pax-hides.tar"] = (
        bytes(header(b"pax", b"%011o\0" % len(record), b"x")) + padded(record) + bytes(header(b"a.txt", b"00000000000\0"))
        + hidden + bytes(1024)
    )
    long = b"a" * (8 << 20)
    files["pax-long.tar.gz"] = packed(bytes(header(b"pax", b"%011o\0" % len(long), b"x")) + long)
    files["long-name.tar.gz"] = packed(bytes(header(b"@", b"%011o\0" % len(long), b"L", b"ustar  \0")) + long)
    sparse = header(b"scan.h5", b"00000000000\0", b"S", b"ustar  \0")
    sparse[386:410] = b"00000000000\0" * 2
    sparse[483:495] = b"\x80\0\0\0\0\0\0\1\0\0\0\0"
    files["sparse.tar"] = bytes(sealed(sparse)) + bytes(1024)
    files["padded.tar.gz"] = packed(tar(member("a.txt", b"notes"))) + b"\x1fleft by a tape drive" + bytes(512)
    files["tail.tar.gz"] = packed(tar(member("a.txt", b"notes"))) + b"left by a tape drive" + bytes(512)

    overlap = zip_of(("a.h5", bytes(8 << 20)), ("b.h5", b"b"), ("c.h5", b"c"))
    first = overlap[directory(overlap) :][:46]
    for number in (1, 2):
        at = directory(overlap, number)
        # Checksum, both lengths and the place of the first: the same bytes three times.
        overlap[at + 16 : at + 28], overlap[at + 42 : at + 46] = first[16:28], first[42:46]
    files["overlap.zip"] = bytes(overlap)
    claim = zip_of(("scan.h5", scan))
    at = directory(claim)
    claim[at + 24 : at + 28] = b"\xf0\xff\xff\xff"
    files["huge-claim.zip"] = bytes(claim)
    outside = zip_of(("scan.h5", scan))
    at = directory(outside)
    outside[at + 42 : at + 46] = struct.pack("<I", len(outside) - 20)
    files["outside.zip"] = bytes(outside)
    beyond = zip_of(("scan.h5", scan))
    at = directory(beyond)
    beyond[at + 20 : at + 24] = struct.pack("<I", 1 << 20)
    files["beyond.zip"] = bytes(beyond)
    count = zip_of(("scan.h5", scan))
    end = count.index(b"PK\x05\x06")
    count[end + 8 : end + 12] = b"\xfe\xff\xfe\xff"
    files["many-claimed.zip"] = bytes(count)
    files["many-members.zip"] = bytes(zip_of(*[("a", b"")] * 1001, method=zipfile.ZIP_STORED))
    encrypted = zip_of(("scan.h5", scan))
    encrypted[6] |= 1
    encrypted[directory(encrypted) + 8] |= 1
    files["encrypted.zip"] = bytes(encrypted)
    damaged = zip_of(("scan.h5", scan), method=zipfile.ZIP_STORED)
    damaged[damaged.index(HDF5) + 12] ^= 1
    files["checksum.zip"] = bytes(damaged)
    inner = bytes(zip_of(("scan.h5", scan)))
    files["zip-in-zip-in-zip.zip"] = bytes(zip_of(("c.zip", bytes(zip_of(("b.zip", inner))))))
    files["many-files.tar"] = tar(*[member(f"{number}.h5", scan) for number in range(9)])

    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    files["xz-memory.xz"] = lzma.compress(b"small", filters=filters)
    files["zstd-memory.zst"] = b"\x28\xb5\x2f\xfd\x00" + bytes([22 << 3]) + b"\1\0\0"
    return files


HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>
<encoding><encodedSpace><matrixSize><x>{0}</x><y>{0}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>200</x><y>200</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{0}</x><y>{0}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>200</x><y>200</y><z>5</z></fieldOfView_mm></reconSpace>
<trajectory>cartesian</trajectory><encodingLimits/></encoding></ismrmrdHeader>"""

COUNTERS = ["kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast", "phase", "repetition", "set", "segment"]
ENCODING = np.dtype([(name, "<u2") for name in COUNTERS] + [("user", "<u2", (8,))])
HEAD = np.dtype(
    [("version", "<u2"), ("flags", "<u8"), ("measurement_uid", "<u4"), ("scan_counter", "<u4")]
    + [("acquisition_time_stamp", "<u4"), ("physiology_time_stamp", "<u4", (3,)), ("number_of_samples", "<u2")]
    + [("available_channels", "<u2"), ("active_channels", "<u2"), ("channel_mask", "<u8", (16,)), ("discard_pre", "<u2")]
    + [("discard_post", "<u2"), ("center_sample", "<u2"), ("encoding_space_ref", "<u2"), ("trajectory_dimensions", "<u2")]
    + [("sample_time_us", "<f4"), ("position", "<f4", (3,)), ("read_dir", "<f4", (3,)), ("phase_dir", "<f4", (3,))]
    + [("slice_dir", "<f4", (3,)), ("patient_table_position", "<f4", (3,)), ("idx", ENCODING)]
    + [("user_int", "<i4", (8,)), ("user_float", "<f4", (8,))]
)
FLOATS = h5py.vlen_dtype(np.dtype("<f4"))
ACQUISITION = np.dtype([("head", HEAD), ("traj", FLOATS), ("data", FLOATS)])


def hdf5(fill) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w", libver="earliest", track_order=False) as file:
        fill(file)
    return out.getvalue()


def ismrmrd(file: h5py.File, xml: str, samples: int = 8, channels: int = 2, values: int | None = None, lines: int = 8) -> None:
    group = file.create_group("dataset")
    group.create_dataset("xml", data=[xml.encode()], dtype=h5py.string_dtype(), track_times=False)
    rows = np.zeros(lines, ACQUISITION)
    for line, row in enumerate(rows):
        row["head"]["number_of_samples"], row["head"]["active_channels"] = samples, channels
        row["head"]["center_sample"], row["head"]["idx"]["kspace_encode_step_1"] = samples // 2, line
        row["traj"] = np.zeros(0, "<f4")
        row["data"] = np.ones(2 * samples * channels if values is None else values, "<f4")
    group.create_dataset("data", data=rows, track_times=False)


COLLECTIONS = 1200


def referring(data: bytes, samples: int, channels: int, reference, lines: int = 40) -> bytes:
    """Readouts whose samples lie where `reference` says, from `data`, which are one object of the heap: of its collection, its number
    and its place in the file, it gives the count, the collection and the object."""
    layout = {}

    def fill(file):
        ismrmrd(file, HEADER.format(lines).replace(f"<x>{lines}</x>", f"<x>{samples}</x>"), samples, channels, 2, lines)
        readouts = file["dataset/data"]
        first = readouts[0]
        first["data"] = np.frombuffer(data, "<f4")
        readouts[0] = first
        kind = readouts.id.get_type()
        layout["size"], layout["data"] = kind.get_size(), kind.get_member_offset(kind.get_member_index(b"data"))
        layout["start"] = readouts.id.get_offset()

    file = bytearray(hdf5(fill))
    at = layout["start"] + layout["data"]
    _, collection, number = struct.unpack_from("<IQI", file, at)
    place = file.index(data)
    for line in range(lines):
        struct.pack_into("<IQI", file, at + line * layout["size"], *reference((collection, number, place), line))
    return bytes(file)


def scans() -> dict[str, bytes]:
    bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<?xml version="1.0"?><!DOCTYPE h [<!ENTITY e0 "aaaaaaaaaa">{bomb}]><ismrmrdHeader>&e9;</ismrmrdHeader>'
    outside = '<?xml version="1.0"?><!DOCTYPE h [<!ENTITY e SYSTEM "file:///etc/passwd">]><ismrmrdHeader>&e;</ismrmrdHeader>'

    def loop(file):
        group = file.create_group("dataset")
        group["again"] = group
        group["xml"] = group
        group["data"] = group

    def soft_loop(file):
        group = file.create_group("dataset")
        group["xml"], group["data"] = h5py.SoftLink("/dataset/data"), h5py.SoftLink("/dataset/xml")

    def external(file):
        ismrmrd(file, HEADER.format(8))
        del file["dataset/data"]
        file["dataset/data"] = h5py.ExternalLink("/etc/passwd", "/")

    def external_storage(file):
        ismrmrd(file, HEADER.format(8))
        del file["dataset/data"]
        file.create_dataset("dataset/data", shape=(10,), dtype=ACQUISITION, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)], track_times=False)

    def huge(file):
        ismrmrd(file, HEADER.format(8))
        del file["dataset/data"]
        file.create_dataset("dataset/data", shape=(1 << 40,), dtype=ACQUISITION, chunks=(1 << 22,), track_times=False)

    def deep(file):
        group = file
        for _ in range(60):
            group = group.create_group("g")

    xml = HEADER.format
    overlap = b"".join(
        struct.pack("<QQ", 1, 16) + b"GCOL\x01\0\0\0" + struct.pack("<Q", 32 * (COLLECTIONS - n) + 144) for n in range(COLLECTIONS)
    )
    overlap += struct.pack("<QQ", 9, 128) + np.ones(32, "<f4").tobytes() + bytes(16)
    return {
        "xml-entities.h5": hdf5(lambda file: ismrmrd(file, bomb)),
        "xml-external-entity.h5": hdf5(lambda file: ismrmrd(file, outside)),
        "xml-nested.h5": hdf5(lambda file: ismrmrd(file, "<a>" * 12_000)),
        "matrix-claim.h5": hdf5(lambda file: ismrmrd(file, xml(4_294_967_295))),
        "matrix-claim-3d.h5": hdf5(
            lambda file: ismrmrd(file, xml(8).replace("<y>8</y><z>1</z>", "<y>9000000000000</y><z>2</z>"))
        ),
        "shared-samples.h5": referring(np.ones(4096, "<f4").tobytes(), 128, 16, lambda at, n: (4096, at[0], at[1])),
        "shared-heap.h5": referring(overlap, 8, 2, lambda at, n: (32, at[2] + 16 + 32 * 20 * n, 9)),
        "samples-claim.h5": hdf5(lambda file: ismrmrd(file, xml(8), 65_535, 65_535, 16)),
        "loop.h5": hdf5(loop),
        "soft-loop.h5": hdf5(soft_loop),
        "external-link.h5": hdf5(external),
        "external-storage.h5": hdf5(external_storage),
        "huge-chunk.h5": hdf5(huge),
        "deep-groups.h5": hdf5(deep),
        "signature-only.h5": HDF5 + b"\0" * 100,
    }


def twix(entries: list[tuple[int, int]], body: bytes = b"", length: int = 10_240) -> bytearray:
    """A superheader whose entries point to `(offset, length)`, then `body`."""
    head = bytearray(length)
    struct.pack_into("<II", head, 0, 0, len(entries))
    for number, (offset, size) in enumerate(entries):
        struct.pack_into("<IIQQ", head, 8 + 152 * number, number, 1, offset, size)
    return head + body


def measurement(dma: int, count: int = 1) -> bytes:
    """A measurement header without buffers, then scan headers that claim `dma` bytes each."""
    scan = bytearray(192)
    struct.pack_into("<I", scan, 0, dma)
    struct.pack_into("<HH", scan, 48, 8, 2)
    return struct.pack("<II", 64, 0) + bytes(56) + bytes(scan) * count


def raw() -> dict[str, bytes]:
    huge = measurement(0x1FFFFFF)
    dimensions = b"# Dimensions\n" + b" ".join([b"4294967295"] * 16) + b"\n"
    small = b"# Dimensions\n4 4 1 2 1 1 1 1 1 1 1 1 1 1 1 1\n"
    return {
        "dma-length.dat": bytes(twix([(10_240, len(huge))], huge)),
        "dma-zero.dat": bytes(twix([(10_240, 64 + 192)], measurement(0))),
        "raid-loop.dat": bytes(twix([(10_240, 1 << 62)] + [(0, 10_240)] * 63, measurement(0, 4))),
        "raid-outside.dat": bytes(twix([(10_240, 512), (1 << 63, 1 << 63)], bytes(512))),
        "buffers-claim.dat": bytes(twix([(10_240, 512)], struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF) + bytes(504))),
        "dimensions.tar": tar(member("x.hdr", dimensions), member("x.cfl", bytes(64))),
        "short-data.tar": tar(member("x.hdr", small), member("x.cfl", bytes(64))),
        "data-alone.tar": tar(member("x.cfl", bytes(64))),
    }


def main() -> None:
    for name, data in (archives() | scans() | raw()).items():
        if len(data) > LARGEST:
            raise SystemExit(f"{name} has {len(data)} bytes")
        (HERE / name).write_bytes(data)


if __name__ == "__main__":
    main()
