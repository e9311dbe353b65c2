"""The one door for what others made: JSON, TOML and arrays, within declared limits.

The rule: limits first (bytes, entries, depth, digits, kinds of numbers), then structure;
what it means is for the reader behind the door.  Nothing is unpickled, no entry is unpacked
that says of itself that it does not fit, and every failure is an `ApsimError` that names
the file, what was wanted and what came.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import tomllib
import zipfile
from itertools import accumulate
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from apsim.errors import ApsimError, InputError
from apsim.files import read_bytes, read_text

__all__ = ["MOST_TOML", "parse_json", "parse_toml", "read_arrays", "read_json"]

MOST_TOML = 1 << 20  # bytes of a table that a person writes
MOST_DIGITS = 40  # of one whole number
MOST_DOTS = 16  # parts of one key
MOST_DEPTH = 64  # brackets within brackets
MOST_ENTRIES = 100_000  # of an archive
MOST_UNPACKED = 256 << 20  # bytes of an archive's arrays, and
MOST_RATIO = 20  # times the archive's own size on top of that
PIECE = 1 << 24  # bytes that are read at once
NUMBERS = "biuf"  # kinds of numpy: truth values, whole numbers, real ones
Array = npt.NDArray[Any]
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


def parse_json(text: str, where: str, error: type[ApsimError] = InputError) -> Any:
    """The value of a JSON text: finite numbers, no name twice; raises `error` with the place."""
    try:
        _refuse_depth(text)
        return json.loads(
            text, parse_constant=_finite, parse_float=_finite, parse_int=_whole,
            object_pairs_hook=_once,
        )  # fmt: skip
    except (ValueError, RecursionError) as reason:
        raise error(f"{where}: it is not JSON that can be used: {reason}") from None


def read_json(path: str | os.PathLike[str], error: type[ApsimError] = InputError) -> Any:
    """The value in a JSON file; raises `error`."""
    return parse_json(read_text(path, error=error), str(path), error)


def parse_toml(text: str, where: str, error: type[ApsimError] = InputError) -> dict[str, Any]:
    """The table of a TOML text of modest size and depth; raises `error` with the line."""
    try:
        if len(text) > MOST_TOML:
            raise ValueError(f"wanted at most {MOST_TOML:,} characters, got {len(text):,}")
        if re.search(rf"(?<![\w\"'-])(?:[\w\"'-]++\s*+\.\s*+){{{MOST_DOTS}}}", text):
            raise ValueError(f"wanted keys of at most {MOST_DOTS} parts")
        _refuse_depth(text)
        table = tomllib.loads(text)
        _refuse_large(table)
        return table
    except (ValueError, RecursionError, AttributeError) as reason:  # of `a.b` after a[0]
        raise error(f"{where}: {reason}") from None


def _refuse_depth(text: str) -> None:
    """Refuse what is nested so deep that a reader could run out of stack; strings are text."""
    unescaped = text.replace("\\\\", "").replace('\\"', "")
    marks = re.sub(r"[^\[\]{}]+", "", re.sub(r'"[^"\n]*"', "", unescaped))
    if max(accumulate(map(_STEPS.__getitem__, marks)), default=0) > MOST_DEPTH:
        raise ValueError(f"wanted at most {MOST_DEPTH} brackets within each other")


def _refuse_large(value: Any) -> None:
    """Refuse whole numbers outside TOML's 64 bits."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _refuse_large(item)
    elif isinstance(value, int):
        _refuse(not -(2**63) <= value < 2**63, "wanted whole numbers of at most 64 bits")


def _whole(text: str) -> int:
    _refuse(len(text) > MOST_DIGITS, f"wanted numbers of at most {MOST_DIGITS} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    _refuse(not math.isfinite(number), f"{text} is no number")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} comes twice")
    return found


def read_arrays(
    path: str | os.PathLike[str], error: type[ApsimError] = InputError, what: str = ""
) -> Array | dict[str, Array]:
    """The numbers of an .npz archive by name, or of an .npy file; raises `error`.

    `what` is what the file should be: "the checkpoint".
    """
    try:
        with _opened(path) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            packed = stream.read(2) == b"PK"
            stream.seek(0)
            return _archive(stream, size) if packed else _array(stream, size)
    except MemoryError:
        why = "not enough memory"
    except (OSError, ApsimError) as reason:
        why = str(getattr(reason, "strerror", None) or reason).removeprefix(f"cannot read {path}: ")
    except Exception as reason:  # whatever damage makes zipfile, zlib and numpy raise
        why = f"not a whole .npy or .npz of numbers: {str(reason) or type(reason).__name__}"
    raise error(f"cannot read {what} {path}: {why}".replace("  ", " "))


def _opened(path: str | os.PathLike[str]) -> IO[bytes]:
    """The file, or the contents of a pipe, in which one can go back."""
    if os.path.isfile(path) or not os.path.exists(path):
        return open(path, "rb")
    return io.BytesIO(read_bytes(path, MOST_UNPACKED))


def _archive(stream: IO[bytes], size: int) -> dict[str, Array]:
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        _refuse(len(entries) > MOST_ENTRIES, f"wanted at most {MOST_ENTRIES:,} entries")
        unpacked, most = sum(one.file_size for one in entries), MOST_UNPACKED + MOST_RATIO * size
        _refuse(unpacked > most, f"its entries say they are {unpacked:,} bytes, wanted {most:,}")
        found: dict[str, Array] = {}
        for one in entries:
            name = one.filename.removesuffix(".npy")
            _refuse(name in found, f"the entry {name!r} comes twice")
            with archive.open(one) as packed:
                found[name] = _array(packed, one.file_size, f"entry {name!r}: ")
        return found


def _array(stream: IO[bytes], size: int, which: str = "") -> Array:
    """One array whose header says what its `size` bytes hold."""
    version = np.lib.format.read_magic(stream)
    _refuse(version not in ((1, 0), (2, 0)), f"{which}wanted format 1.0 or 2.0, got {version}")
    read = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
    shape, by_column, kind = read[version[0] - 1](stream)
    _refuse(kind.kind not in NUMBERS, f"{which}it must hold numbers, got {kind}")
    _refuse(len(shape) > 32 or any(n < 0 for n in shape), f"{which}wanted a shape, got {shape}")
    wanted, there = math.prod(shape) * kind.itemsize, size - stream.tell()
    _refuse(wanted != there, f"{which}its header says {wanted:,} bytes, there are {there:,}")
    numbers = np.empty(wanted, np.uint8)
    for start in range(0, wanted, PIECE):
        piece = stream.read(min(PIECE, wanted - start))
        _refuse(len(piece) < min(PIECE, wanted - start), f"{which}it ends too early")
        numbers[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
    _refuse(bool(stream.read(1)), f"{which}there is more after its end")
    found = numbers.view(kind)
    return found.reshape(shape[::-1]).T if by_column else found.reshape(shape)


def _refuse(wrong: bool, why: str) -> None:
    if wrong:
        raise ValueError(why)
