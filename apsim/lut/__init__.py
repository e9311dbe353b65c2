"""Look-up tables: read from TOML, proved sound, found by name, compiled from truth."""

import importlib
from typing import TYPE_CHECKING, Any

from apsim.lut.catalog import find, names
from apsim.lut.check import droppable, is_sound, prove, run_passes, valid_orders
from apsim.lut.model import Lut, Pass
from apsim.lut.reader import load, parse

if TYPE_CHECKING:
    from apsim.lut.compiler import compile
    from apsim.lut.derive import complemented
    from apsim.lut.write import to_toml

__all__ = [
    "Lut",
    "Pass",
    "compile",
    "complemented",
    "droppable",
    "find",
    "is_sound",
    "load",
    "names",
    "parse",
    "prove",
    "run_passes",
    "to_toml",
    "valid_orders",
]

_LATE = {"compile": "compiler", "complemented": "derive", "to_toml": "write"}


def __getattr__(name: str) -> Any:
    """What makes and writes tables is imported when somebody wants it."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
