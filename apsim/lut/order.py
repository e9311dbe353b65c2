"""Algorithm `order`: from a truth table to passes that carry it out in place.

Theory.  A pass that changes anything merges two states, or moves one into a state that
no row holds.  So a table that only permutes all states of a fibre (the states that
share the columns never written) cannot be done in place, by any number of passes;
every other table can (Howie 1966: singular maps are products of idempotents).

The rule: a state is written once its target is no longer waiting to be written, so no
row is matched twice.  What then waits is cycles, and each is opened by a tail that
leads into it or by a state that no row holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby, islice, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apsim.lut.model import State

__all__ = ["MAX_ORDERS", "Impossible", "Move", "Targets", "order"]

Move = tuple["State", "State"]
Targets = Mapping["State", tuple[int | None, ...]]  # None: any bit will do

MAX_ORDERS = 8  # passes up to which all orders are tried: 8! = 40320
MAX_CHOICES = 1024  # ways to fill the free bits of a fibre that are tried


class Impossible(Exception):
    """A fibre that is permuted as a whole: `cycle` is one of its cycles."""

    def __init__(self, cycle: tuple[State, ...], size: int) -> None:
        super().__init__(cycle, size)
        self.cycle = cycle
        self.size = size


def order(targets: Targets, writable: Iterable[int]) -> list[Move]:
    """The passes, each from a whole state to a whole state, that carry out `targets`.

    `targets` maps each reachable state to the bits that must result; `writable` are the
    places of the columns that may be written.  Of the ways to fill free bits the one
    with the fewest passes is taken.  Raises `Impossible`.
    """
    written = frozenset(writable)

    def kept(state: State) -> State:
        return tuple(bit for place, bit in enumerate(state) if place not in written)

    moves: list[Move] = []
    for _, states in groupby(sorted(targets, key=lambda s: (kept(s), s)), key=kept):
        moves += _order_fibre({state: targets[state] for state in states}, written)
    return moves


def _order_fibre(targets: Targets, written: frozenset[int]) -> list[Move]:
    best: list[Move] | None = None
    reason: Impossible | None = None
    for result in _fillings(targets):
        try:
            moves = _Fibre(result, written).solve()
        except Impossible as impossible:
            reason = reason or impossible
            continue
        if best is None or len(moves) < len(best):
            best = moves
    if best is None:
        assert reason is not None
        raise reason
    return best


def _fillings(targets: Targets) -> Iterator[dict[State, State]]:
    """Ways to fill the free bits: as they were, all 0, then one after the other."""
    yield {
        state: tuple(own if bit is None else bit for bit, own in zip(wanted, state, strict=True))
        for state, wanted in targets.items()
    }
    if any(None in wanted for wanted in targets.values()):
        choices = (
            list(product(*((0, 1) if bit is None else (bit,) for bit in wanted)))
            for wanted in targets.values()
        )
        for filled in islice(product(*choices), MAX_CHOICES):
            yield dict(zip(targets, filled, strict=True))


@dataclass
class _Fibre:
    """One fibre while its passes are put in order; `pending` still have to move."""

    result: dict[State, State]
    written: frozenset[int]
    pending: dict[State, State] = field(init=False)
    moves: list[Move] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pending = {s: t for s, t in self.result.items() if s != t}

    def solve(self) -> list[Move]:
        self.flush()
        while self.pending:
            self.open_cycle()
            self.flush()
        return self.moves

    def flush(self) -> None:
        """Move every state whose target is not itself waiting: targets go first."""
        while ready := [s for s, t in self.pending.items() if t not in self.pending]:
            for state in ready:
                self.moves.append((state, self.pending.pop(state)))

    def open_cycle(self) -> None:
        cycles = list(self.cycles())
        for cycle in cycles:
            if self.merge_into_tail(cycle):
                return
        empty = next(self.empty_states(), None)
        if empty is None:
            raise Impossible(cycles[0], len(self.result))
        state = cycles[0][-1]
        self.moves.append((state, empty))
        self.pending[empty] = self.pending.pop(state)

    def merge_into_tail(self, cycle: tuple[State, ...]) -> bool:
        """Let a cycle state join a tail with the same target: no extra pass is needed."""
        for place, state in enumerate(cycle):
            for tail, target in self.pending.items():
                if target == state and tail not in cycle:
                    before = cycle[place - 1]
                    self.moves.append((before, tail))
                    del self.pending[before]
                    return True
        return False

    def cycles(self) -> Iterator[tuple[State, ...]]:
        seen: set[State] = set()
        for start in self.pending:
            path: list[State] = []
            state = start
            while state not in seen:
                seen.add(state)
                path.append(state)
                state = self.pending[state]
            if state in path:
                yield tuple(path[path.index(state) :])

    def empty_states(self) -> Iterator[State]:
        """States of the fibre that hold no row now and where no row will end."""
        some = next(iter(self.result))
        ends = set(self.result.values()) | set(self.pending)
        choices = ((0, 1) if i in self.written else (bit,) for i, bit in enumerate(some))
        return (
            state
            for state in product(*choices)
            if state not in ends and self.result.get(state) != state
        )
