"""The best widths for every budget at once: an exact Pareto front over layers.

The rule: losses and costs add up over layers, and nothing else is assumed; no loss need
grow as widths shrink.  One pass over the layers keeps each partial choice that no other
beats in both sums, so the front holds an optimum of every budget.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isfinite

from apsim.errors import InputError

__all__ = ["Choice", "Table", "Ties", "best", "front", "limit", "total"]

Table = Mapping[str, Mapping[int, float]]  # layer -> width -> loss or cost
Ties = Sequence[tuple[str, str]]
_SLACK = 1e-12  # of a limit: sums of the same numbers in another order


@dataclass(frozen=True)
class Choice:
    """A width for each layer, in the order of the table, with the summed loss and cost."""

    widths: tuple[int, ...]
    loss: float
    cost: float


def front(losses: Table, costs: Table, ties: Ties = ()) -> tuple[Choice, ...]:
    """Every choice that no other beats in loss and cost at once, from cheap to dear.

    Costs rise and losses fall strictly along the front.  `ties` are pairs of layers that
    must take one width.  Raises `InputError` where a layer or width is missing, a number is
    not finite, or tied layers have different widths.
    """
    _check(losses, costs)
    items = _items(tuple(losses), losses, costs, ties)
    kept: list[tuple[float, float, tuple[int, ...]]] = [(0.0, 0.0, ())]  # cost, loss, widths
    for item in items:
        grown = [
            (cost + item.cost[w], loss + item.loss[w], (*widths, w))
            for cost, loss, widths in kept
            for w in item.loss
        ]
        kept = _unbeaten(grown)
    return tuple(
        Choice(_spread(tuple(losses), items, widths), loss, cost) for cost, loss, widths in kept
    )


def best(choices: Sequence[Choice], limit: float) -> Choice:
    """The least loss on a front whose cost keeps to `limit`; raises `InputError` for none."""
    place = bisect_right([choice.cost for choice in choices], limit + abs(limit) * _SLACK)
    if place == 0:
        short = choices[0].cost - limit
        raise InputError(
            f"the budget {limit:.6g} lies {short:.3g} below the narrowest widths "
            f"({choices[0].cost:.6g})"
        )
    return choices[place - 1]


def limit(costs: Table, part: float) -> float:
    """The cost `part` of the way (0 to 1) from all layers at their cheapest to their dearest."""
    if not 0 <= part <= 1:
        raise InputError(f"a budget must lie in 0..100 %, got {100 * part:g} %")
    low = fsum(min(widths.values()) for widths in costs.values())
    high = fsum(max(widths.values()) for widths in costs.values())
    return low + part * (high - low)


def total(table: Table, widths: Sequence[int]) -> float:
    """The sum of a table over layers at `widths`, in the table's order."""
    return fsum(row[w] for row, w in zip(table.values(), widths, strict=True))


@dataclass(frozen=True)
class _Item:
    """Layers of one width: what each width loses and costs them together."""

    layers: tuple[str, ...]
    loss: Mapping[int, float]
    cost: Mapping[int, float]


def _items(layers: Sequence[str], losses: Table, costs: Table, ties: Ties) -> list[_Item]:
    group: dict[str, tuple[str, ...]] = {name: (name,) for name in layers}
    for a, b in ties:
        for name in (a, b):
            if name not in group:
                raise InputError(f"tie {a}={b}: no layer {name!r}; layers: {', '.join(layers)}")
        if set(losses[a]) != set(losses[b]):
            raise InputError(f"tie {a}={b}: the layers have different widths to choose from")
        joined = tuple(n for n in layers if n in group[a] or n in group[b])
        group.update(dict.fromkeys(joined, joined))
    return [_summed(found, losses, costs) for found in dict.fromkeys(group[n] for n in layers)]


def _summed(layers: tuple[str, ...], losses: Table, costs: Table) -> _Item:
    widths = list(losses[layers[0]])
    loss = {w: fsum(losses[name][w] for name in layers) for w in widths}
    return _Item(layers, loss, {w: fsum(costs[name][w] for name in layers) for w in widths})


def _unbeaten(
    grown: list[tuple[float, float, tuple[int, ...]]],
) -> list[tuple[float, float, tuple[int, ...]]]:
    kept, least = [], float("inf")
    for point in sorted(grown, key=lambda p: p[:2]):
        if point[1] < least:
            kept.append(point)
            least = point[1]
    return kept


def _spread(
    layers: Sequence[str], items: Sequence[_Item], widths: Sequence[int]
) -> tuple[int, ...]:
    of = {n: w for item, w in zip(items, widths, strict=True) for n in item.layers}
    return tuple(of[name] for name in layers)


def _check(losses: Table, costs: Table) -> None:
    if not losses:
        raise InputError("no layer to choose a width for")
    for name, row in losses.items():
        if name not in costs:
            raise InputError(f"layer {name!r} has losses but no costs")
        if missing := sorted(set(row) - set(costs[name])):
            raise InputError(f"layer {name!r}: no cost at {missing[0]} bits")
        for width, loss in row.items():
            if not isfinite(loss):
                raise InputError(f"layer {name!r} at {width} bits: loss must be finite, got {loss}")
            if not isfinite(costs[name][width]) or costs[name][width] < 0:
                raise InputError(f"layer {name!r} at {width} bits: a cost must be 0 or more")
