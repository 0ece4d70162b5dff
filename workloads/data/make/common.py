"""Shared by the scripts that cut the embedded data. Python 3.9 or newer, standard library only."""

import gzip
import hashlib
import io
import sys


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read_checked(path, expected):
    """Bytes of the package at `path`, or an exit with both checksums."""
    with open(path, "rb") as file:
        data = file.read()
    found = sha256(data)
    if found != expected:
        sys.exit(f"{path}: sha256 is {found}, expected {expected}: fetch the pinned version")
    return data


def compress(data):
    """gzip without name and time, so that the same bytes give the same file.

    Another zlib may compress differently; the content stays the same, and the README gives the
    content's checksum as well."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, compresslevel=9, mtime=0) as file:
        file.write(data)
    return out.getvalue()


def write(path, data, content=None):
    with open(path, "wb") as file:
        file.write(data)
    print(f"{path}: {len(data)} bytes, sha256 {sha256(data)}")
    if content is not None:
        print(f"  content: {len(content)} bytes, sha256 {sha256(content)}")
