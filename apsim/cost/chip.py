"""Chips: clusters of CAPs, their MAPs, the mesh, and the readings of the paper they use.

The rule: a chip says what there is and which reading counts; `mapping` says what a
network does with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from types import MappingProxyType
from typing import Any

from apsim.cost.quantity import (
    Quantity,
    WithConstants,
    nearest,
    parse_quantity,
    read_table,
    refuse_unknown,
)
from apsim.errors import InputError

__all__ = ["Chip", "chip"]

FOLDER = "chips"
ALIASES = {"lr": "bf-imna-lr", "ir": "bf-imna-ir"}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "resources": ("limited", "infinite"),
    "ap": ("1d", "2d", "2d-seg", "2d-tc", "2d-seg-tc"),
    "vertical_add": ("paper", "realisable"),
    "columns_per_step": ("packed", "literal"),
    "mult_latency": ("eq2", "peak"),
    "segments_per_cap": ("filled", "one"),
    "cell_writes": ("paper", "exact", "driven"),
}
WHOLE = ("clusters", "caps_per_cluster", "maps_per_cluster", "rows", "columns", "link_bits")


def _si(unit: str) -> Any:
    return field(metadata={"unit": unit})


@dataclass(frozen=True)
class Chip(WithConstants):
    """A BF-IMNA chip in SI units; `constants` keeps units and sources.

    `resources` "limited" folds layers in time over the CAPs that there are (LR), with
    weights stationary; "infinite" has all CAPs that a layer needs (IR), and holds
    `segments_per_cap` dot products in each.  `vertical_add` says what a vertical
    addition costs: what the equations print, or what a correct execution takes on kind
    `ap`.  `columns_per_step` packs several output columns into a cluster, or takes one.
    `mult_latency` is Eq. (2), or the one pass for each bit pair behind Table VIII.
    `cell_writes` of a multiply are the technology's average ("paper", 0.75 for each bit
    pair), or those of executed passes: cells that change ("exact"), or all that a pass
    drives ("driven").
    """

    name: str
    about: str
    clusters: int = _si("1")
    caps_per_cluster: int = _si("1")
    maps_per_cluster: int = _si("1")
    rows: int = _si("1")
    columns: int = _si("1")
    frequency: float = _si("Hz")
    mesh_frequency: float = _si("Hz")
    link_bits: int = _si("bit")
    lane_bits: float = _si("bit")
    hops: float = _si("1")
    hop_length: float = _si("m")
    wire_energy: float = _si("J/bit/m")
    weight_store_bits: float = _si("bit")
    resources: str = "limited"
    ap: str = "2d"
    vertical_add: str = "paper"
    columns_per_step: str = "packed"
    mult_latency: str = "eq2"
    segments_per_cap: str = "filled"
    cell_writes: str = "paper"
    constants: Mapping[str, Quantity] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, compare=False
    )

    @property
    def caps(self) -> int:
        """CAPs of a chip with limited resources."""
        return self.clusters * self.caps_per_cluster

    @property
    def infinite(self) -> bool:
        """Whether there are as many CAPs as a layer needs."""
        return self.resources == "infinite"

    def as_dict(self) -> dict[str, Any]:
        """Every parameter by name in SI units, as result files hold them."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "constants"}


def chip(name: str) -> Chip:
    """The bundled chip `name`, or the one in the TOML file at path `name`.

    Raises `InputError` for unknown names, keys and choices, missing units, and
    constants that are not positive.

    >>> chip("bf-imna-lr").caps
    4096
    """
    return _load(name) if name.endswith(".toml") else _bundled(name)


def _load(name: str) -> Chip:
    return from_table(read_table(FOLDER, name, ALIASES), name)


_bundled = cache(_load)  # a user's file may change between two calls, these do not


def from_table(table: Mapping[str, Any], where: str) -> Chip:
    """A chip from the entries of a TOML table; `where` names it in errors."""
    units = {f.name: f.metadata["unit"] for f in fields(Chip) if "unit" in f.metadata}
    refuse_unknown(where, table, ("name", "about", *units, *CHOICES))
    missing = [key for key in units if key not in table]
    if missing:
        raise InputError(f"{where}: {missing[0]!r} is missing; give it, or extends = 'bf-imna-lr'")
    found = {key: parse_quantity(f"{where}, {key}", table[key], units[key]) for key in units}
    values: dict[str, Any] = {key: quantity.si for key, quantity in found.items()}
    for key in WHOLE:
        values[key] = _whole(f"{where}, {key}", found[key].si)
    for key, choices in CHOICES.items():
        if key in table:
            values[key] = choice(where, key, table[key], choices)
    return Chip(
        name=str(table.get("name", where)),
        about=str(table.get("about", "")),
        constants=MappingProxyType(found),
        **values,
    )


def choice(where: str, key: str, value: object, choices: tuple[str, ...]) -> str:
    """Return `value` where it is one of `choices`; raises `InputError` otherwise."""
    if value not in choices:
        hint = nearest(str(value), choices)
        raise InputError(f"{where}, {key}: {value!r} is not one of {', '.join(choices)}{hint}")
    return str(value)


def _whole(where: str, value: float) -> int:
    if value != int(value):
        raise InputError(f"{where}: wanted a whole number, got {value:g}")
    return int(value)
