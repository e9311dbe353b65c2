"""Addition, subtraction, multiplication, copies: against numpy, between dirty neighbours."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import ops
from apsim.counts import Counts
from apsim.errors import LayoutError, ProgramError
from apsim.layout import Field, Layout
from apsim.program import Operation
from tests.helpers.benches import all_pairs, bench, words

BITS = st.integers(1, 16)
ROWS = st.sampled_from((1, 63, 64, 65, 511, 512, 513, 4800))
SEED = st.integers(0, 10**6)
SMALL = list(product(range(1, 5), repeat=2))


@given(BITS, st.sampled_from("uo"), ROWS, SEED)
@settings(max_examples=25)
def test_add_is_a_sum_with_its_carry(bits: int, kind: str, rows: int, seed: int) -> None:
    """B, C <- A + B; A and everything else stay"""
    rng = np.random.default_rng(seed)
    a, b = words(rng, kind, bits, rows), words(rng, kind, bits, rows)
    field = f"{kind}{bits}"
    on = bench(seed, {"A": (field, a), "B": (field, b), "C": ("u1", 0)})
    on.machine.run(ops.add("A", "B", carry="C"))
    np.testing.assert_array_equal(on.machine.peek("B", "C"), a + b)
    assert on.others_kept("B", "C")


@given(BITS, BITS, ROWS, SEED)
@settings(max_examples=25)
def test_a_narrow_word_is_added_with_two_passes_for_each_bit_that_it_lacks(
    first: int, second: int, rows: int, seed: int
) -> None:
    """B, C <- A + B with 4 Wa + 2 (Wb - Wa) passes"""
    narrow, wide = sorted((first, second))
    rng = np.random.default_rng(seed)
    a, b = words(rng, "u", narrow, rows), words(rng, "u", wide, rows)
    on = bench(seed, {"A": (f"u{narrow}", a), "B": (f"u{wide}", b), "C": ("u1", 0)})
    on.machine.run(ops.add("A", "B", carry="C"))
    np.testing.assert_array_equal(on.machine.peek("B", "C"), a + b)
    assert on.machine.counts == Counts(compare=1, write=1) * (4 * narrow + 2 * (wide - narrow))
    assert on.others_kept("B", "C")


@given(BITS, st.sampled_from("uso"), ROWS, SEED)
@settings(max_examples=25)
def test_subtract_is_a_difference_with_its_borrow(
    bits: int, kind: str, rows: int, seed: int
) -> None:
    """B <- B - A modulo 2**M, and C says whether A's pattern was the larger"""
    rng = np.random.default_rng(seed)
    a, b = words(rng, kind, bits, rows), words(rng, kind, bits, rows)
    field = f"{kind}{bits}"
    on = bench(seed, {"A": (field, a), "B": (field, b), "C": ("u1", 0)})
    patterns = [on.machine.layout["A"].encode(w).astype(np.int64) for w in (a, b)]
    on.machine.run(ops.subtract("A", "B", borrow="C"))
    np.testing.assert_array_equal(on.machine.peek("B", "C", kind="s"), patterns[1] - patterns[0])
    assert on.others_kept("B", "C")


@given(BITS, BITS, st.sampled_from(("uu", "us", "su", "ss")), st.booleans(), ROWS, SEED)
@settings(max_examples=40)
def test_multiply_is_a_product_in_four_passes_a_bit_pair(
    bits: int, bits_b: int, signs: str, offset: bool, rows: int, seed: int
) -> None:
    """P <- A * B; operands stay; 4 Ma Mw compares and writes, and one write to prepare P"""
    rng = np.random.default_rng(seed)
    a, b = words(rng, signs[0], bits, rows), words(rng, signs[1], bits_b, rows)
    kind = "u" if signs == "uu" else "o" if offset else "s"
    target, size = f"{kind}{bits + bits_b}", words(rng, kind, bits + bits_b, rows)
    on = bench(
        seed, {"A": (f"{signs[0]}{bits}", a), "B": (f"{signs[1]}{bits_b}", b), "P": (target, size)}
    )
    on.machine.run(ops.prepare("P", "A", "B") + ops.multiply("A", "B", "P"))
    np.testing.assert_array_equal(on.machine.peek("P"), a * b)
    passes = Counts(compare=1, write=1) * (4 * bits * bits_b)
    assert on.machine.counts == passes + Counts(write=1)
    assert on.others_kept("P")


@given(BITS, st.integers(1, 300), ROWS, SEED)
@settings(max_examples=20)
def test_multiply_by_a_constant_skips_its_zeros(
    bits: int, constant: int, rows: int, seed: int
) -> None:
    """P <- A * c with 4 M passes for each 1 of c"""
    a = words(np.random.default_rng(seed), "u", bits, rows)
    on = bench(seed, {"A": (f"u{bits}", a), "P": (f"u{bits + constant.bit_length()}", 0)})
    on.machine.run(ops.multiply_by(constant, "A", "P"))
    np.testing.assert_array_equal(on.machine.peek("P"), a * constant)
    assert on.machine.counts.compare == 4 * bits * constant.bit_count()
    assert on.others_kept("P")


@given(BITS, st.booleans(), ROWS, SEED)
@settings(max_examples=20)
def test_copy_overwrites_what_was_there(bits: int, clean: bool, rows: int, seed: int) -> None:
    """B <- A, with one pass a bit where B is clean"""
    rng = np.random.default_rng(seed)
    a, old = words(rng, "s", bits, rows), 0 if clean else words(rng, "s", bits, rows)
    on = bench(seed, {"A": (f"s{bits}", a), "B": (f"s{bits}", old)})
    on.machine.run(ops.copy("A", "B", clean=clean))
    np.testing.assert_array_equal(on.machine.peek("B"), a)
    assert on.machine.counts.compare == bits * (1 if clean else 2)
    assert on.others_kept("B")


@given(BITS, BITS, ROWS, SEED)
@settings(max_examples=15)
def test_clear_is_one_write_and_no_more(bits: int, other: int, rows: int, seed: int) -> None:
    """A, B <- 0 in one write"""
    rng = np.random.default_rng(seed)
    a, b = words(rng, "u", bits, rows), words(rng, "u", other, rows)
    on = bench(seed, {"A": (f"u{bits}", a), "B": (f"u{other}", b)})
    on.machine.run(ops.clear("A", "B"))
    assert not on.machine.peek("A").any()
    assert not on.machine.peek("B").any()
    assert on.machine.counts == Counts(write=1)
    assert on.others_kept("A", "B")


@pytest.mark.parametrize("bits", range(1, 5))
@pytest.mark.parametrize("kind", "uo")
def test_every_small_sum_and_difference(bits: int, kind: str) -> None:
    """All pairs of words of up to 4 bits"""
    a, b = all_pairs(kind, bits, kind, bits)
    field = f"{kind}{bits}"
    fields = {"A": (field, a), "B": (field, b), "C": ("u1", 0)}
    on = bench(bits, fields)
    on.machine.run(ops.add("A", "B", carry="C"))
    np.testing.assert_array_equal(on.machine.peek("B", "C"), a + b)
    on = bench(bits, fields)
    on.machine.run(ops.subtract("A", "B", borrow="C"))
    np.testing.assert_array_equal(on.machine.peek("B", "C", kind="s"), b - a)


@pytest.mark.parametrize(("bits", "bits_b"), SMALL)
@pytest.mark.parametrize("signs", ["uu", "us", "su", "ss"])
def test_every_small_product(bits: int, bits_b: int, signs: str) -> None:
    """All pairs of words of up to 4 bits, products in both codings"""
    a, b = all_pairs(signs[0], bits, signs[1], bits_b)
    for kind in ("u",) if signs == "uu" else ("s", "o"):
        fields = {"A": (f"{signs[0]}{bits}", a), "B": (f"{signs[1]}{bits_b}", b)}
        on = bench(bits, fields | {"P": (f"{kind}{bits + bits_b}", 0)})
        on.machine.run(ops.prepare("P", "A", "B") + ops.multiply("A", "B", "P"))
        np.testing.assert_array_equal(on.machine.peek("P"), a * b)


def test_a_dirty_carry_is_a_wrong_sum_which_clear_prevents() -> None:
    """1 + 1 with a carry left over is 3; after a clear it is 2"""
    dirty = {"A": ("u4", np.array([1])), "B": ("u4", np.array([1])), "C": ("u1", 1)}
    on = bench(0, dirty)
    on.machine.run(ops.add("A", "B", carry="C"))
    assert on.machine.peek("B", "C").tolist() == [3]
    on = bench(0, dirty)
    on.machine.run(ops.clear("C") + ops.add("A", "B", carry="C"))
    assert on.machine.peek("B", "C").tolist() == [2]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (ops.add("B", "A", carry="C"), "wanted B no wider than A, got 8 and 4 bits"),
        (ops.add("S", "B", carry="C"), "a signed S must be as wide as B, got 4 and 8 bits"),
        (ops.add("A", "B", carry="B"), "wanted one column for 'B', got 8"),
        (ops.subtract("A", "B", borrow="C"), "subtract: wanted A as wide as B, got 4 and 8"),
        (ops.copy("A", "B"), "copy: wanted A as wide as B, got 4 and 8 bits"),
        (ops.multiply("A", "B", "A"), "wanted 12 columns for A, got 4"),
        (ops.multiply("A", "S", "B"), r"wanted B signed for A\[0:4\] u4 times S\[13:17\] s4"),
        (ops.multiply("O", "A", "B"), "wanted O and A unsigned or two's complement, got offset"),
        (ops.multiply_by(0, "A", "B"), "wanted a positive constant"),
        (ops.multiply_by(100, "A", "B"), "A unsigned and 11 columns for B, got 100"),
    ],
)  # fmt: skip
def test_fields_that_do_not_go_together_are_refused(operation: Operation, message: str) -> None:
    layout = Layout(A=4, B=8, C=1, S="s4", O="o4")
    with pytest.raises(ProgramError, match=message):
        operation.on(layout)


def test_an_unknown_field_is_named_with_what_it_may_have_been() -> None:
    with pytest.raises(LayoutError, match=r"unknown field 'carri'.*did you mean 'carry'"):
        ops.add("A", "B", carry="carri").on(Layout(A=8, B=8, carry=1))


def test_fields_must_not_share_columns_unless_the_layout_says_so() -> None:
    fields = Field("A", 0, 8), Field("B", 7, 8)
    with pytest.raises(LayoutError, match="'A' and 'B' overlap in column 7"):
        Layout.of(*fields)
    assert Layout.of(*fields, overlap=True).columns == 15
