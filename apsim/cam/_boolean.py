"""The passes of a LUT step as functions of the cells before it, in few ternary operations.

The rule: every tag and every written line is worked out from the passes, one after another,
tag then write, for all values of the cells; which operations give them is then a matter of
Boolean algebra, as for any compiler.  No tag is left out, no data looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

from apsim.cam._grouping import GIVEN, Pass, Pattern
from apsim.cam._plan import COUNTED

__all__ = ["Ternary", "Worked", "parts_of", "worked_out"]

MOST_LINES = 4  # lines of a LUT step up to which operations are searched
MOST_HELPERS = 4  # operations that give no tag and no line


@dataclass(frozen=True)
class Ternary:
    """One operation on three values; bit 4a + 2b + c of `table` is what it gives for a, b, c."""

    operands: tuple[int, int, int]
    table: int


@dataclass(frozen=True)
class Worked:
    """Operations in order; values are numbered: the lines first, then what operations give.

    `tags` numbers the values that hold the tag of each pass, `flips` the cells flipped by each
    write whose flips are counted, `lines` those of the written lines at the end.
    """

    operations: tuple[Ternary, ...]
    tags: tuple[int, ...]
    flips: tuple[int, ...]
    lines: dict[int, int]


@dataclass(frozen=True)
class _Wanted:
    """Truth tables, as bits of an integer, over all values of the lines."""

    tags: tuple[int, ...]
    flips: tuple[int, ...]
    lines: dict[int, int]

    def all(self) -> Iterator[int]:
        yield from self.tags
        yield from self.flips
        yield from self.lines.values()


@cache
def parts_of(pattern: Pattern) -> tuple[tuple[tuple[int, ...], Pattern], ...]:
    """A pattern as consecutive parts on a few lines each: these lines, and passes on them."""
    parts: list[tuple[list[int], list[Pass]]] = [([], [])]
    for key, writes in pattern:
        lines = list(dict.fromkeys([*parts[-1][0], *(s for s, *_ in (*key, *writes))]))
        if parts[-1][1] and len(lines) > max(MOST_LINES, len(parts[-1][0])):
            lines = list(dict.fromkeys(s for s, *_ in (*key, *writes)))
            parts.append(([], []))
        parts[-1][0][:] = lines
        parts[-1][1].append((key, writes))
    return tuple((tuple(lines), _renumbered(passes, lines)) for lines, passes in parts)


def _renumbered(passes: list[Pass], lines: list[int]) -> Pattern:
    at = lines.index
    return tuple(
        (
            tuple((at(line), bit) for line, bit in key),
            tuple((at(line), bit, mode) for line, bit, mode in writes),
        )
        for key, writes in passes
    )


@cache
def worked_out(pattern: Pattern, masked: bool = False) -> Worked | None:
    """Operations for a LUT step, or None where its passes are better carried out as they stand.

    Where `masked`, the value after those of the lines says which rows live: others match
    nothing.
    """
    used = {line for key, writes in pattern for line, *_ in (*key, *writes)}
    bits = [bit for key, writes in pattern for _, bit, *_ in (*key, *writes)]
    count = max(used, default=-1) + 1
    if GIVEN in bits or not 0 < count <= MOST_LINES:
        return None
    if not masked:
        return _searched(pattern, count)
    if count < MOST_LINES:
        living = tuple(((*key, (count, 1)), writes) for key, writes in pattern)
        return _searched(living, count + 1)
    return _masked(pattern, count)


def _searched(pattern: Pattern, count: int) -> Worked | None:
    ones = (1 << (1 << count)) - 1
    return _Search(_inputs(count), ones).run(_wanted(pattern, _inputs(count), ones))


def _masked(pattern: Pattern, count: int) -> Worked | None:
    """The same operations, with a line masked on which all passes depend alike, if there is any."""
    whole, common = worked_out(pattern), _common(pattern)
    if whole is None or common is None:
        return None
    line, bit = common
    mask = Ternary((line, count, line), AND if bit else OR_NOT)

    def place(value: int) -> int:
        return count + 1 if value == line else value + 2 * (value >= count)

    return Worked(
        (mask, *(Ternary(_three(map(place, o.operands)), o.table) for o in whole.operations)),
        tuple(map(place, whole.tags)),
        tuple(map(place, whole.flips)),
        {written: place(value) for written, value in whole.lines.items()},
    )


AND, OR_NOT = 0b10000000, 0b10100001  # of a, b in (a, b, a): a & b, a | ~b


def _three(values: Iterable[int]) -> tuple[int, int, int]:
    a, b, c = values
    return a, b, c


def _common(pattern: Pattern) -> tuple[int, int] | None:
    """A line and bit in the key of every pass, where no pass writes that line."""
    written = {line for _, writes in pattern for line, *_ in writes}
    for line, bit in pattern[0][0]:
        if line not in written and all((line, bit) in key for key, _ in pattern):
            return line, bit
    return None


def _inputs(count: int) -> list[int]:
    """Truth table of each line: bit v is the line's bit in v."""
    return [sum((v >> line & 1) << v for v in range(1 << count)) for line in range(count)]


def _wanted(pattern: Pattern, lines: list[int], ones: int) -> _Wanted:
    """Carry out the passes on truth tables."""
    tags, flips, written = [], [], {}
    for key, writes in pattern:
        tag = ones
        for line, bit in key:
            tag &= lines[line] if bit else ones ^ lines[line]
        tags.append(tag)
        for line, bit, mode in writes:
            new = lines[line] | tag if bit else lines[line] & (ones ^ tag)
            if mode == COUNTED:
                flips.append(new ^ lines[line])
            lines[line] = written[line] = new
    return _Wanted(tuple(tags), tuple(flips), written)


class _Search:
    """Values that are there, and what is made of three of them."""

    def __init__(self, inputs: list[int], ones: int) -> None:
        self.ones, self.inputs = ones, list(inputs)
        self.values = list(inputs)
        self.operations: list[Ternary] = []

    def run(self, wanted: _Wanted) -> Worked | None:
        helpers = 0
        while left := [one for one in dict.fromkeys(wanted.all()) if one not in self.values]:
            made = next(filter(None, map(self.made, left)), None)
            if made is None:
                made, helpers = self.helper(left), helpers + 1
            if made is None or helpers > MOST_HELPERS:
                return None
            self.add(made)
        at = self.values.index
        return Worked(
            tuple(self.operations),
            tuple(map(at, wanted.tags)),
            tuple(map(at, wanted.flips)),
            {line: at(one) for line, one in wanted.lines.items()},
        )

    def add(self, made: Ternary) -> None:
        self.operations.append(made)
        self.values.append(self.given_by(made))

    def given_by(self, made: Ternary) -> int:
        """The truth table of an operation."""
        cells = self.cells([self.values[k] for k in made.operands])
        return sum(cell for k, cell in enumerate(cells) if made.table >> k & 1)

    def cells(self, three: list[int]) -> list[int]:
        """Where three values are 000, 001, ..., 111."""
        a, b, c = ((self.ones ^ one, one) for one in three)
        return [x & y & z for x, y, z in product(a, b, c)]

    def made(self, wanted: int, also: int | None = None) -> Ternary | None:
        """One operation that gives a value, of those that are there (with one more, if given)."""
        values = self.values if also is None else [*self.values, also]
        for some in _chosen(len(self.values), also is not None):
            operands = _three((some * 3)[:3])
            cells = self.cells([values[k] for k in operands])
            if all(wanted & cell in (0, cell) for cell in cells):
                table = sum(1 << k for k, cell in enumerate(cells) if cell and wanted & cell)
                return Ternary(operands, table)
        return None

    def helper(self, left: list[int]) -> Ternary | None:
        """A product of three lines, or of two, that brings most values within reach."""
        best, most = None, 0
        for size in (3, 2):
            for some in combinations(range(len(self.inputs)), min(size, len(self.inputs))):
                operands = _three((some * 3)[:3])
                for table in _products(len(some)):
                    helper = Ternary(operands, table)
                    value = self.given_by(helper)
                    reach = sum(self.made(one, value) is not None for one in left)
                    if reach > most and value not in self.values:
                        best, most = helper, reach
        return best


@cache
def _chosen(count: int, also: bool) -> tuple[tuple[int, ...], ...]:
    """One, two or three of so many values; or the value after them and up to two of them."""
    sizes = (0, 1, 2) if also else (1, 2, 3)
    chosen = (some for size in sizes for some in combinations(range(count), size))
    return tuple((*some, count) if also else some for some in chosen)


def _products(size: int) -> list[int]:
    """Tables of the products of `size` values or their complements (of two: (a, b, a))."""
    if size == 3:
        return [1 << k for k in range(8)]
    return [1 << (4 * a + 2 * b + a) for a, b in product((0, 1), repeat=2)]
