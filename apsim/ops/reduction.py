"""Adding the rows of each group: the microprograms of the five AP kinds.

The rule: vertical passes act on all columns, horizontal ones on all rows; a carry can
change column only by a word-sequential read and a shifted write, or by the declared
tag chain.  Words stand in field `word`, lowest bit in a column with nothing below it;
it has room to grow to the sum.  `addend` is scratch beside it.

Costs for G groups of n rows, w0-bit words, W-bit sums (paper's 8G(n-1) or 8 log2 n
beside them in `apsim.closed_form`).
"""

from __future__ import annotations

from collections.abc import Iterator

from apsim.ap_kind import ApKind
from apsim.counts import Phase
from apsim.errors import ProgramError
from apsim.layout import Field, Layout
from apsim.lut.model import Pass
from apsim.ops.rows import Groups, loop, move_words, pairs
from apsim.ops.steps import clear_rows, passes, read_row, reset, write_row
from apsim.program import Gate, Item, Loop, Mode, Operation, Step, by_value
from apsim.repeats import Repeat, Repeats

__all__ = ["accumulate", "carry_rows"]

# A whole addition of row A to row B with the tag chain; A is destroyed, no carry row.
CHAIN_ADD = (
    Pass((("A", 1), ("B", 1)), (("A", 0), ("B", 0))),  # generate
    Pass((("A", 1), ("B", 0)), (("A", 0), ("B", 1))),  # now B = A xor B and A = 0
    Pass((("B", 0),), (("A", 1), ("B", 1))),  # no propagate, carry-in: A = 1 marks it done
    Pass((("A", 0), ("B", 1)), (("B", 0),)),  # propagate, carry-in
)
CHAIN_GATES = (Gate.LOAD_G, Gate.NONE, Gate.LOAD_K, Gate.CARRY)


def carry_rows(kind: ApKind) -> int:
    """Rows that `accumulate` needs after the groups: the carry row of the unsegmented 2D AP."""
    return int(kind is ApKind.TWO_D)


@by_value
def accumulate(
    word: str, *, bits: int, addend: str, clean: str = "", groups: Groups, kind: ApKind | str,
    by_moves: bool = False,
) -> Operation:  # fmt: skip
    """Add up `word` over the rows of each group, into the group's first row.

    `bits` is the width of the words on entry; `word` has bits + ceil(log2 n) columns,
    those above `bits` 0.  `addend` takes moved words (as wide as `word`); `clean` is the
    column just above `word`, 0 on entry, used by the 2D kinds without tag chain.  With
    `by_moves` every kind moves words and adds them horizontally, which keeps the other
    columns of the rows (a vertical addition adds all columns); segments move at once.
    """
    kind = ApKind.named(kind)

    def build(layout: Layout) -> Iterator[Item]:
        if groups.size == 1:
            return
        need = bits + (groups.size - 1).bit_length()
        if layout[word].width < need:
            raise ProgramError(
                f"accumulate: wanted {need} columns for {word} ({bits} bits, {groups.size} rows), "
                f"got {layout[word].width}"
            )
        total, side = layout[word].part(0, need), layout[addend]
        if by_moves or kind is ApKind.ONE_D:
            yield from _tree(total, side, bits, groups, kind.segmented)
        elif kind.chain:
            yield from _chain(groups, kind.segmented)
        else:
            carry_save = _carry_save_tree if kind.segmented else _carry_save
            yield from carry_save(total, side, groups)
            yield from _resolve(total, side, layout[clean][0])

    return Operation(f"accumulate {word} on {kind.value}", lambda layout: list(build(layout)))


def _tree(
    word: Field, addend: Field, bits: int, groups: Groups, parallel: bool
) -> Iterator[Item]:  # fmt: skip
    """RED_1D: move every second word beside its partner, add in all rows; repeat.

    2G(n-1) + sum over levels q of 8(w0+q-1), and one write for each level with an
    unpaired word, whose stale neighbour must not be added.
    """
    left = groups.size
    for level, couples in enumerate(pairs(groups.size)):
        width = bits + level
        if left % 2:
            yield reset(addend.columns, phase=Phase.REDUCE, text=f"{addend.name} <- 0")
        yield move_words(groups, couples, word.part(0, width), addend, parallel)
        for k in range(width):
            lines = {"A": addend[k], "B": word[k], "C": word[width]}
            yield from passes("add", lines, bit=k, phase=Phase.REDUCE)
        left = (left + 1) // 2


def _carry_save(word: Field, addend: Field, groups: Groups) -> Iterator[Item]:
    """CSA: rows added one after another into the first, carries saved in one row.

    Each addition is 3 vertical passes, a read and a shifted write of the carry row:
    8G(n-1) - G, the first addition of a group being one pass cheaper.
    """
    rows = groups.beside(groups.table([range(groups.size)]), 1)
    names = *(f"row {k}" for k in range(groups.size)), "carry"
    yield Loop(_carry_save_body(word, addend, groups.size), rows, slots=names)


def _carry_save_body(word: Field, addend: Field, size: int) -> Repeats:
    """The steps for one group of `size` rows, slot `size` being the carry row."""
    carry, last = size, size - 1
    saved, beside = _align(carry, carry, word, word), _align(carry, 0, addend, word)
    clear = clear_rows([carry], text="carry <- 0")
    first = [clear, *_vertical("ha2d", A=1, B=0, C=carry), *(saved if last > 1 else beside)]
    repeats = [Repeat(tuple(first))]
    if last > 2:
        repeats.append(Repeat((*_vertical("fa3", A=2, B=0, C=carry), *saved), last - 2, moving=2))
    if last > 1:
        repeats.append(Repeat((*_vertical("fa3", A=last, B=0, C=carry), *beside)))
    return Repeats(tuple(repeats))


def _carry_save_tree(word: Field, addend: Field, groups: Groups) -> Iterator[Item]:
    """Segments: pairs of nodes compressed at once; a node is a sum row and a carry row.

    6 for the first level (half adder and alignment), 16 for each later one (two full
    adders, each aligned), 8 where only the last word of an odd count joins.
    """
    levels = list(pairs(groups.size))
    for level, couples in enumerate(levels):
        final = level == len(levels) - 1
        if level == 0:
            yield _half_add(word, addend, groups, couples, final)
        else:
            yield from _full_add(word, addend, groups, couples, final)


def _half_add(
    word: Field, addend: Field, groups: Groups, couples: list[tuple[int, int]], final: bool
) -> Item:
    body = [*_vertical("ha2", A=1, B=0), *_aligned(1, word, addend, final)]
    return loop(body, groups.table(couples), True, "sum", "carry")


def _full_add(
    word: Field, addend: Field, groups: Groups, couples: list[tuple[int, int]], final: bool
) -> Iterator[Item]:
    """Add a partner's sum row, then its carry row where it has one (all but a lone last word)."""
    whole = [(at, at + 1, by, by + 1) for at, by in couples if by + 1 < groups.size]
    slots = ("sum", "carry", "partner")
    body = [*_vertical("fa3", A=2, B=0, C=1), *_aligned(1, word, addend, final and not whole)]
    yield loop(body, groups.table([(at, at + 1, by) for at, by in couples]), True, *slots)
    if whole:
        body = [*_vertical("fa3", A=2, B=0, C=1), *_aligned(1, word, addend, final)]
        yield loop(body, groups.table([(at, c, b) for at, c, _, b in whole]), True, *slots)


def _aligned(carry: int, word: Field, addend: Field, final: bool) -> list[Step]:
    """Shift a carry row to its weight: in place, or at the end beside the sum (slot 0)."""
    return _align(carry, 0, addend, word) if final else _align(carry, carry, word, word)


def _align(carry: int, row: int, to: Field, word: Field) -> list[Step]:
    text = f"{to.name} <- carry << 1"
    return [
        read_row(carry, phase=Phase.REDUCE, text=text),
        write_row(row, to.column, word.width, word.column - 1, phase=Phase.REDUCE, text=text),
    ]


def _resolve(word: Field, addend: Field, clean: int) -> Iterator[Step]:
    """Add the last saved carries to the sums, horizontally in all rows: 8(W-1)."""
    for k in range(1, word.width):
        lines = {"A": addend[k], "B": word[k], "C": clean}
        yield from passes("add", lines, bit=k, phase=Phase.REDUCE)


def _chain(groups: Groups, segmented: bool) -> Iterator[Item]:
    """Tag chain: a whole addition of two rows in 4 gated passes; 8G(n-1), or 8 a level."""
    body = list(_vertical(CHAIN_ADD, A=1, B=0, gates=CHAIN_GATES))
    if segmented:
        for couples in pairs(groups.size):
            yield loop(body, groups.table(couples), True, "sum", "addend")
    else:
        couples = [(0, row) for row in range(1, groups.size)]
        yield loop(body, groups.table(couples), False, "sum", "addend")


def _vertical(
    table: str | tuple[Pass, ...], *, gates: tuple[Gate, ...] = (), **slots: int
) -> Iterator[Step]:
    return passes(table, slots, mode=Mode.VERTICAL, phase=Phase.REDUCE, gates=gates)
