"""What the words of a point stand for: digests of technologies, chips, networks and files.

The rule: a point is known by the contents of all that it names, not by the names, so that
a result is never taken for one of other contents.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from typing import Any

from apsim.errors import ApsimError, InputError

__all__ = ["Known", "contents", "version"]

Known = dict[tuple[str, str], str]
NAMING = ("technology", "chip", "network", "model", "input", "calibration")
"""The axes whose words stand for something that may change."""


def contents(point: dict[str, Any], known: Known) -> dict[str, str]:
    """A digest for each axis of a point that names something, the same everywhere.

    What cannot be read has its reason in the place of a digest.  `known` are the digests of
    what has been read already: a fresh one reads anew.
    """
    named = [(axis, str(point[axis])) for axis in NAMING if point.get(axis) is not None]
    for axis, name in named:
        if (axis, name) not in known:
            known[axis, name] = _digest(axis, name)
    return {axis: known[axis, name] for axis, name in named}


def _digest(axis: str, name: str) -> str:
    from apsim import cost
    from apsim.report.cost.named import is_model

    try:
        if axis == "model":
            return _model(name)
        if axis == "calibration" and name.isdecimal():
            return name  # so many of those that come with apsim
        if axis in ("input", "calibration"):
            return _file(name)
        if axis == "network" and is_model(name):
            return _model(name)
        read = {"technology": cost.technology, "chip": cost.chip, "network": cost.network}[axis]
        found: Any = read(name)
    except ApsimError as error:
        return f"none: {error}"
    return hashlib.sha256(repr([found, dict(getattr(found, "constants", {}))]).encode()).hexdigest()


def _model(name: str) -> str:
    from apsim.nn import checkpoint
    from apsim.nn.zoo import sources, synthetic

    if synthetic.is_name(name):
        return name  # made from seeds: the version says how
    return checkpoint.model_digest(sources.model(name))


def _file(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


@cache
def version() -> str:
    """The version of apsim, which decides what a name of its own stands for."""
    try:
        return metadata.version("apsim")
    except metadata.PackageNotFoundError:
        return "of a checkout"
