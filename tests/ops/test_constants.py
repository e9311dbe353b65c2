"""Words times constants: values in the accumulator, the carry, and presets that are too small."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from apsim import Layout, Machine, ops
from apsim.errors import ProgramError
from apsim.ops.constants import canonical_digits
from apsim.program import Operation


def test_digits_are_canonical() -> None:
    """sum of d 2^k == constant, and no two places are neighbours"""
    for constant in range(-1100, 1101):
        digits = list(canonical_digits(constant))
        assert sum(sign << place for place, sign in digits) == constant
        places = [place for place, _ in digits]
        assert all(high - low > 1 for low, high in pairwise(places))


def _machine(bits: int, width: int, engine: str = "strict", kind: str = "u") -> Machine:
    """Every word of `bits` bits in a row, between columns that hold anything."""
    layout = Layout(L=3, A=f"{kind}{bits}", C=1, P=width, H=2)
    machine = Machine(1 << bits, layout, engine=engine)
    machine.cam.poke(np.random.default_rng(0).random((1 << bits, layout.columns)) < 0.5)
    machine.write("A", layout["A"].values)
    return machine


@pytest.mark.parametrize("engine", ["dense", "strict", "fused"])
@pytest.mark.parametrize(("bits", "constant"), [*product((1, 2, 4), range(-9, 10)), (8, -128)])
def test_constants_times_words(bits: int, constant: int, engine: str) -> None:
    """P == preset + constant * A, C == 0, A and the columns beside as they were"""
    digits = list(canonical_digits(constant))
    preset = sum(1 << k for k, d in digits if d < 0) * ((1 << bits) - 1)
    top = preset + sum(1 << k for k, d in digits if d > 0) * ((1 << bits) - 1)
    machine = _machine(bits, max(top.bit_length(), 1), engine)
    before = machine.peek("L"), machine.peek("H")
    machine.run(ops.preset({"P": preset, "C": 0}))
    counts = machine.counts
    machine.run(ops.add_constant_multiple(constant, "A", "P", carry="C"))
    words = machine.layout["A"].values
    assert machine.peek("P").tolist() == [preset + constant * word for word in words]
    assert machine.peek("A").tolist() == list(words)
    assert not machine.peek("C").any()
    assert all(np.array_equal(a, b) for a, b in zip(before, (machine.peek("L"), machine.peek("H")),
                                                    strict=True))  # fmt: skip
    width = machine.layout["P"].width
    passes = sum(4 * bits - 2 + 2 * (width - bits - k) for k, _ in digits)
    spent = machine.counts - counts
    assert (spent.compare, spent.write, spent.read) == (passes, passes, 0)


@pytest.mark.parametrize("bits", [1, 2, 5])
@pytest.mark.parametrize("constant", [*range(1, 20), 43, 48, 85, 127])
def test_a_word_times_a_constant_in_a_clean_field_wants_no_preset(bits: int, constant: int) -> None:
    """P == constant * A in A's width and ceil(log2 constant) columns, C == 0, all others kept

    The highest digit takes a pass a bit, each other 4n - 2 and 2 for each bit above.
    """
    width = bits + (constant - 1).bit_length()
    machine = _machine(bits, width)
    before = machine.peek("L"), machine.peek("H")
    machine.run(ops.clear("P", "C"))
    counts = machine.counts
    machine.run(ops.constant_multiple(constant, "A", "P", carry="C"))
    words = machine.layout["A"].values
    assert machine.peek("P").tolist() == [constant * word for word in words]
    assert machine.peek("A").tolist() == list(words)
    assert not machine.peek("C").any()
    assert all(np.array_equal(a, b) for a, b in zip(before, (machine.peek("L"), machine.peek("H")),
                                                    strict=True))  # fmt: skip
    *lower, _ = canonical_digits(constant)
    passes = bits + sum(4 * bits - 2 + 2 * (width - bits - k) for k, _ in lower)
    spent = machine.counts - counts
    assert (spent.compare, spent.write, spent.read) == (passes, passes, 0)


def test_a_product_in_a_dirty_field_or_with_a_dirty_carry_is_wrong() -> None:
    for dirty in ("P", "C"):
        machine = _machine(4, 8)
        machine.run(ops.preset({"P": int(dirty == "P"), "C": int(dirty == "C")}))
        machine.run(ops.constant_multiple(11, "A", "P", carry="C"))
        assert machine.peek("P").tolist() != [11 * word for word in range(16)]


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (ops.constant_multiple(0, "A", "P", carry="C"), "wanted a constant of 1 or more"),
        (ops.constant_multiple(3, "S", "P", carry="C"), "S unsigned"),
        (ops.constant_multiple(5, "A", "P", carry="C"), "wanted 7 columns for P, got 6"),
    ],
)
def test_a_constant_multiple_that_cannot_be_is_refused(operation: Operation, says: str) -> None:
    with pytest.raises(ProgramError, match=says):
        operation.on(Layout(A=4, S="s4", P=6, C=1))


def test_the_carry_column_is_zero_after_every_digit() -> None:
    """For w = -128, 127, 85, -1 in turn, each digit a program of its own"""
    weights, bits = (-128, 127, 85, -1), 8
    every = [d for w in weights for d in canonical_digits(w)]
    preset = sum(1 << k for k, d in every if d < 0) * 255
    width = (preset + sum(1 << k for k, d in every if d > 0) * 255).bit_length()
    machine = _machine(bits, width)
    machine.run(ops.preset({"P": preset, "C": 0}))
    total = preset
    for place, sign in every:
        machine.run(ops.add_constant_multiple(sign << place, "A", "P", carry="C"))
        assert not machine.peek("C").any()
        total += (sign << place) * 255
        assert machine.peek("P")[255] == total


def test_a_preset_one_too_small_leaves_a_borrow_and_a_wrong_sum() -> None:
    """P = 254 - 255 has no place in 8 columns"""
    machine = _machine(8, 8)
    machine.run(ops.preset({"P": 254, "C": 0}))
    machine.run(ops.add_constant_multiple(-1, "A", "P", carry="C"))
    assert machine.peek("C").nonzero()[0].tolist() == [255]
    assert machine.peek("P")[255] == 255


def test_offset_words_add_their_offset_too() -> None:
    """P == preset + w (A + 2^(M-1))"""
    machine = _machine(4, 8, kind="o")
    machine.run(ops.preset({"P": 45, "C": 0}))
    machine.run(ops.add_constant_multiple(-3, "A", "P", carry="C"))
    assert machine.peek("P").tolist() == [45 - 3 * (word + 8) for word in range(-8, 8)]


@pytest.mark.parametrize(("short", "width"), [(1, 1), (1, 4), (3, 3), (3, 5), (4, 9)])
def test_a_short_accumulator_is_added(short: int, width: int) -> None:
    """P == p + Q in 3 WQ - 1 + 2 (W - WQ) passes, C == 0"""
    pairs = [(q, p) for q in range(1 << short) for p in range(1 << width) if p + q < 1 << width]
    machine = Machine(len(pairs), Layout(C=1, Q=short, P=width))
    machine.write("Q", [q for q, _ in pairs])
    machine.write("P", [p for _, p in pairs])
    before = machine.counts
    machine.run(ops.add_short("Q", "P", carry="C"))
    assert machine.peek("P").tolist() == [q + p for q, p in pairs]
    assert not machine.peek("C").any()
    assert (machine.counts - before).compare == 3 * short - 1 + 2 * (width - short)


@pytest.mark.parametrize(
    ("operation", "what"),
    [
        (ops.add_constant_multiple(16, "A", "P", carry="C"), "wanted 8 columns for P"),
        (ops.add_constant_multiple(1, "S", "P", carry="C"), "unsigned or offset binary"),
        (ops.add_constant_multiple(1, "A", "P", carry="P"), "one column for P"),
        (ops.add_short("P", "A", carry="C"), "wanted P no wider than A"),
        (ops.preset({"P": 128}), "P has 7 columns, got 128"),
        (ops.preset({"P": -1}), "P has 7 columns, got -1"),
    ],
)
def test_what_does_not_fit_is_refused(operation: Operation, what: str) -> None:
    with pytest.raises(ProgramError, match=what):
        operation.on(Layout(A=4, S="s4", C=1, P=7))
