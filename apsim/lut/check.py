"""The proof that a LUT is sound; everything that decides it lives here.

A pass tags the rows that match its key and writes them, so a later pass may match a
row *because* an earlier one has written it.  In ADD the state 1 0 0 becomes 1 1 0,
which is itself the key of another pass: that one must run first, or the row is written
twice.  The rule: every reachable state is run through all passes, in order, and must
end in the state that the truth table gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING

from apsim.errors import LutError, Place
from apsim.lut.order import MAX_ORDERS

if TYPE_CHECKING:
    from apsim.lut.model import Lut, Pass, State

__all__ = [
    "Unsound",
    "Visit",
    "droppable",
    "filled",
    "is_sound",
    "prove",
    "run_passes",
    "valid_orders",
    "visits",
]


class Unsound(LutError):
    """The table can be read, but its passes do not carry it out."""


@dataclass(frozen=True)
class Visit:
    """A pass that matched a state while the passes ran, and the state it left."""

    index: int
    before: State
    after: State


def visits(lut: Lut, state: State) -> tuple[Visit, ...]:
    """The passes that match `state` on its way through the LUT, in order."""
    return tuple(_visits(lut.columns, lut.passes, state))


def run_passes(lut: Lut, state: State) -> State:
    """Where `state` (bits in `columns` order) ends when all passes have run."""
    met = visits(lut, state)
    return met[-1].after if met else state


def filled(lut: Lut) -> Lut:
    """Let `truth` hold, in the cells marked `x`, the bits that the passes leave there."""
    truth: dict[State, State | None] = {
        state: result and _filled(lut, state, result) for state, result in lut.truth.items()
    }
    return replace(lut, truth=truth)


def is_sound(lut: Lut) -> bool:
    """Whether the passes, in order, carry out the truth on all reachable states."""
    return all(_agrees(lut, state, run_passes(lut, state)) for state in lut.reachable)


def prove(lut: Lut) -> None:
    """Raise `Unsound` for the first row that the passes do not carry out as told.

    The message names the row, what was expected, what came, the pass to blame, and an
    order that would do where there is one.
    """
    for state in lut.reachable:
        if not _agrees(lut, state, run_passes(lut, state)):
            raise Unsound(_complaint(lut, state))
    _prove_walk(lut)


def valid_orders(lut: Lut) -> int:
    """The number of orders of the passes that are sound (of `len(passes)` factorial)."""
    return sum(1 for _ in _sound_orders(lut))


def droppable(lut: Lut) -> tuple[int, ...]:
    """The passes (counted from 1) without any one of which the LUT is still sound."""
    steps = lut.passes
    return tuple(
        index + 1
        for index in range(len(steps))
        if is_sound(replace(lut, passes=steps[:index] + steps[index + 1 :]))
    )


def _visits(columns: Sequence[str], passes: Sequence[Pass], state: State) -> Iterator[Visit]:
    for index, step in enumerate(passes):
        bits = dict(zip(columns, state, strict=True))
        if all(bits[name] == bit for name, bit in step.key):
            after = tuple((bits | dict(step.write)).values())
            yield Visit(index, state, after)
            state = after


def _agrees(lut: Lut, state: State, actual: State) -> bool:
    wanted = lut.truth[state]
    return wanted is not None and all(
        want == came or (state, name) in lut.free
        for name, want, came in zip(lut.columns, wanted, actual, strict=True)
    )


def _filled(lut: Lut, state: State, result: State) -> State:
    actual = run_passes(lut, state)
    return tuple(
        actual[i] if (state, name) in lut.free else result[i] for i, name in enumerate(lut.columns)
    )


def _sound_orders(lut: Lut) -> Iterator[tuple[int, ...]]:
    if len(lut.passes) > MAX_ORDERS:
        raise LutError(
            f"{lut.name}: all orders are tried for at most {MAX_ORDERS} passes, "
            f"got {len(lut.passes)}"
        )
    for order in permutations(range(len(lut.passes))):
        if is_sound(replace(lut, passes=tuple(lut.passes[i] for i in order))):
            yield order


def _prove_walk(lut: Lut) -> None:
    """What one bit leaves in the per-word columns, the next bit must be able to meet."""
    places = [lut.columns.index(name) for name in lut.per_word]
    met = {tuple(state[i] for i in places) for state in lut.reachable}
    for state in lut.reachable:
        left = tuple(run_passes(lut, state)[i] for i in places)
        if left not in met:
            raise Unsound(
                f"{_place(lut, state)}, table row {_quoted(state)}: this row leaves "
                f"{' '.join(lut.per_word)} = {_bits(left)} for the next bit, "
                "where the table says NP."
            )


def _complaint(lut: Lut, state: State) -> str:
    wanted, actual = lut.truth[state], run_passes(lut, state)
    assert wanted is not None
    shown = [i for i, name in enumerate(lut.columns) if _is_output(lut, name)]
    names = " ".join(lut.columns[i] for i in shown)
    cells = ["x" if (state, lut.columns[i]) in lut.free else str(wanted[i]) for i in shown]
    return (
        f"{_place(lut, state)}, table row {_quoted(state)}: "
        f"expected {names} = {' '.join(cells)}, but running the passes in order gives "
        f"{_bits([actual[i] for i in shown])}.\n    {_blame(lut, state)} {_advice(lut)}"
    )


def _is_output(lut: Lut, name: str) -> bool:
    where = lut.columns.index(name)
    return name in lut.outputs or any(
        result is not None and result[where] != state[where] for state, result in lut.truth.items()
    )


def _blame(lut: Lut, state: State) -> str:
    met = visits(lut, state)
    if not met:
        return "No pass matches this row."
    last = met[-1]
    if len(met) == 1:
        return f"Pass {last.index + 1} alone matches this row and makes it {_quoted(last.after)}."
    first, second = met[-2:]
    return (
        f"Pass {first.index + 1} turns this row into {_quoted(first.after)}, "
        f"which pass {second.index + 1} matches and writes again."
    )


def _advice(lut: Lut) -> str:
    """How to reorder the passes: one move where one will do, else a whole order."""
    if len(lut.passes) > MAX_ORDERS:
        return f"(Other orders were not tried: more than {MAX_ORDERS} passes.)"
    orders = list(_sound_orders(lut))
    if not orders:
        return "No order of these passes is sound: a pass is wrong or missing."
    for late in range(len(lut.passes)):
        for early in range(late):
            if _moved(len(lut.passes), late, early) in orders:
                return f"Run pass {late + 1} before pass {early + 1}."
    best = min(orders, key=_disorder)
    return f"Run the passes in the order {', '.join(str(i + 1) for i in best)}."


def _moved(count: int, late: int, early: int) -> tuple[int, ...]:
    order = [i for i in range(count) if i != late]
    order.insert(early, late)
    return tuple(order)


def _disorder(order: Sequence[int]) -> int:
    return sum(a > b for i, a in enumerate(order) for b in order[i + 1 :])


def _place(lut: Lut, state: State) -> Place:
    return Place(lut.origin or lut.name, lut.lines.get(state, 0))


def _quoted(state: State) -> str:
    return f'"{_bits(state)}"'


def _bits(bits: Sequence[int]) -> str:
    return " ".join(map(str, bits))
