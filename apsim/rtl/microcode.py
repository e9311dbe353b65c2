"""A program as words of microcode, one for each compare, read and write of the hardware.

The rule: nothing is added and nothing left out; a pass is two words, every other step is
one, and a loop costs no word.  The fields of a word, lowest bit first, are those of
`sv/controller.sv`: last, end, op (3), mode, gate (3), out, hmask and hkey (a bit for each
column), shift, first, width, then `lines` times used, bit, slot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from apsim.errors import ProgramError
from apsim.program import Gate, Loop, Microprogram, Mode, Op, Step

__all__ = ["Microcode", "Word", "assemble", "halves", "segments_are_contiguous"]

CODES = {
    Op.COMPARE: 0, Op.WRITE: 1, Op.WRITE_ALL: 2, Op.READ: 3, Op.WRITE_TAG: 4, Op.WRITE_DATA: 5,
}  # fmt: skip
SEARCHES = (Op.COMPARE, Op.READ)


@dataclass(frozen=True)
class Word:
    """One clock's work: a step that is no pass, and whether it ends its loop's body."""

    step: Step
    end: bool = False

    @property
    def lines(self) -> tuple[tuple[int, int], ...]:
        """The (line, bit) pairs that are keyed or written."""
        if self.step.op in SEARCHES:
            return self.step.key
        if self.step.op in (Op.WRITE, Op.WRITE_ALL):
            return self.step.write
        down = self.step.mode is Mode.VERTICAL  # a move, which may drive several rows at once
        return self.step.key if down else self.step.key[:1]


@dataclass(frozen=True)
class Microcode:
    """What the controller's four memories hold, and the sizes of the circuit that runs it.

    `words`, `loops`, `rows` and `masks` are integers, one for each line of a memory;
    `listing` has the word of each line of `words`.  `lines` is the most rows that a
    vertical step names, `slot` the bits of a slot's number.
    """

    listing: tuple[Word, ...]
    words: tuple[int, ...]
    loops: tuple[int, ...]
    rows: tuple[int, ...]
    masks: tuple[int, ...]
    segments: int
    lines: int
    slot: int
    vertical: bool
    chain: bool


def halves(step: Step) -> tuple[Step, ...]:
    """What the hardware does one clock after the other: a pass compares, then writes."""
    if step.op is not Op.PASS:
        return (step,)
    return replace(step, op=Op.COMPARE, write=()), replace(step, op=Op.WRITE, key=())


def assemble(program: Microprogram, columns: int) -> Microcode:
    """The microcode of a program for an array of so many columns.

    Raises `ProgramError` for an empty program, and for what the hardware does not offer:
    ports in a parallel loop, gates in a horizontal step, a line keyed with both bits.
    """
    listing = tuple(_listing(program))
    if not listing:
        raise ProgramError("the program has no steps: there is nothing to build")
    loops = [item for item in program.items if isinstance(item, Loop)]
    lines = max((len(word.lines) for word in listing if word.step.mode), default=0)
    slots = max((loop.rows.shape[1] for loop in loops), default=0)
    segments = max((len(loop.rows) for loop in loops if loop.parallel), default=1)
    lines, slot = max(lines, 1), max((slots - 1).bit_length(), 1)
    words = [_encoded(word, columns, lines, slot) for word in listing]
    words[-1] |= 1
    headers, rows, masks = (tuple(table) or (0,) for table in _tables(loops, listing))
    chain = any(word.step.gate is not Gate.NONE for word in listing)
    return Microcode(
        listing, tuple(words), headers, rows, masks, segments, lines, slot, bool(loops), chain
    )


def segments_are_contiguous(program: Microprogram) -> bool:
    """Whether switches in the column lines can form the segments of every parallel loop.

    They can where no row of a segment lies between the first and last row of another.
    """
    for loop in program.items:
        if isinstance(loop, Loop) and loop.parallel:
            spans = sorted((int(rows.min()), int(rows.max())) for rows in loop.rows)
            if any(last >= first for (_, last), (first, _) in pairwise(spans)):
                return False
    return True


def _listing(program: Microprogram) -> Iterator[Word]:
    for item in program.items:
        if not isinstance(item, Loop):
            yield from (Word(_checked(half)) for half in halves(item))
            continue
        body = [_checked(half) for step in item.body for half in halves(step)]
        _check_loop(item, body)
        yield from (Word(half, end=k == len(body) - 1) for k, half in enumerate(body))


def _checked(step: Step) -> Step:
    """A step that the hardware can do."""
    if step.op not in CODES:
        raise ProgramError(f"{step.op.name} is no operation of the exported hardware: {step}")
    if step.mode is Mode.HORIZONTAL and step.gate is not Gate.NONE:
        raise ProgramError(f"the chain gates vertical compares only, got {step.gate.name}: {step}")
    bits = Word(step).lines
    if len(dict(bits)) < len(set(bits)):
        raise ProgramError(f"a line is keyed or written with both bits: {step}")
    return step


def _check_loop(loop: Loop, body: Iterable[Step]) -> None:
    for step in body:
        if loop.parallel and step.port >= 0:
            raise ProgramError(f"segments that act at once have no port to outside: {step}")
        for bit in (0, 1):
            kept = [line for line, value in Word(step).lines if value == bit]
            others = [line for line, value in Word(step).lines if value != bit]
            if kept and others and (loop.rows[:, kept, None] == loop.rows[:, None, others]).any():
                raise ProgramError(f"two slots with different bits are the same row: {step}")


def _encoded(word: Word, columns: int, lines: int, slot: int) -> int:
    """The word as an integer; its bit `last` is left 0."""
    step, vertical = word.step, word.step.mode is Mode.VERTICAL
    put = step.op is Op.READ and step.port >= 0
    moves = vertical and (put or step.op in (Op.WRITE_TAG, Op.WRITE_DATA))
    first = step.target if moves and not put else 0
    shift = first - step.source if moves and step.op is not Op.WRITE_DATA else 0
    keyed = () if vertical else word.lines
    slots = word.lines if vertical else ()
    bits = _Bits()
    bits.put(0, 1)
    bits.put(word.end, 1)
    bits.put(CODES[step.op], 3)
    bits.put(step.mode, 1)
    bits.put(step.gate, 3)
    bits.put(put, 1)
    bits.put(sum(1 << line for line, _ in set(keyed)), columns)
    bits.put(sum(bit << line for line, bit in set(keyed)), columns)
    bits.put(min(max(shift, -columns), columns), (columns - 1).bit_length() + 2)
    bits.put(first, columns.bit_length())
    bits.put(min(step.width, columns) if moves else 0, columns.bit_length())
    for line, bit in slots:
        bits.put(1 | bit << 1 | line << 2, 2 + slot)
    return bits.value


class _Bits:
    """A word that fields are put into, from the lowest bit up."""

    def __init__(self) -> None:
        self.value = self.used = 0

    def put(self, value: int, width: int) -> None:
        self.value |= (int(value) & (1 << width) - 1) << self.used
        self.used += width


def _tables(
    loops: Sequence[Loop], listing: Sequence[Word]
) -> tuple[list[int], list[int], list[int]]:
    """Lines of the memories of loops, rows and masks."""
    headers: list[int] = []
    rows: list[int] = []
    masks: list[int] = []
    starts = _starts(listing)
    for start, loop in zip(starts, loops, strict=True):
        place = len(masks) if loop.parallel else len(rows)
        groups, slots = loop.rows.shape
        fields = start, groups, place, slots, int(loop.parallel)
        headers.append(sum(value << 32 * k for k, value in enumerate(fields)))
        if loop.parallel:
            masks += [_mask(loop.rows[:, slot]) for slot in range(slots)]
            masks += [_mask(group) for group in loop.rows]
        else:
            rows += [int(row) for row in loop.rows.ravel()]
    return headers, rows, masks


def _starts(listing: Sequence[Word]) -> Iterator[int]:
    """The first word of each loop."""
    inside = False
    for number, word in enumerate(listing):
        if word.step.mode is Mode.VERTICAL and not inside:
            yield number
        inside = word.step.mode is Mode.VERTICAL and not word.end


def _mask(rows: np.typing.NDArray[np.int64]) -> int:
    return sum(1 << int(row) for row in rows)
