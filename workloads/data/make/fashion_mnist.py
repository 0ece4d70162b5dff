"""Cuts a class-balanced subset of Fashion-MNIST out of the Debian package.

    apt-get download dataset-fashion-mnist
    python make/fashion_mnist.py dataset-fashion-mnist_*_all.deb fashion_mnist_8000.gz

In file order and for each class: the first 600 images of the original training file are for
training, the next 100 for validation; the first 100 of the original test file are for test. An
image whose pixels were already taken is passed over. Each split is stored with its classes taking
turns (0, 1, ..., 9, 0, 1, ...), so that any prefix of a split is balanced.

Format (little-endian): the magic "VIMG", then six u32: version (1), rows, columns, number of
training, validation and test images; one label byte for each image; the pixels of each image, one
byte each, row by row. Splits follow one another in the order training, validation, test.
"""

import gzip
import io
import lzma
import struct
import sys
import tarfile

from common import compress, read_checked, write

DEB = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"
FOLDER = "./usr/share/datasets/fashion-mnist/"
CLASSES, TRAIN, VALIDATION, TEST = 10, 600, 100, 100


def members(deb):
    """Members of an ar archive, by name."""
    if deb[:8] != b"!<arch>\n":
        sys.exit("not a Debian package")
    at, found = 8, {}
    while at + 60 <= len(deb):
        name = deb[at : at + 16].decode().strip().rstrip("/")
        size = int(deb[at + 48 : at + 58])
        found[name] = deb[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    return found


def idx(data, magic):
    """Shape and payload of an IDX file of bytes."""
    data = gzip.decompress(data)
    rank = magic & 0xFF
    head = struct.unpack(f">{1 + rank}I", data[: 4 * (1 + rank)])
    if head[0] != magic:
        sys.exit(f"IDX magic is {head[0]}, expected {magic}")
    return head[1:], data[4 * (1 + rank) :]


def pairs(tar, prefix):
    """(pixels, label) of one original file, in order."""
    read = lambda name: tar.extractfile(FOLDER + name).read()
    (count, rows, columns), pixels = idx(read(f"{prefix}-images-idx3-ubyte.gz"), 2051)
    (labels_count,), labels = idx(read(f"{prefix}-labels-idx1-ubyte.gz"), 2049)
    assert (rows, columns) == (28, 28) and count == labels_count
    size = rows * columns
    return [(pixels[i * size : (i + 1) * size], labels[i]) for i in range(count)]


def take(source, counts, seen):
    """For each split, `counts[split]` images of each class, classes taking turns."""
    by_class = [[] for _ in range(CLASSES)]
    need = sum(counts)
    for image, label in source:
        if len(by_class[label]) < need and image not in seen:
            seen.add(image)
            by_class[label].append(image)
    start, splits = 0, []
    for count in counts:
        splits.append([(by_class[c][i], c) for i in range(start, start + count) for c in range(CLASSES)])
        start += count
    return splits


def main(deb, out):
    data = members(read_checked(deb, DEB))["data.tar.xz"]
    tar = tarfile.open(fileobj=io.BytesIO(lzma.decompress(data)))
    seen = set()
    train, validation = take(pairs(tar, "train"), [TRAIN, VALIDATION], seen)
    (test,) = take(pairs(tar, "t10k"), [TEST], seen)
    images = train + validation + test
    content = b"VIMG" + struct.pack("<6I", 1, 28, 28, len(train), len(validation), len(test))
    content += bytes(label for _, label in images) + b"".join(image for image, _ in images)
    write(out, compress(content), content)


if __name__ == "__main__":
    main(*sys.argv[1:])
