"""Everything that decides whether groups of rows may stand side by side lies here.

The rule: only independent groups are batched.  Groups are independent when every loop
treats them alike, and when nothing that a group leaves (a row behind the groups, tags, the
latches of a tag chain) is used by the next one before it is set anew.

Rows behind the groups (the carry row of the 2D AP) are shared: one group after the other
uses them, in one loop, and clears them before it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsim.cam.needs import needs, used
from apsim.encoding import BODY, GATE, GROUPS, KEYS, MODE, OP, PORT, SLOTS, TABLE, Code
from apsim.errors import ProgramError
from apsim.program import Gate, Mode, Op

__all__ = ["SETS_TAGS", "USES_TAGS", "Regular", "Stretch"]

Row = NDArray[np.int64]
Line = tuple[int, ...]

SETS_TAGS = (Op.PASS, Op.COMPARE, Op.READ)
USES_TAGS = (Op.WRITE, Op.WRITE_TAG)
NEEDED = {Gate.LOAD_K: {Gate.LOAD_G}, Gate.CARRY: {Gate.LOAD_G, Gate.LOAD_K}}
WHY = "groups of rows are not independent: "


@dataclass(frozen=True)
class Stretch:
    """Consecutive horizontal steps, or a loop: its lines of blocks for one group.

    `clears` are the steps that clear the shared rows, where it uses these.
    """

    start: int
    stop: int
    lines: tuple[Line, ...] = ()
    clears: tuple[int, ...] = ()


@dataclass(frozen=True)
class Regular:
    """A program that treats `groups` groups of `size` rows alike, with `shared` rows after them.

    Row r of every group is *block* r; blocks from `size` on are the shared rows.
    """

    code: Code
    groups: int
    size: int
    shared: int
    stretches: tuple[Stretch, ...]

    @classmethod
    def of(cls, code: Code, groups: int, size: int) -> Regular:
        """Take apart a program; raises `ProgramError` where its groups are not independent."""
        needs(code)  # refuses what no program encodes to
        shared = max(int(code.rows.max(initial=-1)) + 1 - groups * size, 0)
        stretches = tuple(_stretches(code, groups, size))
        _refuse_tags_of_before(code)
        _refuse_shared_twice(stretches, size)
        return cls(code, groups, size, shared, stretches)


def _stretches(code: Code, groups: int, size: int) -> Iterator[Stretch]:
    vertical = np.append(code.steps[:, MODE] == Mode.VERTICAL, True)
    index = 0
    while index < len(code):
        if vertical[index]:
            stop = index + int(code.steps[index, BODY])
            lines = _lines(code, index, groups, size)
            _refuse_what_lanes_cannot(code.steps[index:stop], len(lines))
            clears = [_clears(code, range(index, stop), line, size) for line in lines]
            yield Stretch(index, stop, lines, sum(clears, ()))
        else:
            stop = index + int(vertical[index:].argmax())
            yield Stretch(index, stop)
        index = stop


def _lines(code: Code, start: int, groups: int, size: int) -> tuple[Line, ...]:
    """The loop's lines for one group, as blocks; those from `size` on are shared rows."""
    head = code.steps[start]
    table = code.rows[head[TABLE] : head[TABLE] + head[GROUPS] * head[SLOTS]]
    uneven = head[GROUPS] % groups > 0
    _refuse(uneven, f"a loop of {head[GROUPS]} lines does not serve {groups} groups alike")
    each = table.reshape(groups, -1, head[SLOTS])
    first = np.arange(groups)[:, None, None] * size
    own = each < groups * size
    blocks = np.where(own, each - first, each - groups * size + size)
    unlike = (blocks != blocks[0]).any() or (own & ((blocks < 0) | (blocks >= size))).any()
    _refuse(unlike, WHY + "a loop treats them differently")
    return tuple(map(tuple, blocks[0].tolist()))


def _refuse(wrong: bool | np.bool_, why: str) -> None:
    if wrong:
        raise ProgramError(why)


def _refuse_what_lanes_cannot(body: Row, lines: int) -> None:
    """A loop takes in a word for each line and puts one out; a lane puts out one word.

    A move fills one row: lanes know no row that is written together with others.
    """
    out = (body[:, OP] == Op.READ) & (body[:, PORT] >= 0)
    words = (body[:, OP] == Op.WRITE_DATA).any() or (out.any() and lines > 1)
    _refuse(words, "groups of rows take words in, or put out several, one after another")
    several = ((body[:, OP] == Op.WRITE_TAG) & (body[:, KEYS] > 1)).any()
    _refuse(several, "a word is written into several rows at once, which lanes cannot do")
    _refuse(_leaks_tags(body), WHY + "tags or latches are used that another set")


def _leaks_tags(body: Row) -> bool:
    """Whether a body uses column tags and latches before it sets them."""
    ops, gates = body[:, OP], body[:, GATE]
    sets, uses = np.isin(ops, SETS_TAGS), np.isin(ops, USES_TAGS)
    last = np.maximum.accumulate(np.where(sets, np.arange(len(ops)), -1))
    untagged = (last < 0) | (ops[last] == Op.PASS)  # passes keep their tags to themselves
    first = {gate: _first(gates == gate) for gate in Gate}
    unlatched = any(
        first[gate] < len(ops) and any(first[needed] > first[gate] for needed in before)
        for gate, before in NEEDED.items()
    )
    return unlatched or bool((uses & untagged).any())


def _first(where: NDArray[np.bool_]) -> int:
    """The first place that is marked, the length where none is."""
    return int(np.argmax(where)) if where.any() else len(where)


def _refuse_tags_of_before(code: Code) -> None:
    """Row tags are set by a horizontal step before one uses them; and words go through port 0."""
    ops = code.steps[code.steps[:, MODE] == Mode.HORIZONTAL, OP]
    uses, sets = _first(np.isin(ops, USES_TAGS)), _first(np.isin(ops, SETS_TAGS))
    _refuse(uses < sets, WHY + "row tags are used that no step has set")
    port = code.steps[code.steps[:, OP] == Op.READ, PORT].max(initial=0)
    _refuse(port > 0, f"a group puts out one word, through port 0; got port {port}")


def _clears(code: Code, body: range, line: Line, size: int) -> tuple[int, ...]:
    """The step that first clears each shared row of a line, before the group uses it.

    `body.stop` for a row that none clears.
    """
    if max(line) < size:
        return ()
    bits = used(code, body.start, body.stop)
    block = np.array(line, np.int64)[bits.line]
    shared, clears = block >= size, code.steps[body.start + bits.step, OP] == Op.WRITE_ALL
    fresh_after = np.full(max(line) + 1, len(body), np.int64)
    cleared = shared & clears & bits.written
    np.minimum.at(fresh_after, block[cleared], bits.step[cleared])
    leaks = shared & ~clears & (bits.step < fresh_after[block])
    wrong = np.flatnonzero(leaks | (cleared & bits.bit))[:1]
    _refuse(leaks[wrong].any(), WHY + "one reads another's row")
    _refuse(wrong.size > 0, "a shared row must be cleared, not set")
    return tuple((body.start + fresh_after[size:]).tolist())


def _refuse_shared_twice(stretches: tuple[Stretch, ...], size: int) -> None:
    """Shared rows serve each group once: what they held before is then known."""
    lines = [line for stretch in stretches for line in stretch.lines if max(line) >= size]
    twice = len(lines) > 1 or any(min(line) >= size for line in lines)
    _refuse(twice, "a shared row must serve each group in one loop, once")
