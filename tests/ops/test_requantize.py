"""Constants, rounding and clamps as passes: the host's arithmetic, between dirty columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.counts import Counts
from apsim.errors import ProgramError
from apsim.layout import Field, Layout
from apsim.machine import Machine
from apsim.nn.rules.rounding import MODES as HOST_MODES
from apsim.nn.rules.rounding import round_divide
from apsim.ops.requantize import (
    DIRECTED,
    MODES,
    TIES,
    add_constant,
    by_sign,
    clamp,
    extend,
    round_off,
)
from apsim.program import Op, Operation
from tests.helpers.benches import bench

PASS = Counts(compare=1, write=1)
SEED = st.integers(0, 10**6)


def every(bits: int) -> np.ndarray:
    """Every signed word of so many bits."""
    return np.arange(-(1 << (bits - 1)), 1 << (bits - 1))


@given(st.integers(1, 8), st.integers(-300, 300), SEED)
@settings(max_examples=40)
def test_a_known_constant_is_added_from_its_lowest_one_on(
    bits: int, constant: int, seed: int
) -> None:
    """A <- A + c modulo 2**M for every A, in two passes a bit"""
    on = bench(seed, {"A": (f"s{bits}", every(bits)), "C": ("u1", 0)})
    on.machine.run(add_constant("A", constant, carry="C"))
    top = 1 << (bits - 1)
    expected = (every(bits) + constant + top) % (2 * top) - top
    np.testing.assert_array_equal(on.machine.peek("A"), expected)
    assert on.others_kept("A", "C")
    value = constant % (2 * top)
    idle = (value & -value).bit_length() - 1 if value else bits
    assert on.machine.counts == PASS * (2 * (bits - idle))


def test_the_modes_are_those_of_the_host() -> None:
    assert sorted(MODES) == sorted(HOST_MODES)
    assert sorted({"floor", *TIES, *DIRECTED}) == sorted(MODES)


@pytest.mark.parametrize("mode", MODES)
@given(st.integers(1, 6), st.integers(0, 3), st.integers(-9, 9), SEED)
@settings(max_examples=12)
def test_every_word_is_rounded_as_on_the_host(
    mode: str, shift: int, parity: int, plus: int, seed: int
) -> None:
    """A[shift:] <- round(A / 2**shift) + plus for every A of 9 bits, ties of both signs too"""
    words = every(9)
    on = bench(seed, {"A": ("s14", words), "C": ("u1", 0)})
    on.machine.run(round_off("A", shift, mode, carry="C", parity=parity, plus=plus))
    expected = round_divide(words, np.array([1 << shift]), mode, parity) + plus
    np.testing.assert_array_equal(on.machine.peek("A") >> shift, expected)
    assert on.others_kept("A", "C")


def test_round_half_even_is_one_compare_and_one_write_and_then_the_increment() -> None:
    on = bench(1, {"A": ("s20", every(9)), "C": ("u1", 0)})
    program = round_off("A", 6, "half-even", carry="C").on(on.machine.layout)
    assert program.counts() == PASS * (1 + 2 * 14)
    tie = program.items[0]
    assert len(tie.key) == 7 and tie.write == ((on.machine.layout["A"][5], 0),)  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["nearest", "half-even"])
def test_rounding_by_an_unknown_mode_or_no_bits_is_refused(mode: str) -> None:
    with pytest.raises(ProgramError, match="wanted one of floor, half-even"):
        round_off("A", 0, mode, carry="C")


@given(st.data(), st.integers(2, 8), SEED)
@settings(max_examples=60)
def test_words_beyond_a_bound_take_the_bound(data: st.DataObject, bits: int, seed: int) -> None:
    """Y <- min(max(A, lo), hi) for every A, whatever the bounds; the columns above Y stay"""
    least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    lo, hi = sorted(data.draw(st.tuples(st.integers(least, most), st.integers(least, most))))
    signed = lo < 0
    width = max(hi.bit_length(), (-lo - 1).bit_length() if signed else 1) + signed
    machine, words = _clamped(bits, lo, hi, width, every(bits))
    result = Field("Y", 3, width, "s" if signed else "u")
    np.testing.assert_array_equal(_peek(machine, result), np.clip(words, lo, hi))
    rest = [3 + k for k in range(width, bits)] + [0, 1, 2, bits + 3]
    before = (words[:, None] >> (np.arange(bits + 4) - 3).clip(0) & 1).astype(bool)
    before[:, :3] = before[:, bits + 3 :] = True
    np.testing.assert_array_equal(machine.cam.peek()[:, rest], before[:, rest])


def _clamped(
    bits: int, lo: int, hi: int, width: int, words: np.ndarray
) -> tuple[Machine, np.ndarray]:
    word = Field("A", 3, bits, "s")
    layout = Layout.of(word, Field("Y", 3, width), overlap=True)
    machine = Machine(len(words), layout, columns=bits + 4)
    cells = np.ones((len(words), bits + 4), bool)
    cells[:, 3 : bits + 3] = words[:, None] >> np.arange(bits) & 1
    machine.cam.poke(cells)
    machine.run(clamp("A", lo, hi, result="Y"))
    return machine, words


def _peek(machine: Machine, field: Field) -> np.ndarray:
    cells = machine.cam.peek()[:, list(field.columns)]
    patterns = (cells << np.arange(field.width, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
    return field.decode(patterns)


@pytest.mark.parametrize(
    ("lo", "hi", "passes"), [(0, 255, 1 + 11), (-128, 127, 2 * 12), (0, 235, 1 + 2 + 11)]
)
def test_a_clamp_takes_a_pass_for_each_place_where_a_word_can_leave_a_bound(
    lo: int, hi: int, passes: int
) -> None:
    layout = Layout.of(Field("A", 0, 20, "s"), Field("Y", 0, 8), overlap=True)
    assert clamp("A", lo, hi, result="Y").on(layout).counts() == PASS * passes


def test_bounds_that_the_word_cannot_hold_are_refused() -> None:
    with pytest.raises(ProgramError, match=r"wanted bounds within -8\.\.7 .* got 0\.\.8"):
        clamp("A", 0, 8, result="A").on(Layout(A="s4"))


def test_a_sign_is_extended_in_one_pass() -> None:
    machine = Machine(32, Layout(A="s9"))
    machine.write("A", every(5) & 31)
    before = machine.counts
    machine.run(extend("A", 5))
    np.testing.assert_array_equal(machine.peek("A"), every(5))
    assert machine.counts - before == PASS


def test_a_sign_chooses_between_two_constants() -> None:
    """R <- -3 where A < 0, else 5: one write and one pass"""
    on = bench(3, {"A": ("s6", every(6)), "R": ("s4", 0)})
    on.machine.run(by_sign("A", "R", negative=-3, positive=5))
    np.testing.assert_array_equal(on.machine.peek("R"), np.where(every(6) < 0, -3, 5))
    assert on.others_kept("R") and on.machine.counts == PASS + Counts(write=1)


@pytest.mark.parametrize(
    "operation",
    [
        add_constant("A", 41, carry="C"),
        round_off("A", 3, "half-even", carry="C", plus=5),
        round_off("A", 3, "half-away", carry="C"),
        round_off("A", 3, "ceil", carry="C"),
        clamp("A", -37, 90, result="A"),
    ],
    ids=str,
)
def test_no_pass_is_idle(operation: Operation) -> None:
    """Without any one of its passes the operation leaves some word different"""
    layout = Layout(A="s9", C=1)
    items = operation.on(layout).items
    whole = _ran(layout, items, every(9))
    for left_out in range(len(items)):
        assert items[left_out].op in (Op.PASS, Op.WRITE_ALL)  # type: ignore[union-attr]
        kept = items[:left_out] + items[left_out + 1 :]
        assert (_ran(layout, kept, every(9)) != whole).any(), items[left_out]


def _ran(layout: Layout, items: tuple[object, ...], words: np.ndarray) -> np.ndarray:
    machine = Machine(len(words), layout)
    machine.write("A", words)
    machine.run(Operation("some", lambda _: items))  # type: ignore[arg-type, return-value]
    return machine.peek("A")
