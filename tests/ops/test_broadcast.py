"""A row's word to all rows of its group, by either option, on every kind and engine."""

from __future__ import annotations

import numpy as np
import pytest

from apsim import ops
from apsim.ap_kind import ApKind
from apsim.counts import Counts
from apsim.errors import ProgramError
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.ops.rows import BROADCASTS
from apsim.program import Loop


def filled(engine: str, rows: int) -> tuple[Machine, np.ndarray]:
    """Random cells, but for the field that takes the word."""
    machine = Machine(rows, Layout(W=9, X=3, T=9, Y=64), engine=engine)
    cells = np.random.default_rng(rows).random((rows, machine.cam.columns)) < 0.5
    cells[:, list(machine.layout["T"].columns)] = False
    machine.cam.poke(cells)
    return machine, cells


@pytest.mark.parametrize("engine", ["dense", "strict", "fused"])
@pytest.mark.parametrize("option", BROADCASTS)
@pytest.mark.parametrize("kind", ApKind)
@pytest.mark.parametrize(("count", "size"), [(1, 1), (3, 5), (2, 70)])
def test_a_word_comes_to_every_row_of_its_group_and_nowhere_else(
    engine: str, option: str, kind: ApKind, count: int, size: int
) -> None:
    """T <- W of the group's first row: G reads, and G or G T writes; segments at once"""
    groups = ops.Groups(count, size)
    machine, cells = filled(engine, groups.rows + 2)
    machine.run(ops.broadcast("W", "T", groups=groups, kind=kind, option=option))
    wanted = cells.copy()
    word, to = (list(machine.layout[name].columns) for name in "WT")
    for first in groups.first_rows:
        wanted[first : first + size, to] = cells[first, word]
    np.testing.assert_array_equal(machine.cam.peek(), wanted)
    times = 1 if kind.segmented else count
    writes = 1 if option == "group" else size
    assert machine.counts == Counts(write=writes, read=1) * times


def test_every_cell_that_a_broadcast_drives_is_counted() -> None:
    """written == groups * rows * bits, on every engine alike"""
    groups, seen = ops.Groups(3, 5), []
    for engine in ("dense", "strict", "fused"):
        machine, _ = filled(engine, groups.rows)
        machine.run(ops.broadcast("W", "T", groups=groups, kind="1d"))
        seen.append(machine.activity)
    assert seen[0] == seen[1] == seen[2]
    assert seen[0].written == 3 * 5 * 9


def test_one_write_for_a_group_is_an_option_with_its_price_beside_it() -> None:
    """row by row - at once == G (T - 1) writes"""
    groups, layout = ops.Groups(4, 16), Layout(W=8, T=8)
    at_once, one_by_one = (
        ops.broadcast("W", "T", groups=groups, kind="1d", option=option).on(layout).counts()
        for option in ("group", "rows")
    )
    assert one_by_one - at_once == Counts(write=4 * 15)
    assert "beyond the paper" in BROADCASTS["group"]


def test_an_unknown_option_and_unequal_widths_are_refused() -> None:
    groups = ops.Groups(1, 4)
    with pytest.raises(ProgramError, match="wanted one of group, rows, got 'all'"):
        ops.broadcast("W", "T", groups=groups, kind="1d", option="all")
    with pytest.raises(ProgramError, match="wanted T as wide as W"):
        ops.broadcast("W", "T", groups=groups, kind="1d").on(Layout(W=8, T=7))


def test_lanes_refuse_a_word_that_goes_to_several_rows_at_once() -> None:
    from apsim.cam.lanes.regular import Regular

    groups = ops.Groups(2, 3)
    program = ops.broadcast("W", "T", groups=groups, kind="1d").on(Layout(W=4, T=4))
    assert isinstance(program.items[0], Loop)
    with pytest.raises(ProgramError, match="several rows at once"):
        Regular.of(program.code, 2, 3)
