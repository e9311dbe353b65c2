"""The smaller LUTs: the same results as the paper's operations, in fewer passes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import functions
from apsim.closed_form import realisable
from apsim.closed_form import smaller_luts as closed
from apsim.errors import ProgramError
from apsim.functions import smaller_luts
from apsim.layout import Layout
from apsim.ops import smaller_luts as ops
from tests.helpers.benches import all_pairs, bench, words

BITS = st.integers(1, 16)
ROWS = st.sampled_from((1, 63, 64, 65, 511, 512, 513, 4800))
SEED = st.integers(0, 10**6)


@pytest.mark.parametrize(
    ("name", "result"),
    [("add", np.add), ("multiply", np.multiply), ("maximum", np.maximum), ("minimum", np.minimum)],
)
@given(bits=BITS, rows=ROWS, seed=SEED)
@settings(max_examples=15)
def test_results_are_those_of_the_larger_luts(
    name: str, result: np.ufunc, bits: int, rows: int, seed: int
) -> None:
    """values == numpy; counted == closed form == realisable + saving < realisable"""
    rng = np.random.default_rng(seed)
    a, b = words(rng, "u", bits, rows), words(rng, "u", bits, rows)
    done = functions.run(getattr(smaller_luts, name)(bits, rows), a, b)
    np.testing.assert_array_equal(done.values, result(a, b))
    full = getattr(realisable, name)(bits)
    assert done.counts == getattr(closed, name)(bits) == full + closed.saving(name, bits)
    assert done.counts.total < full.total


@given(BITS, ROWS, SEED)
@settings(max_examples=15)
def test_relu_needs_no_flag_column(bits: int, rows: int, seed: int) -> None:
    """4M - 1 in all, M columns"""
    a = words(np.random.default_rng(seed), "s", bits, rows)
    function = smaller_luts.relu(bits, rows)
    done = functions.run(function, a)
    np.testing.assert_array_equal(done.values, np.maximum(a, 0))
    assert done.counts == closed.relu(bits)
    assert (done.counts.total, function.columns) == (4 * bits - 1, bits)


@pytest.mark.parametrize("bits", range(1, 5))
@pytest.mark.parametrize("bits_b", range(1, 5))
def test_every_small_product(bits: int, bits_b: int) -> None:
    """P <- A * B for all pairs, in 2(Ma + (Mw-1)(4Ma-2)), operands and neighbours kept"""
    a, b = all_pairs("u", bits, "u", bits_b)
    on = bench(bits, {"A": (f"u{bits}", a), "B": (f"u{bits_b}", b), "P": (f"u{bits + bits_b}", 0)})
    on.machine.run(ops.multiply("A", "B", "P"))
    np.testing.assert_array_equal(on.machine.peek("P"), a * b)
    assert on.machine.counts.total == 2 * (bits + (bits_b - 1) * (4 * bits - 2))
    assert on.others_kept("P")


@pytest.mark.parametrize("bits", range(1, 5))
@pytest.mark.parametrize("kind", "uo")
def test_every_small_sum_and_choice(bits: int, kind: str) -> None:
    """All pairs; the addition takes 6M - 2 and destroys A, the maximum 6M + 2"""
    a, b = all_pairs(kind, bits, kind, bits)
    words_of = {"A": (f"{kind}{bits}", a), "B": (f"{kind}{bits}", b)}
    on = bench(bits, words_of | {"C": ("u1", 0)})
    on.machine.run(ops.add("A", "B", carry="C"))
    np.testing.assert_array_equal(on.machine.peek("B", "C"), a + b)
    assert on.machine.counts.total == 6 * bits - 2
    assert on.others_kept("A", "B", "C")
    for choose, result in ((ops.maximum, np.maximum), (ops.minimum, np.minimum)):
        on = bench(bits, words_of | {"F1": ("u1", 0), "F2": ("u1", 0)})
        on.machine.run(choose("A", "B", flags=("F1", "F2")))
        np.testing.assert_array_equal(on.machine.peek("B"), result(a, b))
        assert on.machine.counts.total == 6 * bits + 2
        assert on.others_kept("B")


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (ops.multiply("A", "S", "P"), "wanted unsigned words and 8 columns for P"),
        (ops.multiply("A", "P", "P"), "wanted unsigned words and 12 columns for P"),
        (ops.add("A", "P", carry="C"), "of one width, both unsigned or both offset binary"),
        (ops.maximum("S", "S", flags=("C", "C")), "both unsigned or both offset binary"),
    ],
)
def test_what_the_smaller_luts_do_not_offer_is_refused(
    operation: ops.Operation, message: str
) -> None:
    with pytest.raises(ProgramError, match=message):
        operation.on(Layout(A=4, S="s4", P=8, C=1))
