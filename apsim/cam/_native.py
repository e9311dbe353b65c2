"""Kernels that become machine code in milliseconds: typed Python, translated by way of LLVM.

The rule: one source is the kernel in every form.  `_translate` makes machine code of it; with
`APSIM_KERNELS=plain` numba does; with NUMBA_DISABLE_JIT=1 it runs as the Python that it is.
Its arguments and results have the types below, written down; arrays are C-contiguous and of
exactly the type and dimensions that stand there, which every call checks.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np

from apsim.cam._compile import PLAIN, kernel, small

__all__ = [
    "ARRAYS",
    "Flag",
    "Number",
    "Numbers1",
    "Numbers2",
    "Word",
    "Words1",
    "Words2",
    "Words3",
    "leaf",
    "native",
]

Function = TypeVar("Function", bound=Callable[..., Any])

Number: TypeAlias = Any  # int64
Word: TypeAlias = Any  # uint64
Flag: TypeAlias = Any  # bool
Numbers1: TypeAlias = Any  # arrays of so many dimensions
Numbers2: TypeAlias = Any
Words1: TypeAlias = Any
Words2: TypeAlias = Any
Words3: TypeAlias = Any

ARRAYS = {
    "Numbers1": (np.dtype(np.int64), 1),
    "Numbers2": (np.dtype(np.int64), 2),
    "Words1": (np.dtype(np.uint64), 1),
    "Words2": (np.dtype(np.uint64), 2),
    "Words3": (np.dtype(np.uint64), 3),
}


def native(function: Function) -> Function:
    """Make machine code of a kernel on its first call; it runs without the interpreter's lock."""
    return kernel(function) if PLAIN else cast(Function, Native(function))


def leaf(function: Function) -> Function:
    """A function that kernels call, which becomes part of them."""
    return small(function) if PLAIN else function


class Native:
    """A kernel in machine code: called with arrays and numbers, gives nothing back."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.__doc__ = function, function.__doc__
        kinds = [kind for name, kind in function.__annotations__.items() if name != "return"]
        self.kinds = [ARRAYS.get(kind) for kind in kinds]
        count = sum(1 if kind is None else 1 + kind[1] for kind in self.kinds)
        self._pack = struct.Struct(f"{count}q").pack
        self._run: Any = None
        self._lock = threading.Lock()

    def __call__(self, *args: Any) -> None:
        run = self._run or self._made()
        numbers: list[int] = []
        for value, kind in zip(args, self.kinds, strict=True):
            numbers += (value,) if kind is None else _pieces(value, *kind)
        run(self._pack(*numbers))

    def _made(self) -> Any:
        """Machine code, compiled or found on disk: all it depends on is in the folder's name."""
        from apsim.cam._objects import load

        with self._lock:
            if self._run is None:
                name = f"{self.function.__module__}.{self.function.__qualname__}"
                (address,) = load(name, ["entry"], self.assembly)
                self._run = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(address)
        return self._run

    def assembly(self) -> str:
        """The kernel as LLVM assembly."""
        from apsim.cam._translate import translated

        return translated(self.function)


def _pieces(array: Any, dtype: np.dtype[Any], dimensions: int) -> tuple[int, ...]:
    """Address and shape of an array of exactly this type."""
    if array.dtype != dtype or array.ndim != dimensions or not array.flags.c_contiguous:
        raise TypeError(
            f"wanted a contiguous {dtype} array of {dimensions} dimensions, got "
            f"{array.dtype} of shape {array.shape} with strides {array.strides}"
        )
    return array.ctypes.data, *array.shape
