"""Writes fastmri_tiny.h5, a volume in the format of fastMRI's single-coil knees, and prints the
numbers that the loader's test compares with. Used with h5py 3.16.0 and numpy 2.4.6.

    python make_fastmri_tiny.py fastmri_tiny.h5
"""

import sys

import h5py
import numpy as np

SLICES, ROWS, COLUMNS, SIDE = 3, 12, 10, 6


def image(kspace):
    """Centred, orthonormal inverse transform; magnitude of the middle."""
    full = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace), norm="ortho"))
    top, left = (ROWS - SIDE) // 2, (COLUMNS - SIDE) // 2
    return np.abs(full[top : top + SIDE, left : left + SIDE])


def main(path):
    random = np.random.default_rng(1)
    shape = (SLICES, ROWS, COLUMNS)
    kspace = (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)
    kspace[:, ROWS // 2, COLUMNS // 2] += 20
    target = np.stack([image(k) for k in kspace.astype(complex)]).astype(np.float32)
    with h5py.File(path, "w") as file:
        text = b"<?xml version='1.0'?><ismrmrdHeader/>"
        file.create_dataset("ismrmrd_header", data=text)
        file.create_dataset("kspace", data=kspace)
        file.create_dataset("reconstruction_esc", data=target)
        file.create_dataset("reconstruction_rss", data=target)
        file.attrs["acquisition"] = "CORPD_FBK"
        file.attrs["max"] = np.float64(target.max())
        file.attrs["norm"] = np.float64(np.linalg.norm(target))
        file.attrs["patient_id"] = "0" * 64
    mask = np.isin(np.arange(COLUMNS), [1, 4, 5, 8])
    masked = image(kspace[2].astype(complex) * mask)
    print("MAX", target.max(), "MEAN", masked.mean(), "DEVIATION", masked.std())
    print("INPUT", ((masked - masked.mean()) / masked.std()).ravel().round(6).tolist())


if __name__ == "__main__":
    main(*sys.argv[1:])
