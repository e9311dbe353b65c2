"""Functions of float32 words as the machine's C library computes them.

The rule: LiteRT's kernels call tanhf, erfcf, expf, expm1f and logf of the C library (its wheel
imports them by name).  Those of glibc are not correctly rounded: near a tie a last bit
decides, so the very same function is called here.  Where there is no such library, the
function in float64, rounded once, takes its place.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["NAMES", "ROUNDED", "function"]

Reals = npt.NDArray[np.float32]
LIBRARIES = ("libm.so.6", "libm.so", "libSystem.B.dylib", "ucrtbase.dll")
ROUNDED: dict[str, Callable[[float], float]] = {
    "tanhf": np.tanh, "erfcf": math.erfc, "expf": np.exp, "expm1f": np.expm1, "logf": np.log,
}  # fmt: skip
NAMES = tuple(ROUNDED)


@cache
def _library() -> ctypes.CDLL | None:
    """The C library's functions of real numbers, None where none of its names is known."""
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


@cache
def function(name: str) -> Callable[[Reals], Reals]:
    """One of `NAMES`, of arrays: each word by itself, in float32."""
    one: Callable[[float], float] = ROUNDED[name]
    called = getattr(_library(), name, None)
    if called is not None:
        called.restype, called.argtypes = ctypes.c_float, [ctypes.c_float]
        one = called

    def of_words(x: Reals) -> Reals:
        found = [one(float(value)) for value in x.ravel()]
        return np.array(found, np.float32).reshape(x.shape)

    return of_words
