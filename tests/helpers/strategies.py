"""Hypothesis strategies that more than one test file uses."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from apsim.counts import Phase
from apsim.program import Loop, Microprogram, Mode, Op, Step

ROWS = (1, 2, 3, 63, 64, 65, 127, 511, 512, 513)
"""Row counts around the borders of the packed array's words and tiles."""


def row_counts() -> st.SearchStrategy[int]:
    """Numbers of rows, the borders of words and tiles often among them."""
    return st.sampled_from(ROWS) | st.integers(1, 200)


def _bits(draw: st.DrawFn, lines: int, least: int = 0) -> tuple[tuple[int, int], ...]:
    chosen = draw(st.lists(st.integers(0, lines - 1), min_size=least, max_size=3, unique=True))
    return tuple((line, draw(st.integers(0, 1))) for line in chosen)


@st.composite
def horizontal_steps(draw: st.DrawFn, columns: int) -> Step:
    """Any step that acts on all rows at once, without words from outside."""
    op = draw(st.sampled_from([Op.PASS, Op.PASS, Op.PASS, *Op]).filter(Op.WRITE_DATA.__ne__))
    phase = draw(st.sampled_from(Phase))
    label, bit = draw(st.sampled_from(["pass 1", "pass 2", ""])), draw(st.integers(0, 3))
    key = _bits(draw, columns, 1)
    if op in (Op.READ, Op.WRITE_TAG):
        return Step(op, Mode.HORIZONTAL, key[:1], phase=phase, label=label, bit=bit)
    write = () if op is Op.COMPARE else _bits(draw, columns, 1)
    key = key if op in (Op.PASS, Op.COMPARE) else ()
    return Step(op, Mode.HORIZONTAL, key, write, phase=phase, label=label, bit=bit)


@st.composite
def loops(draw: st.DrawFn, rows: int) -> Loop:
    """A loop of vertical passes over groups of rows, one after another or in parallel."""
    slots = draw(st.integers(1, min(3, rows)))
    groups = draw(st.integers(1, min(4, rows // slots)))
    table = np.array(draw(st.permutations(range(rows)))[: groups * slots]).reshape(groups, slots)
    steps = draw(st.integers(1, 3))
    body = tuple(
        Step(Op.PASS, Mode.VERTICAL, _bits(draw, slots, 1), _bits(draw, slots, 1), label="vertical")
        for _ in range(steps)
    )
    return Loop(body, table, draw(st.booleans()))


@st.composite
def programs(draw: st.DrawFn, rows: int, columns: int) -> Microprogram:
    """Any program that fits an array of this size and needs no words from outside."""
    items = st.lists(
        st.one_of(*[horizontal_steps(columns)] * 3, loops(rows)), min_size=1, max_size=12
    )
    return Microprogram(tuple(draw(items)), "random")


@st.composite
def cells(draw: st.DrawFn, rows: int, columns: int) -> NDArray[np.bool_]:
    """Contents of an array."""
    seed = draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).integers(0, 2, (rows, columns)).astype(bool)
