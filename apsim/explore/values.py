"""What the entries of a sweep may be: values of each axis, averages of mixes, objectives.

The rule: a value of a wrong kind is refused before any work; whether a network, a chip or
a technology of that name exists, and whether they fit, is for each point to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apsim.cost.chip import CHOICES, choice
from apsim.cost.quantity import nearest
from apsim.errors import InputError
from apsim.explore.searched import OF_RUNS, SEARCH, share

__all__ = [
    "MAXIMISED",
    "METRICS",
    "check_axis",
    "read_averages",
    "read_objectives",
    "read_table",
    "read_whole",
]

METRICS = (
    "energy_j", "latency_s", "edp_j_s", "area_mm2", "gops", "gops_per_watt",
    "gops_per_watt_mm2", "power_w", "steps", "utilization", "mean_bits", "caps",
)  # fmt: skip
MAXIMISED = frozenset(("gops", "gops_per_watt", "gops_per_watt_mm2", "utilization", "mean_bits"))
"""Metrics of which more is better; `mean_bits` stands for accuracy."""

TEXTS = ("network", "technology", "chip", "model", "input", "calibration")
WHOLES = ("batch", "first", "images")
LEAST, MOST = 2, 8  # bits of the widths that are mixed


def check_axis(where: str, name: str, value: object) -> None:
    """Refuse a value that the axis `name` cannot have; raises `InputError`."""
    where = f"{where}, {name}"
    if name in TEXTS:
        _require(isinstance(value, str), where, "text", value)
    elif name in WHOLES:
        read_whole(where, value, 0 if name == "first" else 1)
    elif name in CHOICES or name in OF_RUNS:
        known = CHOICES.get(name, OF_RUNS.get(name, ()))
        choice(where.removesuffix(f", {name}"), name, value, known)
    elif name == "write_voltage":
        _require(_is_number(value), where, "a number of volts", value)
    elif name == "bits":
        widths = value if isinstance(value, list) else [value]
        whole = bool(widths) and all(_is_whole(width) for width in widths)
        _require(whole or isinstance(value, str), where, "8, '8/4', 'hawq-low' or [8, 4]", value)
        if isinstance(value, str) and value.startswith(SEARCH):
            share(value)


def read_table(where: str, value: object) -> Mapping[str, Any]:
    """`value` where it is a table; raises `InputError`."""
    _require(isinstance(value, dict), where, "a table", value)
    return value  # type: ignore[return-value]


def read_whole(where: str, value: object, least: int = 1) -> int:
    """`value` where it is a whole number of at least `least`; raises `InputError`."""
    _require(_is_whole(value), where, f"a whole number of at least {least}", value)
    if not isinstance(value, int) or value < least:
        raise InputError(f"{where}: wanted a whole number of at least {least}, got {value}")
    return value


def read_averages(where: str, value: object) -> list[float]:
    """Average widths, 2 to 8 bits each; raises `InputError`."""
    _require(isinstance(value, list) and bool(value), where, "a list of averages", value)
    for average in value:  # type: ignore[attr-defined]
        inside = _is_number(average) and LEAST <= average <= MOST
        _require(inside, where, f"averages of {LEAST} to {MOST} bits", average)
    return value  # type: ignore[return-value]


def read_objectives(where: str, value: object) -> tuple[str, ...]:
    """Names of metrics, one at least; raises `InputError` for others, naming the nearest."""
    _require(isinstance(value, list | tuple) and bool(value), where, "a list of metrics", value)
    for name in value:  # type: ignore[attr-defined]
        if name not in METRICS:
            hint = nearest(str(name), METRICS) or f"; known: {', '.join(METRICS)}"
            raise InputError(f"{where}: objective {name!r} is not known{hint}")
    return tuple(value)  # type: ignore[arg-type]


def _require(held: bool, where: str, wanted: str, value: object) -> None:
    if not held:
        raise InputError(f"{where}: wanted {wanted}, got {value!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
