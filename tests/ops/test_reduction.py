"""Adding up rows on every AP kind; and why vertical passes alone cannot.

Horizontally every column outside the named fields stays.  Vertical passes act on all
columns, so there only the sums and the cells of other rows are promised.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import cam, ops
from apsim.ap_kind import ApKind
from apsim.check.theorem import literal_addition
from apsim.closed_form import realisable
from apsim.errors import ProgramError
from apsim.layout import Field, Layout
from apsim.machine import Machine
from apsim.ops.reduction import carry_rows
from apsim.ops.rows import loop
from apsim.program import Gate, Microprogram, Mode, Op, Step
from tests.helpers.benches import words
from tests.helpers.strategies import loops

KINDS = [kind.value for kind in ApKind]
SEED = st.integers(0, 10**6)


def layout_of(bits: int, size: int) -> Layout:
    """P at column 0, the clean column above it, then the addends, then a neighbour."""
    width = bits + (size - 1).bit_length()
    return Layout.of(
        Field("P", 0, width), Field("W", 0, bits), Field("Z", width, 1),
        Field("D", width + 1, width), Field("N", 2 * width + 1, 3), overlap=True,
    )  # fmt: skip


def accumulated(kind: str, bits: int, groups: ops.Groups, seed: int) -> tuple[Machine, np.ndarray]:
    """A machine after `accumulate`, addends and neighbours dirty on entry, and its words."""
    rng, layout = np.random.default_rng(seed), layout_of(bits, groups.size)
    rows = groups.rows + carry_rows(ApKind(kind)) + 2
    machine = Machine(rows, layout)
    cells = rng.random((rows, layout.columns)) < 0.5
    cells[: groups.rows, : layout["D"].column] = False
    values = words(rng, "u", bits, groups.rows)
    for k in range(bits):
        cells[: groups.rows, k] = values >> k & 1
    machine.cam.poke(cells)
    machine.run(ops.accumulate("P", bits=bits, addend="D", clean="Z", groups=groups, kind=kind))
    return machine, values.reshape(groups.count, groups.size)


@pytest.mark.parametrize("kind", KINDS)
@given(bits=st.integers(1, 16), count=st.integers(1, 5), size=st.integers(1, 21), seed=SEED)
@settings(max_examples=25)
def test_rows_of_each_group_add_up(kind: str, bits: int, count: int, size: int, seed: int) -> None:
    """P[first row of group] == sum of the group, whatever the addend field held"""
    groups = ops.Groups(count, size)
    machine, values = accumulated(kind, bits, groups, seed)
    np.testing.assert_array_equal(machine.peek("P")[groups.first_rows], values.sum(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "size"), [(1, 2), (3, 4), (2, 5), (1, 16), (2, 33)])
def test_counts_are_those_of_the_closed_form(kind: str, count: int, size: int) -> None:
    """accumulate == merge without its writes and reads"""
    groups, bits = ops.Groups(count, size), 8
    machine, _ = accumulated(kind, bits, groups, 0)
    width = bits + (size - 1).bit_length()
    whole = realisable.merge(count, size, bits, width, kind)
    ends = realisable.merge(count, 1, bits, width, kind)
    written = type(whole)(write=count * size - count)
    assert machine.counts == whole - ends - written


@pytest.mark.parametrize("kind", KINDS)
def test_words_without_room_to_grow_are_refused(kind: str) -> None:
    layout = Layout(P=9, Z=1, D=9)
    wanted = ops.accumulate("P", bits=8, addend="D", clean="Z", groups=ops.Groups(1, 4), kind=kind)
    with pytest.raises(ProgramError, match=r"wanted 10 columns for P \(8 bits, 4 rows\), got 9"):
        wanted.on(layout)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ProgramError, match="unknown AP kind '3d': wanted one of 1d, 2d, 2d-seg"):
        ops.accumulate("P", bits=8, addend="D", clean="Z", groups=ops.Groups(1, 2), kind="3d")


@given(data=st.data(), column=st.integers(0, 8), seed=SEED)
@settings(max_examples=60)
def test_no_vertical_program_makes_a_column_depend_on_another(
    data: st.DataObject, column: int, seed: int
) -> None:
    """Theorem 1: equal columns before, whatever stands beside them, are equal after"""
    rows, rng = 9, np.random.default_rng(seed)
    program = Microprogram(tuple(data.draw(st.lists(loops(rows), min_size=1, max_size=8))))
    one, other = (rng.random((rows, 9)) < 0.5 for _ in range(2))
    other[:, column] = one[:, column]
    after = []
    for cells in (one, other):
        array = cam.make("strict", rows, 9)
        array.poke(cells)
        array.execute(program.code)
        after.append(array.peek()[:, column])
    np.testing.assert_array_equal(*after)


@pytest.mark.parametrize("gate", [Gate.PREFIX, Gate.CARRY])
def test_a_tag_chain_does_what_passes_cannot(gate: Gate) -> None:
    """With the declared chain a column does depend on another: the theorem needs its premise"""
    load = Step(Op.COMPARE, Mode.VERTICAL, ((0, 1),), gate=Gate.LOAD_G)
    spread = Step(Op.PASS, Mode.VERTICAL, ((0, int(gate is Gate.PREFIX)),), ((1, 1),), gate)
    program = Microprogram((loop([load, spread], np.array([[0, 1]]), False),))
    after = []
    for neighbour in (False, True):
        array = cam.make("strict", 2, 3)
        cells = np.zeros((2, 3), bool)
        cells[0, 0 if gate is Gate.CARRY else 2] = neighbour
        array.poke(cells)
        array.execute(program.code)
        after.append(bool(array.peek()[1, 1]))
    assert after == [False, True]


@given(st.integers(0, 255), st.integers(0, 255))
@settings(max_examples=20)
def test_the_printed_vertical_addition_leaves_no_sum(a: int, b: int) -> None:
    """The adder's passes on rows: B = A xor B, carry row = A and B"""
    assert literal_addition(8, a, b) == (a, b, a ^ b, a & b)


@given(size=st.integers(2, 12), bits=st.integers(1, 8), seed=SEED)
@settings(max_examples=15)
def test_segments_do_what_one_group_after_another_does(size: int, bits: int, seed: int) -> None:
    """2d-seg-tc on many groups == 2d-tc, in the sums; and costs no more for more groups"""
    few, many = ops.Groups(1, size), ops.Groups(6, size)
    apart, values = accumulated("2d-tc", bits, many, seed)
    at_once, _ = accumulated("2d-seg-tc", bits, many, seed)
    alone, _ = accumulated("2d-seg-tc", bits, few, seed)
    for machine in (apart, at_once):
        np.testing.assert_array_equal(machine.peek("P")[many.first_rows], values.sum(1))
    assert at_once.counts == alone.counts
