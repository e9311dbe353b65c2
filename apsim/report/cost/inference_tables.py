"""The cost of a network from the paper's averages: a table, JSON and CSV of one content."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from apsim.cost import Inference, LayerCost
from apsim.report.cost.assumed import PAPER_LATENCY, each_of
from apsim.report.cost.files import SCHEMA, energy_columns, layer_table, parameters, scaled

__all__ = ["DROPPED", "inference_json", "inference_lines", "inference_rows", "inference_table"]

NAMES = ("layer", "kind", "a/w", "steps", "rows used", "cycles", "latency", "energy", "compare",
         "write", "read", "mesh", "reshape")  # fmt: skip
LONG = ("kind", "steps", "rows used", "cycles")
DROPPED = ("reshape", "mesh", "read", "write", "compare", "a/w")  # of the short one, in this order
SOURCES = dict.fromkeys(("compare", "write", "read", "mesh", "reshape"), "the paper's averages")


def inference_json(found: Inference) -> dict[str, Any]:
    """The cost under schema apsim.cost/1, with every parameter that went into it."""
    return {
        "schema": SCHEMA,
        "network": found.network.name,
        "activity": found.activity,
        "images": found.batch,
        "ap": found.chip.ap,
        "vertical_add": found.chip.vertical_add,
        "sources": SOURCES,
        "assumes": {
            "latency_s": PAPER_LATENCY,
            "cycles": f"{each_of(found.technology)}; {PAPER_LATENCY}, as the latency",
        },
        **parameters(found.chip, found.technology),
        "left_out": dict(found.network.left_out),
        "layers": inference_rows(found),
        "totals": totals(found),
    }


def inference_rows(found: Inference) -> list[dict[str, Any]]:
    """A row for each layer; counts are those of one CAP over all steps."""
    return [
        {
            "name": cost.layer.name,
            "kind": cost.layer.kind,
            "bits_a": cost.widths[0],
            "bits_w": cost.widths[1],
            "macs": cost.layer.macs * found.batch,
            "steps": cost.placed.steps,
            "segments": cost.placed.segments,
            "folds": cost.placed.folds,
            "utilization": cost.placed.utilization,
            **cost.counts.as_dict(),
            "cycles": cost.total_cycles,
            **{f"cycles_{name}": cycles for name, cycles in cost.cycles.items()},
            **energy_columns(cost.parts),
        }
        for cost in found.layers
    ]


def totals(found: Inference) -> dict[str, Any]:
    """The sums over the layers, and the figures of merit."""
    return {
        "macs": found.network.macs * found.batch,
        "mean_bits": found.mean_bits,
        "steps": found.steps,
        "utilization": found.utilization,
        "caps": found.caps,
        "cycles": found.cycles,
        "latency_s": found.latency,
        **energy_columns(found.energy),
        "area_mm2": found.area.total * 1e6,
        "gops": found.gops,
        "gops_per_watt": found.gops_per_watt,
        "gops_per_watt_mm2": found.gops_per_watt_mm2,
        "power_w": found.power,
        "edp_j_s": found.edp,
    }


def inference_table(found: Inference, *, short: bool = False) -> Table:
    """A line for each layer; `short` fits 80 columns."""
    batch = f", batch {found.batch}" * (found.batch > 1)
    return layer_table(
        f"{found.network.name} on {found.chip.name}, {found.technology.name}, "
        f"{found.mean_bits:.3g} bits on average{batch}",
        NAMES,
        [_cells(layer, found.chip.frequency) for layer in found.layers],
        LONG if short else (),
    )


def inference_lines(found: Inference) -> list[str]:
    """What stands under the table."""
    return [
        f"energy {scaled(found.energy.total, 'J')}, latency {scaled(found.latency, 's')}, "
        f"EDP {found.edp:.3g} J s, power {found.power:.3g} W, "
        f"area {found.area.total * 1e6:,.1f} mm^2 ({found.caps:,} CAPs)",
        f"{found.gops:,.0f} GOPS, {found.gops_per_watt:.4g} GOPS/W, "
        f"{found.gops_per_watt_mm2:.4g} GOPS/W/mm^2; {found.steps:,} steps, "
        f"{found.utilization:.0%} of rows used",
        f"latency: {PAPER_LATENCY}; {each_of(found.technology)}",
        f"energies: the paper's averages on random bits ({found.technology.name}); vertical "
        f"additions: {found.chip.vertical_add}, cell writes: {found.chip.cell_writes}, "
        f"kind {found.chip.ap}",
        *_left_out(found),
    ]


def _left_out(found: Inference) -> list[str]:
    """What the figures do not hold."""
    rest = [f"{op} {many}" for op, many in found.network.left_out]
    return [f"not in it, for the paper has no equation: {', '.join(rest)} (layers); "
            "--activity executed counts what the AP runs of them"] if rest else []  # fmt: skip


def _cells(cost: LayerCost, frequency: float) -> tuple[str, ...]:
    parts = cost.parts
    joules = (parts.total, parts.compare, parts.write, parts.read, parts.mesh, parts.reshape)
    return (
        cost.layer.name,
        cost.layer.kind,
        f"{cost.widths[0]}/{cost.widths[1]}",
        f"{cost.placed.steps:,}",
        f"{cost.placed.utilization:.0%}",
        f"{cost.total_cycles:,.0f}",
        scaled(cost.total_cycles / frequency, "s"),
        *(scaled(part, "J") for part in joules),
    )
