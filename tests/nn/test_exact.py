"""The exact twins against loops that anyone can read, and the errors of `run`."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from apsim.errors import InputError
from apsim.nn import exact
from apsim.nn.model import AvgPool, Conv2d, MaxPool, windows
from apsim.nn.zoo import bundled
from tests.helpers.networks import Case, conv2d_cases, linear_cases, pool_cases

Integers = NDArray[Any]


def window(x: Integers, layer: Any, row: int, column: int, fill: int) -> list[list[list[int]]]:
    """The values a window covers, channel by channel, `fill` outside the plane."""
    tall, wide = getattr(layer, "dilation", (1, 1))
    height, width = windows.kernel_of(layer)
    top, left = (
        row * layer.stride[0] - layer.padding[0],
        column * layer.stride[1] - layer.padding[1],
    )
    return [
        [
            [
                int(plane[i, j])
                if 0 <= (i := top + a * tall) < plane.shape[0]
                and 0 <= (j := left + b * wide) < plane.shape[1]
                else fill
                for b in range(width)
            ]
            for a in range(height)
        ]
        for plane in x
    ]


def places(case: Case) -> itertools.product[tuple[int, ...]]:
    shape = (len(case.x), *case.model.tensors["y"].shape)
    return itertools.product(*map(range, shape))


@settings(max_examples=40)
@given(conv2d_cases())
def test_conv2d_is_the_sum_over_its_window_less_zero_points(case: Case) -> None:
    """acc == sum (x - zx) * w + b, with b = bias + zx * sum(w), padding being zx."""
    layer: Conv2d = case.layer
    zero = case.model.tensors["x"].zero_point
    acc = exact.accumulate(case.model, layer, {"x": case.x})
    own = layer.bias + zero * layer.weights.reshape(len(layer.weights), -1).sum(axis=1)
    outs, each = len(layer.weights) // layer.groups, layer.weights.shape[1]
    for n, o, row, column in places(case):
        first = o // outs * each
        seen = np.array(window(case.x[n, first : first + each], layer, row, column, zero))
        assert acc[n, o, row, column] == ((seen - zero) * layer.weights[o]).sum() + own[o]


@settings(max_examples=30)
@given(linear_cases())
def test_linear_is_a_row_of_weights_times_the_input(case: Case) -> None:
    """acc[o] == sum_i x[i] * w[o][i] + bias[o]"""
    acc = exact.accumulate(case.model, case.layer, {"x": case.x})
    for n, row in enumerate(case.x.tolist()):
        for o, weights in enumerate(case.layer.weights.tolist()):
            expected = sum(a * w for a, w in zip(row, weights, strict=True))
            assert acc[n, o] == expected + case.layer.bias[o]


@settings(max_examples=30)
@given(pool_cases(MaxPool))
def test_max_pool_is_the_greatest_value_inside_the_plane(case: Case) -> None:
    got = exact.run(case.model, case.x)["y"]
    for n, c, row, column in places(case):
        seen = window(case.x[n, c : c + 1], case.layer, row, column, case.model.tensors["x"].lo)
        assert got[n, c, row, column] == max(max(line) for line in seen[0])


@settings(max_examples=30)
@given(pool_cases(AvgPool))
def test_average_pool_sums_real_values_and_counts_what_its_divisor_covers(case: Case) -> None:
    """total == sum (x - zx); count == positions inside the plane and counted padding"""
    zero, layer = case.model.tensors["x"].zero_point, case.layer
    total = exact.accumulate(case.model, layer, {"x": case.x})
    height, width = case.model.tensors["x"].shape[1:]
    counts = windows.window_counts(layer, height, width)
    above, before, below, after = layer.counted
    for n, c, row, column in places(case):
        seen = window(case.x[n, c : c + 1], layer, row, column, zero)
        assert total[n, c, row, column] == sum(v - zero for line in seen[0] for v in line)
        inside = [
            1
            for a in range(layer.kernel[0])
            for b in range(layer.kernel[1])
            if -above <= row * layer.stride[0] - layer.padding[0] + a < height + below
            and -before <= column * layer.stride[1] - layer.padding[1] + b < width + after
        ]
        assert counts[row, column] == len(inside)


@settings(max_examples=40)
@given(conv2d_cases())
def test_outputs_stay_in_their_declared_width(case: Case) -> None:
    y, tensor = exact.run(case.model, case.x)["y"], case.model.tensors["y"]
    assert y.shape[1:] == tensor.shape
    assert tensor.lo <= y.min() and y.max() <= tensor.hi


def test_teacher_forcing_gives_what_a_whole_run_gives() -> None:
    """layer_output(layer, all tensors) == run(...)[layer.output], for every layer"""
    model = bundled.load("digits")
    x = np.random.default_rng(1).integers(0, 256, (3, 1, 8, 8))
    tensors = exact.run(model, x)
    for layer in model.layers:
        assert (exact.layer_output(model, layer, tensors) == tensors[layer.output]).all()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 1, 8, 8)), "must hold integers, got float64"),
        (np.zeros((2, 8, 8), int), r"must have shape \[N, 1, 8, 8\], got \[2, 8, 8\]"),
        (np.full((2, 1, 8, 8), 256), r"must lie in 0\.\.255, got 256\.\.256"),
        ({"pixels": np.zeros((2, 1, 8, 8), int)}, "'image' is missing; given: pixels"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        exact.run(bundled.load("digits"), x)


ONES = np.ones((1, 1, 2, 2), int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact.relu([0.5]), "x: wanted integers, got float64"),
        (lambda: exact.relu([float("nan")]), "x: wanted integers, got float64"),
        (lambda: exact.relu([1e30]), "x: wanted integers, got float64"),
        (lambda: exact.relu([2**64 - 1]), "x: wanted integers below 2\\*\\*63, got 18446744"),
        (lambda: exact.linear([[1, 2]], [[3, 4]], 0.5), "bias: wanted integers, got float64"),
        (lambda: exact.conv2d(ONES, ONES, [0.5]), "bias: wanted integers, got float64"),
        (lambda: exact.conv2d(ONES, ONES, [1, 2]), r"bias: wanted 1 or 1 numbers, got \(2,\)"),
        (lambda: exact.conv2d([[[[1]]] * 2], [[[[1]]]] * 3, groups=2), "O in 2 groups, got"),
        (lambda: exact.add([1], [1], (0.5, 1)), "multipliers: wanted integers"),  # type: ignore
        (
            lambda: exact.conv2d(np.ones((1, 2, 3, 3), int), np.ones((1, 3, 1, 1), int)),
            "conv2d: w",
        ),
        (
            lambda: exact.linear([[1, 2]], [[1, 2, 3]]),
            r"linear: wanted x .* got .* and int64",
        ),
    ],
)
def test_a_layer_of_what_is_no_integer_or_does_not_meet_is_refused(call: Any, message: str) -> None:
    """no half becomes a whole number in silence"""
    with pytest.raises(InputError, match=message):
        call()
