"""Quotients, roots, squares: against Python's integers, exhaustively at small widths."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from apsim import ops
from apsim.counts import Counts
from apsim.errors import ProgramError
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.program import Microprogram, Operation, Step
from tests.helpers.benches import Bench, bench

PASS = Counts(compare=1, write=1)
WIDTHS = list(product(range(1, 5), repeat=2))


def divisions(width: int, quotient: int) -> tuple[np.ndarray, np.ndarray]:
    """Every dividend and divisor that the contract allows."""
    pairs = [(n, z) for z in range(1, 1 << width) for n in range(z << quotient)]
    n, z = np.array(pairs, np.int64).T
    return n, z


def division(width: int, quotient: int, carry: int = 0) -> tuple[Bench, np.ndarray, np.ndarray]:
    n, z = divisions(width, quotient)
    dirty = np.random.default_rng(width).integers(0, 1 << quotient, n.size)
    fields = {
        "N": (f"u{quotient + width}", n), "Z": (f"u{width}", z),
        "Q": (f"u{quotient}", dirty), "C": ("u1", carry),
    }  # fmt: skip
    return bench(quotient, fields), n, z


@pytest.mark.parametrize(("width", "quotient"), WIDTHS)
def test_divide_gives_quotient_and_remainder(width: int, quotient: int) -> None:
    """Q, N <- divmod(N, Z) in q (6W + 2) passes; the carry is clean again"""
    on, n, z = division(width, quotient)
    on.machine.run(ops.divide("N", "Z", "Q", carry="C"))
    np.testing.assert_array_equal(on.machine.peek("Q"), n // z)
    np.testing.assert_array_equal(on.machine.peek("N"), n % z)
    assert not on.machine.peek("C").any()
    assert on.machine.counts == PASS * (quotient * (6 * width + 2)) + Counts(write=1)
    assert on.others_kept("N", "Q")


def test_divide_at_the_widths_of_a_softmax() -> None:
    """Q, N <- divmod(N, Z) for 12-bit divisors and 10 quotient bits, the extremes included"""
    rng = np.random.default_rng(5)
    z = np.concatenate([[1, 1, 4095, 4095], rng.integers(1, 4096, 20_000)])
    n = rng.integers(0, z << 10)
    n[:4] = 0, 1023, 0, (4095 << 10) - 1
    on = bench(1, {"N": ("u22", n), "Z": ("u12", z), "Q": ("u10", 0), "C": ("u1", 0)})
    on.machine.run(ops.divide("N", "Z", "Q", carry="C"))
    np.testing.assert_array_equal(on.machine.peek("Q"), n // z)
    np.testing.assert_array_equal(on.machine.peek("N"), n % z)


def test_divide_by_zero_sets_every_quotient_bit() -> None:
    on = bench(3, {"N": ("u6", 5), "Z": ("u2", 0), "Q": ("u4", 0), "C": ("u1", 0)})
    on.machine.run(ops.divide("N", "Z", "Q", carry="C"))
    assert on.machine.peek("Q").tolist() == [15]


def test_divide_from_a_dirty_carry_is_wrong() -> None:
    on, n, z = division(3, 3, carry=1)
    on.machine.run(ops.divide("N", "Z", "Q", carry="C"))
    assert (on.machine.peek("N") != n % z).any()


def test_divide_from_dirty_columns_above_the_dividend_is_wrong() -> None:
    """The quotient of N + 2**(q + W - 1) is not N's"""
    n, z = divisions(3, 3)
    on = bench(2, {"N": ("u6", n | 1 << 5), "Z": ("u3", z), "Q": ("u3", 0), "C": ("u1", 0)})
    on.machine.run(ops.divide("N", "Z", "Q", carry="C"))
    assert (on.machine.peek("Q") != n // z).any()


def without_each_pass(
    operation: Operation, layout: Layout, **given: np.ndarray
) -> list[np.ndarray]:
    """Cells after the whole program, and after it without each different pass of its LUTs."""
    whole = operation.on(layout).items
    names = dict.fromkeys((s.table.name, s.label) for s in whole if isinstance(s, Step) and s.table)
    found = []
    for left_out in (None, *names):
        kept = (s for s in whole if not (s.table and (s.table.name, s.label) == left_out))
        machine = Machine(len(next(iter(given.values()))), layout)
        for name, values in given.items():
            machine.write(name, values)
        machine.run(Microprogram(tuple(kept)))
        found.append(machine.cam.peek())
    return found


def test_every_pass_of_every_lut_is_needed() -> None:
    """Without any one of them some quotient, root, square, remainder or carry is another"""
    n, z = divisions(3, 3)
    words = np.arange(256)
    for operation, layout, given in (
        (ops.divide("N", "Z", "Q", carry="C"), Layout(N=6, Z=3, Q=3, C=1), {"N": n, "Z": z}),
        (ops.square_root("A", "R", carry="C"), Layout(A=8, R=4, C=1), {"A": words}),
        (ops.square("A", "P"), Layout(A=8, P=16), {"A": words}),
    ):
        whole, *others = without_each_pass(operation, layout, **given)
        assert len(others) >= 6
        assert all((other != whole).any() for other in others)


def rooted(bits: int, words: np.ndarray, carry: int = 0) -> Bench:
    on = bench(bits, {"A": (f"u{2 * bits}", words), "R": (f"u{bits}", 0), "C": ("u1", carry)})
    on.machine.run(ops.square_root("A", "R", carry="C"))
    return on


@pytest.mark.parametrize("bits", range(1, 9))
def test_square_root_of_every_word(bits: int) -> None:
    """R <- isqrt(A), A <- A - R**2 in 3n^2 + 5n - 2 passes; the carry is clean again"""
    words = np.arange(1 << 2 * bits)
    on = rooted(bits, words)
    roots = np.array([math.isqrt(word) for word in words.tolist()])
    np.testing.assert_array_equal(on.machine.peek("R"), roots)
    np.testing.assert_array_equal(on.machine.peek("A"), words - roots**2)
    assert not on.machine.peek("C").any()
    assert on.machine.counts == PASS * (3 * bits**2 + 5 * bits - 2) + Counts(write=1)
    assert on.others_kept("A", "R")


@pytest.mark.parametrize(("bits", "passes"), [(4, 66), (8, 230), (12, 490), (16, 846)])
def test_square_root_of_wide_words(bits: int, passes: int) -> None:
    """R <- isqrt(A) beside squares, where a mistake shows first"""
    rng = np.random.default_rng(bits)
    near = rng.integers(1, 1 << bits, 2000) ** 2
    drawn = rng.integers(0, 1 << 2 * bits, 2000)
    words = np.concatenate([near - 1, near, drawn, [0, (1 << 2 * bits) - 1]])
    on = rooted(bits, words)
    assert on.machine.peek("R").tolist() == [math.isqrt(word) for word in words.tolist()]
    assert on.machine.counts.compare == passes


def test_square_root_from_a_dirty_carry_is_wrong() -> None:
    words = np.arange(256)
    on = rooted(4, words, carry=1)
    roots = np.array([math.isqrt(word) for word in words.tolist()])
    assert (on.machine.peek("A") != words - roots**2).any()


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 11])
def test_square_of_every_word(bits: int) -> None:
    """P <- A**2 in 4n^2 - 2n passes, A kept"""
    words = np.arange(1 << bits)
    on = bench(bits, {"A": (f"u{bits}", words), "P": (f"u{2 * bits}", 0)})
    on.machine.run(ops.square("A", "P"))
    np.testing.assert_array_equal(on.machine.peek("P"), words**2)
    assert on.machine.counts == PASS * (4 * bits**2 - 2 * bits)
    assert on.others_kept("P")


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_negation_where_a_sign_says_so(bits: int) -> None:
    """A <- -A modulo 2**n where S, in 3n passes"""
    words, sign = np.arange(2 << bits) >> 1, np.arange(2 << bits) & 1
    on = bench(bits, {"A": (f"u{bits}", words), "S": ("u1", sign), "C": ("u1", 0)})
    on.machine.run(ops.negate_where("S", "A", carry="C"))
    wanted = np.where(sign == 1, -words % (1 << bits), words)
    np.testing.assert_array_equal(on.machine.peek("A"), wanted)
    assert on.machine.counts == PASS * (3 * bits)
    assert on.others_kept("A", "C")


def test_a_word_is_cleared_where_a_flag_stands() -> None:
    words = np.arange(16)
    on = bench(2, {"A": ("u4", words), "F": ("u1", words & 1)})
    on.machine.run(ops.clear_where("F", "A"))
    np.testing.assert_array_equal(on.machine.peek("A"), np.where(words & 1, 0, words))
    assert on.machine.counts == PASS
    assert on.others_kept("A")


def test_half_a_word_is_rounded_up_by_its_lowest_bit() -> None:
    """Q >> 1 <- (Q + 1) >> 1 in 2 (q - 1) passes, where that fits"""
    words = np.arange(255)
    on = bench(4, {"Q": ("u8", words), "C": ("u1", 0)})
    on.machine.run(ops.round_off("Q", 1, "half-up", carry="C"))
    np.testing.assert_array_equal(on.machine.peek("Q") >> 1, (words + 1) >> 1)
    assert on.machine.counts == PASS * 14


def test_words_are_kept_within_their_low_bits_and_above_zero() -> None:
    """min(A, 2**n - 1) in a pass for each column above; max(A, 1) in one"""
    words = np.arange(256)
    on = bench(5, {"A": ("u8", words), "B": ("u8", words)})
    on.machine.run(ops.saturate("A", 5))
    np.testing.assert_array_equal(on.machine.peek("A") & 31, np.minimum(words, 31))
    assert on.machine.counts == PASS * 3
    on.machine.run(ops.at_least_one("B"))
    np.testing.assert_array_equal(on.machine.peek("B"), np.maximum(words, 1))
    assert on.machine.counts == PASS * 4
    assert on.others_kept("A", "B")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_word_is_shifted_by_the_flag_that_stands(bits: int) -> None:
    """B <- A >> s in n (n + 1) / 2 passes, s counted from the top flag; 0 without a flag"""
    words, shift = (a.ravel() for a in np.meshgrid(np.arange(1 << bits), np.arange(bits + 2)))
    flags = (1 << bits) >> shift
    on = bench(bits, {"F": (f"u{bits + 1}", flags), "A": (f"u{bits}", words),
                      "B": (f"u{bits}", 0)})  # fmt: skip
    on.machine.run(ops.shift_by_flags("F", "A", "B"))
    wanted = np.where(shift < bits, words >> np.minimum(shift, bits), 0)
    np.testing.assert_array_equal(on.machine.peek("B"), wanted)
    assert on.machine.counts == PASS * (bits * (bits + 1) // 2)
    assert on.others_kept("B")


def test_a_square_or_a_shift_into_dirty_columns_is_wrong() -> None:
    words = np.arange(16)
    for operation, wanted in (
        (ops.square("A", "P"), words**2), (ops.shift_by_flags("F", "A", "B"), words >> 1)
    ):  # fmt: skip
        on = bench(3, {"A": ("u4", words), "P": ("u8", 1), "B": ("u4", 8), "F": ("u5", 8)})
        on.machine.run(operation)
        found = on.machine.peek("P" if operation.name.startswith("square") else "B")
        assert (found != wanted).any()


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        (ops.shift_by_flags("Z", "A", "B"), "wanted B as wide as A and as many flags"),
        (ops.divide("A", "Z", "B", carry="C"), "want 10 columns for A, got 8"),
        (ops.square_root("A", "Z", carry="C"), "wanted 4 columns for A, twice those of Z, got 8"),
        (ops.square("A", "B"), "wanted 16 columns for B, got 8"),
        (ops.square("S", "B"), "wanted unsigned words, got S"),
        (ops.divide("S", "Z", "B", carry="C"), "wanted unsigned words, got S"),
    ],
)
def test_fields_that_do_not_fit_are_refused(operation: Operation, wanted: str) -> None:
    with pytest.raises(ProgramError, match=wanted):
        operation.on(Layout(A=8, B=8, Z=2, C=1, S="s8"))
