"""The fewest passes that carry out a truth table, by exhaustive search.

A node of the search says where each reachable state is by now.  All masked compares
and all masked writes of the writable columns lead on from it, level by level, so the
first list found is a shortest one.  Three things keep the levels small, and none of
them loses a solution: states with incompatible results must never meet (passes cannot
part them again), a node is expanded once, and the last pass is computed, not searched:
its key is the smallest cube around the states still wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from apsim.lut.model import State
from apsim.lut.order import Targets

__all__ = ["MAX_NODES", "Cube", "Found", "shortest"]

MAX_NODES = 300_000  # nodes of one level; beyond, the search gives up
CHUNK = 2_000_000  # entries of the array of successors built at once

Cube = tuple[tuple[int | None, ...], tuple[int | None, ...]]  # key and write, None: masked
Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """What the search found: the passes, or None where it was stopped or `limit` reached.

    `below` says that no list of fewer than so many passes exists.
    """

    passes: list[Cube] | None
    below: int


@dataclass(frozen=True)
class _Level:
    """Nodes with the same number of passes; each knows its parent and its last action."""

    nodes: Array
    parents: Array
    actions: Array


@dataclass(frozen=True)
class _Problem:
    """Targets as integers (first column highest), and all actions as maps of states."""

    width: int
    start: Array
    care: Array
    value: Array
    clashes: Array
    keys: list[Cube]
    maps: Array


def shortest(
    targets: Targets, writable: Iterable[int], limit: int, max_nodes: int = MAX_NODES
) -> Found:
    """A shortest list of at most `limit` passes that carries out `targets`.

    Key and write may be masked; only the columns at the places `writable` are written.
    """
    problem = _problem(targets, sorted(writable))
    levels = [_Level(problem.start[None], np.array([-1]), np.array([-1]))]
    seen = _packed(problem, levels[0].nodes)
    if not _wrong(problem, problem.start).any():
        return Found([], 0)
    for depth in range(1, limit + 1):
        nodes = levels[-1].nodes
        if (last := _finish(problem, nodes)) is not None:
            return Found([*_path(problem, levels, last[0]), last[1]], depth)
        if depth == limit:
            break
        level = _expand(problem, nodes, seen, max_nodes)
        if level is None:
            return Found(None, depth + 1)
        levels.append(level)
        seen = np.union1d(seen, _packed(problem, level.nodes))
    return Found(None, limit + 1)


def _problem(targets: Targets, writable: list[int]) -> _Problem:
    width = len(next(iter(targets)))
    bits = [1 << (width - 1 - place) for place in range(width)]
    start = np.array([_number(state) for state in targets])
    care = np.array([sum(b for b, t in zip(bits, w, strict=True) if t is not None)
                     for w in targets.values()])  # fmt: skip
    value = np.array([sum(b for b, t in zip(bits, w, strict=True) if t)
                      for w in targets.values()])  # fmt: skip
    shared = care[:, None] & care[None]
    clash = ((value[:, None] ^ value[None]) & shared) != 0
    keys = list(_actions(width, writable))
    return _Problem(width, start, care, value, np.argwhere(np.triu(clash)), keys, _maps(keys))


def _number(state: State) -> int:
    return int("".join(map(str, state)), 2)


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
    states = np.arange(1 << width)
    mask = np.array([[_mask(key), _bits(key), _mask(write), _bits(write)] for key, write in cubes])
    mask = mask.reshape(-1, 4, 1)
    matched = (states & mask[:, 0]) == mask[:, 1]
    return np.where(matched, (states & ~mask[:, 2]) | mask[:, 3], states)


def _mask(cells: tuple[int | None, ...]) -> int:
    return int("".join("0" if cell is None else "1" for cell in cells), 2)


def _bits(cells: tuple[int | None, ...]) -> int:
    return int("".join(str(cell or 0) for cell in cells), 2)


def _wrong(problem: _Problem, nodes: Array) -> npt.NDArray[np.bool_]:
    wrong: npt.NDArray[np.bool_] = ((nodes ^ problem.value) & problem.care) != 0
    return wrong


def _packed(problem: _Problem, nodes: Array) -> npt.NDArray[np.void]:
    """Each node as one comparable value, so that sets of nodes can be sorted."""
    small = np.ascontiguousarray(nodes.astype(np.uint8))
    return small.view(np.dtype((np.void, small.shape[1]))).ravel()


def _expand(
    problem: _Problem, nodes: Array, seen: npt.NDArray[np.void], max_nodes: int
) -> _Level | None:
    """The nodes one pass further that were not seen before; None if there are too many."""
    parts: list[_Level] = []
    step = max(1, CHUNK // max(1, problem.maps.shape[0] * nodes.shape[1]))
    for first in range(0, len(nodes), step):
        parts.append(_successors(problem, nodes[first : first + step], first, seen))
        if sum(len(part.nodes) for part in parts) > 4 * max_nodes:
            parts = [_unique(problem, parts)]
            if len(parts[0].nodes) > max_nodes:
                return None
    level = _unique(problem, parts)
    return level if len(level.nodes) <= max_nodes else None


def _successors(problem: _Problem, nodes: Array, first: int, seen: npt.NDArray[np.void]) -> _Level:
    after = problem.maps[:, nodes].reshape(-1, nodes.shape[1])
    parents = np.tile(np.arange(first, first + len(nodes)), len(problem.maps))
    actions = np.repeat(np.arange(len(problem.maps)), len(nodes))
    _, index = np.unique(_packed(problem, after), return_index=True)
    after = after[index]
    met = np.zeros(len(after), dtype=bool)
    for one, other in problem.clashes:
        met |= after[:, one] == after[:, other]
    fresh = ~met & ~np.isin(_packed(problem, after), seen)
    return _Level(after[fresh], parents[index][fresh], actions[index][fresh])


def _unique(problem: _Problem, parts: list[_Level]) -> _Level:
    nodes = np.concatenate([part.nodes for part in parts])
    _, index = np.unique(_packed(problem, nodes), return_index=True)
    parents = np.concatenate([part.parents for part in parts])
    actions = np.concatenate([part.actions for part in parts])
    return _Level(nodes[index], parents[index], actions[index])


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
