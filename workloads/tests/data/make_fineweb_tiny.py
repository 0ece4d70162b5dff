"""Makes fineweb_tiny: a folder as AlgoPerf's set-up of FineWeb-Edu leaves it, with other tokens.

Made with datasets 5.2.0 and pyarrow 26.0.1 (Python 3.11), in this folder:

    python make_fineweb_tiny.py

The token at place p of a split is 7 p mod 50256, and 50256 at the end of each text.
"""

import os
import shutil

import datasets

# Several record batches in a file, as in large ones.
datasets.config.DEFAULT_MAX_BATCH_SIZE = 2

TEXTS = {
    "train": [5, 1, 900, 40, 1, 1100, 3, 88],
    "val": [1025, 2, 2070, 10],
}


def texts(lengths):
    place = 0
    for length in lengths:
        tokens = [7 * (place + i) % 50256 for i in range(length - 1)]
        yield {"input_ids": tokens + [50256]}
        place += length


def main():
    shutil.rmtree("fineweb_tiny", ignore_errors=True)
    for split, lengths in TEXTS.items():
        features = datasets.Features({"input_ids": datasets.List(datasets.Value("int32"))})
        data = datasets.Dataset.from_list(list(texts(lengths)), features=features)
        data.save_to_disk(
            os.path.join("fineweb_tiny", split), num_shards=3 if split == "train" else 1
        )


if __name__ == "__main__":
    main()
