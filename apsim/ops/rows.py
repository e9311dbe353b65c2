"""Rows that belong together, and the moves of words between them.

The rule: a group is rows that lie together; groups are independent of one another,
which is what lets segments act at once.  A move is one word-sequential read and one
word-sequential write, with a column offset (paper, eq. 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsim.ap_kind import ApKind
from apsim.errors import ProgramError
from apsim.layout import Field, Layout
from apsim.ops.steps import read_row, write_row, write_rows
from apsim.program import Loop, Operation, Step, by_value

__all__ = ["BROADCASTS", "Groups", "broadcast", "loop", "move", "move_words", "pairs"]

BROADCASTS = {
    "group": "beyond the paper: one write drives a word into all rows of its group",
    "rows": "as the paper: a word is written into one row after another",
}
"""How a row's word comes to all rows of its group, and what hardware that takes."""


@dataclass(frozen=True)
class Groups:
    """`count` groups of `size` words, a row each, one group after the other.

    After each pair of words in a group stand `gap` rows of scratch: a segment of rows that
    hold words and flags can be cut out by switches only where they lie together.
    """

    count: int
    size: int
    gap: int = 0

    @property
    def span(self) -> int:
        """Rows of one group, its scratch included."""
        return self.size + self.size // 2 * self.gap

    @property
    def rows(self) -> int:
        """Rows that the groups occupy; the rows after them are free for carries and flags."""
        return self.count * self.span

    @property
    def first_rows(self) -> NDArray[np.int64]:
        """The row of each group where its result ends up: int64[count]."""
        return np.arange(self.count, dtype=np.int64) * self.span

    @property
    def word_rows(self) -> NDArray[np.int64]:
        """The row of each word of each group: int64[count, size]."""
        return self.table([(word,) for word in range(self.size)]).reshape(self.count, self.size)

    def table(self, tuples: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        """Rows for each group and each tuple of words within a group: int64[groups*tuples, n]."""
        words = np.array(tuples, np.int64)
        inside = words + words // 2 * self.gap
        return (self.first_rows[:, None, None] + inside).reshape(-1, inside.shape[1])

    def beside(self, table: NDArray[np.int64], extra: int) -> NDArray[np.int64]:
        """The table with the same `extra` scratch rows, after the groups, in every line."""
        rows = self.rows + np.arange(extra, dtype=np.int64)
        return np.hstack([table, np.tile(rows, (len(table), 1))])

    def beside_each(self, table: NDArray[np.int64]) -> NDArray[np.int64]:
        """The table with the scratch rows of the pair that each line's first row opens."""
        return np.hstack([table, table[:, :1] + 2 + np.arange(self.gap, dtype=np.int64)])


def pairs(size: int) -> Iterator[list[tuple[int, int]]]:
    """The levels of a tree over `size` rows: pairs (target, partner) of nodes at each level."""
    distance = 1
    while distance < size:
        yield [(at, at + distance) for at in range(0, size - distance, 2 * distance)]
        distance *= 2


def loop(body: Iterable[Step], rows: NDArray[np.int64], parallel: bool, *slots: str) -> Loop:
    """A loop over the lines of a row table, its slots named for the listing."""
    return Loop(tuple(body), rows, parallel, slots)


def move(
    source: int, target: int, *, to: int, width: int, first: int, text: str = ""
) -> Iterator[Step]:
    """Move columns `first...` of one row slot to columns `to...` of another: 1 read, 1 write."""
    yield read_row(source, text=text)
    yield write_row(target, to, width, first, text=text)


def move_words(
    groups: Groups, level: Sequence[tuple[int, int]], word: Field, to: Field, parallel: bool
) -> Loop:
    """Move each partner's word beside its target's, one pair after another or all at once."""
    body = move(
        1, 0, to=to.column, width=word.width, first=word.column, text=f"{to.name} <- {word.name}"
    )
    return loop(body, groups.table(level), parallel, "target", "partner")


@by_value
def broadcast(
    word: str, to: str, *, groups: Groups, kind: ApKind | str, option: str = "group"
) -> Operation:
    """`to` of every row of a group <- `word` of the group's first row; `to` is clean on entry.

    Clean, for hardware that drives rows together sets bits and clears none: whoever reuses a
    field clears it before, in a write that counts.

    One read, and by `option` (a key of `BROADCASTS`) one write for the group, or one for each
    row; where groups are segments these act at once.  Raises `ProgramError` for an unknown
    option and for fields of unequal widths.
    """
    if option not in BROADCASTS:
        raise ProgramError(f"broadcast: wanted one of {', '.join(BROADCASTS)}, got {option!r}")
    slots, parallel = range(groups.size), ApKind.named(kind).segmented
    together = [slots] if option == "group" else [[slot] for slot in slots]

    def build(layout: Layout) -> list[Loop]:
        source, target = layout[word], layout[to]
        if source.width != target.width:
            raise ProgramError(f"broadcast: wanted {to} as wide as {word}, got {target}, {source}")
        text = f"{to} <- {word}"
        body = [read_row(0, text=text)]
        for some in together:
            body.append(write_rows(some, target.column, target.width, source.column, text=text))
        return [loop(body, groups.table([slots]), parallel, *(f"row {k}" for k in slots))]

    return Operation(f"broadcast {word} -> {to}", build)
