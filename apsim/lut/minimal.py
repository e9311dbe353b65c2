"""The fewest passes that carry out a truth table, by exhaustive search.

A node of the search says where each reachable state is by now.  All masked compares
and all masked writes of the writable columns lead on from it, level by level, so the
first list found is a shortest one.  Three things keep the levels small, and none of
them loses a solution: states with incompatible results must never meet (passes cannot
part them again), a node is expanded once, and the last pass is computed, not searched:
its key is the smallest cube around the states still wrong.

Where a level grows too large only its most promising nodes go on: what is found then is
a list of passes all right, but not proved to be a shortest one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.lut.order import Targets

__all__ = ["MAX_WORK", "Cube", "Found", "shortest"]

MAX_WORK = 300_000_000  # states moved to expand one level; beyond, the level is thinned out
THIN = 30  # a thinned level has this part of the work
MAX_NODES = 1_000_000  # nodes of one level that are kept
CHUNK = 4_000_000  # states in the array of successors built at once

Cube = tuple[tuple[int | None, ...], tuple[int | None, ...]]  # key and write, None: masked
Array = npt.NDArray[np.uint8]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Found:
    """The passes that the search found, or None where `limit` was reached without any.

    `below` says that no list of fewer than so many passes exists.
    """

    passes: list[Cube] | None
    below: int


@dataclass(frozen=True)
class _Level:
    """Nodes with the same number of passes; each knows its parent and its last action."""

    nodes: Array
    parents: Index
    actions: Index


@dataclass(frozen=True)
class _Problem:
    """Targets as integers (first column highest), and all actions as maps of states."""

    width: int
    start: Array
    care: Array
    value: Array
    clashes: Index
    keys: list[Cube]
    maps: Array


def shortest(
    targets: Targets, writable: Iterable[int], limit: int, max_work: int = MAX_WORK
) -> Found:
    """The shortest list found of at most `limit` passes that carries out `targets`.

    Key and write may be masked; only the columns at the places `writable` are written.
    It is a shortest of all lists if it has `below` passes.
    """
    problem = _problem(targets, sorted(writable))
    none = np.array([-1])
    levels = [_Level(problem.start[None], none, none)]
    if not _wrong(problem, problem.start).any():
        return Found([], 0)
    seen = _packed(levels[0].nodes, problem.width)
    below = limit + 1
    for depth in range(1, limit + 1):
        if (last := _finish(problem, levels[-1].nodes)) is not None:
            return Found([*_path(problem, levels, last[0]), last[1]], min(below, depth))
        if depth == limit:
            break
        level, complete = _expand(problem, levels[-1], seen, max_work)
        if not complete:
            below = min(below, depth + 1)
        levels.append(level)
        seen = np.union1d(seen, _packed(level.nodes, problem.width))
    return Found(None, below)


def _problem(targets: Targets, writable: list[int]) -> _Problem:
    width = len(next(iter(targets)))
    start, care, value = (
        np.array([_number(cells) for cells in rows], dtype=np.uint8)
        for rows in (
            targets,
            [[int(bit is not None) for bit in wanted] for wanted in targets.values()],
            [[bit or 0 for bit in wanted] for wanted in targets.values()],
        )
    )
    clash = ((value[:, None] ^ value[None]) & care[:, None] & care[None]) != 0
    keys = list(_actions(width, writable))
    return _Problem(width, start, care, value, np.argwhere(np.triu(clash)), keys, _maps(keys))


def _number(bits: Sequence[int]) -> int:
    return int("".join(map(str, bits)), 2)


def _actions(width: int, writable: list[int]) -> Iterator[Cube]:
    """Every pass: a key of at least one column, a write of at least one writable column."""
    options: list[tuple[int | None, ...]] = [
        (None, 0, 1) if place in writable else (None,) for place in range(width)
    ]
    for key in product((None, 0, 1), repeat=width):
        for write in product(*options):
            changes = any(w is not None and w != k for k, w in zip(key, write, strict=True))
            repeats = any(w is not None and w == k for k, w in zip(key, write, strict=True))
            if changes and not repeats and any(k is not None for k in key):
                yield key, write


def _maps(cubes: list[Cube]) -> Array:
    """Where each cube (rows) sends each state (columns)."""
    width = len(cubes[0][0]) if cubes else 0
    states = np.arange(1 << width, dtype=np.uint8)
    rows = [[_mask(key), _bits(key), _mask(write), _bits(write)] for key, write in cubes]
    mask = np.array(rows, dtype=np.uint8).reshape(-1, 4, 1)
    matched = (states & mask[:, 0]) == mask[:, 1]
    return np.where(matched, (states & ~mask[:, 2]) | mask[:, 3], states)


def _mask(cells: tuple[int | None, ...]) -> int:
    return _number([int(cell is not None) for cell in cells])


def _bits(cells: tuple[int | None, ...]) -> int:
    return _number([cell or 0 for cell in cells])


def _wrong(problem: _Problem, nodes: Array) -> npt.NDArray[np.bool_]:
    wrong: npt.NDArray[np.bool_] = ((nodes ^ problem.value) & problem.care) != 0
    return wrong


def _packed(nodes: Array, width: int) -> npt.NDArray[Any]:
    """Each node as one comparable value, so that sets of nodes can be sorted."""
    if width <= 4:  # at most 16 states of 4 bits
        places = np.arange(nodes.shape[1], dtype=np.uint64) * np.uint64(4)
        packed: npt.NDArray[Any] = np.bitwise_or.reduce(nodes.astype(np.uint64) << places, axis=1)
        return packed
    return np.ascontiguousarray(nodes).view(np.dtype((np.void, nodes.shape[1]))).ravel()


def _expand(
    problem: _Problem, level: _Level, seen: npt.NDArray[Any], max_work: int
) -> tuple[_Level, bool]:
    """The new nodes one pass further, and whether they are all of them."""
    each = problem.maps.shape[0] * level.nodes.shape[1]
    chosen = np.arange(len(level.nodes))
    if len(chosen) * each > max_work:
        chosen = _promising(problem, level.nodes)[: max(1, max_work // THIN // each)]
    step = max(1, CHUNK // each)
    parts = [
        _successors(problem, level.nodes, chosen[first : first + step], seen)
        for first in range(0, len(chosen), step)
    ]
    further = _unique(problem, parts)
    complete = len(chosen) == len(level.nodes) and len(further.nodes) <= MAX_NODES
    return (further if complete else _taken(further, _promising(problem, further.nodes))), complete


def _promising(problem: _Problem, nodes: Array) -> Index:
    """The nodes by the number of different states that are still wrong, fewest first."""
    wrong = np.sort(np.where(_wrong(problem, nodes), nodes + 1, 0), axis=1)
    different = (np.diff(wrong, axis=1) != 0).sum(axis=1)
    return np.argsort(different, kind="stable")[:MAX_NODES]


def _taken(level: _Level, index: Index | npt.NDArray[np.bool_]) -> _Level:
    return _Level(level.nodes[index], level.parents[index], level.actions[index])


def _successors(problem: _Problem, nodes: Array, chosen: Index, seen: npt.NDArray[Any]) -> _Level:
    after = problem.maps[:, nodes[chosen]].reshape(-1, nodes.shape[1])
    parents = np.tile(chosen, len(problem.maps))
    actions = np.repeat(np.arange(len(problem.maps)), len(chosen))
    packed, index = np.unique(_packed(after, problem.width), return_index=True)
    index = index[~np.isin(packed, seen)]
    level = _taken(_Level(after, parents, actions), index)
    met = np.zeros(len(level.nodes), dtype=bool)
    for one, other in problem.clashes:
        met |= level.nodes[:, one] == level.nodes[:, other]
    return _taken(level, ~met)


def _unique(problem: _Problem, parts: list[_Level]) -> _Level:
    level = _Level(
        np.concatenate([part.nodes for part in parts]),
        np.concatenate([part.parents for part in parts]),
        np.concatenate([part.actions for part in parts]),
    )
    _, index = np.unique(_packed(level.nodes, problem.width), return_index=True)
    return _taken(level, index)


def _finish(problem: _Problem, nodes: Array) -> tuple[int, Cube] | None:
    """A node that one more pass makes right, with that pass."""
    full = (1 << problem.width) - 1
    wrong = _wrong(problem, nodes)
    ones = np.bitwise_and.reduce(np.where(wrong, nodes, full), axis=1)
    any_one = np.bitwise_or.reduce(np.where(wrong, nodes, 0), axis=1)
    mask = full & ~(ones ^ any_one)
    matched = (nodes & mask[:, None]) == (ones & mask)[:, None]
    off = np.where(wrong, (nodes ^ problem.value) & problem.care, 0)
    write = np.bitwise_or.reduce(off, axis=1)
    bits = np.bitwise_or.reduce(off & problem.value, axis=1)
    after = np.where(matched, (nodes & ~write[:, None]) | bits[:, None], nodes)
    right = ~_wrong(problem, after).any(axis=1) & (mask != 0)
    if not right.any():
        return None
    node = int(np.argmax(right))
    key = _cells(problem.width, int(mask[node]), int(ones[node]))
    return node, (key, _cells(problem.width, int(write[node]), int(bits[node])))


def _cells(width: int, mask: int, bits: int) -> tuple[int | None, ...]:
    places = range(width - 1, -1, -1)
    return tuple((bits >> place) & 1 if (mask >> place) & 1 else None for place in places)


def _path(problem: _Problem, levels: list[_Level], node: int) -> list[Cube]:
    passes: list[Cube] = []
    for level in reversed(levels[1:]):
        passes.append(problem.keys[int(level.actions[node])])
        node = int(level.parents[node])
    return passes[::-1]
