"""Which widths to try, and which to use: the search with the AP in the loop.

The rule: choosing sees calibration images and executed costs; the test images are scored
once, after the choice, and no choice depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TypeVar

from apsim.errors import InputError
from apsim.nn.search.bench import Bench, Costs, Executed
from apsim.nn.search.front import Table, Ties, front, total
from apsim.nn.search.measure import Judge, Score

__all__ = [
    "SEARCHES", "Budget", "Candidate", "Setting", "Space", "candidate", "candidates", "pareto",
    "pick", "spread",
]  # fmt: skip

SEARCHES = ("additive", "walk", "exhaustive")
MOST = 10_000  # settings that an exhaustive search may measure
THINNED = 64  # points of a front that are measured
NEIGHBOURS = 512  # of those points that are measured too: all of four layers, some of more
T = TypeVar("T")
Widths = tuple[int, ...]


@dataclass(frozen=True)
class Budget:
    """What a setting must not exceed, per image, or must reach on the calibration images.

    `latency` in s, `energy` in J, `accuracy` from 0 to 1, `cost` in the unit of the search;
    None asks nothing.
    """

    latency: float | None = None
    energy: float | None = None
    accuracy: float | None = None
    cost: float | None = None

    def allows(self, seconds: float, joules: float, cost: float, score: Score | None) -> bool:
        """Whether a setting keeps to it."""
        reached = score.accuracy if score is not None else None
        return (
            _within(seconds, self.latency)
            and _within(joules, self.energy)
            and _within(cost, self.cost)
            and (self.accuracy is None or (reached is not None and reached >= self.accuracy))
        )


def _within(value: float, limit: float | None) -> bool:
    return limit is None or value <= limit * (1 + 1e-12)


@dataclass(frozen=True)
class Space:
    """What is searched: layers in the model's order, their widths, losses, costs and ties.

    `fixed` gives the width of each layer of the model that is not searched.
    """

    model_layers: tuple[str, ...]
    losses: Table
    costs: Costs
    kind: str = "energy"
    ties: Ties = ()
    fixed: int = 8

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are searched."""
        return tuple(self.losses)

    def whole(self, widths: Sequence[int]) -> Widths:
        """Widths of all layers of the model from those of the searched ones."""
        chosen = dict(zip(self.layers, widths, strict=True))
        return tuple(chosen.get(name, self.fixed) for name in self.model_layers)

    def tied(self, widths: Sequence[int]) -> bool:
        """Whether tied layers have one width."""
        chosen = dict(zip(self.layers, widths, strict=True))
        return all(chosen[a] == chosen[b] for a, b in self.ties)


@dataclass(frozen=True)
class Candidate:
    """A setting of the searched layers: its summed loss and costs, and its measured loss."""

    widths: Widths
    predicted: float
    cycles: float
    joules: float
    measured: Score | None = None

    @property
    def loss(self) -> float:
        """The measured loss, or the summed one where nothing was measured."""
        return self.predicted if self.measured is None else self.measured.loss


@dataclass(frozen=True)
class Setting:
    """A setting that was executed and scored once on the test images."""

    candidate: Candidate
    executed: Executed
    test: Score | None


def candidates(
    space: Space, search: str, judge: Judge | None,
    begin: Callable[[int], Callable[[], None]] = lambda many: lambda: None,
) -> tuple[Candidate, ...]:  # fmt: skip
    """The settings that a search looks at, each measured on calibration images with a judge.

    `additive`: the exact front of summed losses and its one-bit neighbours; `walk`: from
    wide to narrow by loss per cost saved; `exhaustive`: every setting.  `begin` is told how
    many there are, and gives what is called after each.  Raises `InputError`
    for an unknown search, and for an exhaustive one above 10,000 settings.
    """
    makers = {"additive": _near_the_front, "walk": _walk, "exhaustive": _all}
    if search not in makers:
        raise InputError(f"search {search!r}: wanted one of {', '.join(SEARCHES)}")
    wanted, found = tuple(dict.fromkeys(makers[search](space))), []
    watch = begin(len(wanted))
    for widths in wanted:
        found.append(candidate(space, widths, judge))
        watch()
    return tuple(found)


def pick(
    found: Sequence[Candidate], budget: Budget, kind: str, bench: Bench, space: Space
) -> Candidate:
    """The candidate to use: the least loss in the budget, or the least cost at an accuracy.

    Executed costs decide whether a budget is kept.  Raises `InputError` that says how near
    the candidates come where none keeps to it.
    """
    for one in sorted(found, key=_order(budget, kind)):
        if budget.allows(0.0, 0.0, 0.0, one.measured) and _kept(one, budget, kind, bench, space):
            return one
    raise InputError(
        f"no setting keeps to the budget: energy comes down to "
        f"{min(one.joules for one in found):.3g} J and cycles to "
        f"{min(one.cycles for one in found):,.0f} per image{_reach(found)}"
    )


def _kept(one: Candidate, budget: Budget, kind: str, bench: Bench, space: Space) -> bool:
    """Whether it keeps to the budget as executed; what is far out is not executed."""
    near = 1.05
    if budget.cost is not None and _cost(one, kind) > budget.cost * near:
        return False
    if budget.energy is not None and one.joules > budget.energy * near:
        return False
    done = bench.execute(space.whole(one.widths))
    return budget.allows(done.seconds, done.joules, _cost(one, kind), one.measured)


def _order(budget: Budget, kind: str) -> Callable[[Candidate], tuple[float, float]]:
    if budget.accuracy is not None:
        return lambda one: (_cost(one, kind), one.loss)
    return lambda one: (one.loss, _cost(one, kind))


def _cost(one: Candidate, kind: str) -> float:
    return one.joules if kind == "energy" else one.cycles


def _reach(found: Sequence[Candidate]) -> str:
    reached = [s.accuracy for one in found if (s := one.measured) and s.accuracy is not None]
    return f"; accuracy on the calibration images reaches {max(reached):.2%}" if reached else ""


def spread(found: Sequence[Candidate], kind: str, points: int) -> tuple[Candidate, ...]:
    """The least loss under each of `points` budgets evenly between cheapest and dearest."""
    costs = [_cost(one, kind) for one in found]
    low, high = min(costs), max(costs)
    limits = [low + (high - low) * k / max(points - 1, 1) for k in range(points)]
    chosen = [
        min((c for c in found if _within(_cost(c, kind), limit)), key=_order(Budget(), kind))
        for limit in limits
    ]
    return tuple(dict.fromkeys(chosen))


def pareto(found: Sequence[Candidate], kind: str) -> tuple[Candidate, ...]:
    """The candidates that no other beats in loss and cost at once, the cheapest first."""
    kept: list[Candidate] = []
    for one in sorted(found, key=lambda c: (_cost(c, kind), c.loss)):
        if not kept or one.loss < kept[-1].loss:
            kept.append(one)
    return tuple(kept)


def candidate(space: Space, widths: Widths, judge: Judge | None) -> Candidate:
    """One setting of the searched layers, measured where there is a judge."""
    score = None if judge is None else judge.score(space.whole(widths))
    cycles, joules = (total(t, widths) for t in (space.costs.cycles, space.costs.joules))
    return Candidate(widths, total(space.losses, widths), cycles, joules, score)


def _near_the_front(space: Space) -> Iterator[Widths]:
    points = _thinned(front(space.losses, space.costs.of(space.kind), space.ties), THINNED)
    yield from (point.widths for point in points)
    near = (_neighbours(space, point.widths) for point in points)
    tied = [changed for some in near for changed in some if space.tied(changed)]
    yield from _thinned(tied, NEIGHBOURS)


def _thinned(points: Sequence[T], most: int) -> list[T]:
    """Some of them, evenly from the first to the last."""
    if len(points) <= most:
        return list(points)
    last = len(points) - 1
    return [points[round(k * last / (most - 1))] for k in range(most)]


def _neighbours(space: Space, widths: Widths) -> Iterator[Widths]:
    for k, name in enumerate(space.layers):
        for width in (widths[k] - 1, widths[k] + 1):
            if width in space.losses[name]:
                yield (*widths[:k], width, *widths[k + 1 :])


def _walk(space: Space) -> Iterator[Widths]:
    """One bit of one layer at a time: the least loss for the cost it saves."""
    table, layers = space.costs.of(space.kind), space.layers
    if space.ties:
        raise InputError("--search walk goes without ties")
    widths = tuple(max(space.losses[name]) for name in layers)
    yield widths

    def price(k: int) -> float:
        name, wide = layers[k], widths[k]
        lost = space.losses[name][wide - 1] - space.losses[name][wide]
        return lost / max(table[name][wide] - table[name][wide - 1], 1e-300)

    while able := [k for k, name in enumerate(layers) if widths[k] - 1 in space.losses[name]]:
        k = min(able, key=lambda k: (price(k), -widths[k], k))
        widths = (*widths[:k], widths[k] - 1, *widths[k + 1 :])
        yield widths


def _all(space: Space) -> Iterator[Widths]:
    number = prod(len(row) for row in space.losses.values())
    if number > MOST:
        raise InputError(f"--search exhaustive: {number:,} settings, wanted {MOST:,} at most")
    return (widths for widths in product(*space.losses.values()) if space.tied(widths))
