"""The real images that come with apsim.

The rule: data only, as it was published; the model quantizes it (`real.quantize`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.nn.zoo.bundled import data_file

__all__ = ["Dataset", "digits"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Real inputs [N, ...] with a label each, and whose they are."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.integer[Any]]
    attribution: str
    licence: str

    def __len__(self) -> int:
        return len(self.labels)


def digits() -> Dataset:
    """Give 360 handwritten digits, images [360, 1, 8, 8] of 0..16, labels 0..9.

    UCI Optical Recognition of Handwritten Digits, CC BY 4.0: see `attribution`.
    """
    with np.load(data_file("digits_test.npz"), allow_pickle=False) as archive:
        return Dataset(
            archive["images"].astype(np.float32),
            archive["labels"].astype(np.int64),
            str(archive["attribution"]),
            str(archive["licence"]),
        )
