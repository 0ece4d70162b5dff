"""Cuts a sample of 100,000 US flights out of the vega-datasets package.

    npm pack vega-datasets@3.2.1
    python make/flights.py vega-datasets-3.2.1.tgz flights_100k.gz

Needs numpy and pyarrow (26.0 was used). Of the 3,000,000 rows of flights-3m.parquet those are taken
whose row number has the smallest values of the SplitMix64 finaliser (row number + 1 times the golden
ratio), in the file's order, which is by time.

Format (little-endian): the magic "VFLT", then four u32: version (1), airports, routes, flights.
Airports: three letters each, sorted. Routes (all of the package's file, sorted): one byte for the
origin, one for the destination (positions among the airports), u16 miles. Then columns with one byte
for each flight: minutes since the flight before (the first: since midnight of 1 January 2001), low
bytes and high bytes; positions of the routes, low bytes and high bytes; and the labels, one bit for
each flight, the first in the lowest bit: 1 where the delay on arrival is 15 minutes or more.
"""

import io
import struct
import sys
import tarfile

import numpy as np
import pyarrow.parquet as pq
from common import compress, read_checked, write

TGZ = "6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3"
MEMBER = "package/data/flights-3m.parquet"
SAMPLE, LATE = 100_000, 15


def mixed(n):
    """SplitMix64 of the numbers below n."""
    with np.errstate(over="ignore"):
        z = (np.arange(n, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def main(tgz, out):
    archive = tarfile.open(fileobj=io.BytesIO(read_checked(tgz, TGZ)))
    table = pq.read_table(io.BytesIO(archive.extractfile(MEMBER).read()))
    since = table["date"].to_numpy() - np.datetime64("2001-01-01T00:00:00")
    minute = since.astype("timedelta64[m]").astype(np.int64)
    ends = [table[c].to_pylist() for c in ("origin", "destination")]
    miles = table["distance"].to_pylist()
    late = table["delay"].to_numpy() >= LATE

    airports = sorted(set(ends[0]) | set(ends[1]))
    place = {code: i for i, code in enumerate(airports)}
    trips = [(place[a], place[b], d) for a, b, d in zip(*ends, miles)]
    routes = sorted(set(trips))
    number = {route: i for i, route in enumerate(routes)}

    rows = np.sort(np.argsort(mixed(len(trips)), kind="stable")[:SAMPLE])
    steps = np.diff(minute[rows], prepend=0)
    assert all(len(code) == 3 for code in airports) and len(airports) < 256
    assert len(routes) < 65536 and 0 <= steps.min() and steps.max() < 65536
    route = np.array([number[trips[row]] for row in rows])
    content = b"VFLT" + struct.pack("<4I", 1, len(airports), len(routes), SAMPLE)
    content += "".join(airports).encode()
    content += b"".join(struct.pack("<BBH", *r) for r in routes)
    for column in (steps, route):
        content += (column & 255).astype(np.uint8).tobytes()
        content += (column >> 8).astype(np.uint8).tobytes()
    content += np.packbits(late[rows], bitorder="little").tobytes()
    write(out, compress(content), content)
    print(f"  {len(airports)} airports, {len(routes)} routes, {late[rows].mean():.4f} late")


if __name__ == "__main__":
    main(*sys.argv[1:])
