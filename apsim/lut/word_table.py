"""Any function of a whole word as one list of masked passes: the table operator.

A LUT file describes one bit of an operation; a word table describes all 2^n words of a
field at once.  Its output columns are preset in one write, then each pass compares a cube
of the input columns (some masked) and writes output columns of the rows that match; later
passes overwrite earlier ones.  p passes take p compares and p + 1 writes.

The rule: no list is believed.  All 2^n inputs are run through it when it is built.

Three ways to find a list, each deterministic:

* `prefix`: keys are prefixes of the word, the most significant bit first.
* `tree`: every node may split on any free column; the least number of passes among all
  lists whose keys are nested or disjoint, by a dynamic program over the 3^n cubes.
* `grouped`: the output columns fall into contiguous groups, each with a `tree` of its own,
  or a `tree` that starts from copied input columns; a shortest path finds the groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from apsim.errors import LutError
from apsim.lut.cubes import Emitted, copied, plain, prefix, prices
from apsim.lut.model import WIDEST_INPUT

__all__ = ["METHODS", "Group", "WordPass", "WordTable", "word_table"]

METHODS = ("grouped", "tree", "prefix")
_WHOLE = 9  # output columns up to which groups of every size are tried
_MOST = 4  # and the largest group beyond
_TREE = 10  # input columns up to which `tree` is searched
_GROUPED = 8


@dataclass(frozen=True)
class WordPass:
    """Rows whose input bits under `mask` are `key` get `value` in the output bits `write`."""

    mask: int
    key: int
    write: int
    value: int


@dataclass(frozen=True)
class Group:
    """Output bits `first` to `last` - 1, made by one tree; `copied` if it starts from the input."""

    first: int
    last: int
    copied: bool
    passes: int


@dataclass(frozen=True)
class WordTable:
    """A proved list of passes for `values[pattern]`, all patterns of n input bits.

    Patterns and values are unsigned: how a field codes numbers is the field's own matter.
    """

    inputs: int
    outputs: int
    values: tuple[int, ...]
    method: str
    preset: int
    passes: tuple[WordPass, ...]
    groups: tuple[Group, ...]

    def run(self) -> NDArray[np.int64]:
        """The output of every input pattern [2^n], by carrying out the list."""
        words = np.arange(len(self.values), dtype=np.int64)
        out = np.full(len(words), self.preset, np.int64)
        for one in self.passes:
            tagged = (words & one.mask) == one.key
            out[tagged] = (out[tagged] & ~one.write) | one.value
        return out

    def __str__(self) -> str:
        """The list as a table: keys with masked bits as dots, and what is written."""
        head = (
            f"{len(self.passes)} passes ({self.method}) for {len(self.values):,} words of "
            f"{self.inputs} bits: {len(self.passes)} compares, {len(self.passes) + 1} writes\n"
            f"preset{'':{self.inputs}} {self.preset:0{self.outputs}b}"
        )
        lines = (
            f"{k:5}  {_bits(one.mask, one.key, self.inputs)}  "
            f"{_bits(one.write, one.value, self.outputs)}"
            for k, one in enumerate(self.passes, 1)
        )
        return "\n".join((head, *lines))


@lru_cache(maxsize=256)
def word_table(values: tuple[int, ...], outputs: int, method: str | None = None) -> WordTable:
    """The passes for a function given by its value at every pattern of n bits, n up to 12.

    `method` is by default `grouped` to 8 input bits, `tree` to 10, `prefix` beyond.
    Raises `LutError` where the number of values is no power of two, n is over 12, or a value
    does not fit into `outputs` columns.
    """
    inputs = _width(values, outputs)
    method = method or _default(inputs)
    if method not in METHODS:
        raise LutError(f"method {method!r}: wanted one of {', '.join(METHODS)}")
    groups = _groups(values, inputs, outputs, method)
    found = WordTable(
        inputs, outputs, values, method,
        sum(one.preset << group.first for group, one in groups),
        tuple(p for group, one in groups for p in _passes(group, one)),
        tuple(group for group, _ in groups),
    )  # fmt: skip
    _prove(found)
    return found


def _prove(table: WordTable) -> None:
    """Refuse a list that is wrong for any input."""
    wrong = np.nonzero(table.run() != np.asarray(table.values))[0]
    if wrong.size:
        word = int(wrong[0])
        raise LutError(
            f"the passes are wrong: input {word} wants {table.values[word]}, "
            f"got {int(table.run()[word])}"
        )


def _width(values: Sequence[int], outputs: int) -> int:
    inputs = len(values).bit_length() - 1
    if len(values) < 2 or len(values) != 1 << inputs:
        raise LutError(f"a table wants 2^n values, one for each word; got {len(values)}")
    if inputs > WIDEST_INPUT:
        raise LutError(f"a table takes at most {WIDEST_INPUT} input bits, got {inputs}")
    for word, value in enumerate(values):
        if not 0 <= value < 1 << outputs:
            raise LutError(f"input {word}: value {value} does not fit into {outputs} columns")
    return inputs


def _default(inputs: int) -> str:
    return "grouped" if inputs <= _GROUPED else "tree" if inputs <= _TREE else "prefix"


_Made = tuple[Group, Emitted]


def _groups(values: Sequence[int], inputs: int, outputs: int, method: str) -> list[_Made]:
    table = np.asarray(values, np.int64)
    if method != "grouped":
        one = (prefix if method == "prefix" else plain)(table, inputs, outputs)
        return [(Group(0, outputs, False, len(one.passes)), one)]
    best: list[tuple[int, tuple[Group, ...]]] = [(0, ())]
    for last in range(1, outputs + 1):
        before = [cost for cost, _ in best]
        group = _cheapest(table, inputs, outputs, last, before)
        best.append((before[group.first] + group.passes, (*best[group.first][1], group)))
    return [(group, _made(table, inputs, group)) for group in best[outputs][1]]


def _cheapest(
    table: NDArray[np.int64], inputs: int, outputs: int, last: int, before: Sequence[int]
) -> Group:  # fmt: skip
    """The group that ends before `last` with which all so far cost least, the widest of equals.

    One that cannot win is not searched: each value that must be written takes a pass.
    """
    most = outputs if outputs <= _WHOLE else _MOST
    firsts = range(max(last - most, 0), last)
    least = {first: before[first] + _floor(table, inputs, first, last) for first in firsts}
    found: list[Group] = []
    price = None
    for first in sorted(firsts, key=lambda one: (least[one], one)):
        if price is not None and least[first] > price:
            break
        own, started = prices(_bits_of(table, first, last), inputs, first, last - first)
        found.append(Group(first, last, False, own))
        if last <= inputs:
            found.append(Group(first, last, True, started))
        price = min(before[one.first] + one.passes for one in found)
    return min(found, key=lambda one: (before[one.first] + one.passes, one.first, one.copied))


def _floor(table: NDArray[np.int64], inputs: int, first: int, last: int) -> int:
    """Fewer passes than these no list of a group takes."""
    bits, width = _bits_of(table, first, last), last - first
    own = len(np.unique(bits)) - 1  # one value is preset
    if last > inputs:
        return own
    copy = _bits_of(np.arange(len(table)), first, last)
    return min(own, width + len(np.unique(bits[bits != copy])))


def _bits_of(table: NDArray[np.int64], first: int, last: int) -> NDArray[np.int64]:
    return (table >> first) & ((1 << (last - first)) - 1)


def _made(table: NDArray[np.int64], inputs: int, group: Group) -> Emitted:
    """The passes of a group, as many as were counted when it was chosen."""
    bits, width = _bits_of(table, group.first, group.last), group.last - group.first
    if group.copied:
        return copied(bits, inputs, group.first, width)
    return plain(bits, inputs, width)


def _passes(group: Group, one: Emitted) -> Iterator[WordPass]:
    for cube, write, value in one.passes:
        yield WordPass(cube.mask, cube.key, write << group.first, value << group.first)


def _bits(mask: int, value: int, width: int) -> str:
    """Bits from the most significant on, masked ones as dots."""
    return "".join(str(value >> k & 1) if mask >> k & 1 else "." for k in reversed(range(width)))
