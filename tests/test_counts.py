"""Counts and activity: records that add, and the lines that reads alone discharge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import apsim
from apsim import functions
from apsim.counts import Activity, Counts
from apsim.program import Op

numbers = st.integers(0, 10**6)
counts = st.builds(Counts, numbers, numbers, numbers)
activities = st.builds(Activity, *[numbers] * 5)


@given(counts, counts, st.integers(0, 9))
def test_counts_add_and_scale_by_kind(a: Counts, b: Counts, times: int) -> None:
    """(a + b) n == a n + b n, and total is the sum of the kinds"""
    assert (a + b) * times == times * a + times * b
    assert (a + b) - b == a
    assert a.total == a.compare + a.write + a.read


@given(activities, activities)
def test_activities_add_by_name(a: Activity, b: Activity) -> None:
    """(a + b)[name] == a[name] + b[name]"""
    whole = (a + b).as_dict()
    assert whole == {name: value + b.as_dict()[name] for name, value in a.as_dict().items()}
    assert (a + b).mismatched == a.mismatched + b.mismatched


@pytest.mark.parametrize("engine", ["dense", "strict", "fused"])
def test_a_read_leaves_the_zeros_mismatched(engine: str) -> None:
    """read_mismatched == rows that hold a 0, summed over the columns read"""
    words = np.array([0, 1, 7, 255, 128])
    machine = apsim.Machine(rows=5, layout=apsim.Layout(A=8), engine=engine)
    machine.write("A", words)
    assert machine.activity.read_mismatched == 0
    machine.read("A")
    zeros = sum(8 - int(word).bit_count() for word in words)
    assert machine.activity.read_mismatched == machine.activity.mismatched == zeros


@pytest.mark.parametrize("ap", ["1d", "2d", "2d-seg-tc"])
def test_lines_of_reads_are_those_of_the_steps_that_read(ap: str) -> None:
    """read_mismatched == sum over the steps that read of compared - matched, and so as a whole"""
    function = functions.dot_products(3, 2, 5, kind=ap, clear=True)
    a, b = np.random.default_rng(1).integers(0, 8, (2, 2, 5))
    machine = apsim.Machine(function.rows, function.layout, engine="dense")
    out = np.zeros((1, function.rows), np.uint64)
    data = function.words(a, b)
    data = np.hstack([data, np.zeros((2, function.rows - data.shape[1]), np.uint64)])
    events = list(machine.steps(function.program, data, out))
    reads = sum(e.activity.mismatched for e in events if e.step.op is Op.READ)
    assert machine.activity.read_mismatched == reads > 0
    assert functions.run(function, a, b).activity == machine.activity
