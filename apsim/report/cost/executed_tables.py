"""The cost of an executed run: a table, JSON and CSV of one content."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from apsim.cost.technology import CHARGES
from apsim.report.cost.assumed import ACTIVITY, PAPER_LATENCY, SPREAD, cycles_of
from apsim.report.cost.blocks import operation_lines, operation_rows
from apsim.report.cost.executed import SOURCES, ExecutedCost, ExecutedLayer
from apsim.report.cost.files import SCHEMA, energy_columns, layer_table, parameters, scaled

__all__ = ["DROPPED", "executed_json", "executed_lines", "executed_rows", "executed_table"]

NAMES = ("layer", "operation", "a/w", "loads", "compares", "writes", "reads", "latency", "energy",
         "compare", "write", "read", "mesh *", "reshape *", "averages", "gap",
         "latency gap")  # fmt: skip
LONG = ("operation", "loads", "compares", "writes", "reads", "averages", "mesh *", "reshape *")
DROPPED = (
    "read",
    "gap",
    "compare",
    "write",
    "latency gap",
    "a/w",
)  # of the short one, in this order


def executed_json(found: ExecutedCost) -> dict[str, Any]:
    """The cost under schema apsim.cost/1, with every parameter that went into it."""
    return {
        "schema": SCHEMA,
        "network": found.model,
        "activity": found.activity,
        "images": found.images,
        "array": found.array,
        "ap": found.ap,
        "requant": found.requant,
        "vertical_add": "executed",
        "sources": SOURCES,
        "assumes": {
            "cycles_on_one_cap": cycles_of(found.technology),
            "latency_s": SPREAD,
            "model_cycles": PAPER_LATENCY,
            "activity": ACTIVITY[found.array],
        },
        **parameters(found.chip, found.technology),
        "operations": operation_rows(found),
        "layers": executed_rows(found),
        "totals": {
            **found.counts.as_dict(),
            "cycles_on_one_cap": found.cycles_on_one_cap,
            "latency_s": found.latency,
            "latency_gap": found.latency_gap,
            **found.done.as_dict(),
            **{f"energy_write_{which}_j": _writes(found, which) for which in CHARGES},
            **energy_columns(found.energy),
            "edp_j_s": found.energy.total * found.latency,
        },
    }


def executed_rows(found: ExecutedCost) -> list[dict[str, Any]]:
    """A row for each layer; counts are those of the run, over all loads."""
    return [
        {
            "name": layer.name,
            "kind": layer.op,
            "bits_a": layer.bits_a,
            "bits_w": layer.bits_w,
            "macs": layer.macs,
            "loads": layer.loads,
            **layer.counts.as_dict(),
            **layer.activity.as_dict(),
            "cycles": layer.cycles,
            **energy_columns(layer.energy),
            "averages_energy_j": layer.averages,
            "gap": layer.gap,
            "model_cycles": layer.model_cycles,
            "latency_gap": layer.latency_gap,
        }
        for layer in found.layers
    ]


def executed_table(found: ExecutedCost, *, short: bool = False) -> Table:
    """A line for each layer, its executed energy beside the averages' one; `short`: 80 columns."""
    return layer_table(
        f"{found.model}, {found.images} image{'s' * (found.images != 1)} as run, {found.ap} AP"
        f"{', requantized on it' * (found.requant == 'ap')}, "
        f"{found.technology.name} on {found.chip.name}",
        NAMES,
        [_cells(layer, found.chip.frequency) for layer in found.layers],
        LONG if short else (),
    )


def executed_lines(found: ExecutedCost) -> list[str]:
    """What stands under the table."""
    charged, done = found.technology.writes_charge, found.done
    other = CHARGES[charged == CHARGES[0]]
    cells = {"driven": done.written, "flipped": done.flipped}
    return [
        f"energy {scaled(found.energy.total, 'J')}, latency {scaled(found.latency, 's')} "
        f"with loads spread over {_caps(found)} CAPs, "
        f"{found.cycles_on_one_cap:,} cycles on one CAP",
        f"cycles: {cycles_of(found.technology)}",
        f"latency: {SPREAD}, and the mesh",
        *_gap_lines(found),
        "compare, write, read: executed activity, every line that a compare or a read left "
        f"mismatching and every {_charged(charged)} cell",
        f"activity: {ACTIVITY[found.array]}",
        f"writes: {scaled(_writes(found, charged), 'J')} for {cells[charged]:,} cells {charged}; "
        f"{scaled(_writes(found, other), 'J')} for the {cells[other]:,} {other}",
        "mesh *, reshape *: the mapping model's averages, for what moves is no pass",
        "averages: the paper's, for the same layer on the CAPs, without mesh and reshaping; gap: "
        "executed compare, write and read over them",
        *operation_lines(found),
    ]


def _gap_lines(found: ExecutedCost) -> list[str]:
    """What parts the executed latency from the mapping model's."""
    if found.latency_gap is None:
        return []
    most = max(layer.loads for layer in found.layers)
    busy = most if found.chip.infinite else min(most, found.chip.caps)
    return [
        f"latency gap {found.latency_gap:.3g}: over {PAPER_LATENCY}; a load fills a CAP "
        f"(at most {busy:,} of {_caps(found)} at work), the model spreads dot products over all"
    ]


def _charged(charge: str) -> str:
    return {"driven": "written", "flipped": "changed"}[charge]


def _writes(found: ExecutedCost, which: str) -> float:
    return found.technology.write_energy(found.done, which)


def _caps(found: ExecutedCost) -> str:
    return "unlimited" if found.chip.infinite else f"{found.chip.caps:,}"


def _cells(layer: ExecutedLayer, frequency: float) -> tuple[str, ...]:
    width = f"/{layer.bits_w}" if layer.bits_w is not None else ""
    parts = layer.energy
    return (
        layer.name,
        layer.op,
        f"{layer.bits_a}{width}",
        f"{layer.loads:,}",
        *(f"{count:,}" for count in layer.counts.as_dict().values()),
        scaled(layer.cycles / frequency, "s"),
        *(scaled(joules, "J") for joules in (parts.total, *parts.as_dict().values())),
        "-" if layer.averages is None else scaled(layer.averages, "J"),
        *("-" if gap is None else f"{gap:.3f}" for gap in (layer.gap, layer.latency_gap)),
    )
