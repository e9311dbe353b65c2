"""A whole network on a chip: energy, latency, area, and the paper's figures of merit.

The rule: layers run one after another, each on all CAPs; the sum over the layers is the
inference.  Energies are the paper's averages and say so (`activity`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from apsim.cost.area import Area, chip_area
from apsim.cost.chip import Chip
from apsim.cost.energy import CellWrites, Energy, layer_energy
from apsim.cost.latency import Equations, layer_counts, layer_cycles
from apsim.cost.mapping import Placement, place
from apsim.cost.network import Layer, Network
from apsim.cost.precision import Bits, Widths, assign, average
from apsim.cost.technology import Technology
from apsim.counts import Counts
from apsim.errors import InputError

__all__ = ["Inference", "LayerCost", "infer", "needed_caps"]


@dataclass(frozen=True)
class LayerCost:
    """One layer for a batch: where it goes, joules by function, cycles by part.

    `counts` is what a CAP does in it, over all its steps.
    """

    layer: Layer
    widths: tuple[int, int]
    placed: Placement
    counts: Counts
    energy: Mapping[str, Energy]
    cycles: Mapping[str, float]

    @property
    def joules(self) -> float:
        """Energy of all functions, in J."""
        return self.parts.total

    @cached_property
    def parts(self) -> Energy:
        """Energy by part, over the functions."""
        return sum(self.energy.values(), Energy())

    @cached_property
    def total_cycles(self) -> float:
        """Cycles of all parts, one after another."""
        return sum(self.cycles.values())


@dataclass(frozen=True)
class Inference:
    """A batch of images through a network on a chip."""

    network: Network
    chip: Chip
    technology: Technology
    batch: int
    layers: tuple[LayerCost, ...]
    area: Area
    caps: int
    mean_bits: float
    activity: str = "paper"

    @cached_property
    def energy(self) -> Energy:
        """Joules of the batch by part."""
        return sum((layer.parts for layer in self.layers), Energy())

    @cached_property
    def cycles(self) -> float:
        """Cycles of the batch: in IR a pipeline over the batch, in LR one layer at a time.

        With infinite resources every layer of a pipeline has its own CAPs, so that images
        follow each other at the pace of the slowest layer (inter-batch pipelining, V.B).
        """
        each = [layer.total_cycles for layer in self.layers]
        if self.chip.infinite:
            return sum(each) + (self.batch - 1) * max(each)
        return sum(each)

    @property
    def latency(self) -> float:
        """Seconds for the batch."""
        return self.cycles / self.chip.frequency

    @property
    def operations(self) -> int:
        """Two for each multiply-accumulate of the batch."""
        return 2 * self.network.macs * self.batch

    @property
    def gops(self) -> float:
        """Effective throughput, 10^9 operations a second."""
        return self.operations / self.latency / 1e9

    @property
    def gops_per_watt(self) -> float:
        """Effective efficiency: 10^9 operations a joule, whatever the latency."""
        return self.operations / self.energy.total / 1e9

    @property
    def gops_per_watt_mm2(self) -> float:
        """Effective efficiency over the chip's area in mm^2."""
        return self.gops_per_watt / (self.area.total * 1e6)

    @property
    def power(self) -> float:
        """Mean watts over the inference."""
        return self.energy.total / self.latency

    @property
    def edp(self) -> float:
        """Energy times latency of the batch, in J s."""
        return self.energy.total * self.latency

    @property
    def steps(self) -> int:
        """Steps of the conv, fc and matmul layers."""
        return sum(cost.placed.steps for cost in self.layers if cost.layer.gemm)

    @property
    def utilization(self) -> float:
        """Share of the rows in use, over the steps of the conv, fc and matmul layers."""
        held = [
            cost.placed.utilization * cost.placed.steps for cost in self.layers if cost.layer.gemm
        ]
        return sum(held) / self.steps

    def energy_by_function(self) -> dict[str, float]:
        """Joules of the batch by function, over the layers."""
        found: dict[str, float] = {}
        for cost in self.layers:
            for name, part in cost.energy.items():
                found[name] = found.get(name, 0.0) + part.total
        return found

    def cycles_by_part(self) -> dict[str, float]:
        """Cycles by part, over the layers, without the overlap of a pipeline."""
        found: dict[str, float] = {}
        for cost in self.layers:
            for name, part in cost.cycles.items():
                found[name] = found.get(name, 0.0) + part
        return found


def infer(
    network: Network,
    chip: Chip,
    technology: Technology,
    equations: Mapping[str, Equations],
    *,
    bits: Bits = 8,
    slots: str = "paper",
    batch: int = 1,
    cell_writes: Mapping[str, CellWrites] | None = None,
) -> Inference:
    """Cost a batch of images through `network`.

    `equations` maps "paper" and "realisable" to the closed forms; the chip's
    `vertical_add` picks one, and its `cell_writes`, where it is not "paper", one of
    `cell_writes`.  Raises `InputError` where the chip cannot hold a layer.
    """
    widths = assign(network, bits, slots=slots)
    if batch < 1:
        raise InputError(f"batch must be at least 1, got {batch}")
    _require_fit(network, widths, chip)
    images = 1 if chip.infinite else batch  # IR streams image after image
    placements = tuple(place(layer, chip, images) for layer in network.layers)
    caps = needed_caps(network, placements, chip, batch)
    forms, written = equations[chip.vertical_add], (cell_writes or {}).get(chip.cell_writes)
    if written is None and chip.cell_writes != "paper":
        raise InputError(f"cell_writes {chip.cell_writes!r}: no such averages were given")
    costs = tuple(
        LayerCost(
            layer,
            width,
            placed,
            layer_counts(layer, width, placed, chip, forms, images),
            layer_energy(layer, width, caps, chip, technology, batch, written),
            layer_cycles(layer, width, placed, chip, technology, forms, images),
        )
        for layer, width, placed in zip(network.layers, widths, placements, strict=True)
    )
    area = chip_area(chip, technology, caps)
    return Inference(network, chip, technology, batch, costs, area, caps, average(network, widths))


def needed_caps(
    network: Network, placements: Sequence[Placement], chip: Chip, batch: int = 1
) -> int:
    """CAPs of the chip; in IR those of the layer with the most multiply-accumulates (III.A).

    A pipeline over a batch in IR needs the CAPs of all layers, for all are at work at once.
    """
    if not chip.infinite:
        return chip.caps
    if batch > 1:
        return sum(placed.caps for placed in placements)
    layers = zip(network.layers, placements, strict=True)
    return max(layers, key=lambda item: item[0].macs)[1].caps


def _require_fit(network: Network, widths: Widths, chip: Chip) -> None:
    """Table V's columns hold operands; results are taken to have as many beside them."""
    for layer, (a, w) in zip(network.layers, widths, strict=True):
        needed, there = _columns(layer, a, w), 2 * chip.columns
        if needed > there:
            raise InputError(
                f"{layer.name}: operands and results take {needed} columns; a CAP of "
                f"{chip.name} has {there} ({chip.columns} for operands, as many for results)"
            )
    held = {
        layer.name: layer.weights * w for layer, (_, w) in zip(network.layers, widths, strict=True)
    }
    total, largest = sum(held.values()), max(held, key=lambda name: held[name])
    if total > chip.weight_store_bits:
        raise InputError(
            f"{network.name}: its weights take {total:,} bits ({held[largest]:,} of them in "
            f"{largest}); {chip.name} stores {chip.weight_store_bits:,.0f}"
        )


def _columns(layer: Layer, a: int, w: int) -> int:
    """Columns of a row: a product beside its operands, or two words and what grows or flags."""
    if layer.gemm:
        return 2 * (a + w)
    return 2 * a + max(1, 2 * (layer.window - 1).bit_length() - 1)
