"""ReLU, maximum and minimum: against numpy, between dirty neighbours, and exhaustively."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import ops
from apsim.counts import Counts
from apsim.errors import ProgramError
from apsim.layout import Layout
from tests.helpers.benches import all_pairs, bench, words

BITS = st.integers(1, 16)
ROWS = st.sampled_from((1, 63, 64, 65, 511, 512, 513, 4800))
SEED = st.integers(0, 10**6)
CHOICES = {"maximum": (ops.maximum, np.maximum), "minimum": (ops.minimum, np.minimum)}


@given(BITS, ROWS, SEED)
@settings(max_examples=25)
def test_relu_clears_negative_words(bits: int, rows: int, seed: int) -> None:
    """A <- max(A, 0) in M - 1 passes, a read and two writes; F tells the signs"""
    a = words(np.random.default_rng(seed), "s", bits, rows)
    on = bench(seed, {"A": (f"s{bits}", a), "F": ("u1", 0)})
    on.machine.run(ops.relu("A", flag="F"))
    np.testing.assert_array_equal(on.machine.peek("A"), np.maximum(a, 0))
    np.testing.assert_array_equal(on.machine.peek("F"), a < 0)
    assert on.machine.counts == Counts(compare=bits - 1, write=bits + 1, read=1)
    assert on.others_kept("A", "F")


@pytest.mark.parametrize("name", CHOICES)
@given(bits=BITS, kind=st.sampled_from("uso"), rows=ROWS, seed=SEED)
@settings(max_examples=25)
def test_one_of_two_words_is_chosen(name: str, bits: int, kind: str, rows: int, seed: int) -> None:
    """B <- max(A, B) or min(A, B) in 4M passes and 2 writes; A stays, both flags end at 0"""
    operation, choose = CHOICES[name]
    rng = np.random.default_rng(seed)
    a, b = words(rng, kind, bits, rows), words(rng, kind, bits, rows)
    field = f"{kind}{bits}"
    on = bench(seed, {"A": (field, a), "B": (field, b), "F1": ("u1", 0), "F2": ("u1", 0)})
    on.machine.run(operation("A", "B", flags=("F1", "F2")))
    np.testing.assert_array_equal(on.machine.peek("B"), choose(a, b))
    assert on.machine.counts == Counts(compare=4 * bits, write=4 * bits + 2)
    assert on.others_kept("B")


@pytest.mark.parametrize("bits", range(1, 5))
@pytest.mark.parametrize("kind", "uso")
def test_every_small_choice(bits: int, kind: str) -> None:
    """All pairs of words of up to 4 bits"""
    a, b = all_pairs(kind, bits, kind, bits)
    field = f"{kind}{bits}"
    for operation, choose in CHOICES.values():
        on = bench(bits, {"A": (field, a), "B": (field, b), "F1": ("u1", 0), "F2": ("u1", 0)})
        on.machine.run(operation("A", "B", flags=("F1", "F2")))
        np.testing.assert_array_equal(on.machine.peek("B"), choose(a, b))


@pytest.mark.parametrize("bits", range(1, 9))
def test_every_relu(bits: int) -> None:
    """All words of up to 8 bits"""
    a, _ = all_pairs("s", bits, "u", 1)
    on = bench(bits, {"A": (f"s{bits}", a), "F": ("u1", 0)})
    on.machine.run(ops.relu("A", flag="F"))
    np.testing.assert_array_equal(on.machine.peek("A"), np.maximum(a, 0))


def test_a_flag_left_over_decides_wrongly() -> None:
    """With F1 = F2 = 1 the word B is thought to have won: max(3, 1) would be 1"""
    values = {"A": ("u2", np.array([3])), "B": ("u2", np.array([1]))}
    on = bench(0, values | {"F1": ("u1", 1), "F2": ("u1", 1)})
    on.machine.run(ops.maximum("A", "B", flags=("F1", "F2")))
    assert on.machine.peek("B").tolist() == [1]


def test_words_of_two_kinds_cannot_be_compared() -> None:
    with pytest.raises(ProgramError, match=r"of one width and kind, got A\[0:4\] u4 and B\[4:8\]"):
        ops.maximum("A", "B", flags=("F", "F")).on(Layout(A=4, B="s4", F=1))
