"""Look-up tables: read from TOML, proved sound, found by name, compiled from truth."""

from apsim.lut.catalog import find, names
from apsim.lut.check import droppable, is_sound, prove, run_passes, valid_orders
from apsim.lut.compiler import compile
from apsim.lut.derive import complemented
from apsim.lut.model import Lut, Pass
from apsim.lut.reader import load, parse
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
