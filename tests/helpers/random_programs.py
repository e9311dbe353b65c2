"""Programs without meaning: anything that an encoded program may hold, for tests of the arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from apsim.program import Gate, Loop, Mode, Op, Step

PORTS = 2
"""Words a row that random programs take in and put out."""


def bits(lines: int, most: int = 5) -> st.SearchStrategy[tuple[tuple[int, int], ...]]:
    """Keys or writes: (line, bit) pairs, now and then many, now and then a line twice."""
    pair = st.tuples(st.integers(0, lines - 1), st.integers(0, 1))
    return st.one_of(
        st.lists(pair, max_size=most, unique_by=lambda p: p[0]),
        st.lists(pair, max_size=most),
        st.lists(pair, min_size=most, max_size=4 * most),
    ).map(tuple)


@st.composite
def steps_across(draw: st.DrawFn, columns: int, *, ports: bool = True) -> Step:
    """Any horizontal step on so many columns."""
    op = draw(st.sampled_from([op for op in Op if ports or op is not Op.WRITE_DATA]))
    key = draw(bits(columns))
    if op in (Op.WRITE_TAG, Op.WRITE_DATA, Op.READ):
        key = (*key, (draw(st.integers(0, columns - 1)), 1))
    write = draw(bits(columns)) if op in (Op.PASS, Op.WRITE, Op.WRITE_ALL) else ()
    port = draw(st.integers(0 if op is Op.WRITE_DATA else -1, PORTS - 1)) if ports else -1
    return Step(op, Mode.HORIZONTAL, key, write, port=port, place=draw(st.integers(0, 63)))


@st.composite
def steps_along(draw: st.DrawFn, slots: int, columns: int) -> Step:
    """Any vertical step on so many slots."""
    op = draw(st.sampled_from(Op))
    key, write = draw(bits(slots)), draw(bits(slots)) if op <= Op.WRITE_ALL else ()
    if not (key or write) or op in (Op.WRITE_TAG, Op.WRITE_DATA, Op.READ):
        key = (*key, (draw(st.integers(0, slots - 1)), 1))
    target = draw(st.integers(0, columns - 1))
    port = draw(st.integers(0 if op is Op.WRITE_DATA else -1, PORTS - 1))
    width = draw(st.integers(0, columns - target))
    if op is Op.READ and port >= 0:
        width = min(width, 64)
    gate = draw(st.sampled_from(Gate)) if op in (Op.PASS, Op.COMPARE) else Gate.NONE
    return Step(
        op, Mode.VERTICAL, key, write, gate, port, 0,
        draw(st.integers(-columns - 2, columns + 2)), target, width,
    )  # fmt: skip


@st.composite
def loops(draw: st.DrawFn, rows: int, columns: int) -> Loop:
    """A loop over up to 8 groups of rows, in parallel where its rows are all different."""
    slots = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 8))
    seed = draw(st.integers(0, 1000))
    parallel = draw(st.booleans()) and groups * slots <= rows
    generator = np.random.default_rng(seed)
    table = generator.choice(rows, (groups, slots), replace=not parallel)
    body = draw(st.lists(steps_along(slots, columns), min_size=1, max_size=5))
    return Loop(tuple(body), table.astype(np.int64), parallel)
