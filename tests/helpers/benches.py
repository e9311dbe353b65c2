"""Machines with dirty neighbours: between and around the fields lie columns of random bits.

An operation may change the fields that it names and nothing else; `Bench.others_kept` says
whether that is so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apsim.layout import Field, Layout
from apsim.machine import Machine

Integers = np.ndarray


@dataclass
class Bench:
    """A machine, and the cells that it started with."""

    machine: Machine
    before: np.ndarray

    def others_kept(self, *changed: str) -> bool:
        """Whether every cell outside the named fields is as it was."""
        kept = np.ones(self.machine.cam.columns, bool)
        for name in changed:
            kept[list(self.machine.layout[name].columns)] = False
        return bool((self.machine.cam.peek()[:, kept] == self.before[:, kept]).all())


def bench(seed: int, values: dict[str, tuple[str, Integers | int]]) -> Bench:
    """Fields `{name: ("s8", words)}` in random order, dirty columns between them, words set."""
    generator = np.random.default_rng(seed)
    rows = max(np.size(words) for _, words in values.values())
    fields, column = [], int(generator.integers(0, 3))
    for name in generator.permutation(list(values)):
        kind, width = values[name][0][0], int(values[name][0][1:])
        fields.append(Field(str(name), column, width, kind))
        column += width + int(generator.integers(0, 3))
    layout = Layout.of(*fields)
    machine = Machine(rows, layout, columns=column + 1)
    cells = generator.random((rows, column + 1)) < 0.5
    for name, (_, words) in values.items():
        field = layout[name]
        patterns = np.broadcast_to(field.encode(words), (rows,))
        for place, at in enumerate(field.columns):
            cells[:, at] = patterns >> np.uint64(place) & np.uint64(1)
    machine.cam.poke(cells)
    return Bench(machine, cells.copy())


def words(generator: np.random.Generator, kind: str, bits: int, rows: int) -> Integers:
    """Random words that a field of this kind and width holds."""
    low = 0 if kind == "u" else -(1 << (bits - 1))
    return generator.integers(low, low + (1 << bits), rows, dtype=np.int64)


def all_pairs(kind_a: str, bits_a: int, kind_b: str, bits_b: int) -> tuple[Integers, Integers]:
    """Every pair of words of the two kinds: a row for each pair."""
    low_a = 0 if kind_a == "u" else -(1 << (bits_a - 1))
    low_b = 0 if kind_b == "u" else -(1 << (bits_b - 1))
    a, b = np.meshgrid(low_a + np.arange(1 << bits_a), low_b + np.arange(1 << bits_b))
    return a.ravel(), b.ravel()
