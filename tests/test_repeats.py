"""Steps that are repeated: in everything that is asked of them the steps one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import functions
from apsim.ap_kind import ApKind
from apsim.closed_form import realisable
from apsim.errors import ProgramError
from apsim.program import Item, Loop, Microprogram, Mode, Op, Step
from apsim.repeats import Repeat, Repeats
from tests.helpers import random_programs

SIZES = st.sampled_from([1, 2, 3, 4, 5]) | st.integers(1, 70)
PASS = Step(Op.PASS, Mode.VERTICAL, ((2, 1), (0, 0)), ((0, 1),), label="pass")
READ = Step(Op.READ, Mode.VERTICAL, ((5, 1),), label="read row")


@st.composite
def repeating(draw: st.DrawFn) -> Repeats:
    """Steps of any kind, repeated, one slot of theirs moving or none."""
    return Repeats(
        tuple(
            Repeat(
                tuple(draw(st.lists(random_programs.steps_along(4, 5), min_size=1, max_size=4))),
                draw(st.integers(1, 9)),
                draw(st.integers(-1, 4)),
            )
            for _ in range(draw(st.integers(1, 4)))
        )
    )


def spelled_out(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """The same items, the body of every loop a plain tuple of its steps."""
    return tuple(
        replace(item, body=tuple(item.body)) if isinstance(item, Loop) else item for item in items
    )


def same(one: Microprogram, other: Microprogram) -> None:
    """Code, counts, length and listing of two programs are equal, and the steps that run."""
    for name in ("steps", "pool", "rows"):
        np.testing.assert_array_equal(getattr(one.code, name), getattr(other.code, name))
        assert getattr(one.code, name).dtype == getattr(other.code, name).dtype
    assert one.counts_by_phase() == other.counts_by_phase()
    assert (len(one), str(one)) == (len(other), str(other))
    assert list(one.weighted()) == list(other.weighted())


@given(st.lists(repeating(), min_size=1, max_size=3), st.integers(1, 3))
def test_repeats_are_encoded_counted_and_listed_as_their_steps_one_by_one(
    bodies: list[Repeats], groups: int
) -> None:
    """encode(repeats) == encode(tuple(repeats)), and so is everything else that a program says"""
    rows = np.arange(groups * 16).reshape(groups, 16)
    across = Step(Op.READ, Mode.HORIZONTAL, ((1, 1),))
    items = tuple(item for body in bodies for item in (across, Loop(body, rows)))
    same(Microprogram(items), Microprogram(spelled_out(items)))


@settings(max_examples=40)
@given(
    st.sampled_from(["dot_products", "average_pool", "reduce", "merge"]),
    st.sampled_from([kind.value for kind in ApKind]),
    SIZES,
    st.integers(1, 3),
)
def test_programs_of_sums_are_their_steps_one_by_one(
    name: str, kind: str, size: int, groups: int
) -> None:
    """Sums of 1, 2, 3, an odd number and many words, on every kind"""
    made = {
        "dot_products": lambda: functions.dot_products(2, groups, size, kind=kind, clear=True),
        "average_pool": lambda: functions.average_pool(2, size, groups, kind=kind, divide="none"),
        "reduce": lambda: functions.reduce(2, size, kind=kind),
        "merge": lambda: functions.merge(3, groups, size, 9, kind=kind),
    }[name]()
    same(made.program, Microprogram(spelled_out(made.program.items), made.program.name))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_the_2d_sum_adds_row_after_row_and_saves_its_carries(size: int) -> None:
    """For each row after the first: passes on that row, then the carry row read and written.

    It is written to itself, and at the last row beside the sum.
    """
    program = functions.merge(4, 1, size, 9, kind="2d").program
    loop = [item for item in program.items if isinstance(item, Loop)][-1]
    reads = [k for k, step in enumerate(loop.body) if step.op is Op.READ]
    starts = [1, *(k + 2 for k in reads)]
    for row, (start, stop) in enumerate(zip(starts, reads, strict=False), 1):
        lines = [{line for line, _ in (*s.key, *s.write)} for s in loop.body[start:stop]]
        assert set().union(*lines) == {0, row, size}
        assert loop.body[stop].key == ((size, 1),)
        assert loop.body[stop + 1].key == (((size if row < size - 1 else 0), 1),)
    assert len(reads) == size - 1


def test_a_slot_moves_on_from_turn_to_turn_and_the_others_stay() -> None:
    body = Repeats((Repeat((PASS, READ), 3, moving=2),))
    assert [step.key for step in body] == [
        ((2, 1), (0, 0)), ((5, 1),), ((3, 1), (0, 0)), ((5, 1),), ((4, 1), (0, 0)), ((5, 1),),
    ]  # fmt: skip
    assert body[-2:] == (replace(PASS, key=((4, 1), (0, 0))), READ)
    assert (len(body), body[1], body.index(READ)) == (6, READ, 1)


def test_repeats_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ProgramError, match="once or more, got 0"):
        Repeat((PASS,), 0)
    with pytest.raises(ProgramError, match="a step uses slot 6; the loop has 6 slots"):
        Loop(Repeats((Repeat((PASS, READ), 5, moving=2),)), np.arange(6)[None])
    with pytest.raises(ProgramError, match="got 0 steps"):
        Loop(Repeats(()), np.arange(6)[None])


def test_a_long_sum_is_counted_and_encoded_without_making_its_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dot product of 4608 words: counts of the closed form, a row of code for each step"""
    program = functions.dot_products(8, 1, 4608, kind="2d").program
    with monkeypatch.context() as patched:
        patched.setattr(Repeat, "__iter__", None)
        assert program.counts() == realisable.dot(8, 4608, "2d")
        rows = len(program.code)
    assert rows == len(program) == len(list(program.weighted()))
