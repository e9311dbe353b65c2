"""Bytes to bit-planes and bit-planes to words, in plain source: see `_octets`."""

from __future__ import annotations

from typing import Any

import numpy as np

from apsim.cam._compile import kernel

__all__ = ["fill", "put"]

ZERO, ONE = np.uint64(0), np.uint64(1)


@kernel
def fill(
    block: Any, pitch: Any, words: Any, first: Any, place: Any, bits: Any, planes: Any
) -> None:
    """Words from `first` on of some planes := the bits of bytes that lie side by side."""
    for row in range(planes.shape[0]):
        for word in range(words):
            for b in range(bits):
                given = ZERO
                for k in range(64):
                    octet = np.uint64(block[row * pitch + word * 64 + k])
                    given |= ((octet >> np.uint64(b)) & ONE) << np.uint64(k)
                planes[row, place + b, first + word] = given


@kernel
def put(planes: Any, words: Any) -> None:
    """64 words for each word of a plane := the bits that the planes hold."""
    for word in range(planes.shape[1]):
        for k in range(64):
            value = ZERO
            for place in range(planes.shape[0]):
                bit = (planes[place, word] >> np.uint64(k)) & ONE
                value |= bit << np.uint64(place)
            words[word * 64 + k] = value
