"""Networks as tables of layers: shapes, GEMM sizes, weights, and where inputs come from.

The rule: every derived column of a table is recomputed from the shapes, and a table
that contradicts itself is refused with its line.  In GEMM terms a layer multiplies
an i x j kernel matrix by a j x u input matrix in each of its groups.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from apsim.cost.quantity import nearest
from apsim.errors import InputError, ModelError
from apsim.files import read_text

__all__ = ["Layer", "Network", "network", "network_names"]

KINDS = ("conv", "fc", "maxpool", "avgpool", "add")
SHAPE = ("in_c", "in_h", "in_w", "kernel", "stride", "pad", "groups", "out_c", "out_h", "out_w")


@dataclass(frozen=True)
class Layer:
    """One layer; `i`, `j`, `u` per group for conv, fc and matmul, `window`, `windows` otherwise.

    A matmul is a product of two activations: what weights are elsewhere is another matrix for
    each image.  No layer table has one.

    `hawq_slot` is the place of the layer in HAWQ-V3's list of bit widths and
    `paper_slot` the one that reproduces Table VII; None where it has none.
    """

    name: str
    kind: str
    groups: int = 1
    i: int = 0
    j: int = 0
    u: int = 0
    window: int = 0
    windows: int = 0
    relu: bool = False
    hawq_slot: int | None = None
    paper_slot: int | None = None

    @property
    def gemm(self) -> bool:
        """Whether the layer multiplies matrices."""
        return self.kind in ("conv", "fc", "matmul")

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.groups * self.i * self.j * self.u

    @property
    def weights(self) -> int:
        """Weights, without biases."""
        return self.groups * self.i * self.j * (self.kind != "matmul")

    def factors(self, batch: int) -> int:
        """Words that stand where weights do, for a batch of images."""
        return self.groups * self.i * self.j * (batch if self.kind == "matmul" else 1)

    @property
    def outputs(self) -> int:
        """Values that the layer gives for one image."""
        return self.groups * self.i * self.u if self.gemm else self.windows


@dataclass(frozen=True)
class Network:
    """A network by name, its layers in order of execution.

    `left_out` says of what it computes besides, which the paper has no equation for: operations,
    and how many layers of each.
    """

    name: str
    layers: tuple[Layer, ...]
    left_out: tuple[tuple[str, int], ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weights(self) -> int:
        """Weights, without biases."""
        return sum(layer.weights for layer in self.layers)


def network_names() -> tuple[str, ...]:
    """Names of the bundled networks, sorted."""
    found = files("apsim.cost").joinpath("networks").iterdir()
    return tuple(sorted(item.name[:-4] for item in found if item.name.endswith(".csv")))


def network(name: str) -> Network:
    """The bundled network `name`, or the one in the CSV file at path `name`.

    Raises `InputError` where there is none and `ModelError` where it contradicts itself.

    >>> network("alexnet").macs
    724406816
    """
    if not name.endswith(".csv"):
        return _bundled(name)
    return parse_network(read_text(name), name)


@cache
def _bundled(name: str) -> Network:
    known = network_names()
    if name not in known:
        raise InputError(
            f"{name!r} is neither a CSV file nor a bundled network{nearest(name, known)}; "
            f"bundled: {', '.join(known)}"
        )
    text = files("apsim.cost").joinpath("networks", f"{name}.csv").read_text()
    return parse_network(text, name)


def parse_network(text: str, name: str) -> Network:
    """A network from CSV text; `name` names it in errors."""
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""))
        return _network(rows, name)
    except csv.Error as error:
        raise ModelError(f"{name}: not CSV that can be read: {error}") from None


def _network(rows: csv.DictReader[str], name: str) -> Network:
    needed = ("name", "type", *SHAPE)
    missing = [column for column in needed if column not in (rows.fieldnames or ())]
    if missing:
        raise ModelError(f"{name}: column {missing[0]!r} is missing; needed: {', '.join(needed)}")
    layers: list[Layer] = []
    shapes: dict[str, tuple[int, int, int]] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{name}, line {line}"
        if None in row or None in row.values():
            raise ModelError(
                f"{where}: wanted a value for each of {len(rows.fieldnames or ())} columns"
            )
        numbers = _numbers(where, row)
        layer = _layer(where, row, numbers)
        if layer.name in shapes:
            raise ModelError(f"{where}: the name {layer.name!r} comes twice")
        _check_input(where, row, numbers, shapes)
        shapes[layer.name] = (numbers["out_c"], numbers["out_h"], numbers["out_w"])
        layers.append(layer)
    if not layers:
        raise ModelError(f"{name}: the table has no layers")
    return Network(Path(name).stem, tuple(layers))


def _numbers(where: str, row: Mapping[str, str]) -> dict[str, int]:
    found = {}
    for column in SHAPE:
        try:
            found[column] = int(row[column])
        except (TypeError, ValueError):
            raise ModelError(
                f"{where}: {column} must be a whole number, got {row[column]!r}"
            ) from None
        least = 0 if column == "pad" else 1
        if found[column] < least:
            raise ModelError(f"{where}: {column} must be at least {least}, got {found[column]}")
    return found


def _layer(where: str, row: Mapping[str, str], n: Mapping[str, int]) -> Layer:
    kind = row["type"]
    if kind not in KINDS:
        raise ModelError(f"{where}: type {kind!r} is not one of {', '.join(KINDS)}")
    layer = Layer(
        row["name"],
        kind,
        relu=row.get("relu") == "1",
        hawq_slot=_slot(where, row, "hawq_slot"),
        paper_slot=_slot(where, row, "paper_slot"),
    )
    if layer.gemm:
        _check_groups(where, n)
        layer = replace(
            layer,
            groups=n["groups"],
            i=n["out_c"] // n["groups"],
            j=n["kernel"] ** 2 * n["in_c"] // n["groups"],
            u=n["out_h"] * n["out_w"],
        )
    else:
        window = 2 if kind == "add" else n["kernel"] ** 2
        layer = replace(layer, window=window, windows=n["out_c"] * n["out_h"] * n["out_w"])
    if kind != "add":
        _check_strides(where, n)
    _check_derived(where, row, layer)
    return layer


def _slot(where: str, row: Mapping[str, str], column: str) -> int | None:
    text = row.get(column)
    if text and not text.isdecimal():
        raise ModelError(f"{where}: {column} must be a whole number or empty, got {text!r}")
    return int(text) if text else None


def _check_groups(where: str, n: Mapping[str, int]) -> None:
    for column in ("in_c", "out_c"):
        if n[column] % n["groups"]:
            raise ModelError(
                f"{where}: {column} {n[column]} is no multiple of groups {n['groups']}"
            )


def _check_strides(where: str, n: Mapping[str, int]) -> None:
    for side in ("h", "w"):
        wanted = (n[f"in_{side}"] + 2 * n["pad"] - n["kernel"]) // n["stride"] + 1
        if n[f"out_{side}"] != wanted:
            given = n[f"out_{side}"]
            raise ModelError(
                f"{where}: out_{side} is {given}, but kernel, stride and pad give {wanted}"
            )


def _check_derived(where: str, row: Mapping[str, str], layer: Layer) -> None:
    derived = {
        "gemm_i": layer.i,
        "gemm_j": layer.j,
        "gemm_u": layer.u,
        "macs": layer.macs,
        "weights": layer.weights,
        "window_S": layer.window,
        "window_K": layer.windows,
    }
    for column, wanted in derived.items():
        given = row.get(column)
        if given not in (None, "", str(wanted)):
            raise ModelError(f"{where}: {column} is {given}, but the shapes give {wanted}")


def _check_input(
    where: str,
    row: Mapping[str, str],
    n: Mapping[str, int],
    shapes: Mapping[str, tuple[int, int, int]],
) -> None:
    """Compare the input shape with the output shape of each layer that `input_from` names."""
    for source in _sources(row):
        if source == "input":
            continue
        if source not in shapes:
            raise ModelError(f"{where}: input_from names {source!r}, which is no earlier layer")
        c, h, w = shapes[source]
        if (n["in_c"], n["in_h"], n["in_w"]) not in ((c, h, w), (c * h * w, 1, 1)):
            raise ModelError(
                f"{where}: the input is {n['in_c']}x{n['in_h']}x{n['in_w']}, "
                f"but {source} gives {c}x{h}x{w}"
            )


def _sources(row: Mapping[str, str]) -> Iterable[str]:
    return filter(None, (row.get("input_from") or "").split("+"))
