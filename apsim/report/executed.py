"""The cost of an executed run: its counts and activity, layer by layer, beside the averages.

The rule: counts and activity are taken from the run as they are; where loads share a
chip, they go to its CAPs in rounds.  The paper's averages stand beside them for the
layers whose shape the run states (those with weights).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from apsim import cost
from apsim.cost import Chip, Cost, Technology
from apsim.cost.energy import layer_energy
from apsim.counts import Activity, Counts
from apsim.errors import InputError

__all__ = ["ExecutedCost", "ExecutedLayer", "cost_run", "read_run"]

SCHEMA = "apsim.run/1"
ON_CAPS = ("populate", "multiply", "reduce", "read_out")


@dataclass(frozen=True)
class ExecutedLayer:
    """One layer of a run: what it took, what that costs, and what the averages say.

    `paper` holds the printed equations for the same loads.  `averages` is the energy that
    the paper's averages give for the same work, in J, None where the run does not state
    the shape.  `cycles` is the layer's latency on the chip.
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
    cycles: float
    averages: float | None

    @property
    def gap(self) -> float | None:
        """Executed energy over the averages' energy."""
        return None if self.averages is None else self.cost.energy.total / self.averages


@dataclass(frozen=True)
class ExecutedCost:
    """A run, costed."""

    model: str
    ap: str
    images: int
    chip: Chip
    technology: Technology
    layers: tuple[ExecutedLayer, ...]
    activity: str = "executed"

    @property
    def counts(self) -> Counts:
        """What all layers took."""
        return sum((layer.counts for layer in self.layers), Counts())

    @property
    def cost(self) -> Cost:
        """Energy of the run, and cycles as if one CAP had done everything."""
        energy = sum((layer.cost.energy for layer in self.layers), cost.Energy())
        return Cost(energy, sum(layer.cost.cycles for layer in self.layers), self.chip.frequency)

    @property
    def latency(self) -> float:
        """Seconds with the loads of each layer spread over the chip's CAPs."""
        return sum(layer.cycles for layer in self.layers) / self.chip.frequency


def read_run(path: str) -> dict[str, Any]:
    """The JSON of `apsim run --json`; raises `InputError` where it is something else."""
    try:
        found = json.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path}: wanted schema {SCHEMA!r}, got {schema!r}")
    return dict(found)


def cost_run(run: Mapping[str, Any], chip: Chip, technology: Technology) -> ExecutedCost:
    """Cost every layer of a run; raises `InputError` where the run lacks an entry."""
    try:
        ap = run["ap"]["kind"] + ("-tc" if run["ap"]["tag_chain"] else "")
        layers = tuple(_layer(layer, run["images"], chip, technology) for layer in run["layers"])
        return ExecutedCost(run["model"], ap, run["images"], chip, technology, layers)
    except (KeyError, TypeError) as error:
        raise InputError(f"the run lacks an entry or has a wrong one: {error}") from error


def _layer(
    layer: Mapping[str, Any], images: int, chip: Chip, technology: Technology
) -> ExecutedLayer:
    counts, activity = Counts(**layer["counts"]), Activity(**layer["activity"])
    found = cost.estimate(counts, activity, technology, frequency=chip.frequency)
    loads = layer["loads"]
    rounds = -(-loads // chip.caps)
    return ExecutedLayer(
        layer["name"],
        layer["op"],
        layer["bits_a"],
        layer["bits_w"],
        layer["macs"],
        loads,
        counts,
        Counts(**layer["paper"]),
        activity,
        found,
        found.cycles * rounds / loads if loads else 0.0,
        _averages(layer, images, chip, technology),
    )


def _averages(
    layer: Mapping[str, Any], images: int, chip: Chip, technology: Technology
) -> float | None:
    """The averages' energy on the CAPs of a layer with weights, without mesh and reshaping."""
    if not layer["macs"] or layer["bits_w"] is None:
        return None
    outputs = prod(layer["shape"]) * images
    row = cost.Layer(layer["name"], "conv", i=outputs, j=layer["macs"] // outputs, u=1)
    widths = (layer["bits_a"], layer["bits_w"])
    energy = layer_energy(row, widths, chip.caps, chip, technology)
    return sum(energy[name].total for name in ON_CAPS)
