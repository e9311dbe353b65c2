"""Where the passes of a LUT step match, told from the cells as they were before its first pass.

The rule: every state of the lines is tried, so that nothing is known of a LUT but what its
passes do; each pass still has its own tag.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product

__all__ = ["AtOnce", "Key", "Pass", "Writes", "at_once"]

Key = tuple[tuple[int, int], ...]
Writes = tuple[tuple[int, int, int], ...]
Pass = tuple[Key, Writes]
"""Key (line, bit) pairs, and written (line, bit, how it flips) triples."""

State = tuple[int, ...]

MOST_TRIED = 6  # lines whose states are all tried


@dataclass(frozen=True)
class AtOnce:
    """A key for each pass, on the cells as they were.

    Where `differ` names two lines, one pass alone matches just where these differ and the
    cells hold `shared`, and none elsewhere; the keys are what tells the passes apart there.
    """

    keys: tuple[Key, ...]
    shared: Key = ()
    differ: tuple[int, ...] = ()


def at_once(passes: Sequence[Pass], lines: int) -> AtOnce | None:
    """None where a pass matches what no single key finds, or lines are too many to be tried."""
    if lines > MOST_TRIED:
        return None
    states = list(product((0, 1), repeat=lines))
    now = {state: list(state) for state in states}
    keys: list[Key] = []
    for key, writes in passes:
        tagged = [state for state in states if _holds(now[state], key)]
        for state in tagged:
            for line, bit, _ in writes:
                now[state][line] = bit
        same = [
            (line, tagged[0][line])
            for line in range(lines)
            if tagged and len({state[line] for state in tagged}) == 1
        ]
        if len(tagged) != 1 << (lines - len(same)):
            return None
        keys.append(tuple(same))
    return _together(keys, states) or AtOnce(tuple(keys))


def _holds(cells: Sequence[int], key: Iterable[tuple[int, int]]) -> bool:
    return all(cells[line] == bit for line, bit in key)


def _together(keys: Sequence[Key], states: Sequence[State]) -> AtOnce | None:
    """The same with the rows that just one pass matches, where two lines tell them."""
    found = [{state for state in states if _holds(state, key)} for key in keys]
    matched = set[State]().union(*found)
    if len(matched) < sum(map(len, found)):
        return None
    shared = tuple(sorted(set(keys[0]).intersection(*keys)))
    for x, y in combinations(range(len(states[0])), 2):
        if matched == {state for state in states if state[x] != state[y] and _holds(state, shared)}:
            left = zip(keys, found, strict=True)
            return AtOnce(tuple(_least(key, matched, own) for key, own in left), shared, (x, y))
    return None


def _least(key: Key, matched: set[State], own: set[State]) -> Key:
    """The fewest of a pass's (line, bit) pairs that find its rows among those that match."""
    return next(
        some
        for size in range(len(key) + 1)
        for some in combinations(key, size)
        if {state for state in matched if _holds(state, some)} == own
    )
