"""Operands on their way to the lanes: integers to bit-planes, on several threads.

The rule: the planes are those of `lanes.to_planes`; a thread packs rows of its own, and
numba is not imported before it is needed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["planes_of", "prepare"]

Integers = NDArray[np.integer[Any]]
Words = NDArray[np.uint64]
WORTH = 1 << 18  # integers from which on a second thread is worth its start


def planes_of(values: Integers, bits: int, threads: int = 1) -> Words:
    """Low bits of integers [rows, lanes], of any type and memory order, as `lanes.to_planes`."""
    kernels, rows = _kernels(), len(values)
    planes: Words = kernels.empty_planes(rows, bits, values.shape[1])
    if threads == 1 or values.size < WORTH:
        kernels.fill(values, planes)
        return planes
    step = -(-rows // threads)
    with ThreadPoolExecutor(threads, thread_name_prefix="apsim-planes") as pool:
        parts = [slice(k, k + step) for k in range(0, rows, step)]
        list(pool.map(lambda part: kernels.fill(values[part], planes[part]), parts))
    return planes


def prepare() -> None:
    """Load the kernel, or make it, so that the time of that is not the operands'."""
    _kernels().to_planes(np.zeros((1, 1), np.uint8), 1)


@cache
def _kernels() -> ModuleType:
    from apsim.cam import _operands

    return _operands
