"""The tag chain against plain integers: carries are those of an addition, a prefix is an OR.

With G = A & B and K = ~A & ~B the carry into column c is bit c of (A + B) ^ A ^ B.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.cam import Cam, DenseCam, FusedCam, PackedCam
from apsim.cam.faulty import Faults, FaultyCam
from apsim.encoding import encode
from apsim.step import Gate, Loop, Mode, Op, Step

KINDS: dict[str, Any] = {
    "dense": DenseCam,
    "packed": PackedCam,
    "fused": FusedCam,
    "faulty, without faults": lambda rows, columns: FaultyCam(rows, columns, Faults()),
}
BOTH, NEITHER = ((0, 1), (1, 1)), ((0, 0), (1, 0))
A, B = 0, 1


def bits(number: int, columns: int) -> np.ndarray:
    return np.array([number >> k & 1 for k in range(columns)], bool)


def on(kind: str, rows: list[int], columns: int) -> Cam:
    """An array whose rows hold these numbers."""
    cam: Cam = KINDS[kind](len(rows), columns)
    cam.poke(np.array([bits(row, columns) for row in rows]))
    return cam


def step(gate: Gate, key: tuple[tuple[int, int], ...], *write: tuple[int, int]) -> Step:
    return Step(Op.PASS if write else Op.COMPARE, Mode.VERTICAL, key, write, gate)


@st.composite
def operands(draw: st.DrawFn, groups: int = 1) -> tuple[int, list[list[int]]]:
    """Columns, and pairs of numbers whose carries run far as often as not."""
    columns = draw(st.one_of(st.integers(1, 9), st.sampled_from([63, 64, 65, 128, 140, 513])))
    ones = (1 << columns) - 1
    pairs = []
    for _ in range(groups):
        a = draw(st.integers(0, ones))
        b = draw(st.one_of(st.integers(0, ones), st.just(ones ^ a), st.just((ones ^ a) + 1 & ones)))
        pairs.append([a, b])
    return columns, pairs


def carries(a: int, b: int) -> int:
    """The carries into all columns."""
    return (a + b) ^ a ^ b


@pytest.mark.parametrize("kind", KINDS)
@given(given=operands())
@settings(max_examples=40)
def test_the_chain_carries_as_an_addition_does(
    kind: str, given: tuple[int, list[list[int]]]
) -> None:
    """tag(K) == K & carries, tag(CARRY, any match) == match & carries"""
    columns, ((a, b),) = given
    cam, rows = on(kind, [a, b], columns), np.array([[A, B]])
    cam.execute(encode([Loop((step(Gate.LOAD_G, BOTH),), rows)]))
    np.testing.assert_array_equal(cam.column_tag[0], bits(a & b, columns))
    cam.execute(encode([Loop((step(Gate.LOAD_K, NEITHER),), rows)]))
    np.testing.assert_array_equal(cam.column_tag[0], bits(~a & ~b & carries(a, b), columns))
    for key, match in (((), -1), (((A, 1),), a), (((B, 0),), ~b)):
        done = cam.execute(encode([Loop((step(Gate.CARRY, key),), rows)]))
        np.testing.assert_array_equal(cam.column_tag[0], bits(match & carries(a, b), columns))
        assert done.matched.tolist() == [bits(match & carries(a, b), columns).sum()]


@pytest.mark.parametrize("kind", KINDS)
@given(given=operands())
@settings(max_examples=40)
def test_a_sum_by_the_chain_is_the_sum(kind: str, given: tuple[int, list[list[int]]]) -> None:
    """B := A + B: half sums, then flipped where a carry comes in"""
    columns, ((a, b),) = given
    cam = on(kind, [a, b, 0], columns)
    body = (
        step(Gate.LOAD_G, BOTH),
        step(Gate.LOAD_K, NEITHER),
        step(Gate.CARRY, (), (2, 1)),  # row 2 := carries
        step(Gate.NONE, ((0, 1), (1, 1)), (0, 0), (1, 0)),
        step(Gate.NONE, ((0, 1), (1, 0)), (0, 0), (1, 1)),  # B = A ^ B, A = 0
        step(Gate.NONE, ((1, 1), (2, 1)), (1, 0), (2, 0)),
        step(Gate.NONE, ((1, 0), (2, 1)), (1, 1), (2, 0)),
    )
    done = cam.execute(encode([Loop(body, np.array([[0, 1, 2]]))]))
    np.testing.assert_array_equal(cam.peek(), [bits(n, columns) for n in (0, a + b, 0)])
    came = bits(carries(a, b), columns).sum()
    assert [done.matched[2], done.written[2], done.flipped[2]] == [came] * 3


@pytest.mark.parametrize("kind", KINDS)
@given(given=operands())
@settings(max_examples=10)
def test_a_column_that_generates_and_kills_generates(
    kind: str, given: tuple[int, list[list[int]]]
) -> None:
    """Where every column kills, the carry into one is what the column below it generates."""
    columns, ((a, b),) = given
    cam, rows = on(kind, [a, b], columns), np.array([[A, B]])
    both = [step(Gate.LOAD_G, ((A, 1),)), step(Gate.LOAD_K, ())]
    cam.execute(encode([Loop((one,), rows) for one in both]))
    np.testing.assert_array_equal(cam.column_tag[0], bits(a << 1, columns))


@pytest.mark.parametrize("kind", KINDS)
@given(columns=st.sampled_from([1, 2, 63, 64, 65, 127, 130, 513]), data=st.data())
@settings(max_examples=40)
def test_a_prefix_tags_all_columns_up_to_the_highest_match(
    kind: str, columns: int, data: st.DataObject
) -> None:
    """tag[c] == any(match[c:]), and that is what is written"""
    word = data.draw(st.integers(0, (1 << columns) - 1) | st.sampled_from([0, 1 << columns - 1, 1]))
    cam = on(kind, [word, 0], columns)
    done = cam.execute(encode([Loop((step(Gate.PREFIX, ((0, 1),), (1, 1)),), np.array([[0, 1]]))]))
    wanted = bits((1 << word.bit_length()) - 1, columns)
    np.testing.assert_array_equal(cam.column_tag[0], wanted)
    np.testing.assert_array_equal(cam.peek()[1], wanted)
    assert done.matched.tolist() == done.flipped.tolist() == [word.bit_length()]


@pytest.mark.parametrize("kind", KINDS)
@given(given=operands(groups=3))
@settings(max_examples=20)
def test_each_segment_has_latches_of_its_own(kind: str, given: tuple[int, list[list[int]]]) -> None:
    """G and K of one loop serve the next loop over as many segments."""
    columns, pairs = given
    cam = on(kind, [number for pair in pairs for number in pair], columns)
    rows = np.arange(6).reshape(3, 2)
    loads = step(Gate.LOAD_G, BOTH), step(Gate.LOAD_K, NEITHER)
    cam.execute(encode([Loop(loads, rows, parallel=True)]))
    cam.execute(encode([Loop((step(Gate.CARRY, ()),), rows, parallel=True)]))
    wanted = [bits(carries(a, b), columns) for a, b in pairs]
    np.testing.assert_array_equal(cam.column_tag, wanted)


@pytest.mark.parametrize("kind", KINDS)
@given(given=operands(groups=2))
@settings(max_examples=20)
def test_groups_one_after_another_share_the_latches(
    kind: str, given: tuple[int, list[list[int]]]
) -> None:
    """What the last group loads is what is there afterwards."""
    columns, pairs = given
    cam = on(kind, [number for pair in pairs for number in pair], columns)
    loads = step(Gate.LOAD_G, BOTH), step(Gate.LOAD_K, NEITHER)
    cam.execute(encode([Loop(loads, np.array([[0, 1], [2, 3]]))]))
    cam.execute(encode([Loop((step(Gate.CARRY, ()),), np.array([[0, 1]]))]))
    np.testing.assert_array_equal(cam.column_tag[0], bits(carries(*pairs[1]), columns))
