"""Which mapping a layer's products have, what it takes by forecast, and why it was chosen.

The rule: forecasts only, no data.  Cycles are those of all loads one after another; latency
is that of a chip whose CAPs share them; energy is that of random bits in rows that hold data,
as the paper averages it, or in all rows of CAPs in use where loads run on those.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from apsim import cost
from apsim.closed_form import latency
from apsim.cost.technology import Technology
from apsim.nn.on_ap.layer_run import Choice, Facts
from apsim.nn.on_ap.mapping import Fold
from apsim.nn.on_ap.tasks import UNLIMITED, Loads, Setting, Task, WeightedSums, hold_bias

if TYPE_CHECKING:
    from apsim.closed_form import WeightPlan

__all__ = ["asked", "cheaper", "cost_of", "facts"]


def asked(offers: Mapping[str, Sequence[Task]], on: Setting) -> Choice:
    """The mapping that was named; another that takes fewer cycles in this batch is a note."""
    body = offers[on.mapping]
    cycles = {name: cost_of(some, replace(on, cost="cycles")) for name, some in offers.items()}
    best = min(cycles, key=lambda name: cycles[name])
    why = "asked for"
    if cycles[best] < cycles[on.mapping]:
        times = cycles[on.mapping] / cycles[best]
        why += f"; with so few pixels {best} takes {times:.3g} times fewer cycles by forecast"
    return Choice(on.mapping, why, facts=facts(body, on))


def cheaper(
    offers: Mapping[str, Sequence[Task]], refused: Mapping[str, str], on: Setting
) -> Choice:
    """The offer of the least forecast cost."""
    costs = {name: cost_of(body, on) for name, body in offers.items()}
    best = min(costs, key=lambda name: costs[name])
    if refused:
        why = "; ".join(refused.values())
    else:
        other = max(costs, key=lambda name: costs[name] if name != best else -math.inf)
        ratio = costs[other] / costs[best] if costs[best] else math.inf
        less = "fewer" if on.cost == "cycles" else "less"
        why = f"{ratio:.3g} times {less} {on.cost} than {other} by forecast"
    return Choice(best, why, tuple(costs.items()), facts(offers[best], on))


def facts(body: Sequence[Task], on: Setting) -> Facts | None:
    """How weights stand in the program, None where they do not."""
    sums = [task for task in body if isinstance(task, WeightedSums)]
    if not sums:
        return None
    first, fold, plans = sums[0].plan, sums[0].fold, [p for task in sums for p in task.plans]
    return Facts(
        first.chunk, first.width, first.together, max(plan.columns for plan in plans),
        sum(plan.digits for plan in plans), sum(plan.instructions for plan in plans),
        fold.groups, fold.loads * on.rows, first.together, len(sums[0].plans),
        latency(sums[0].plans, fold.loads * len(sums), on.caps), hold_bias(body),
        None if on.caps == UNLIMITED else on.caps,
    )  # fmt: skip


def cost_of(body: Sequence[Task], on: Setting) -> float:
    """What the products of a layer cost by forecast: J, cycles, or cycles on the chip."""
    if on.cost == "cycles":
        return float(sum(task.forecast.predicted.total for task in body))
    if on.cost == "latency":
        return _latency(body, on)
    return sum(_energy(task, cost.technology("sram"), on) for task in body)


def _latency(body: Sequence[Task], on: Setting) -> float:
    there = facts(body, on)
    if there is not None:
        return float(there.latency)
    loads = sum(task.forecast.loads for task in body)
    cycles = sum(task.forecast.predicted.total for task in body)
    return -(-loads // on.caps) * cycles / max(loads, 1)


def _energy(task: Task, technology: Technology, on: Setting) -> float:
    """Joules of a task on random bits: its passes in the rows of its arrays."""
    if isinstance(task, WeightedSums):
        rows = _rows(task.fold, task.fold.groups, on)
        return sum(_weights_energy(plan, technology) for plan in task.plans) * rows
    return sum(_load_energy(loads, technology, on) for loads in task.loads)


def _rows(fold: Fold, filled: int, on: Setting) -> int:
    """Rows that take part in the passes of all loads: those that hold data, or all of a CAP's."""
    return filled if on.array == "load" else fold.loads * on.rows


def _weights_energy(plan: WeightPlan, t: Technology) -> float:
    """Joules of a pixel: a pass compares three cells, and in an eighth of all writes two."""
    terms, counts = plan.terms, plan.counts
    preset = plan.groups * (1 + plan.together * plan.width) + plan.live * plan.short
    received = plan.received * plan.outputs * plan.width
    cells = counts.compare * 2 / 8 + terms["populate"].write + preset + received
    return float(
        counts.compare * t.compare_energy(3)
        + cells * t.cell_write_energy
        + counts.read * t.read_energy
    )


def _load_energy(loads: Loads, t: Technology, on: Setting) -> float:
    """Joules of products in rows: horizontal passes in every row, vertical ones in a sum's bits."""
    sizes = dict(loads.sizes)
    rows, sums = loads.fold.groups * sizes["j"], loads.fold.groups
    if loads.function == "merge":
        return float((rows - sums) * sizes["width"] * _moved(t))
    a, w = sizes["Ma"], sizes["Mw"]
    multiplied = a * w * (4 * t.compare_energy(4) + 4 * 2 / 16 * t.cell_write_energy)
    return float(
        _rows(loads.fold, rows, on) * multiplied
        + rows * (a + w) * t.cell_write_energy
        + (rows - sums) * (a + w) * _moved(t)
    )  # fmt: skip


def _moved(t: Technology) -> float:
    """Joules of a bit that is added to a sum: three passes of a full adder, and its move."""
    passes = 3 * (t.compare_energy(3) + 2 / 8 * t.cell_write_energy)
    return passes + t.read_energy + t.cell_write_energy
