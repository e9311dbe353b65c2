"""`ops.table`: any function of a word, in columns that held something else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import Layout, Machine, ops
from apsim.closed_form import realisable
from apsim.errors import ApsimError
from apsim.lut.word_table import word_table
from apsim.ops.table import patterns_of

CODED = st.sampled_from("uso")


@given(st.data(), st.integers(1, 5), st.integers(1, 5), CODED, CODED)
def test_every_word_gets_its_value_and_nothing_else_changes(
    data: st.DataObject, bits: int, outputs: int, coding: str, coding_out: str
) -> None:
    """Y == f(X), X and its neighbours as before, C == p, W == p + 1"""
    layout = Layout(N=3, X=f"{coding}{bits}", M=2, Y=f"{coding_out}{outputs}", O=3)
    source, target = layout["X"], layout["Y"]
    words = np.arange(source.lowest, source.highest + 1)
    value = st.integers(target.lowest, target.highest)
    f = data.draw(st.lists(value, min_size=len(words), max_size=len(words)))
    machine = Machine(rows=len(words), layout=layout)
    cells = np.random.default_rng(0).random((len(words), layout.columns)) < 0.5
    machine.cam.poke(cells)
    machine.write("X", words)
    before, counts = {n: machine.peek(n) for n in "NXMO"}, machine.counts
    machine.run(ops.table(f, "X", "Y"))
    assert list(machine.peek("Y")) == f
    assert all((machine.peek(n) == kept).all() for n, kept in before.items())
    passes = len(word_table(patterns_of(f, source, target), outputs).passes)
    took = realisable.table(passes, bits, outputs)
    assert machine.counts.compare - counts.compare == passes == took.compare
    assert machine.counts.write - counts.write == passes + 1 == took.write - bits


def test_a_function_is_called_with_the_fields_values() -> None:
    machine = Machine(rows=16, layout=Layout(X="s4", Y="u6"))
    machine.write("X", list(range(-8, 8)))
    machine.run(ops.table(lambda x: x * x - 1 + (x == 0), "X", "Y"))
    assert list(machine.peek("Y")) == [x * x - 1 + (x == 0) for x in range(-8, 8)]


@pytest.mark.parametrize(
    "function,message",
    [
        (lambda x: math.nan if x == 3 else 0, r"f\(3\) = nan, wanted an integer"),
        (lambda x: 0.5, r"f\(-8\) = 0.5, wanted an integer"),
        (lambda x: 99, "f(-8) = 99 does not fit field Y"),
        ([0] * 15, "wanted 16 values, one for each word of X"),
    ],
)
def test_what_has_no_integer_is_named_with_its_input(function: object, message: str) -> None:
    machine = Machine(rows=2, layout=Layout(X="s4", Y="s4"))
    with pytest.raises(ApsimError, match=message.replace("(-8)", r"\(-8\)").replace(r"\\", "\\")):
        machine.run(ops.table(function, "X", "Y"))  # type: ignore[arg-type]


def test_a_table_is_not_in_place() -> None:
    machine = Machine(rows=2, layout=Layout(X=4, Y=4))
    with pytest.raises(ApsimError, match="share a column"):
        machine.run(ops.table(lambda x: x, "X", "X"))


def test_thirteen_bits_are_too_many() -> None:
    machine = Machine(rows=2, layout=Layout(X=13, Y=4))
    with pytest.raises(ApsimError, match="13 bits, wanted 12 at most"):
        machine.run(ops.table(lambda x: 0, "X", "Y"))
