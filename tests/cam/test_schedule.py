"""What may be batched, and in which order the rows of independent groups go through a program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import functions
from apsim.ap_kind import ApKind
from apsim.cam.lanes.regular import Regular
from apsim.cam.lanes.schedule import FRESH, HORIZONTAL, VERTICAL, Schedule, schedule
from apsim.cam.needs import used
from apsim.encoding import MODE, Code
from apsim.errors import ProgramError
from apsim.ops.rows import Groups
from apsim.program import Gate, Loop, Microprogram, Mode, Op, Step

KINDS = [kind.value for kind in ApKind]
GROUPS, SIZE = 3, 4


def down(op: Op, key: Any = (), write: Any = (), **more: Any) -> Step:
    return Step(op, Mode.VERTICAL, key, write, **more)


def across(op: Op, key: Any = (), write: Any = (), **more: Any) -> Step:
    return Step(op, Mode.HORIZONTAL, key, write, **more)


PASS = down(Op.PASS, ((0, 1),), ((1, 0),))
CLEAR = down(Op.WRITE_ALL, (), ((2, 0),))
READ, PUT = down(Op.READ, ((0, 1),)), down(Op.WRITE_TAG, ((1, 1),), width=2)


def looped(*body: Step, lines: Any = ((0, 1),), beside: int = 0) -> Loop:
    """The body for each line of blocks of each group, `beside` shared rows after them."""
    place = Groups(GROUPS, SIZE)
    return Loop(body, place.beside(place.table(lines), beside))


def program(*items: Any) -> Code:
    return Microprogram(items).code


def test_a_program_that_treats_its_groups_alike_is_taken() -> None:
    """Loops of two lines a group, a shared row that is cleared before it is used"""
    code = program(
        across(Op.COMPARE, ((0, 1),)), across(Op.WRITE, (), ((1, 1),)),
        looped(PASS, lines=((0, 1), (2, 3))),
        looped(CLEAR, down(Op.PASS, ((0, 1), (2, 0)), ((2, 1),)), beside=1),
        looped(READ, PUT),
    )  # fmt: skip
    regular = Regular.of(code, GROUPS, SIZE)
    assert (regular.groups, regular.size, regular.shared) == (GROUPS, SIZE, 1)
    assert [stretch.lines for stretch in regular.stretches] == [
        (), ((0, 1), (2, 3)), ((0, 1, 4),), ((0, 1),),
    ]  # fmt: skip


def crossing() -> Loop:
    """Every group also touches the first row of the next one."""
    rows = np.array([[0, 4], [4, 8], [8, 0]])
    return Loop((PASS,), rows)


CHAINED = down(Op.PASS, ((0, 1),), ((1, 1),), gate=Gate.LOAD_K)
BROKEN = {
    "one group reads a row of the next": ([crossing()], "treats them differently"),
    "one group has a loop to itself": (
        [Loop((PASS,), np.array([[0, 1]]))], "1 lines does not serve 3 groups alike"),
    "one group has other rows": (
        [Loop((PASS,), np.array([[0, 1], [4, 5], [8, 10]]))], "treats them differently"),
    "a shared row is used before it is cleared": (
        [looped(down(Op.PASS, ((2, 1),), ((0, 1),)), beside=1)], "one reads another's row"),
    "a shared row is cleared after it is used": (
        [looped(down(Op.PASS, ((0, 1),), ((2, 1),)), CLEAR, beside=1)], "reads another's row"),
    "a shared row is set, not cleared": (
        [looped(down(Op.WRITE_ALL, (), ((2, 1),)), beside=1)], "must be cleared, not set"),
    "a shared row serves two loops": (
        [looped(CLEAR, PASS, beside=1), looped(CLEAR, PASS, beside=1)], "in one loop, once"),
    "a shared row serves a group twice": (
        [looped(CLEAR, PASS, lines=((0, 1), (2, 3)), beside=1)], "in one loop, once"),
    "tags of the group before are written": ([looped(PUT)], "that another set"),
    "tagged columns of the group before are written": (
        [looped(down(Op.WRITE, (), ((0, 1),)))], "that another set"),
    "tags of a pass are written": ([looped(PASS, PUT)], "that another set"),
    "a latch of the group before is used": ([looped(CHAINED)], "that another set"),
    "row tags are written that no step set": (
        [across(Op.WRITE, (), ((0, 1),)), across(Op.COMPARE, ((0, 1),))], "no step has set"),
    "words are taken in one by one": (
        [looped(down(Op.WRITE_DATA, ((0, 1),), port=0, width=2))], "one after another"),
    "two words are put out": (
        [looped(down(Op.READ, ((0, 1),), port=0, width=2), lines=((0, 1), (2, 3)))],
        "one after another"),
    "a second port is put out": ([across(Op.READ, ((0, 1),), port=1)], "got port 1"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_program_whose_groups_depend_on_each_other_is_refused(how: str) -> None:
    items, message = BROKEN[how]
    with pytest.raises(ProgramError, match=message):
        Regular.of(program(*items), GROUPS, SIZE)


def test_a_program_for_other_groups_is_refused() -> None:
    """Three groups of four rows are not four groups of three."""
    with pytest.raises(ProgramError, match="3 lines does not serve 4 groups alike"):
        Regular.of(program(looped(PASS)), 4, 3)


def order(made: Schedule, code: Code) -> list[tuple[int, int]]:
    """(step, block) in the order in which steps meet blocks; -1 for a vertical step."""
    met, holds, bits = [], {}, used(code)
    for kind, start, stop, which, block in made.ops:
        if kind == FRESH:
            holds[which] = block
        elif kind == HORIZONTAL:
            assert holds[which] == block
            met += [(index, block) for index in range(start, stop)]
        elif kind == VERTICAL:
            for index in range(start, stop):
                ranks = made.ranks[bits.step == index].tolist()
                met.append((index, -1))
                slots = dict.fromkeys(made.standing[which][rank] for rank in ranks)
                met += [(index, holds[slot]) for slot in slots]
    return met


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13])
@pytest.mark.parametrize("kind", KINDS)
def test_every_block_meets_every_horizontal_step_once_and_in_order(kind: str, size: int) -> None:
    """For each row of a group: the horizontal steps it meets == those of the program, in order

    Loops lie between them as in the program, however often a row takes part in one.
    """
    code = functions.dot_products(2, GROUPS, size, kind=kind, clear=True).program.code
    regular = Regular.of(code, GROUPS, size)
    met = order(schedule(regular), code)
    stretch = {k: n for n, s in enumerate(regular.stretches) for k in range(s.start, s.stop)}
    horizontal = [k for k in range(len(code)) if code.steps[k, MODE] == Mode.HORIZONTAL]
    for row in range(size):
        mine = [step for step, block in met if block == row]
        assert [step for step in mine if step in horizontal] == horizontal
        assert [stretch[step] for step in mine] == sorted(stretch[step] for step in mine)


@pytest.mark.parametrize("size", [2, 3, 8, 13])
@pytest.mark.parametrize("kind", KINDS)
def test_a_vertical_step_runs_once_for_each_line_of_a_group(kind: str, size: int) -> None:
    code = functions.dot_products(2, GROUPS, size, kind=kind, clear=True).program.code
    regular = Regular.of(code, GROUPS, size)
    ran = [step for step, block in order(schedule(regular), code) if block == -1]
    wanted = {
        step: len(stretch.lines)
        for stretch in regular.stretches
        for step in range(stretch.start, stretch.stop)
        if stretch.lines
    }
    assert {step: ran.count(step) for step in ran} == wanted


@pytest.mark.parametrize(("kind", "slots"), [("2d", 4), ("2d-tc", 2), ("1d", 9), ("2d-seg", 16)])
def test_few_rows_of_a_group_are_alive_at_once(kind: str, slots: int) -> None:
    """256 rows: three and a carry row where rows come two by two, log2 n and a few for a tree"""
    code = functions.dot_products(2, GROUPS, 256, kind=kind, clear=True).program.code
    assert schedule(Regular.of(code, GROUPS, 256)).slots == slots


def vertical_order(*loops: Loop) -> list[int]:
    made = schedule(Regular.of(program(*loops), GROUPS, SIZE))
    return [step for step, block in order(made, program(*loops)) if block == -1]


def test_nothing_runs_between_a_read_and_the_write_of_its_tags() -> None:
    """Blocks that wait for an earlier loop are brought before the read, not after it."""
    first = looped(PASS, lines=((1, 2), (3, 2)))
    assert vertical_order(first, looped(READ, PUT, lines=((0, 2),))) == [0, 0, 1, 2]


def test_lines_of_a_loop_that_share_a_row_keep_their_order() -> None:
    """Line (1, 2) comes before line (0, 1), though block 0 is brought first."""
    code = program(looped(PASS, lines=((1, 2), (0, 1))))
    met = order(schedule(Regular.of(code, GROUPS, SIZE)), code)
    assert [block for _, block in met] == [-1, 1, 2, -1, 0, 1]


def blocks_of(code: Code, regular: Regular, step: int) -> list[list[int]]:
    """The blocks that a vertical step touches, line by line, from the loop itself."""
    (stretch,) = [s for s in regular.stretches if s.start <= step < s.stop]
    lines = used(code).line[used(code).step == step].tolist()
    return [[blocks[line] for line in dict.fromkeys(lines)] for blocks in stretch.lines]


@st.composite
def bodies(draw: st.DrawFn, slots: int) -> list[Step]:
    """Passes, gated now and then, rows read and written, rows cleared."""
    pairs = st.lists(st.tuples(st.integers(0, slots - 1), st.integers(0, 1)), min_size=1)
    body: list[Step] = []
    for op in draw(st.lists(st.sampled_from([Op.PASS, Op.READ, Op.WRITE_ALL]), min_size=1)):
        key, write = (tuple(draw(pairs)) for _ in range(2))
        if op is Op.PASS:
            gate = draw(st.sampled_from([Gate.NONE] * 9 + [Gate.LOAD_G]))
            body.append(down(op, key, write, gate=gate))
        elif op is Op.READ:
            body += [down(op, key[:1]), down(Op.WRITE_TAG, write[:1], width=2)]
        else:
            body.append(down(op, (), tuple((slot, 0) for slot, _ in write)))
    return body


@st.composite
def loops_of_few_lines(draw: st.DrawFn) -> tuple[Any, ...]:
    """Horizontal steps, and loops of a line or two: any blocks, touched in any order.

    Perhaps with a row behind the groups, which one loop of one line clears and uses.
    """
    steps = [across(Op.COMPARE, ((0, 1),)), across(Op.WRITE, (), ((1, 1),))]
    items: list[Any] = []
    spare = draw(st.booleans())
    line = st.permutations(range(SIZE)).map(lambda blocks: blocks[:3])
    odd = st.lists(st.integers(0, SIZE - 1), min_size=3, max_size=3)  # perhaps a block twice
    for _ in range(draw(st.integers(1, 3))):
        items += draw(st.sampled_from([[], steps]))
        if spare and draw(st.booleans()):
            spare, clear = False, down(Op.WRITE_ALL, (), ((3, 0),))
            items.append(looped(clear, *draw(bodies(4)), lines=[draw(line)], beside=1))
        else:
            lines = draw(st.lists(line, min_size=1, max_size=draw(st.sampled_from([1, 1, 2]))))
            lines = draw(st.sampled_from([lines, lines, lines, [draw(odd)]]))
            items.append(looped(*draw(bodies(3)), lines=lines))
    return (*items, *draw(st.sampled_from([[], steps])))


@settings(max_examples=150)
@given(loops_of_few_lines())
def test_every_block_meets_its_steps_in_the_order_of_the_program(items: tuple[Any, ...]) -> None:
    """For each block: steps met == steps of the program that act on it, line by line, in order

    A vertical step meets the blocks of its line at once; what reads tags follows at once.
    """
    code = program(*items)
    regular = Regular.of(code, GROUPS, SIZE)
    met = order(schedule(regular), code)
    for block in range(SIZE):
        mine = [step for step, other in met if other == block]
        wanted: list[int] = []
        for stretch in regular.stretches:
            steps = range(stretch.start, stretch.stop)
            if not stretch.lines:
                wanted += steps
            for line in range(len(stretch.lines)):
                wanted += [k for k in steps if block in blocks_of(code, regular, k)[line]]
        assert mine == wanted
    for k, (step, block) in enumerate(met):
        if block == -1 and code.steps[step, 0] == Op.WRITE_TAG:
            assert [step for step, block in met[:k] if block == -1][-1] == step - 1
            between = met[met.index((step - 1, -1), max(k - 4, 0)) : k]
            assert {s for s, _ in between} == {step - 1}
