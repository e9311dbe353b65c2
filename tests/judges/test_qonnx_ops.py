"""QONNX's and FINN's operators against their definitions, one value at a time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim.nn.judges import kinds, qonnx_ops
from tests.helpers.judge_models import node, saved

DOMAIN = "qonnx.custom_op.general"


def away(x: float, half: float) -> float:
    return math.copysign(math.floor(abs(x) + half), x)


SCALAR = {
    "ROUND": lambda x: float(round(x)), "CEIL": math.ceil, "FLOOR": math.floor,
    "UP": lambda x: math.copysign(math.ceil(abs(x)), x), "DOWN": math.trunc,
    "ROUND_TO_ZERO": math.trunc, "HALF_EVEN": lambda x: float(round(x)),
    "HALF_UP": lambda x: away(x, 0.5),
    "HALF_DOWN": lambda x: math.copysign(math.ceil(abs(x) - 0.5), x),
}  # fmt: skip


@given(
    st.integers(-40, 40), st.sampled_from([0.5, 1.0, 0.25]), st.integers(-2, 2),
    st.sampled_from([1, 2, 4, 8, 2.3]), st.booleans(), st.booleans(),
    st.sampled_from(sorted(SCALAR)),
)  # fmt: skip
def test_quant_is_its_definition(
    eighths: int, scale: float, zero: int, bits: float, signed: bool, narrow: bool, mode: str
) -> None:
    """(round(clip(x / s + z, lo, hi)) - z) * s, lo = -2**(b-1) + narrow, hi = 2**(b-1) - 1"""
    x = eighths / 8
    lo, hi = (-(2.0 ** (bits - 1)) + narrow, 2.0 ** (bits - 1) - 1)
    if not signed:
        lo, hi = 0.0, 2.0**bits - 1 - narrow
    steps = x / scale + zero
    if signed and bits == 1:
        whole = 1.0 if steps >= 0 else -1.0
    else:
        whole = SCALAR[mode](min(max(steps, lo), hi))
    found = qonnx_ops.quant(
        np.float64([x]), np.float64(scale), np.float64(zero), np.float64(bits),
        signed=int(signed), narrow=int(narrow), rounding_mode=mode.lower(),
    )  # fmt: skip
    assert found[0] == (whole - zero) * scale


def test_widths_lie_where_their_shape_says() -> None:
    x = np.full((1, 3, 2), 100.0, np.float32)
    bits = np.array([8, 4, 2], np.float32).reshape(1, 3, 1)
    found = qonnx_ops.quant(x, np.float32(1), np.float32(0), bits)
    assert found.tolist() == [[[100, 100], [7, 7], [1, 1]]]


def test_an_unknown_rounding_mode_is_no_reading() -> None:
    with pytest.raises(ValueError, match="rounding mode SIDEWAYS"):
        qonnx_ops.quant(
            np.ones(1), np.ones(1), np.zeros(1), np.ones(1) * 8, rounding_mode="sideways"
        )


def test_bipolar_quant_is_plus_from_zero_on() -> None:
    x = np.array([-0.1, -0.0, 0.0, 3.0], np.float32)
    assert qonnx_ops.bipolar_quant(x, np.float32(0.5)).tolist() == [-0.5, 0.5, 0.5, 0.5]


def test_trunc_drops_low_bits() -> None:
    x = np.array([0, 3, 4, 7, 15], np.float32)
    five = [np.float32(v) for v in (1, 0, 4, 2)]
    assert qonnx_ops.trunc(x, *five).tolist() == [0, 0, 1, 1, 3]
    seven = [np.float32(v) for v in (1, 0, 4, 4, 0, 2)]
    assert qonnx_ops.trunc(x, *seven, signed=0).tolist() == [0, 0, 4, 4, 12]


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=6), st.sampled_from(["NCHW", "NHWC"]))
def test_multi_threshold_counts_thresholds_reached(values: list[int], layout: str) -> None:
    """y = scale * #{t : x >= t} + bias, with thresholds for each channel"""
    x = np.array(values, np.float32)
    plane = np.stack([x, -x]).reshape(1, 2, 1, -1)  # [N, C, H, W]
    thresholds = np.array([[-3, 0, 5], [1, 2, 3]], np.float32)
    given = plane if layout == "NCHW" else plane.transpose(0, 2, 3, 1)
    found = qonnx_ops.multi_threshold(
        given, thresholds, out_scale=2.0, out_bias=-1.0, data_layout=layout.encode()
    )
    found = found if layout == "NCHW" else found.transpose(0, 3, 1, 2)
    for channel in (0, 1):
        for column, value in enumerate(plane[0, channel, 0]):
            wanted = 2 * sum(value >= t for t in thresholds[channel]) - 1
            assert found[0, channel, 0, column] == wanted


def test_they_run_in_the_reference_evaluator(tmp_path: Path) -> None:
    attributes = {"domain": DOMAIN, "signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    nodes = [node("Quant", "x s z b", "y", **attributes)]
    constants = {"s": np.float32(0.5), "z": np.float32(0), "b": np.float32(4)}
    path = saved(tmp_path / "q.onnx", nodes, constants, ("n", 3), domains=(DOMAIN,))
    x = np.array([[-9.0, 0.3, 2.25]], np.float32)
    found = kinds.judge("reference", path).read({"x": x}).values["y"]
    assert found.tolist() == [[-4.0, 0.5, 2.0]]


def test_channels_last_is_the_standard_operator_turned(tmp_path: Path) -> None:
    """Conv of channels in the last place, of the weights too == Conv, axes moved"""
    rng = np.random.default_rng(2)
    w = rng.integers(-3, 4, (2, 3, 3, 4)).astype(np.float32)  # [O, kh, kw, I]
    domain = "qonnx.custom_op.channels_last"
    nodes = [node("Conv", "x w", "y", domain=domain, kernel_shape=[3, 3], pads=[1, 1, 1, 1])]
    path = saved(tmp_path / "last.onnx", nodes, {"w": w}, ("n", 5, 5, 4), domains=(domain,))
    plain = [node("Conv", "x w", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])]
    first = saved(
        tmp_path / "first.onnx", plain, {"w": w.transpose(0, 3, 1, 2).copy()}, ("n", 4, 5, 5)
    )
    x = rng.integers(-3, 4, (2, 5, 5, 4)).astype(np.float32)
    last = kinds.judge("reference", path).read({"x": x}).values["y"]
    turned = kinds.judge("reference", first).read({"x": x.transpose(0, 3, 1, 2)}).values["y"]
    assert np.array_equal(last, turned.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(("sizes", "kernel", "strides", "dilations", "pads"), [
    ((6, 7), [3, 3], [2, 2], [1, 1], [1, 1, 0, 1]),
    ((5, 5), [2, 2], [2, 2], [1, 1], [1, 1, 0, 0]),
    ((6, 5), [2, 3], [1, 1], [3, 1], [2, 1, 1, 1]),
])  # fmt: skip
def test_maxpool_padded_by_same_lower_is_that_of_its_pads(
    tmp_path: Path, sizes: tuple[int, int], kernel: list[int], strides: list[int],
    dilations: list[int], pads: list[int],
) -> None:  # fmt: skip
    """out == ceil(in / stride); what is padded is half and half, the odd one at the beginning"""
    x = np.random.default_rng(3).normal(size=(2, 1, *sizes)).astype(np.float32)
    more = {"kernel_shape": kernel, "strides": strides, "dilations": dilations}
    found = []
    for attributes in ({"auto_pad": "SAME_LOWER"}, {"pads": pads}):
        path = saved(
            tmp_path / "pool.onnx", [node("MaxPool", "x", "y", **more, **attributes)], {},
            ("n", 1, *sizes),
        )  # fmt: skip
        found.append(kinds.judge("reference", path).read({"x": x}).values["y"])
    assert np.array_equal(*found)
    assert found[0].shape[2:] == tuple(-(-n // s) for n, s in zip(sizes, strides, strict=True))
