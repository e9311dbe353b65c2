"""Cycles of a layer: counts of each step times the cycles of each operation.

The rule: counts come from closed forms that the caller hands in (`Equations`), either
the printed ones or the realisable ones; this module only multiplies and adds them up,
and adds the mesh.  Cycles are those of the CAPs' clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from apsim.cost.chip import Chip
from apsim.cost.mapping import Placement, place_relu
from apsim.cost.network import Layer
from apsim.cost.technology import Technology
from apsim.counts import Counts

__all__ = [
    "Equations", "StepCounts", "layer_counts", "layer_cycles", "step_counts", "transfer_cycles",
]  # fmt: skip


class Equations(Protocol):
    """What `apsim.closed_form` and `apsim.closed_form.realisable` both offer."""

    def add(self, bits: int) -> Counts: ...
    def relu(self, bits: int) -> Counts: ...
    def matmul(
        self, bits: int, i: int, j: int, u: int, ap: str, bits_b: int | None = None
    ) -> Counts: ...
    def average_pool(self, bits: int, window: int, windows: int, ap: str) -> Counts: ...
    def max_pool(self, bits: int, window: int, windows: int, ap: str) -> Counts: ...


@dataclass(frozen=True)
class StepCounts:
    """Counts of one step of one CAP, by part of the work; the other CAPs do the same."""

    parts: Mapping[str, Counts]

    @property
    def total(self) -> Counts:
        """The sum over the parts."""
        return sum(self.parts.values(), Counts())


def step_counts(
    layer: Layer, widths: tuple[int, int], placed: Placement, chip: Chip, equations: Equations
) -> StepCounts:
    """Counts of one step of `layer`; `widths` are its activation and weight bits."""
    a, w = widths
    if layer.gemm:
        return StepCounts(_gemm_parts(layer, a, w, placed, chip, equations))
    if layer.kind == "add":
        return StepCounts({"add": equations.add(a)})
    pool = equations.max_pool if layer.kind == "maxpool" else equations.average_pool
    return StepCounts({"pool": pool(a, layer.window, placed.segments, chip.ap)})


def layer_counts(
    layer: Layer,
    widths: tuple[int, int],
    placed: Placement,
    chip: Chip,
    equations: Equations,
    batch: int = 1,
) -> Counts:
    """What one CAP does in a layer: all its steps, and the ReLU of the outputs."""
    counts = step_counts(layer, widths, placed, chip, equations).total * placed.steps
    if layer.relu:
        counts += equations.relu(widths[0]) * place_relu(layer, chip, batch).steps
    return counts


def layer_cycles(
    layer: Layer,
    widths: tuple[int, int],
    placed: Placement,
    chip: Chip,
    technology: Technology,
    equations: Equations,
    batch: int = 1,
) -> dict[str, float]:
    """Cycles of a batch in one layer, by part: those of `step_counts`, the mesh, ReLU."""
    counts = step_counts(layer, widths, placed, chip, equations)
    cycles = {
        name: float(placed.steps * technology.cycles(part)) for name, part in counts.parts.items()
    }
    cycles |= transfer_cycles(layer, chip, batch)
    if layer.relu:
        steps = place_relu(layer, chip, batch).steps
        cycles["relu"] = float(steps * technology.cycles(equations.relu(widths[0])))
    return cycles


def transfer_cycles(layer: Layer, chip: Chip, batch: int = 1) -> dict[str, float]:
    """Cycles of a batch on the mesh: weights in, outputs to the MAPs and back (conv and fc)."""
    if not layer.gemm:
        return {}
    return {
        "weights": _weight_cycles(layer, chip, batch),
        "outputs": _output_cycles(layer, chip, batch),
    }


def _gemm_parts(
    layer: Layer, a: int, w: int, placed: Placement, chip: Chip, equations: Equations
) -> dict[str, Counts]:
    """Eq. (6)-(8) of `segments` dot products, taken apart; folds are added up at the end."""
    rows, product = placed.segment_rows, a + w
    levels, local = (layer.j - 1).bit_length(), (rows - 1).bit_length()
    populate = Counts(write=product)
    multiply = Counts(compare=4 * a * w, write=4 * a * w)
    whole = equations.matmul(a, placed.segments, rows, 1, chip.ap, w)
    merged = Counts(compare=4, write=4) * (placed.folds - 1)
    reduced = whole - populate - multiply - Counts(read=product + local) + merged
    if chip.mult_latency == "peak":
        passes = round((a * w) * (1 + 1 / max(a, w)))  # M (M + 1) for equal widths
        multiply = Counts(compare=passes, write=passes)
    return {
        "populate": populate,
        "multiply": multiply,
        "reduce": reduced,
        "read_out": Counts(read=product + levels),
    }


def _weight_cycles(layer: Layer, chip: Chip, batch: int) -> float:
    """Streaming the kernel matrix to the CAPs over the pipelined mesh; in IR none but a matmul's.

    An fc layer spreads its matrix over all clusters, each with a link of its own.
    """
    if chip.infinite and layer.weights:
        return 0.0
    links = 1 if layer.kind == "conv" else chip.clusters
    return _mesh_cycles(layer.factors(batch), chip) / links


def _output_cycles(layer: Layer, chip: Chip, batch: int) -> float:
    """Outputs to the MAPs and back, in the order that the next layer needs."""
    return 2 * _mesh_cycles(layer.outputs * batch, chip) / chip.clusters


def _mesh_cycles(words: int, chip: Chip) -> float:
    transfers = words * chip.lane_bits / chip.link_bits
    return transfers * chip.frequency / chip.mesh_frequency
