"""Cycles and energy of a run by operation: products, softmax, norms, tables and what goes on.

The rule: sums over the layers of an executed cost; a layer's requantization is its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from typing import Any

from apsim.cost import Energy
from apsim.report.cost.executed import ExecutedCost
from apsim.report.cost.files import energy_columns, scaled

__all__ = ["OperationCost", "by_operation", "draw_operations", "operation_lines", "operation_rows"]

GROUPED = ("softmax", "normalize")


@dataclass(frozen=True)
class OperationCost:
    """What all layers of one operation took: cycles as if on one CAP, and joules."""

    name: str
    layers: int
    macs: int
    cycles: int
    energy: Energy


def by_operation(found: ExecutedCost) -> list[OperationCost]:
    """Operations that ran, the one that took the most cycles first."""
    ran = [layer for layer in found.layers if layer.loads]
    made = []
    for name in dict.fromkeys(layer.op for layer in ran):
        some = [layer for layer in ran if layer.op == name]
        made.append(
            OperationCost(
                name,
                len(some),
                sum(layer.macs for layer in some),
                sum(layer.cost.cycles for layer in some),
                sum((layer.energy for layer in some), Energy()),
            )
        )
    return sorted(made, key=lambda one: -one.cycles)


def operation_lines(found: ExecutedCost) -> list[str]:
    """A line for each operation; none of a network without a softmax or norm on the AP."""
    every = by_operation(found)
    if not any(one.name in GROUPED for one in every):
        return []
    cycles, joules = found.cycles_on_one_cap, found.energy.total
    return ["by operation, cycles on one CAP and energy:"] + [
        f"  {one.name} ({one.layers}): {one.cycles:,} = {one.cycles / cycles:.2%}, "
        f"{scaled(one.energy.total, 'J')} = {one.energy.total / joules:.2%}"
        for one in every
    ]


def operation_rows(found: ExecutedCost) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "operation": one.name, "layers": one.layers, "macs": one.macs,
            "cycles_on_one_cap": one.cycles, **energy_columns(one.energy),
        }
        for one in by_operation(found)
    ]  # fmt: skip


def draw_operations(found: ExecutedCost) -> str:
    """Shares of cycles and of energy, a bar for each operation, as SVG.

    Raises `MissingExtra` without matplotlib.
    """
    from apsim.report.paper.plots import svg_pyplot

    pyplot, every = svg_pyplot(), by_operation(found)
    figure, axis = pyplot.subplots(figsize=(max(6, 1.2 * len(every)), 4))
    places = range(len(every))
    for offset, what, shares in (
        (-0.2, "cycles", [one.cycles / found.cycles_on_one_cap for one in every]),
        (0.2, "energy", [one.energy.total / found.energy.total for one in every]),
    ):
        bars = axis.bar([at + offset for at in places], shares, 0.4, label=what)
        axis.bar_label(bars, [f"{share:.1%}" for share in shares], fontsize=7)
    axis.set_xticks(list(places), [one.name for one in every])
    axis.set_ylabel("share of the run")
    axis.set_title(f"{found.model}, {found.ap} AP, {found.technology.name}")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    text = StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight")
    pyplot.close(figure)
    return text.getvalue()
