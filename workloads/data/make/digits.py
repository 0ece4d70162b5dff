"""Cuts ../digits.csv.gz out of the scikit-learn wheel, byte for byte.

    pip download --no-deps --only-binary :all: --python-version 3.11 \
        --platform manylinux2014_x86_64 scikit-learn==1.5.2
    python make/digits.py scikit_learn-1.5.2-cp311-*.whl digits.csv.gz
"""

import gzip
import io
import sys
import zipfile

from common import read_checked, sha256, write

WHEEL = "f8b0ccd4a902836493e026c03256e8b206656f91fbcc4fde28c57a5b752561f1"
FILE = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"


def main(wheel, out):
    archive = zipfile.ZipFile(io.BytesIO(read_checked(wheel, WHEEL)))
    data = archive.read("sklearn/datasets/data/digits.csv.gz")
    if sha256(data) != FILE:
        sys.exit(f"digits.csv.gz in {wheel}: sha256 is {sha256(data)}, expected {FILE}")
    write(out, data, gzip.decompress(data))


if __name__ == "__main__":
    main(*sys.argv[1:])
