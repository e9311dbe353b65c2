"""Associative processors, emulated bit by bit, with every operation counted.

The rule: names are loaded when first used, so that `import apsim` and `apsim --help`
cost nothing.  `from apsim import Machine` loads the kernels of an array as well, so that no
call waits for them later.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apsim import closed_form, cost, debug, explore, faults, functions, lut, nn, ops, trace
    from apsim.ap_kind import ApKind
    from apsim.counts import Activity, Counts, Phase
    from apsim.debug.session import Session
    from apsim.errors import ApsimError
    from apsim.layout import Field, Layout
    from apsim.machine import Machine
    from apsim.program import Microprogram, Mode, Op, Operation, Step

__all__ = [
    "Activity",
    "ApKind",
    "ApsimError",
    "Counts",
    "Field",
    "Layout",
    "Machine",
    "Microprogram",
    "Mode",
    "Op",
    "Operation",
    "Phase",
    "Session",
    "Step",
    "closed_form",
    "cost",
    "debug",
    "explore",
    "faults",
    "functions",
    "lut",
    "nn",
    "ops",
    "trace",
]

_HOMES = {
    "Activity": "counts",
    "ApKind": "ap_kind",
    "ApsimError": "errors",
    "Counts": "counts",
    "Field": "layout",
    "Layout": "layout",
    "Machine": "machine",
    "Microprogram": "program",
    "Mode": "program",
    "Op": "program",
    "Operation": "program",
    "Phase": "counts",
    "Session": "debug.session",
    "Step": "program",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'apsim' has no attribute {name!r}")
    if name == "Machine" and _is_asked_by_from():
        importlib.import_module("apsim.cam").prepare()
    if name in _HOMES:
        return getattr(importlib.import_module(f"apsim.{_HOMES[name]}"), name)
    return importlib.import_module(f"apsim.{name}")


def _is_asked_by_from() -> bool:
    """Whether `from apsim import ...` asks: the head of a module, where one may wait.

    CPython alone says so, by the name of its function; elsewhere kernels come in the background.
    """
    return sys._getframe(2).f_code.co_name == "_handle_fromlist"


def __dir__() -> list[str]:
    return sorted(__all__)
