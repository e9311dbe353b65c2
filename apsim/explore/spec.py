"""What to sweep: axes of values in a TOML file, and the points that they span.

The rule: a point is a dict of plain values; its identity is a digest of them and of the
contents that they name, so that the same point has the same identity in every run, process
and machine, and another one as soon as a file of it changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice, product
from pathlib import Path
from typing import Any

from apsim.cost.quantity import nearest, refuse_unknown
from apsim.errors import InputError
from apsim.explore.contents import Known, contents, version
from apsim.explore.values import (
    check_axis,
    read_averages,
    read_objectives,
    read_table,
    read_whole,
)
from apsim.files import read_text
from apsim.readers import parse_toml

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
    "run": {
        "model": None,
        "input": None,
        "ap": "2d",
        "bits": None,
        "chip": "lr",
        "technology": "sram",
        "calibration": None,
        "mapping": "im2col",
        "cost": "energy",
        "requant": "host",
        "broadcast": "group",
        "array": "load",
        "first": 0,
        "images": 1,
    },
}
"""Axes of each kind of sweep with their defaults; None is "as the chip or model has it"."""

MOST_POINTS = 200_000
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
    return spec_of(parse_toml(_text(path), path), path)


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
    axes = read_table(f"{where}, axes", table.get("axes", {}))
    kind = table.get("kind", "cost")
    if kind not in KINDS:
        raise InputError(f"{where}: kind {kind!r} is not one of {', '.join(KINDS)}")
    objectives = table.get("pareto", ("energy_j", "latency_s"))
    objectives = read_objectives(f"{where}, pareto", objectives)
    values = _axes(axes, kind, f"{where}, axes")
    points = _mixed(values, table, where) if "mixes" in table else _product(values)
    if kind == "run":
        points = _blocks(points, table, where)
    found = tuple(islice(points, MOST_POINTS + 1))
    if len(found) > MOST_POINTS:
        raise InputError(f"{where}: wanted at most {MOST_POINTS:,} points")
    return Spec(str(table.get("name", Path(where).stem)), kind, found, objectives)


def identity(point: Point, known: Known | None = None) -> str:
    """A digest of a point's values, of all they name, and of the version; the same everywhere.

    `known` are digests of what has been read already (see `contents`).
    """
    whole = [version(), point, contents(point, {} if known is None else known)]
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
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
        for value in values if name in given else ():
            check_axis(where, name, value)
        axes[name] = values
    return axes


def _product(axes: Mapping[str, list[Any]]) -> Iterator[Point]:
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _mixed(axes: dict[str, list[Any]], table: Mapping[str, Any], where: str) -> Iterator[Point]:
    """Points whose bits are random per-layer widths of a given average."""
    from random import Random

    from apsim.report.cost.named import network_of
    from apsim.report.paper.figures import mix

    where = f"{where}, mixes"
    mixes = read_table(where, table["mixes"])
    refuse_unknown(where, mixes, ("averages", "count", "seed"))
    averages = read_averages(f"{where}, averages", mixes.get("averages"))
    count = read_whole(f"{where}, count", mixes.get("count", 1))
    random = Random(read_whole(f"{where}, seed", mixes.get("seed", 0), 0))
    for network in axes["network"]:
        layers = sum(layer.gemm for layer in network_of(network)[0].layers)
        if count * len(averages) > MOST_POINTS:
            raise InputError(f"{where}: wanted at most {MOST_POINTS:,} points")
        widths = [mix(average, layers, random) for average in averages for _ in range(count)]
        yield from _product(axes | {"network": [network], "bits": widths})


def _blocks(points: Iterator[Point], table: Mapping[str, Any], where: str) -> Iterator[Point]:
    images, block = (
        read_whole(f"{where}, {name}", table.get(name, default))
        for name, default in (("images", 16), ("block", 8))
    )
    for point in points:
        for first in range(0, images, block):
            yield point | {"first": first, "images": min(block, images - first)}
