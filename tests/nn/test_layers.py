"""Layers called by hand: numpy's sums, and mistakes named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import nn
from apsim.ap_kind import ApKind
from apsim.errors import InputError, ProgramError
from apsim.nn.on_ap.chip import Chip

KINDS = [kind.value for kind in ApKind]
Array = np.ndarray[Any, Any]


def drawn(rng: np.random.Generator, bits: int, signed: bool, shape: tuple[int, ...]) -> Array:
    low = -(1 << (bits - 1)) if signed else 0
    return rng.integers(low, low + (1 << bits), shape)


def chip(kind: str = "2d", **options: Any) -> Chip:
    return Chip.preset("bf-imna-lr", ap=kind, **options)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(
    bits=st.tuples(st.integers(1, 16), st.integers(1, 16)), signed=st.booleans(),
    groups=st.integers(1, 3), stride=st.integers(1, 3), padding=st.integers(0, 2),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_a_convolution_is_that_of_numpy(
    kind: str, bits: tuple[int, int], signed: bool, groups: int, stride: int, padding: int,
    seed: int,
) -> None:  # fmt: skip
    """conv(x) == exact.conv2d(x), any widths, signs, groups, stride, padding, bias"""
    rng = np.random.default_rng(seed)
    weights = drawn(rng, bits[1], True, (2 * groups, 2, 2, 3))
    bias = rng.integers(-99, 99, 2 * groups)
    x = drawn(rng, bits[0], signed, (2, 2 * groups, 4, 5))
    conv = nn.Conv2d(
        weights, bits[0], weight_bits=bits[1], signed=signed, stride=stride, padding=padding,
        groups=groups, bias=bias,
    )  # fmt: skip
    wanted = nn.exact.conv2d(x, weights, bias, stride=stride, padding=padding, groups=groups)
    np.testing.assert_array_equal(conv(x, on=chip(kind, rows=60)), wanted)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(
    st.tuples(st.integers(1, 16), st.integers(1, 16)), st.booleans(), st.integers(1, 130),
    st.integers(0, 999),
)  # fmt: skip
def test_a_matrix_product_is_that_of_numpy(
    kind: str, bits: tuple[int, int], signed: bool, features: int, seed: int
) -> None:
    """linear(x) == x @ weights.T + bias, also where a sum is longer than a CAP"""
    rng = np.random.default_rng(seed)
    weights, bias = drawn(rng, bits[1], True, (3, features)), rng.integers(-99, 99, 3)
    x = drawn(rng, bits[0], signed, (4, features))
    linear = nn.Linear(weights, bits[0], weight_bits=bits[1], signed=signed, bias=bias)
    np.testing.assert_array_equal(linear(x, on=chip(kind, rows=40)), x @ weights.T + bias)


def test_the_chip_holds_what_a_layer_took() -> None:
    """Twice the same layer, twice the counts"""
    some, linear = chip(), nn.Linear(np.ones((2, 3), int), 4)
    linear(np.ones((1, 3), int), on=some)
    once = some.counts
    linear(np.ones((1, 3), int), on=some)
    assert some.counts == once * 2
    assert once.total > 0


ONES = np.ones((2, 1, 2, 2), int)
MISTAKES = {
    "real weights": (lambda: nn.Conv2d(ONES * 0.5, 4), "wanted integers with 4 axes, got float64"),
    "too few axes": (lambda: nn.Conv2d(ONES[0], 4), r"with 4 axes, got int64 of shape \(1, 2, 2\)"),
    "no weights": (lambda: nn.Conv2d(ONES[:0], 4), "wanted integers with 4 axes"),
    "wide weights": (lambda: nn.Conv2d(ONES * 8, 4), r"wanted -8 to 7 \(4 bits\), got 8 to 8"),
    "wide biases": (lambda: nn.Conv2d(ONES, 4, bias=[1]), "bias: wanted 2 integers"),
    "real biases": (lambda: nn.Conv2d(ONES, 4, bias=[1.5, 2]), "bias: wanted 2 integers"),
    "two strides": (lambda: nn.Conv2d(ONES, 4, stride=(1, 2)), r"stride: wanted .*\(1, 2\)"),
    "half a bit": (lambda: nn.Conv2d(ONES, 4.5), "bits: wanted 1 to 16, got 4.5"),
    "rows of weights": (lambda: nn.Conv2d([[1], [2, 3]], 4), "weights: wanted an array, got list"),
    "groups": (lambda: nn.Conv2d(ONES, 4, groups=2), r"x: wanted \[N, 2, H, W\]"),
    "groups of nothing": (lambda: nn.Conv2d(ONES, 4, groups=3), "3 do not divide 2 outputs"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_layer_that_cannot_be_is_refused(mistake: str) -> None:
    make, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=message):
        make()(np.ones((1, 1, 3, 3), int), on=chip())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((1, 2, 3, 3), int), r"x: wanted \[N, 1, H, W\], got \[1, 2, 3, 3\]"),
        (np.ones((1, 3, 3), int), r"x: wanted \[N, 1, H, W\], got \[1, 3, 3\]"),
        (np.full((1, 1, 3, 3), 16), r"must lie in 0..15, got 16..16"),
        (np.full((1, 1, 3, 3), 0.5), "must hold integers, got float64"),
        (np.ones((1, 1, 1, 1), int), "a plane that holds at least one window"),
    ],
)
def test_activations_that_do_not_fit_are_refused(x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        nn.Conv2d(ONES, 4)(x, on=chip())


def test_a_layer_runs_on_a_chip_and_on_nothing_else() -> None:
    with pytest.raises(InputError, match=r"on: wanted a chip such as .* got 'bf-imna-lr'"):
        nn.Linear([[1]], 4)([[1]], on="bf-imna-lr")  # type: ignore[arg-type]


def test_a_layer_that_fits_no_cap_is_refused() -> None:
    with pytest.raises(ProgramError, match="a CAP of bf-imna-lr has 4800 rows and 10 columns"):
        nn.Linear(np.ones((2, 3), int), 4)(np.ones((1, 3), int), on=chip(columns=10))


@pytest.mark.parametrize("bits", [0, 17, -1])
def test_widths_that_cannot_be_are_refused(bits: int) -> None:
    with pytest.raises(InputError, match=f"bits: wanted 1 to 16, got {bits}"):
        nn.Linear(np.zeros((1, 2), int), bits)(np.zeros((1, 2), int), on=chip())


@pytest.mark.parametrize("options", [{"stride": 0}, {"padding": -1}, {"groups": 0}])
def test_windows_that_cannot_be_are_refused(options: dict[str, int]) -> None:
    (name,) = options
    with pytest.raises(InputError, match=f"{name}: wanted at least"):
        nn.Conv2d(ONES, 4, **options)(np.ones((1, 1, 3, 3), int), on=chip())
