"""Cuts 10,000 molecules out of the PCBA table in the chemprop source archive.

    pip download --no-deps --no-binary :all: --ignore-requires-python chemprop==1.6.1.dev0
    python make/pcba.py chemprop-1.6.1.dev0.tar.gz pcba_10000.csv.gz

Columns: the 16 assays with the most active molecules, most active first. Rows: among the molecules
with a label in at least 8 of these assays, the 5,000 with the smallest hash that are active in at
least one of them, and the 5,000 with the smallest hash that are active in none. The hash is the
first 8 bytes of the SHA-256 of the SMILES text; rows are in the order of the next 8 bytes, which
also decide the split. Texts and labels (0, 1, nothing) are those of the source.
"""

import csv
import hashlib
import io
import sys
import tarfile

from common import compress, read_checked, sha256, write

SDIST = "17e9063a5928afcd0ffd8c16607b93d5e31f496d2b83a532652a79b331283b4d"
TABLE = "238b64a6590641ec1203d788b26030a0c9c71d2bad75a9bc9f0a3f1a5cb2c3ac"
ASSAYS, LABELLED, EACH = 16, 8, 5000


def table(sdist):
    """Text of pcba.csv."""
    outer = tarfile.open(fileobj=io.BytesIO(sdist), mode="r:gz")
    inner = outer.extractfile("chemprop-1.6.1.dev0/data.tar.gz")
    data = tarfile.open(fileobj=inner, mode="r:gz").extractfile("data/pcba.csv").read()
    if sha256(data) != TABLE:
        sys.exit(f"pcba.csv: sha256 is {sha256(data)}, expected {TABLE}")
    return data.decode()


def main(sdist, out):
    rows = csv.reader(io.StringIO(table(read_checked(sdist, SDIST))))
    header = next(rows)
    rows = list(rows)
    actives = [sum(row[c] == "1" for row in rows) for c in range(1, len(header))]
    columns = sorted(range(1, len(header)), key=lambda c: -actives[c - 1])[:ASSAYS]
    kept = {True: [], False: []}
    for row in rows:
        labels = [row[c] for c in columns]
        if sum(label != "" for label in labels) >= LABELLED:
            digest = hashlib.sha256(row[0].encode()).digest()
            kept["1" in labels].append((digest[:8], digest[8:16], row[0], labels))
    chosen = [row for rows in kept.values() for row in sorted(rows)[:EACH]]
    chosen.sort(key=lambda row: row[1])
    lines = [["smiles"] + [header[c] for c in columns]]
    lines += [[smiles] + labels for _, _, smiles, labels in chosen]
    content = "".join(",".join(line) + "\n" for line in lines).encode()
    write(out, compress(content), content)


if __name__ == "__main__":
    main(*sys.argv[1:])
