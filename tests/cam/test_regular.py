"""Whether groups are independent: what is said of all steps at once is true of each in turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import functions
from apsim.cam.lanes.regular import NEEDED, SETS_TAGS, USES_TAGS, Regular
from apsim.encoding import BODY, KEY, MODE, OP, Code
from apsim.errors import ProgramError
from apsim.ops.rows import Groups
from apsim.program import Gate, Loop, Microprogram, Mode, Op, Step

GROUPS, SIZE, SHARED = 2, 3, 2
SLOTS = SIZE + SHARED


@st.composite
def bodies(draw: st.DrawFn) -> tuple[Step, ...]:
    """Vertical steps on the rows of a group and on shared rows, used rightly or wrongly."""
    shared = [(SIZE, 0), (SIZE + 1, 0)]
    body = [Step(Op.WRITE_ALL, Mode.VERTICAL, (), tuple(draw(st.sampled_from([shared, []]))))]
    pairs = st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(0, 1)), max_size=3).map(tuple)
    known = st.sampled_from([Op.PASS, Op.COMPARE, Op.WRITE, Op.WRITE_ALL, Op.READ, Op.WRITE_TAG])
    for op in draw(st.lists(known, min_size=1, max_size=7)):
        key, write = draw(pairs), draw(pairs) if op <= Op.WRITE_ALL else ()
        if op in (Op.READ, Op.WRITE_TAG):
            key = ((draw(st.integers(0, SLOTS - 1)), 1),)
        gates = st.sampled_from([Gate.NONE] * 4 + list(Gate))
        gate = draw(gates) if op in (Op.PASS, Op.COMPARE) else Gate.NONE
        body.append(Step(op, Mode.VERTICAL, key, write, gate, width=op is Op.WRITE_TAG))
    return tuple(body)


def looped(body: tuple[Step, ...]) -> Code:
    place = Groups(GROUPS, SIZE)
    return Microprogram((Loop(body, place.beside(place.table([range(SIZE)]), SHARED)),)).code


def leak_of_tags(body: tuple[Step, ...]) -> bool:
    """Step by step: whether tags or latches are used before the body sets them."""
    latched, tagged = {Gate.NONE}, False
    for step in body:
        if not NEEDED.get(step.gate, set()) <= latched or (step.op in USES_TAGS and not tagged):
            return True
        latched.add(step.gate)
        if step.op in SETS_TAGS:
            tagged = step.op is not Op.PASS
    return False


def leak_of_rows(body: tuple[Step, ...]) -> str:
    """Step by step: what is wrong with the use of shared rows, "" where nothing is."""
    fresh = set(range(SIZE))
    for step in body:
        written = {slot for slot, _ in step.write}
        if step.op is Op.WRITE_ALL:
            if any(slot >= SIZE and bit for slot, bit in step.write):
                return "a shared row must be cleared, not set"
            fresh |= written
        elif not written | {slot for slot, _ in step.key} <= fresh:
            return "one reads another's row"
    return ""


@settings(max_examples=400)
@given(bodies())
def test_a_body_is_refused_exactly_where_one_of_its_steps_uses_what_none_before_it_has_set(
    body: tuple[Step, ...],
) -> None:
    """Regular.of == a walk over the steps with what is set so far, the message included"""
    wrong = "tags or latches are used that another set" if leak_of_tags(body) else ""
    wrong = wrong or leak_of_rows(body)
    if wrong:
        with pytest.raises(ProgramError, match=wrong):
            Regular.of(looped(body), GROUPS, SIZE)
    else:
        assert Regular.of(looped(body), GROUPS, SIZE).shared == SHARED


LONG = 40


def long_sum() -> Code:
    return functions.dot_products(2, GROUPS, LONG, kind="2d", clear=True).program.code


def first_of(code: Code, op: Op) -> int:
    found = (code.steps[:, OP] == op) & (code.steps[:, MODE] == Mode.VERTICAL)
    return int(np.flatnonzero(found)[0])


def uncleared(code: Code) -> None:
    """The carry row is written by tag, not cleared."""
    code.steps[first_of(code, Op.WRITE_ALL), OP] = Op.PASS


def preset(code: Code) -> None:
    """The carry row is set to ones."""
    code.pool[code.steps[first_of(code, Op.WRITE_ALL), KEY], 1] = 1


def unread(code: Code) -> None:
    """The first carries are not read before they are written."""
    code.steps[first_of(code, Op.READ), OP] = Op.PASS


def next_group(code: Code) -> None:
    """The second group reaches into the first."""
    code.rows[LONG + 1] -= 1


def endless(code: Code) -> None:
    """A vertical step begins no loop."""
    code.steps[first_of(code, Op.WRITE_ALL), BODY] = 0


SPOILT: list[tuple[Any, str]] = [
    (uncleared, "one reads another's row"),
    (preset, "must be cleared, not set"),
    (unread, "that another set"),
    (next_group, "treats them differently"),
    (endless, "every vertical step, and no other, in one loop"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT, ids=[s.__name__ for s, _ in SPOILT])
def test_one_wrong_number_in_the_code_of_a_long_sum_is_found(spoil: Any, message: str) -> None:
    code = long_sum()
    assert Regular.of(code, GROUPS, LONG).shared == 1
    spoilt = Code(code.steps.copy(), code.pool.copy(), code.rows.copy())
    spoil(spoilt)
    with pytest.raises(ProgramError, match=message):
        Regular.of(spoilt, GROUPS, LONG)
