"""The cost of an executed run: a table, JSON and CSV of one content."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from apsim.report.cost.executed import SOURCES, ExecutedCost, ExecutedLayer
from apsim.report.cost.files import SCHEMA, energy_columns, layer_table, parameters, scaled

__all__ = ["executed_json", "executed_lines", "executed_rows", "executed_table"]

NAMES = ("layer", "operation", "a/w", "loads", "compares", "writes", "reads", "latency", "energy",
         "compare", "write", "read", "mesh *", "reshape *", "averages", "gap")  # fmt: skip
LONG = ("operation", "loads", "compares", "writes", "reads", "averages")


def executed_json(found: ExecutedCost) -> dict[str, Any]:
    """The cost under schema apsim.cost/1, with every parameter that went into it."""
    return {
        "schema": SCHEMA,
        "network": found.model,
        "activity": found.activity,
        "images": found.images,
        "ap": found.ap,
        "requant": found.requant,
        "vertical_add": "executed",
        "sources": SOURCES,
        **parameters(found.chip, found.technology),
        "layers": executed_rows(found),
        "totals": {
            **found.counts.as_dict(),
            "cycles_on_one_cap": found.cycles_on_one_cap,
            "latency_s": found.latency,
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
    return [
        f"energy {scaled(found.energy.total, 'J')}, latency {scaled(found.latency, 's')} "
        f"with loads spread over {_caps(found)} CAPs, "
        f"{found.cycles_on_one_cap:,} cycles on one CAP",
        "compare, write, read: executed activity, every line that a compare or a read left "
        "mismatching and every written cell",
        "mesh *, reshape *: the mapping model's averages, for what moves is no pass",
        "averages: the paper's, for the same layer on the CAPs, without mesh and reshaping; gap: "
        "executed compare, write and read over them",
    ]


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
        "-" if layer.gap is None else f"{layer.gap:.3f}",
    )
