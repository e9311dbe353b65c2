"""LUT steps in few operations: for every value of the cells, what the passes do one by one."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.cam._boolean import Ternary, Worked, parts_of, worked_out
from apsim.cam._grouping import GIVEN, Pattern
from apsim.cam._plan import COUNTED, KNOWN

FULL_ADD: Pattern = (
    (((0, 1), (1, 1), (2, 0)), ((1, 0, KNOWN), (2, 1, KNOWN))),
    (((0, 1), (1, 0), (2, 0)), ((1, 1, KNOWN),)),
    (((0, 0), (1, 0), (2, 1)), ((1, 1, KNOWN), (2, 0, KNOWN))),
    (((0, 0), (1, 1), (2, 1)), ((1, 0, KNOWN),)),
)
MULTIPLY: Pattern = (
    (((0, 1), (1, 0), (2, 0), (3, 1)), ((2, 1, KNOWN), (3, 0, KNOWN))),
    (((0, 1), (1, 0), (2, 1), (3, 1)), ((2, 0, KNOWN),)),
    (((0, 1), (1, 1), (2, 1), (3, 0)), ((2, 0, KNOWN), (3, 1, KNOWN))),
    (((0, 1), (1, 1), (2, 0), (3, 0)), ((2, 1, KNOWN),)),
)

Found = tuple[list[int], list[int], dict[int, int]]


def one_by_one(pattern: Pattern, cells: list[int], living: int = 1) -> Found:
    """Tags, counted flips and written lines of one row, by the definition of a pass."""
    tags, flips, written = [], [], {}
    for key, writes in pattern:
        tag = int(all(cells[line] == bit for line, bit in key) and living)
        tags.append(tag)
        for line, bit, mode in writes:
            new = bit if tag else cells[line]
            if mode == COUNTED:
                flips.append(new ^ cells[line])
            cells[line] = written[line] = new
    return tags, flips, written


def by_operations(worked: Worked, values: list[int]) -> Found:
    """The same by the operations."""
    values = list(values)
    for one in worked.operations:
        a, b, c = (values[k] for k in one.operands)
        values.append(one.table >> (4 * a + 2 * b + c) & 1)
    return (
        [values[k] for k in worked.tags],
        [values[k] for k in worked.flips],
        {line: values[k] for line, k in worked.lines.items()},
    )


def lines_of(pattern: Pattern) -> int:
    return 1 + max(line for key, writes in pattern for line, *_ in (*key, *writes))


def agrees(pattern: Pattern, worked: Worked, masked: bool) -> bool:
    """Whether operations and passes give the same for every row there can be."""
    count = lines_of(pattern)
    return all(
        by_operations(worked, [*cells, living] if masked else list(cells))
        == one_by_one(pattern, list(cells), living)
        for cells in product((0, 1), repeat=count)
        for living in ((0, 1) if masked else (1,))
    )


@st.composite
def patterns(draw: st.DrawFn, lines: int = 4) -> Pattern:
    """A few passes on the first lines, the first of which uses them all."""
    count = draw(st.integers(1, lines))
    bits = st.sampled_from([0, 1])
    passes = []
    for number in range(draw(st.integers(1, 5))):
        some = range(count) if number == 0 else draw(st.sets(st.integers(0, count - 1)))
        key = tuple((line, draw(bits)) for line in some)
        written = draw(st.lists(st.integers(0, count - 1), max_size=3))
        mode = st.sampled_from([KNOWN, COUNTED])
        passes.append((key, tuple((line, draw(bits), draw(mode)) for line in written)))
    return tuple(passes)


@given(pattern=patterns(), masked=st.booleans())
@settings(deadline=None, max_examples=300)
def test_operations_give_the_tags_flips_and_cells_of_the_passes(
    pattern: Pattern, masked: bool
) -> None:
    worked = worked_out(pattern, masked)
    assert worked is None or agrees(pattern, worked, masked)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("pattern", [FULL_ADD, MULTIPLY], ids=["add", "multiply"])
def test_the_luts_of_sums_and_products_are_worked_out(pattern: Pattern, masked: bool) -> None:
    """In no more operations than their passes have compares and writes."""
    worked = worked_out(pattern, masked)
    assert worked is not None and agrees(pattern, worked, masked)
    assert len(worked.operations) <= sum(len(writes) + 1 for _, writes in pattern)


@pytest.mark.parametrize("place", range(len(FULL_ADD)))
def test_a_pass_left_out_is_noticed(place: int) -> None:
    """What holds for all passes holds for no three of them."""
    worked = worked_out(FULL_ADD)
    assert worked is not None
    fewer = FULL_ADD[:place] + FULL_ADD[place + 1 :]
    short = replace(worked, tags=worked.tags[:place] + worked.tags[place + 1 :])
    assert not agrees(fewer, short, False)


def test_an_operation_changed_is_noticed() -> None:
    worked = worked_out(MULTIPLY)
    assert worked is not None
    for place, one in enumerate(worked.operations):
        for bit in range(8):
            changed = list(worked.operations)
            changed[place] = Ternary(one.operands, one.table ^ 1 << bit)
            wrong = replace(worked, operations=tuple(changed))
            meant = by_operations(worked, [0, 0, 0, 0]) and agrees(MULTIPLY, wrong, False)
            assert not meant or _cannot_happen(worked, place, bit)


def _cannot_happen(worked: Worked, place: int, bit: int) -> bool:
    """Whether the operands of an operation never have these values."""
    for cells in product((0, 1), repeat=4):
        values = list(cells)
        for one in worked.operations[: place + 1]:
            a, b, c = (values[k] for k in one.operands)
            values.append(one.table >> (4 * a + 2 * b + c) & 1)
        a, b, c = (values[k] for k in worked.operations[place].operands)
        if 4 * a + 2 * b + c == bit:
            return False
    return True


def test_bits_that_are_given_at_run_time_are_left_to_the_passes() -> None:
    assert worked_out(((((0, GIVEN),), ((1, GIVEN, COUNTED),)),)) is None


@given(pattern=patterns(7))
@settings(deadline=None)
def test_parts_of_a_pattern_are_its_passes_in_order(pattern: Pattern) -> None:
    """Every part on its own lines, renumbered: put back, the passes as they were."""
    whole = [
        (
            tuple((lines[line], bit) for line, bit in key),
            tuple((lines[line], bit, mode) for line, bit, mode in writes),
        )
        for lines, passes in parts_of(pattern)
        for key, writes in passes
    ]
    assert tuple(whole) == pattern
