"""How work is folded over the rows of CAPs: sizes only, no data.

The rule: a group (an output, a window, a word) never straddles two loads; a sum longer
than a CAP is cut into chunks, whose partial sums are moved together and added.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from apsim.ap_kind import ApKind
from apsim.errors import ProgramError
from apsim.functions.cnn import default_scheme
from apsim.ops.reduction import carry_rows
from apsim.ops.rows import Groups
from apsim.ops.selection import flag_rows

__all__ = ["Fold", "chunks", "fold_groups", "fold_sums", "fold_windows", "fold_words", "parts"]


@dataclass(frozen=True)
class Fold:
    """`full` loads of `size` groups each, and one of `rest` groups where `rest` > 0."""

    full: int
    size: int
    rest: int

    @property
    def loads(self) -> int:
        """How many loads there are."""
        return self.full + (self.rest > 0)

    @property
    def groups(self) -> int:
        """Groups in all loads together."""
        return self.full * self.size + self.rest

    def sizes(self) -> Iterator[tuple[int, int]]:
        """(groups in a load, number of such loads), without empty ones."""
        if self.full:
            yield self.size, self.full
        if self.rest:
            yield self.rest, 1

    def ranges(self) -> Iterator[range]:
        """The groups of each load."""
        for load in range(self.loads):
            start = load * self.size
            yield range(start, min(start + self.size, self.groups))


def fold_words(words: int, rows: int) -> Fold:
    """One word, or pair of words, in each row."""
    return _fold(words, rows)


def fold_groups(groups: int, size: int, rows: int) -> Fold:
    """Groups of `size` rows that need no others."""
    return _fold(groups, rows // size, size, rows)


def fold_sums(groups: int, size: int, kind: ApKind, rows: int) -> Fold:
    """Groups of `size` rows to be added up; the 2D AP keeps a row for carries."""
    extra = carry_rows(kind) * (size > 1)
    return _fold(groups, (rows - extra) // size, size + extra, rows)


def fold_windows(windows: int, size: int, kind: ApKind, rows: int, scheme: str | None) -> Fold:
    """Windows of `size` rows whose maximum is taken, with rows for flags."""
    scheme = scheme or default_scheme(kind)
    extra = flag_rows(kind, scheme, Groups(1, size))
    room = rows // (size + extra) if kind.segmented else (rows - extra) // size
    return _fold(windows, room, size + extra, rows)


def _fold(groups: int, room: int, need: int = 1, rows: int = 0) -> Fold:
    if room < 1:
        raise ProgramError(
            f"one group of words wants {need} rows, carries and flags included; "
            f"a CAP has {rows} rows"
        )
    return Fold(groups // room, room, groups % room)


def chunks(length: int, kind: ApKind, rows: int) -> list[int]:
    """Lengths of the parts that a sum of `length` rows is cut into: one where it fits.

    Raises `ProgramError` where the partial sums do not fit a CAP together.
    """
    if not _fits(length, kind, rows):
        enough = next(size for size in itertools.count(rows) if _fits(length, kind, size))
        raise ProgramError(
            f"a sum of {length} words wants a CAP of {enough} rows, so that its partial sums "
            f"fit one; a CAP has {rows} rows"
        )
    return parts(length, _chunk_count(length, kind, rows))


def _chunk_count(length: int, kind: ApKind, rows: int) -> int:
    return -(-length // (rows - carry_rows(kind) * (length > 1)))


def _fits(length: int, kind: ApKind, rows: int) -> bool:
    count = _chunk_count(length, kind, rows)
    return count == 1 or count + carry_rows(kind) <= rows


def parts(length: int, count: int) -> list[int]:
    """`count` nearly equal whole numbers, the larger first, that add up to `length`."""
    return [length // count + (k < length % count) for k in range(count)]
