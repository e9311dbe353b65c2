"""The real images that come with apsim.

The rule: data only, as it was published; the model quantizes it (`real.quantize`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.nn.zoo.bundled import data_file

__all__ = ["OWNERS", "Dataset", "calibration", "digits", "digits_calibration", "test"]

OWNERS = ("digits", "digits-vit")
"""Networks that bring images: some to score them on, others to choose widths on."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Real inputs [N, ...] with a label each, and whose they are."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.integer[Any]]
    attribution: str
    licence: str

    def __len__(self) -> int:
        return len(self.labels)


def test(network: str) -> Dataset:
    """Give the 360 images that a bundled network is scored on: one of `OWNERS`."""
    return _digits(f"{network}_test.npz")


def calibration(network: str) -> Dataset:
    """Give 360 images that a bundled network was trained on, none of them among its `test`."""
    return _digits(f"{network}_calibration.npz")


def digits() -> Dataset:
    """Give 360 handwritten digits, images [360, 1, 8, 8] of 0..16, labels 0..9.

    UCI Optical Recognition of Handwritten Digits, CC BY 4.0: see `attribution`.
    """
    return test("digits")


def digits_calibration() -> Dataset:
    """Give 360 digits that the network was trained on, none of them among `digits()`.

    For choosing widths: what is chosen on the images that score it looks better than it is.
    """
    return calibration("digits")


def _digits(name: str) -> Dataset:
    with np.load(data_file(name), allow_pickle=False) as archive:
        return Dataset(
            archive["images"].astype(np.float32),
            archive["labels"].astype(np.int64),
            str(archive["attribution"]),
            str(archive["licence"]),
        )
