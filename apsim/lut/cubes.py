"""The fewest passes with nested keys for a function of n bits: a search over its cubes.

A cube fixes some input bits and leaves the others free; there are 3^n.  For each cube the
dynamic program finds the least number of passes W below it and the set S of output values
that it may inherit at that price; under any other value one pass at the cube itself repairs
it, so that the price is W + 1.  Two halves cost W0 + W1, and may inherit S0 & S1, or, if
that is empty, one pass more and S0 | S1.

The rule: cubes are numbered in base three, a digit 2 for a free bit, and all cubes with as
many free bits are worked on at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cube", "Emitted", "copied", "plain", "prefix", "prices"]

Numbers = NDArray[np.int64]
Sets = NDArray[np.uint64]  # [cubes, words of 64 values]
_MANY = np.int64(1 << 40)


@dataclass(frozen=True)
class Cube:
    """Input words whose bits under `mask` are `key`."""

    mask: int
    key: int


@dataclass(frozen=True)
class Emitted:
    """A preset and passes (cube, written bits, value), wide cubes before narrow ones."""

    preset: int
    passes: tuple[tuple[Cube, int, int], ...]


@dataclass(frozen=True, eq=False)
class _Search:
    """What the dynamic program knows of every cube; `values` are the distinct outputs."""

    inputs: int
    values: Numbers
    price: Numbers  # [3^n]
    sets: Sets
    split: Numbers  # [3^n], bit k set: splitting bit k reaches the price


def prices(table: Numbers, inputs: int, first: int, width: int) -> tuple[int, int]:
    """How many passes `plain` takes, and `copied` where there are input bits to copy."""
    search = _searched(table, inputs)
    root = 3**inputs - 1
    kept = _kept(search, _agrees(table, first, width))
    return int(search.price[root]), width + int(kept[root])


def _agrees(table: Numbers, first: int, width: int) -> NDArray[np.bool_]:
    """Which words have their own bits from `first` on as outputs."""
    words = np.arange(len(table))
    return np.asarray(table == (words >> first) & ((1 << width) - 1))


def plain(table: Numbers, inputs: int, outputs: int) -> Emitted:
    """The least list of nested keys (`tree`) for `table` [2^n]; all outputs are written."""
    search = _searched(table, inputs)
    root = 3**inputs - 1
    preset = _least(search, root)
    return Emitted(
        int(search.values[preset]), _listed(search, _below(search, root, preset), outputs)
    )


def copied(table: Numbers, inputs: int, first: int, width: int) -> Emitted:
    """The same, started by copying input bits `first`... into the clean output bits.

    A leaf that the copy already gives costs nothing; a copy is one pass a column.
    """
    search = _searched(table, inputs)
    kept = _kept(search, _agrees(table, first, width))
    copies = tuple((Cube(1 << (first + k), 1 << (first + k)), 1 << k, 1 << k) for k in range(width))
    root = 3**inputs - 1
    return Emitted(0, copies + _listed(search, _kept_below(search, kept, root), width))


def prefix(table: Numbers, inputs: int, outputs: int) -> Emitted:
    """The least list whose keys are prefixes, the most significant bit first."""
    values, ranks = np.unique(table, return_inverse=True)
    levels = [_sets_of(ranks.reshape(-1), len(values))]  # from all bits fixed to none
    for _ in range(inputs):
        low, high = levels[-1][0::2], levels[-1][1::2]
        both = low & high
        levels.append(np.where(both.any(axis=1, keepdims=True), both, low | high))
    preset = _lowest(levels[-1][0])
    found = _prefixes(levels, inputs, 0, inputs, preset, values)
    full = (1 << outputs) - 1
    return Emitted(int(values[preset]), tuple((cube, full, value) for cube, value in found))


def _prefixes(
    levels: list[Sets], free: int, word: int, inputs: int, value: int, values: Numbers
) -> Iterator[tuple[Cube, int]]:
    """Passes below a prefix that inherits `value`: itself where it must, then its halves."""
    if not _has(levels[free][word], value):
        value = _lowest(levels[free][word])
        mask = (1 << inputs) - (1 << free)
        yield Cube(mask, word << free), int(values[value])
    if free:
        for half in (2 * word, 2 * word + 1):
            yield from _prefixes(levels, free - 1, half, inputs, value, values)


def _searched(table: Numbers, inputs: int) -> _Search:
    values, ranks = np.unique(table, return_inverse=True)
    cubes = 3**inputs
    price = np.full(cubes, _MANY)
    sets = np.zeros((cubes, -(-len(values) // 64)), np.uint64)
    split = np.zeros(cubes, np.int64)
    leaves = _leaf_numbers(inputs)
    price[leaves] = 0
    sets[leaves] = _sets_of(ranks.reshape(-1), len(values))
    for level in _levels(inputs):
        _join(price, sets, split, level)
    return _Search(inputs, values, price, sets, split)


def _join(price: Numbers, sets: Sets, split: Numbers, level: _Level) -> None:
    """Price, sets and best splits of cubes whose halves are known."""
    found = [(half, *_halved(price, sets, half)) for half in level.halves]
    least = np.full(len(level.cubes), _MANY)
    for half, cost, _ in found:
        least[half.at] = np.minimum(least[half.at], cost)
    price[level.cubes] = least
    for half, cost, inherited in found:
        reached = cost == least[half.at]
        cubes = level.cubes[half.at[reached]]
        sets[cubes] |= inherited[reached]
        split[cubes] |= 1 << half.bit


def _halved(price: Numbers, sets: Sets, half: _Halves) -> tuple[Numbers, Sets]:
    """What splitting a bit costs, and what may then be inherited."""
    low, high = sets[half.low], sets[half.high]
    both = low & high
    some = np.any(both, axis=1)
    cost = price[half.low] + price[half.high] + np.logical_not(some)
    return cost, np.where(some.reshape(-1, 1), both, low | high)


def _below(search: _Search, cube: int, value: int) -> Iterator[tuple[int, int]]:
    """Passes (cube, value) in a cube that inherits one of its own values, outer before inner."""
    if search.price[cube] == 0:
        return
    for k in reversed(range(search.inputs)):
        if search.split[cube] >> k & 1 and (halves := _halves(search, cube, k, value)):
            for half in halves:
                yield from _given(search, half, value)
            return
    raise AssertionError("a value that no split reaches")


def _halves(search: _Search, cube: int, k: int, value: int) -> tuple[int, int] | None:
    """The halves on bit k if they reach the cube's price under `value`."""
    low, high = cube - 2 * 3**k, cube - 3**k
    cost = sum(int(search.price[c]) + (not _has(search.sets[c], value)) for c in (low, high))
    return (low, high) if cost == search.price[cube] else None


def _given(search: _Search, cube: int, value: int) -> Iterator[tuple[int, int]]:
    """Passes in a cube that inherits any value: one at the cube itself where it must."""
    if not _has(search.sets[cube], value):
        value = _least(search, cube)
        yield cube, value
    yield from _below(search, cube, value)


def _kept(search: _Search, agrees: NDArray[np.bool_]) -> Numbers:
    """The least price of every cube that inherits the copied input: halves, or a pass here."""
    kept = np.full(len(search.price), _MANY)
    kept[_leaf_numbers(search.inputs)] = np.where(agrees, 0, 1)
    for level in _levels(search.inputs):
        best = search.price[level.cubes] + 1
        for half in level.halves:
            best[half.at] = np.minimum(best[half.at], kept[half.low] + kept[half.high])
        kept[level.cubes] = best
    return kept


def _kept_below(search: _Search, kept: Numbers, cube: int) -> Iterator[tuple[int, int]]:
    """Passes in a cube that inherits the copied input."""
    if kept[cube] == 0:
        return
    for k in reversed(range(search.inputs)):
        if cube // 3**k % 3 == 2:
            low, high = cube - 2 * 3**k, cube - 3**k
            if kept[low] + kept[high] == kept[cube]:
                yield from _kept_below(search, kept, low)
                yield from _kept_below(search, kept, high)
                return
    value = _least(search, cube)
    yield cube, value
    yield from _below(search, cube, value)


def _listed(
    search: _Search, passes: Iterator[tuple[int, int]], outputs: int
) -> tuple[tuple[Cube, int, int], ...]:
    full = (1 << outputs) - 1
    return tuple(
        (_cube(number, search.inputs), full, int(search.values[value])) for number, value in passes
    )


def _cube(number: int, inputs: int) -> Cube:
    digits = [number // 3**k % 3 for k in range(inputs)]
    fixed = [(k, digit) for k, digit in enumerate(digits) if digit < 2]
    return Cube(sum(1 << k for k, _ in fixed), sum(digit << k for k, digit in fixed))


@lru_cache(maxsize=4)
def _leaf_numbers(inputs: int) -> Numbers:
    """The number of each word's own cube, all bits fixed."""
    words = np.arange(1 << inputs)
    return np.asarray(sum((words >> k & 1) * 3**k for k in range(inputs)), np.int64)


@dataclass(frozen=True)
class _Halves:
    """The cubes of a level in which `bit` is free, by place, and their two halves."""

    bit: int
    at: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True)
class _Level:
    """Cubes with as many free bits."""

    cubes: Numbers
    halves: tuple[_Halves, ...]


@lru_cache(maxsize=4)
def _levels(inputs: int) -> tuple[_Level, ...]:
    """Cubes with one free bit, with two, ... with all."""
    digits = np.arange(3**inputs)[:, None] // 3 ** np.arange(inputs) % 3
    free = (digits == 2).sum(axis=1)
    return tuple(_level(np.nonzero(free == n)[0], digits, inputs) for n in range(1, inputs + 1))


def _level(cubes: Numbers, digits: Numbers, inputs: int) -> _Level:
    halves = []
    for k in range(inputs):
        at = np.nonzero(digits[cubes, k] == 2)[0]
        halves.append(_Halves(k, at, cubes[at] - 2 * 3**k, cubes[at] - 3**k))
    return _Level(cubes, tuple(halves))


def _sets_of(ranks: Numbers, values: int) -> Sets:
    """One value each, as sets."""
    sets = np.zeros((len(ranks), -(-values // 64)), np.uint64)
    sets[np.arange(len(ranks)), ranks // 64] = np.uint64(1) << (ranks % 64).astype(np.uint64)
    return sets


def _has(values: Sets, value: int) -> bool:
    return bool(int(values[value // 64]) >> value % 64 & 1)


def _least(search: _Search, cube: int) -> int:
    return _lowest(search.sets[cube])


def _lowest(values: Sets) -> int:
    """The smallest value of a set."""
    word = int(np.nonzero(values)[0][0])
    bits = int(values[word])
    return 64 * word + (bits & -bits).bit_length() - 1
