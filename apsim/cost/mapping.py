"""Where a layer goes: dot products in segments of rows, segments in CAPs, CAPs in steps.

The rule: mapping depends on shapes and the chip, never on precision (paper, III.A).
Weights are stationary; each cluster holds a copy of the kernel matrix where it fits
and takes other columns of the input matrix, and folds it in time where it does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from apsim.cost.chip import Chip
from apsim.cost.network import Layer
from apsim.errors import InputError

__all__ = ["Placement", "place"]


@dataclass(frozen=True)
class Placement:
    """A layer on a chip.

    `steps` are sequential rounds of all CAPs; in each a CAP works on `segments` groups
    (dot products or pooling windows) of `segment_rows` rows, one after another in the
    vertical mode.  A dot product that is longer than a CAP is cut into `folds` parts.
    `caps` are those that exist for the layer and `utilization` is the share of their
    rows that holds data, mean over the steps.
    """

    steps: int
    segments: int
    segment_rows: int
    folds: int
    caps: int
    utilization: float


def place(layer: Layer, chip: Chip, batch: int = 1) -> Placement:
    """Map `layer` for a batch of images; raises `InputError` where the chip cannot hold it."""
    if batch < 1:
        raise InputError(f"batch must be at least 1, got {batch}")
    if layer.gemm:
        return _place_gemm(layer, chip, batch)
    if layer.kind == "add":
        return _place_words(layer.windows * batch, chip)
    return _place_pool(layer, chip, batch)


def place_relu(layer: Layer, chip: Chip, batch: int = 1) -> Placement:
    """Map the ReLU of a layer's outputs: one word in each row."""
    return _place_words(layer.outputs * batch, chip)


def _place_gemm(layer: Layer, chip: Chip, batch: int) -> Placement:
    folds = _ceil(layer.j, chip.rows)
    rows = _ceil(layer.j, folds)
    fits = chip.rows // rows
    needed, u = layer.groups * layer.i * folds, layer.u * batch
    if chip.infinite:
        segments = 1 if chip.segments_per_cap == "one" else fits
        steps, caps = 1, _ceil(needed * u, segments)
        segments = min(segments, needed * u)
    else:
        caps = chip.caps
        steps, segments = _fold(layer, chip, needed, fits, u)
    used = layer.macs * batch / (steps * caps * chip.rows)
    return Placement(steps, segments, rows, folds, caps, used)


def _fold(layer: Layer, chip: Chip, needed: int, fits: int, u: int) -> tuple[int, int]:
    """Steps, and segments of the fullest CAP, of a layer on limited resources."""
    cluster = chip.caps_per_cluster
    columns = _ceil(u, chip.clusters)
    if layer.kind in ("fc", "matmul"):  # one column: the kernel matrix spreads over all clusters
        return _ceil(needed, chip.caps * fits) * u, min(fits, _ceil(needed, chip.caps))
    if needed > cluster * fits:
        return _ceil(needed, cluster * fits) * columns, fits
    copies = cluster * fits // needed if chip.columns_per_step == "packed" else 1
    segments = min(fits, _ceil(needed * min(copies, columns), cluster))
    return _ceil(u, chip.clusters * copies), segments


def _place_pool(layer: Layer, chip: Chip, batch: int) -> Placement:
    rows, windows = _ceil(layer.window, 2), layer.windows * batch
    fits = chip.rows // rows
    if not fits:
        raise InputError(
            f"{layer.name}: a window of {layer.window} words takes {rows} rows; "
            f"a CAP of {chip.name} has {chip.rows}"
        )
    if chip.infinite:
        steps, caps, segments = 1, _ceil(windows, fits), min(fits, windows)
    else:
        steps, caps = _ceil(windows, chip.caps * fits), chip.caps
        segments = min(fits, _ceil(windows, caps))
    return Placement(steps, segments, rows, 1, caps, windows * rows / (steps * caps * chip.rows))


def _place_words(words: int, chip: Chip) -> Placement:
    if chip.infinite:
        caps, steps = _ceil(words, chip.rows), 1
    else:
        caps, steps = chip.caps, _ceil(words, chip.caps * chip.rows)
    return Placement(steps, 1, 1, 1, caps, words / (steps * caps * chip.rows))


def _ceil(number: int, parts: int) -> int:
    return -(-number // parts)
