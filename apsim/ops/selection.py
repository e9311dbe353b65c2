"""The largest word of each group of rows, on every AP kind.

The rule: Table IV vertically keeps its flags in two rows, and a decision at one column
must reach the lower ones: by shifted moves of the flag rows (`prefix`), by the declared
tag chain, or not at all, the words being moved beside each other instead (`moves`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from apsim.ap_kind import ApKind
from apsim.counts import Phase
from apsim.errors import ProgramError
from apsim.layout import Field, Layout
from apsim.lut.model import Pass
from apsim.ops.activation import maximum
from apsim.ops.rows import Groups, loop, move, move_words, pairs
from apsim.ops.steps import clear_rows, passes
from apsim.program import Gate, Item, Mode, Operation, Step, by_value

__all__ = ["flag_rows", "largest", "placed"]

A_WINS, B_WINS = (("A", 1), ("B", 0)), (("A", 0), ("B", 1))
CHOSEN = (("F1", 1), ("F2", 0))
# One pass a flag; the chain spreads a decision to all lower columns.
CHAIN_MAX = (
    Pass(A_WINS, (("F1", 1),)),
    Pass((*B_WINS, ("F1", 0)), (("F2", 1),)),
    Pass((*A_WINS, *CHOSEN), (("B", 1),)),
    Pass((*B_WINS, *CHOSEN), (("B", 0),)),
)
# The prefix scheme: flags of each column alone, spread by shifted copies, then the copy.
FLAGS = (Pass(A_WINS, (("F1", 1),)), Pass(B_WINS, (("F2", 1),)))
SPREAD = (
    Pass((("T1", 1),), (("F1", 1), ("F2", 0))),
    Pass((("T2", 1),), (("F1", 0), ("F2", 1))),
)
SELECT = (Pass((*A_WINS, ("F1", 1)), (("B", 1),)), Pass((*B_WINS, ("F1", 1)), (("B", 0),)))
CHAIN_GATES = (Gate.PREFIX, Gate.PREFIX, Gate.NONE, Gate.NONE)
SCHEMES = ("moves", "prefix", "chain")
FLAG_ROWS = {"prefix": 4, "chain": 2}  # of one pair of words


def flag_rows(kind: ApKind | str, scheme: str, groups: Groups) -> int:
    """Rows that `largest` needs beside the words, for flags and their shifted copies."""
    kind = ApKind.named(kind)
    if scheme not in SCHEMES:
        raise ProgramError(f"wanted a scheme of {', '.join(SCHEMES)}, got {scheme!r}")
    if scheme == "moves" or groups.size == 1:
        return 0
    return FLAG_ROWS[scheme] * (groups.count * (groups.size // 2) if kind.segmented else 1)


def placed(groups: Groups, kind: ApKind | str, scheme: str) -> Groups:
    """The groups as `largest` wants their words: with room for flags where segments act at once.

    A segment is rows that lie together, so its flags stand after the pair that it begins
    with; elsewhere the flags of all stand after the groups.
    """
    apart = ApKind.named(kind).segmented and scheme in FLAG_ROWS
    return replace(groups, gap=FLAG_ROWS[scheme] if apart else 0)


@by_value
def largest(
    word: str,
    *,
    other: str,
    flags: tuple[str, str],
    groups: Groups,
    kind: ApKind | str,
    scheme: str,
) -> Operation:
    """Leave the largest `word` of each group, which stands in `placed` rows, in its first row.

    `other` takes moved words and lies below `word` (a decision runs to lower columns);
    `flags` are two columns holding 0.  Words are unsigned or offset binary for the
    vertical schemes, and every column above `word` must be equal in all rows: vertical
    passes compare all columns, and a decision there would come before the word's own.
    Schemes: "moves" on every kind, "prefix" on the 2D kinds, "chain" on those with a
    tag chain.
    """
    kind = ApKind.named(kind)
    if scheme not in SCHEMES:
        raise ProgramError(f"unknown scheme {scheme!r}: wanted one of {', '.join(SCHEMES)}")
    if (scheme == "prefix" and not kind.vertical) or (scheme == "chain" and not kind.chain):
        raise ProgramError(f"a maximum by {scheme} is not possible on the {kind.value} AP")
    groups = placed(groups, kind, scheme)

    def build(layout: Layout) -> Iterator[Item]:
        if scheme != "moves":
            _refuse_signed(layout[word])
        for level in _levels(groups, kind):
            if scheme == "moves":
                yield move_words(groups, level, layout[word], layout[other], kind.segmented)
                yield from maximum(other, word, flags=flags).on(layout).items
            else:
                bits = layout[word].width if scheme == "prefix" else 0
                yield _vertical_level(groups, level, kind.segmented, bits, layout.columns)

    def _levels(groups: Groups, kind: ApKind) -> Iterator[Sequence[tuple[int, int]]]:
        if scheme == "moves" or kind.segmented:
            yield from pairs(groups.size)
        elif groups.size > 1:
            yield [(0, row) for row in range(1, groups.size)]

    return Operation(f"largest {word} on {kind.value}", lambda layout: list(build(layout)))


def _vertical_level(
    groups: Groups, level: Sequence[tuple[int, int]], parallel: bool, bits: int, columns: int
) -> Item:
    """One level of row pairs: slots b (kept), a, F1, F2 and, for the prefix scheme, two copies."""
    table = groups.table(level)
    extra = FLAG_ROWS["prefix" if bits else "chain"]
    rows = groups.beside_each(table) if parallel else groups.beside(table, extra)
    body = _prefix(bits, columns) if bits else _chain()
    return loop(body, rows, parallel, "B", "A", "F1", "F2", "T1", "T2")


def _chain() -> Iterator[Step]:
    """Flags set in one pass each: the chain spreads a decision to all lower columns."""
    slots = {"B": 0, "A": 1, "F1": 2, "F2": 3}
    yield from _vertical(CHAIN_MAX, slots, CHAIN_GATES)
    yield clear_rows([2], text="F1 <- 0")
    yield clear_rows([3], text="F2 <- 0")


def _prefix(bits: int, columns: int) -> Iterator[Step]:
    """Flags for each column alone, spread downwards by doubling shifts, then Table IV's copy.

    8 operations for each of ceil(log2 M) shifts, beside the 10 of the paper.
    """
    slots = {"B": 0, "A": 1, "F1": 2, "F2": 3}
    compare, select = list(_vertical(FLAGS, slots)), list(_vertical(SELECT, slots))
    yield from compare
    for step in range((bits - 1).bit_length()):
        shift = 1 << step
        for flag, copy in ((2, 4), (3, 5)):
            yield from move(flag, copy, to=0, width=columns, first=shift, text=f"T <- F >> {shift}")
        yield from _vertical(SPREAD, {"F1": 2, "F2": 3, "T1": 4, "T2": 5})
    yield from select
    yield clear_rows([2], text="F1 <- 0")
    yield clear_rows([3], text="F2 <- 0")


def _vertical(
    table: tuple[Pass, ...], slots: dict[str, int], gates: tuple[Gate, ...] = ()
) -> Iterator[Step]:
    return passes(table, slots, mode=Mode.VERTICAL, phase=Phase.REDUCE, gates=gates)


def _refuse_signed(word: Field) -> None:
    if word.kind == "s":
        raise ProgramError(f"a vertical maximum wants unsigned or offset-binary words, got {word}")
