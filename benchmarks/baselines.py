"""Other ways to run the same passes: what the engines are held against.

The rule: the same semantics everywhere - tag, count the tagged rows, write - and none
of these knows more than a pass: (key, write), each (column, bit) pairs.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apsim.encoding import KEY, KEYS, WRITE, WRITES, Code

Pairs = list[tuple[int, int]]
Passes = list[tuple[Pairs, Pairs]]
Words = NDArray[np.uint64]

SOURCE = Path(__file__).with_name("reference.cpp")
FLAGS = ["-O3", "-march=native", "-mprefer-vector-width=512", "-shared", "-fPIC"]


def passes_of(code: Code) -> Passes:
    """The passes of a horizontal program as plain pairs."""
    return [
        tuple(
            [(int(line), int(bit)) for line, bit in code.pool[row[a] : row[a] + row[n]]]
            for a, n in ((KEY, KEYS), (WRITE, WRITES))
        )
        for row in code.steps
    ]  # type: ignore[return-value]


def numpy_rows(cells: NDArray[np.bool_], passes: Passes) -> int:
    """numpy bool, rows x columns: gives the rows matched in all passes."""
    matched = 0
    for key, write in passes:
        tag = np.ones(len(cells), bool)
        for column, bit in key:
            tag &= cells[:, column] == bit
        matched += int(tag.sum())
        for column, bit in write:
            cells[tag, column] = bit
    return matched


def numpy_planes(planes: Words, passes: Passes) -> int:
    """numpy on packed bit-planes uint64[columns, words], with `bitwise_count`."""
    matched = 0
    for key, write in passes:
        tag = np.full(planes.shape[1], ~np.uint64(0))
        for column, bit in key:
            tag &= planes[column] if bit else ~planes[column]
        matched += int(np.bitwise_count(tag).sum())
        for column, bit in write:
            if bit:
                planes[column] |= tag
            else:
                planes[column] &= ~tag
    return matched


class Reference:
    """The C++ reference, built with the system compiler."""

    def __init__(self, compiler: str) -> None:
        self.compiler = subprocess.run(
            [compiler, "--version"], capture_output=True, text=True, check=True
        ).stdout.splitlines()[0]
        self._folder = tempfile.TemporaryDirectory()
        library = Path(self._folder.name) / "reference.so"
        subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(library)], check=True)
        self._library = ctypes.CDLL(str(library))

    @classmethod
    def where_possible(cls) -> Reference | None:
        """Built where there is a compiler, else None."""
        compiler = next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
        return cls(compiler) if compiler else None

    def generic(self, planes: Words, passes: Passes, tile: int) -> Callable[[], int]:
        """One pass at a time, tiles of words outside."""
        table = np.zeros((len(passes), 16), np.int64)
        for row, (key, write) in zip(table, passes, strict=True):
            row[0], row[9] = len(key), len(write)
            row[1 : 1 + len(key)] = [column for column, _ in key]
            row[5 : 5 + len(key)] = [bit - 1 for _, bit in key]
            row[10 : 10 + len(write)] = [column for column, _ in write]
            row[12 : 12 + len(write)] = [-bit for _, bit in write]
        return self._bound("generic", planes, table, len(passes), tile, len(passes))

    def fused(
        self, name: str, planes: Words, lines: Sequence[Sequence[int]], tile: int
    ) -> Callable[[], int]:
        """A LUT step at a time, written out by hand: "add" or "mul" with their lines."""
        table = np.zeros((len(lines), 4), np.int64)
        for row, on in zip(table, lines, strict=True):
            row[: len(on)] = on
        return self._bound(f"fused_{name}", planes, table, len(lines), tile, 4 * len(lines))

    def _bound(
        self, name: str, planes: Words, table: NDArray[np.int64], count: int, tile: int, out: int
    ) -> Callable[[], int]:
        function = getattr(self._library, name)
        function.argtypes = [
            ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
            ctypes.c_int64, ctypes.c_void_p,
        ]  # fmt: skip
        matched = np.zeros(out, np.int64)
        args = (
            planes.ctypes.data, planes.strides[0] // 8, table.ctypes.data, count, planes.shape[1],
            tile, matched.ctypes.data,
        )  # fmt: skip

        def run() -> int:
            matched[:] = 0
            function(*args)
            return int(matched.sum())

        run.keep = planes, table  # type: ignore[attr-defined]  # the addresses stay valid
        return run
