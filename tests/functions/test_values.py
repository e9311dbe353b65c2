"""The paper's functions on every AP kind: bit-exact, on fresh arrays and on used ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import functions
from apsim.ap_kind import ApKind
from apsim.closed_form import realisable
from apsim.counts import Counts
from apsim.errors import InputError, ProgramError
from apsim.functions import Function
from apsim.functions.base import cleared
from apsim.functions.cnn import Divider
from apsim.layout import Layout
from apsim.machine import Machine
from tests.helpers.benches import words

KINDS = [kind.value for kind in ApKind]
BITS = st.integers(1, 16)
SEED = st.integers(0, 10**6)


def run(
    function: Function, *operands: np.ndarray, dirty: int | None = None, more: int = 2
) -> np.ndarray:
    """Values from a fresh machine, or from a dirty one with `more` columns than it needs."""
    if dirty is None:
        return functions.run(function, *operands).values
    machine = Machine(function.rows + 3, function.layout, columns=function.columns + more)
    rng = np.random.default_rng(dirty)
    machine.cam.poke(rng.random((machine.rows, machine.cam.columns)) < 0.5)
    return functions.run(function, *operands, machine=machine).values


@pytest.mark.parametrize("kind", KINDS)
@given(
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 4)), bits=BITS,
    bits_b=BITS, signs=st.sampled_from(("uu", "us", "su", "ss")), used=st.booleans(), seed=SEED,
)  # fmt: skip
@settings(max_examples=15)
def test_a_matrix_product_is_that_of_numpy(
    kind: str, sizes: tuple[int, int, int], bits: int, bits_b: int, signs: str, used: bool,
    seed: int,
) -> None:  # fmt: skip
    """matmul(A, B) == A @ B"""
    i, j, u = sizes
    rng = np.random.default_rng(seed)
    a = words(rng, signs[0], bits, i * j).reshape(i, j)
    b = words(rng, signs[1], bits_b, j * u).reshape(j, u)
    function = functions.matmul(
        bits, i, j, u, kind=kind, bits_b=bits_b, words=signs[0], words_b=signs[1], clear=used
    )
    np.testing.assert_array_equal(run(function, a, b, dirty=seed if used else None), a @ b)


@pytest.mark.parametrize("kind", KINDS)
@given(
    bits=BITS, length=st.integers(1, 70), coding=st.sampled_from("uo"), used=st.booleans(),
    seed=SEED,
)  # fmt: skip
@settings(max_examples=15)
def test_a_reduction_is_a_sum(
    kind: str, bits: int, length: int, coding: str, used: bool, seed: int
) -> None:
    """reduce(A) == sum(A), the last word alone where their number is odd"""
    values = words(np.random.default_rng(seed), coding, bits, length)
    function = functions.reduce(bits, length, kind=kind, coding=coding, clear=used)
    assert run(function, values, dirty=seed if used else None) == values.sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coding", "uo")
def test_a_sum_of_one_word_is_that_word(kind: str, coding: str) -> None:
    """reduce([v]) == average_pool([[v]]) == v, counted as the formulas of any length say"""
    for value in Layout(A=f"{coding}3")["A"].values:
        pool = functions.average_pool(3, 1, 1, kind=kind, words=coding, divide="none")
        pooled = functions.run(pool, [[value]])
        reduced = functions.run(functions.reduce(3, 1, kind=kind, coding=coding), [value])
        assert pooled.values == reduced.values == value
        assert reduced.counts == realisable.reduce(3, 1, kind)
        assert pooled.counts == realisable.average_pool(3, 1, 1, kind, full_sum=True)


def test_words_of_64_bits_may_come_in_lists() -> None:
    """numpy makes real numbers of them by itself"""
    words = [2**64 - 1, 5, 2**63]
    assert functions.run(functions.maximum(64, 3), words, [0, 6, 1]).values.tolist() == [
        2**64 - 1, 6, 2**63,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@given(
    bits=st.integers(1, 12), window=st.integers(1, 30), windows=st.integers(1, 6),
    coding=st.sampled_from("uo"), divide=st.sampled_from(("shift", "none", "multiply")),
    used=st.booleans(), seed=SEED,
)  # fmt: skip
@settings(max_examples=15)
def test_an_average_is_the_floor_of_the_mean(
    kind: str, bits: int, window: int, windows: int, coding: str, divide: str, used: bool, seed: int
) -> None:
    """average_pool(A) == floor(mean), or the sum where nothing is divided"""
    window = 1 << window.bit_length() - 1 if divide == "shift" else window
    values = words(np.random.default_rng(seed), coding, bits, windows * window)
    values = values.reshape(windows, window)
    function = functions.average_pool(
        bits, window, windows, kind=kind, words=coding, divide=divide, clear=used
    )
    total = values.sum(1)
    expected = total if divide == "none" else total // window
    np.testing.assert_array_equal(run(function, values, dirty=seed if used else None), expected)


@pytest.mark.parametrize("kind", KINDS)
@given(
    bits=BITS, window=st.integers(1, 30), windows=st.integers(1, 6), coding=st.sampled_from("uo"),
    which=st.integers(0, 2), used=st.booleans(), seed=SEED,
)  # fmt: skip
@settings(max_examples=15)
def test_a_maximum_is_the_largest_of_its_window(
    kind: str, bits: int, window: int, windows: int, coding: str, which: int, used: bool, seed: int
) -> None:
    """max_pool(A) == max(A), by every scheme of the kind"""
    schemes = ["moves", *["prefix"] * ("2d" in kind), *["chain"] * ("tc" in kind)]
    values = words(np.random.default_rng(seed), coding, bits, windows * window)
    values = values.reshape(windows, window)
    function = functions.max_pool(
        bits, window, windows, kind=kind, words=coding, scheme=schemes[which % len(schemes)],
        clear=used,
    )  # fmt: skip
    found = run(function, values, dirty=seed if used else None, more=0)
    np.testing.assert_array_equal(found, values.max(1))


def test_a_vertical_maximum_is_wrong_where_columns_above_it_are_dirty() -> None:
    """Vertical passes compare all columns: what is no part of the words decides before them"""
    values = np.array([[1, 1, 9, 9]])
    for scheme, right in (("moves", True), ("prefix", False), ("chain", False)):
        function = functions.max_pool(4, 4, 1, kind="2d-tc", scheme=scheme)
        machine = Machine(function.rows, function.layout, columns=function.columns + 1)
        cells = np.zeros((machine.rows, machine.cam.columns), bool)
        cells[0, -1] = True  # the first row seems the larger one
        machine.cam.poke(cells)
        assert (functions.run(function, values, machine=machine).values == 9).all() == right


ROWWISE = {
    "add": (functions.add, lambda a, b: a + b, "uo"),
    "subtract": (functions.subtract, lambda a, b: b - a, "uo"),
    "maximum": (functions.maximum, np.maximum, "uso"),
    "minimum": (functions.minimum, np.minimum, "uso"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ROWWISE)
@given(bits=BITS, rows=st.sampled_from((1, 65, 513)), which=st.integers(0, 2), seed=SEED)
@settings(max_examples=5)
def test_functions_of_one_row_run_on_every_kind(
    kind: str, name: str, bits: int, rows: int, which: int, seed: int
) -> None:
    """values == numpy, on arrays that are used too"""
    build, result, codings = ROWWISE[name]
    rng, coding = np.random.default_rng(seed), codings[which % len(codings)]
    a, b = words(rng, coding, bits, rows), words(rng, coding, bits, rows)
    function = build(bits, rows, kind=kind, words=coding)
    np.testing.assert_array_equal(run(function, a, b), result(a, b))
    np.testing.assert_array_equal(run(cleared(function), a, b, dirty=seed), result(a, b))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sum_longer_than_an_array_is_cut_and_merged(kind: str) -> None:
    """Chunks reduced one after another, their partial sums moved together: the whole product"""
    rng = np.random.default_rng(5)
    groups, pieces, bits = 3, (9, 9, 8), 6
    a, b = (rng.integers(-32, 32, (groups, sum(pieces))) for _ in range(2))
    partial, start = [], 0
    for piece in pieces:
        part = functions.dot_products(
            bits, groups, piece, kind=kind, words="s", words_b="s", partial=True
        )
        taken = slice(start, start + piece)
        partial.append(functions.run(part, a[:, taken], b[:, taken]).values)
        start += piece
    width = 2 * bits + 4
    merge = functions.merge(width, groups, len(pieces), 2 * bits + 5, kind=kind)
    found = run(merge, np.stack(partial, 1), dirty=3)
    bias = sum(pieces) << (2 * bits - 1)
    np.testing.assert_array_equal(found - bias, (a * b).sum(1))


# Section 4 of the microcode: factor, shift and cycles of the exact floor at M = 8.
DIVISIONS = [
    (3, 683, 11, 480), (5, 1639, 13, 616), (6, 683, 12, 528), (7, 2341, 14, 440),
    (9, 1821, 14, 672), (25, 5243, 17, 832), (36, 3641, 17, 784), (49, 2675, 17, 784),
]  # fmt: skip


@pytest.mark.parametrize(("window", "factor", "shift", "cycles"), DIVISIONS)
def test_division_by_a_window_has_its_known_constant(
    window: int, factor: int, shift: int, cycles: int
) -> None:
    """floor(x / S) == (x * factor) >> shift for every sum x, in 8 Wsum ones(factor) cycles"""
    highest = 255 * window
    divider = Divider.exact(window, highest)
    assert (divider.factor, divider.shift) == (factor, shift)
    sums = np.arange(highest + 1)
    np.testing.assert_array_equal(sums * factor >> shift, sums // window)
    plain = functions.average_pool(8, window, 1, divide="none").program.counts()
    inside = functions.average_pool(8, window, 1, divide="multiply").program.counts()
    dropped = Counts(read=(window - 1).bit_length())
    assert (inside - plain + dropped).total == cycles


def test_an_array_that_is_too_small_is_refused_with_the_kinds_that_would_fit() -> None:
    """matmul 1 x 64 x 1 needs 65 rows on 2d, for the carries, and 64 elsewhere"""
    function = functions.matmul(8, 1, 64, 1, kind="2d")
    machine = Machine(64, function.layout)
    message = "needs 65 rows and 45 columns; the array has 64 rows and 45 columns; it would fit on "
    with pytest.raises(ProgramError, match=message + "1d, 2d-seg, 2d-tc, 2d-seg-tc"):
        functions.run(function, np.zeros((1, 64), int), np.zeros((64, 1), int), machine=machine)
    with pytest.raises(ProgramError, match="16 columns; no AP kind would fit"):
        function.require(4800, 16)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: functions.add(0, 4), "a width of 1 to 64 columns, got 0"),
        (lambda: functions.add(65, 4), "a width of 1 to 64 columns, got 65"),
        (lambda: functions.add(8, 4, words="s"), "wanted words of kind 'u' or 'o', got 's'"),
        (lambda: functions.add(8, 4, kind="3d"), "unknown AP kind '3d'"),
        (lambda: functions.max_pool(8, 4, 1, kind="1d", scheme="prefix"), "not possible on the 1d"),
        (lambda: functions.average_pool(8, 9, 1), r"a window of 2\*\*J words, got 9"),
        (lambda: functions.average_pool(8, 4, 1, divide="by"), "shift, multiply or none, got 'by'"),
    ],
)
def test_what_cannot_be_built_is_refused(call: object, message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        call()  # type: ignore[operator]
    assert type(caught.value).__module__ == "apsim.errors"


def test_operands_of_a_wrong_shape_or_range_are_refused() -> None:
    function = functions.matmul(4, 2, 3, 2)
    good = np.zeros((2, 3), int), np.zeros((3, 2), int)
    with pytest.raises(InputError, match=r"A: wanted an array of shape \(2, 3\), got \(3, 2\)"):
        functions.run(function, good[1], good[1])
    with pytest.raises(InputError, match=r"field 'B': wanted values from 0 to 15 .*, got 0 to 16"):
        functions.run(function, good[0], np.array([[0, 0], [0, 0], [0, 16]]))
    with pytest.raises(InputError, match="wanted integers, got values of type float64"):
        functions.run(function, good[0] + 0.5, good[1])
    with pytest.raises(InputError, match="matmul: 1 operands given: missing a required argument"):
        functions.run(function, good[0])
