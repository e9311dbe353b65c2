"""Constants with their unit, source and calibration, and the tables that hold them.

The rule: a table states a value in the unit of its source; from here on everything
is in SI units.  A key that no table knows is refused with the nearest name that exists.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from apsim.errors import InputError
from apsim.files import read_text
from apsim.readers import parse_toml
from apsim.records import Record, Tabular

__all__ = ["Quantity", "WithConstants", "nearest", "parse_quantity", "read_table", "table_names"]

# unit: (SI unit, factor)
UNITS: Mapping[str, tuple[str, float]] = {
    "1": ("1", 1.0),
    "cycle": ("cycle", 1.0),
    "bit": ("bit", 1.0),
    "J": ("J", 1.0),
    "pJ": ("J", 1e-12),
    "fJ": ("J", 1e-15),
    "F": ("F", 1.0),
    "fF": ("F", 1e-15),
    "V": ("V", 1.0),
    "mV": ("V", 1e-3),
    "ohm": ("ohm", 1.0),
    "kohm": ("ohm", 1e3),
    "Mohm": ("ohm", 1e6),
    "Hz": ("Hz", 1.0),
    "MHz": ("Hz", 1e6),
    "GHz": ("Hz", 1e9),
    "m": ("m", 1.0),
    "mm": ("m", 1e-3),
    "um": ("m", 1e-6),
    "m^2": ("m^2", 1.0),
    "mm^2": ("m^2", 1e-6),
    "um^2": ("m^2", 1e-12),
    "J/bit/m": ("J/bit/m", 1.0),
    "fJ/bit/mm": ("J/bit/m", 1e-12),
}
_KEYS = ("value", "unit", "source", "calibrated")


@dataclass(frozen=True)
class Quantity:
    """A constant as its source states it; `calibrated` says to what, "" where it is not."""

    value: float
    unit: str
    source: str
    calibrated: str = ""

    @property
    def si(self) -> float:
        """The value in SI units."""
        return self.value * UNITS[self.unit][1]


class WithConstants(Tabular):
    """A record whose read-only `constants` go into pickles and copies, too."""

    constants: Mapping[str, Quantity]

    def table(self) -> list[Record]:
        """A record for each constant: its value, unit, source and calibration."""
        return [{"constant": name, **asdict(found)} for name, found in self.constants.items()]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"constants": dict(self.constants)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"constants": MappingProxyType(state["constants"])})


def parse_quantity(where: str, entry: object, dimension: str) -> Quantity:
    """Read one constant; `where` names it in errors, `dimension` is its SI unit.

    A bare number is accepted where `dimension` is "1", "cycle" or "bit".  Raises
    `InputError` for a missing or wrong unit and for a value that is not positive.
    """
    if isinstance(entry, int | float) and dimension in ("1", "cycle", "bit"):
        entry = {"value": entry, "unit": dimension}
    if not isinstance(entry, dict) or "unit" not in entry:
        raise InputError(
            f"{where}: the unit is missing; write it as "
            f'{{ value = ..., unit = "{_example(dimension)}", source = "..." }}'
        )
    refuse_unknown(where, entry, _KEYS)
    unit, value = entry["unit"], entry.get("value")
    if not isinstance(unit, str) or unit not in UNITS or UNITS[unit][0] != dimension:
        raise InputError(f"{where}: unit {unit!r} is not one of {', '.join(_units(dimension))}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{where}: wanted a positive number, got {value!r}")
    source, calibrated = str(entry.get("source", "user")), str(entry.get("calibrated", ""))
    return Quantity(float(value), unit, source, calibrated)


def read_table(
    folder: str, name: str, aliases: Mapping[str, str], seen: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The bundled table `name` of `folder`, or the TOML file at path `name`.

    A table with `extends = "other"` adds to or replaces entries of the other one, and has
    its file's name where it states none.  Raises `InputError` where there is none, naming
    the nearest, where it is not TOML, and where tables extend each other (`seen`).
    """
    known = (*table_names(folder), *aliases)
    name = aliases.get(name, name)
    if name in known:
        text, where = files("apsim.cost").joinpath(folder, f"{name}.toml").read_text(), name
    elif name.endswith(".toml"):
        text, where = read_text(name), name
    else:
        raise InputError(
            f"{name!r} is neither a TOML file nor a bundled table of {folder}"
            f"{nearest(name, known)}; bundled: {', '.join(known)}"
        )
    table = parse_toml(text, where)
    base = table.pop("extends", None)
    if base is None:
        return table
    if base in (name, *seen):
        raise InputError(f"{where}: a table cannot extend itself, by way of others neither")
    inherited = read_table(folder, str(base), aliases, (*seen, name))
    return inherited | {"name": Path(name).stem} | table


def table_names(folder: str) -> tuple[str, ...]:
    """Names of the bundled tables of `folder`, sorted."""
    found = files("apsim.cost").joinpath(folder).iterdir()
    return tuple(sorted(item.name[:-5] for item in found if item.name.endswith(".toml")))


def nearest(name: str, known: Collection[str]) -> str:
    """A hint that names what `name` may have meant, or nothing."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def refuse_unknown(where: str, entry: Mapping[str, object], known: Collection[str]) -> None:
    """Raise `InputError` for the first key of `entry` that is not in `known`."""
    for key in entry:
        if key not in known:
            hint = nearest(key, known) or f"; known: {', '.join(known)}"
            raise InputError(f"{where}: unknown key {key!r}{hint}")


def _units(dimension: str) -> list[str]:
    return [unit for unit, (si, _) in UNITS.items() if si == dimension]


def _example(dimension: str) -> str:
    return _units(dimension)[-1]
