"""What to sweep: axes of values in a TOML file, and the points that they span.

The rule: a point is a dict of plain values and its identity is a digest of them, so
that the same point has the same identity in every run, process and machine.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from apsim.cost.quantity import nearest, refuse_unknown
from apsim.errors import InputError
from apsim.files import read_text

__all__ = ["KINDS", "Point", "Spec", "identity", "read_spec", "spec_names"]

Point = dict[str, Any]
KINDS: Mapping[str, Mapping[str, Any]] = {
    "cost": {
        "network": None,
        "bits": 8,
        "technology": "sram",
        "write_voltage": None,
        "chip": "lr",
        "ap": None,
        "vertical_add": None,
        "columns_per_step": None,
        "mult_latency": None,
        "cell_writes": None,
        "batch": 1,
    },
    "run": {"model": None, "input": None, "ap": "2d", "bits": None, "first": 0, "images": 1},
}
"""Axes of each kind of sweep with their defaults; None is "as the chip or model has it"."""

REQUIRED = {"cost": "network", "run": "model"}
KEYS = ("name", "kind", "axes", "mixes", "images", "block", "pareto")


@dataclass(frozen=True)
class Spec:
    """A sweep: its points in order, and the objectives of its Pareto front."""

    name: str
    kind: str
    points: tuple[Point, ...]
    objectives: tuple[str, ...]


def spec_names() -> tuple[str, ...]:
    """Names of the bundled sweeps, sorted."""
    found = files("apsim.explore").joinpath("specs").iterdir()
    return tuple(sorted(item.name[:-5] for item in found if item.name.endswith(".toml")))


def read_spec(path: str) -> Spec:
    """Read a sweep from the TOML file at `path`, or the bundled one of that name.

    `axes` maps axis names to lists of values; the points are their product.  With
    `mixes = { averages = [...], count = N, seed = S }` the axis `bits` is N random
    per-layer widths for each average.  A sweep of kind "run" takes `images`, cut into
    blocks of `block`.  Raises `InputError` for unknown keys, naming the nearest.
    """
    try:
        table = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: {error}") from error
    return spec_of(table, path)


def _text(path: str) -> str:
    known = spec_names()
    if path in known:
        return files("apsim.explore").joinpath("specs", f"{path}.toml").read_text()
    if not path.endswith(".toml"):
        raise InputError(
            f"{path!r} is neither a TOML file nor a bundled sweep{nearest(path, known)}; "
            f"bundled: {', '.join(known)}"
        )
    return read_text(path)


def spec_of(table: Mapping[str, Any], where: str) -> Spec:
    """A sweep from the entries of a TOML table; `where` names it in errors."""
    refuse_unknown(where, table, KEYS)
    kind = table.get("kind", "cost")
    if kind not in KINDS:
        raise InputError(f"{where}: kind {kind!r} is not one of {', '.join(KINDS)}")
    axes = _axes(table.get("axes", {}), kind, f"{where}, axes")
    points = _mixed(axes, table, where) if "mixes" in table else _product(axes)
    if kind == "run":
        points = _blocks(points, table, where)
    objectives = tuple(table.get("pareto", ("energy_j", "latency_s")))
    return Spec(str(table.get("name", Path(where).stem)), kind, tuple(points), objectives)


def identity(point: Point) -> str:
    """A digest of a point's values, the same everywhere."""
    text = json.dumps(point, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _axes(given: Mapping[str, Any], kind: str, where: str) -> dict[str, list[Any]]:
    refuse_unknown(where, given, KINDS[kind])
    if REQUIRED[kind] not in given:
        raise InputError(f"{where}: {REQUIRED[kind]!r} is missing")
    axes = {}
    for name, default in KINDS[kind].items():
        values = given.get(name, [default])
        values = values if isinstance(values, list) else [values]
        if not values:
            raise InputError(f"{where}: {name} has no values")
        axes[name] = values
    return axes


def _product(axes: Mapping[str, list[Any]]) -> Iterator[Point]:
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _mixed(axes: dict[str, list[Any]], table: Mapping[str, Any], where: str) -> Iterator[Point]:
    """Points whose bits are random per-layer widths of a given average."""
    from random import Random

    from apsim import cost
    from apsim.report.figures import mix

    mixes = table["mixes"]
    refuse_unknown(f"{where}, mixes", mixes, ("averages", "count", "seed"))
    count, averages = _positive(mixes, "count", 1, where), mixes.get("averages", [])
    random = Random(mixes.get("seed", 0))
    for network in axes["network"]:
        layers = sum(layer.gemm for layer in cost.network(network).layers)
        widths = [mix(average, layers, random) for average in averages for _ in range(count)]
        yield from _product(axes | {"network": [network], "bits": widths})


def _blocks(points: Iterator[Point], table: Mapping[str, Any], where: str) -> Iterator[Point]:
    images, block = _positive(table, "images", 16, where), _positive(table, "block", 8, where)
    for point in points:
        for first in range(0, images, block):
            yield point | {"first": first, "images": min(block, images - first)}


def _positive(table: Mapping[str, Any], key: str, default: int, where: str) -> int:
    value = table.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{where}: {key} must be a whole number of at least 1, got {value!r}")
    return value
