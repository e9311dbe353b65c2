"""The cost of an executed run: a table, JSON and CSV of one content."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from apsim.report.cost_files import SCHEMA, energy_columns, parameters, plain_table, scaled
from apsim.report.executed import ExecutedCost, ExecutedLayer

__all__ = ["executed_json", "executed_lines", "executed_rows", "executed_table"]

NAMES = ("layer", "operation", "a/w", "loads", "compares", "writes", "reads", "latency", "energy",
         "compare", "write", "averages", "executed / averages")  # fmt: skip


def executed_json(found: ExecutedCost) -> dict[str, Any]:
    """The cost under schema apsim.cost/1, with every parameter that went into it."""
    return {
        "schema": SCHEMA,
        "network": found.model,
        "activity": found.activity,
        "images": found.images,
        "ap": found.ap,
        "vertical_add": "executed",
        **parameters(found.chip, found.technology),
        "layers": executed_rows(found),
        "totals": {
            **found.counts.as_dict(),
            "cycles_on_one_cap": found.cost.cycles,
            "latency_s": found.latency,
            **energy_columns(found.cost.energy),
            "edp_j_s": found.cost.energy.total * found.latency,
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
            **energy_columns(layer.cost.energy),
            "averages_energy_j": layer.averages,
        }
        for layer in found.layers
    ]


def executed_table(found: ExecutedCost) -> Table:
    """A line for each layer, its executed energy beside the averages' one."""
    table = plain_table(
        f"{found.model}, {found.images} image{'s' * (found.images != 1)} as run, {found.ap} AP, "
        f"{found.technology.name} on {found.chip.name}",
        NAMES,
        3,
    )
    for layer in found.layers:
        table.add_row(*_cells(layer, found.chip.frequency))
    return table


def executed_lines(found: ExecutedCost) -> list[str]:
    """What stands under the table."""
    return [
        f"energy {scaled(found.cost.energy.total, 'J')}, latency {scaled(found.latency, 's')} "
        f"with loads spread over {found.chip.caps:,} CAPs, {found.cost.cycles:,} cycles on one CAP",
        "energies: executed activity, every mismatching line and every written cell; a read is "
        "a search and stands under compare; without mesh and reshaping",
        "averages: the paper's, for the same layer, where the run states its shape",
    ]


def _cells(layer: ExecutedLayer, frequency: float) -> tuple[str, ...]:
    width = f"/{layer.bits_w}" if layer.bits_w is not None else ""
    energy = layer.cost.energy
    return (
        layer.name,
        layer.op,
        f"{layer.bits_a}{width}",
        f"{layer.loads:,}",
        *(f"{count:,}" for count in layer.counts.as_dict().values()),
        scaled(layer.cycles / frequency, "s"),
        *(scaled(joules, "J") for joules in (energy.total, energy.compare, energy.write)),
        "-" if layer.averages is None else scaled(layer.averages, "J"),
        "-" if layer.gap is None else f"{layer.gap:.3f}",
    )
