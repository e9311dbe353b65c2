"""The cost of an executed run: its counts and activity, layer by layer, beside the averages.

The rule: compares, writes and reads are the run's own, as they are; what moves between
CAPs and MAPs is no pass, so mesh and reshaping come from the mapping model, and say so.
Loads that share a chip go to its CAPs in rounds.  The paper's averages stand beside the
layers that a layer table has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apsim import cost, schemas
from apsim.cost import Chip, Cost, Energy, Technology
from apsim.cost.chip import CHOICES, choice
from apsim.cost.energy import layer_energy
from apsim.cost.inference import needed_caps
from apsim.cost.latency import layer_cycles, transfer_cycles
from apsim.cost.mapping import place
from apsim.counts import Activity, Counts
from apsim.errors import InputError
from apsim.functions.table import EQUATIONS
from apsim.readers import read_json
from apsim.report.paper.cell_writes import CELL_WRITES

__all__ = ["SOURCES", "ExecutedCost", "ExecutedLayer", "cost_run", "read_run"]

SCHEMA = "apsim.run/1"
MOVED = ("mesh", "reshape")
SOURCES = {
    **dict.fromkeys(("compare", "write", "read"), "executed activity"),
    **dict.fromkeys(MOVED, "mapping model"),
}
"""Where each part of an executed energy comes from."""
ENTRIES = {"name": str, "op": str, "bits_a": int, "macs": int, "loads": int}


@dataclass(frozen=True)
class ExecutedLayer:
    """One layer of a run: what it took, what that costs, and what the averages say.

    `paper` holds the printed equations for the same loads.  `cost` is what the CAPs did and
    `moved` what the mapping model adds for the mesh and for reshaping.  `averages` is the
    energy of the same work on the CAPs from the paper's averages, in J, and `model_cycles` its
    latency by the paper's forms and the mapping model; None for a layer that no layer table
    has.  `cycles` is the layer's latency on the chip, its loads spread over the CAPs.
    """

    name: str
    op: str
    bits_a: int
    bits_w: int | None
    macs: int
    loads: int
    counts: Counts
    paper: Counts
    activity: Activity
    cost: Cost
    moved: Energy
    cycles: float
    averages: float | None
    model_cycles: float | None

    @property
    def energy(self) -> Energy:
        """Joules of all parts."""
        return self.cost.energy + self.moved

    @property
    def gap(self) -> float | None:
        """Executed energy on the CAPs over the averages' energy."""
        return self.cost.energy.total / self.averages if self.averages else None

    @property
    def latency_gap(self) -> float | None:
        """Executed latency over the mapping model's."""
        return self.cycles / self.model_cycles if self.model_cycles else None


@dataclass(frozen=True)
class ExecutedCost:
    """A run, costed."""

    model: str
    ap: str
    images: int
    requant: str
    chip: Chip
    technology: Technology
    layers: tuple[ExecutedLayer, ...]
    activity: str = "executed"
    array: str = "load"

    @property
    def counts(self) -> Counts:
        """What all layers took."""
        return sum((layer.counts for layer in self.layers), Counts())

    @property
    def done(self) -> Activity:
        """What all layers did to the lines."""
        return sum((layer.activity for layer in self.layers), Activity())

    @property
    def latency_gap(self) -> float | None:
        """Executed latency over the mapping model's, of the layers that it has."""
        both = [(one.cycles, one.model_cycles) for one in self.layers if one.model_cycles]
        return sum(done for done, _ in both) / sum(said for _, said in both) if both else None

    @property
    def energy(self) -> Energy:
        """Joules of the run by part."""
        return sum((layer.energy for layer in self.layers), Energy())

    @property
    def cycles_on_one_cap(self) -> int:
        """Cycles as if one CAP had done everything, one load after another."""
        return sum(layer.cost.cycles for layer in self.layers)

    @property
    def latency(self) -> float:
        """Seconds with the loads of each layer spread over the chip's CAPs."""
        return sum(layer.cycles for layer in self.layers) / self.chip.frequency


def read_run(path: str) -> dict[str, Any]:
    """The JSON of `apsim run --json`; raises `InputError` where it is something else."""
    found = schemas.check(read_json(path), SCHEMA, f"the run {path}")
    for what in ("counts", "predicted", "paper"):
        for kind, total in found["totals"][what].items():
            counted = sum(layer[what][kind] for layer in found["layers"])
            if counted != total:
                raise InputError(
                    f"{path}: wanted totals that add up: {what}, {kind} is {total}, "
                    f"its layers have {counted}"
                )
    return found


def cost_run(run: Mapping[str, Any], chip: Chip, technology: Technology) -> ExecutedCost:
    """Cost every layer of a run; raises `InputError` where the run lacks an entry."""
    try:
        ap = run["ap"]["kind"] + ("-tc" if run["ap"]["tag_chain"] else "")
        chip = replace(chip, ap=choice("the run", "ap", ap, CHOICES["ap"]))
        _require_kinds(run, {"model": str, "images": int}, least=1)
        rows = [_row(layer) for layer in run["layers"]]
        caps = _caps(run["model"], rows, run["images"], chip)
        layers = tuple(
            _layer(layer, row, run["images"], caps, chip, technology)
            for layer, row in zip(run["layers"], rows, strict=True)
        )
        requant = run.get("requant", "host")
        return ExecutedCost(
            run["model"], ap, run["images"], requant, chip, technology, layers,
            array=run.get("array", "load"),
        )  # fmt: skip
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"the run lacks an entry or has a wrong one: {error}") from error


def _row(layer: Mapping[str, Any]) -> cost.Layer | None:
    _require_kinds(layer, ENTRIES)
    if layer["table_row"] is None:
        return None
    _require_kinds(layer["table_row"], {"kind": str})
    row = cost.Layer(layer["name"], **layer["table_row"])
    sizes = ("groups", "i", "j", "u") if row.gemm else ("window", "windows")
    _require_kinds(layer["table_row"], dict.fromkeys(sizes, int), least=1)
    return row


def _require_kinds(entries: Mapping[str, Any], kinds: Mapping[str, type], least: int = 0) -> None:
    """Raise `ValueError` for an entry of another kind, or a number that is too small."""
    for name, kind in kinds.items():
        value = entries[name]
        if type(value) is not kind or (isinstance(value, int) and value < least):
            raise ValueError(f"{name} is {value!r}")


def _caps(model: str, rows: Sequence[cost.Layer | None], images: int, chip: Chip) -> int:
    """CAPs that the mesh spans: in IR as many as the mapping needs."""
    network = cost.Network(model, tuple(row for row in rows if row is not None))
    if not network.layers:
        return chip.caps
    return needed_caps(network, [place(layer, chip) for layer in network.layers], chip, images)


def _layer(
    layer: Mapping[str, Any],
    row: cost.Layer | None,
    images: int,
    caps: int,
    chip: Chip,
    technology: Technology,
) -> ExecutedLayer:
    counts, activity = Counts(**layer["counts"]), Activity(**layer["activity"])
    found = cost.estimate(counts, activity, technology, frequency=chip.frequency)
    moved, averages, transfers, said = Energy(), None, 0.0, None
    program = _program(layer)
    if row is not None:
        widths = (layer["bits_a"], layer["bits_w"] or layer["bits_a"])
        if program is not None:  # no weight moves to a CAP
            widths = (layer["bits_a"], 0)
        written = CELL_WRITES.get(chip.cell_writes)
        energy = dict(layer_energy(row, widths, caps, chip, technology, images, written))
        moved = sum((energy.pop(name) for name in MOVED if name in energy), Energy())
        averages = None if program else sum(part.total for part in energy.values())
        transfers = sum(transfer_cycles(row, chip, images).values())
        if program is None:  # the mapping model has no other
            said = _model_cycles(row, widths, images, chip, technology)
    return ExecutedLayer(
        layer["name"],
        layer["op"],
        layer["bits_a"],
        layer["bits_w"],
        layer["macs"],
        layer["loads"],
        counts,
        Counts(**layer["paper"]),
        activity,
        found,
        moved,
        _alone(layer, found, chip, program) + transfers,
        averages,
        said,
    )


def _program(layer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How the layer's weights stand in the program, None where they stand in rows."""
    mapping = layer.get("mapping")
    return mapping["program"] if mapping else None


def _alone(
    layer: Mapping[str, Any], found: Cost, chip: Chip, program: Mapping[str, Any] | None
) -> float:
    """Cycles until the last CAP is done: in rounds of loads, or for a program as it is spread.

    A program's latency is in operations, which take as many cycles as those of the layer's mean,
    and is that of a chip of as many CAPs; `InputError` for another.
    """
    if program is None:
        return _rounds(layer["loads"], chip) * found.cycles
    if program["caps"] != (None if chip.infinite else chip.caps):
        there = [
            "unlimited CAPs" if caps is None else f"{caps:,} CAPs"
            for caps in (program["caps"], None if chip.infinite else chip.caps)
        ]
        raise InputError(
            f"layer {layer['name']!r}: its program was spread over {there[0]}, {chip.name} has "
            f"{there[1]}: wanted a run on that chip (apsim run --chip), or that of the run"
        )
    return float(program["latency"] * found.cycles / sum(layer["counts"].values()))


def _model_cycles(
    row: cost.Layer, widths: tuple[int, int], images: int, chip: Chip, technology: Technology
) -> float:
    """Cycles of the layer by closed forms, its dot products spread evenly over all CAPs."""
    placed, forms = place(row, chip, images), EQUATIONS[chip.vertical_add]
    return sum(layer_cycles(row, widths, placed, chip, technology, forms, images).values())


def _rounds(loads: int, chip: Chip) -> float:
    """Rounds of a mean load over the loads: the share of all cycles that is latency."""
    if not loads:
        return 0.0
    return (1 if chip.infinite else -(-loads // chip.caps)) / loads
