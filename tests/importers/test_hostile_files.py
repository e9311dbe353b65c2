"""Files made to take for ever, or to mislead: one line that names the node, and no wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, defs, helper

from apsim.errors import ModelError
from apsim.nn import importers
from apsim.nn.importers.onnx import HANDLERS, lower
from apsim.nn.importers.onnx_file import graph_of
from tests.helpers.onnx_files import KERNEL, node, quantized, save

HUGE = np.array([1, 1 << 20, 1 << 20], np.int64)
END = quantized("c", "q2", "y")
CONV = [node("DequantizeLinear", "w s", "v"), node("Conv", "r v", "c0")]
ADDED = [node("Add", "c0 k", "c"), *END]


def refused(folder: Path, nodes: list[Any], message: str, **constants: Any) -> None:
    path = save(folder / "model.onnx", [*quantized(), *nodes], **{"w": KERNEL, **constants})
    with pytest.raises(ModelError, match=message) as caught:
        importers.read(path)
    assert "\n" not in str(caught.value)


def value(name: str, kind: int, *shape: int) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def loop() -> Any:
    """acc = acc, as often as the trip count says."""
    body = [node("Identity", "more_in", "more"), node("Identity", "acc_in", "acc")]
    given = [value("i", TensorProto.INT64), value("more_in", TensorProto.BOOL),
             value("acc_in", TensorProto.FLOAT)]  # fmt: skip
    made = [value("more", TensorProto.BOOL), value("acc", TensorProto.FLOAT)]
    return helper.make_graph(body, "body", given, made)


def branch() -> Any:
    made = [value("one", TensorProto.FLOAT)]
    return helper.make_graph([node("Identity", "k0", "one")], "branch", [], made)


def test_a_constant_loop_is_refused_before_its_first_trip(tmp_path: Path) -> None:
    nodes = [*CONV, node("Loop", "trips go k0", "k", body=loop()), *ADDED]
    constants = {"trips": np.int64(1 << 62), "go": np.array(True), "k0": np.float32(1)}
    refused(tmp_path, nodes, r"node 4 Loop .*\(output 'k'\): a subgraph of its own", **constants)


def test_a_constant_if_is_refused_by_name(tmp_path: Path) -> None:
    both = {"then_branch": branch(), "else_branch": branch()}
    nodes = [*CONV, node("If", "go", "k", **both), *ADDED]
    constants = {"go": np.array(True), "k0": np.float32(1)}
    refused(tmp_path, nodes, r"node 4 If .*\(output 'k'\): a subgraph of its own", **constants)


@pytest.mark.parametrize(
    ("made", "constants"),
    [
        (node("ConstantOfShape", "n", "k"), {"n": HUGE}),
        (node("Expand", "s n", "k"), {"n": HUGE}),
        (node("Tile", "v1 n", "k"), {"v1": np.ones(4), "n": np.array([1 << 40])}),
        (node("Range", "a b d", "k"), {"a": np.int64(0), "b": np.int64(1 << 62), "d": np.int64(1)}),
        (node("Gather", "v1 n", "k"), {"v1": np.ones(1 << 16), "n": np.zeros(1 << 16, np.int64)}),
    ],
)
def test_constants_of_gigabytes_are_refused_before_they_are_made(
    tmp_path: Path, made: Any, constants: dict[str, Any]
) -> None:
    message = r"node 4 .*its constants would take .* values and .* operations"
    refused(tmp_path, [*CONV, made, *ADDED], message, **constants)


def test_constants_that_double_forty_times_are_refused(tmp_path: Path) -> None:
    doubled = [node("Concat", f"k{i} k{i}", f"k{i + 1}", axis=0) for i in range(40)]
    nodes = [*CONV, *doubled, node("Add", "c0 k40", "c"), *END]
    refused(tmp_path, nodes, r"Concat .*its constants would take", k0=np.ones(1024, np.float32))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"strides": [1 << 40, 1]}, r"strides \[1099511627776, 1\]"),
        ({"pads": [0, 0, 1 << 40, 0]}, r"pads \[0, 0, 1099511627776, 0\]"),
        ({"pads": [0, -1, 0, 0]}, r"pads \[0, -1, 0, 0\]"),
        ({"dilations": [1, 1 << 62]}, "dilations"),
        ({"strides": [0, 1]}, r"strides \[0, 1\]"),
        ({"strides": [1]}, r"strides \[1\]"),
        ({"auto_pad": "SAME"}, "auto_pad 'SAME'"),
        ({"kernel_shape": [2, 2]}, r"kernel_shape \[2, 2\] beside weights"),
    ],
)
def test_windows_no_plane_has_are_refused_by_attribute(
    tmp_path: Path, attributes: dict[str, Any], message: str
) -> None:
    nodes = [CONV[0], node("Conv", "r v", "c", **attributes), *END]
    refused(tmp_path, nodes, rf"node 3 Conv .*{message}")


@pytest.mark.parametrize("shape", [(0, 2, 3, 3), (2, 2, 0, 3)])
def test_weights_that_hold_nothing_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    nodes = [CONV[0], node("Conv", "r v", "c"), *END]
    refused(tmp_path, nodes, "node 3 Conv .*weights of shape .* nothing", w=np.ones(shape, np.int8))


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    nodes = [*quantized(), *CONV, node("Add", "c0 oddoddodd", "c"), *END]
    path = save(tmp_path / "model.onnx", nodes, w=KERNEL, oddoddodd=np.float32(1))
    path.write_bytes(path.read_bytes().replace(b"oddoddodd", b"odd\xff\xfe\xfdodd"))
    with pytest.raises(ModelError, match=r"a name that is not UTF-8: b'odd\\xff"):
        importers.read(path)


def test_arithmetic_with_the_number_of_inputs_is_refused(tmp_path: Path) -> None:
    """Shape gives -1 for the batch: twice that is no size."""
    nodes = [
        node("Shape", "r", "k"), node("Mul", "k two", "k2"), node("Reshape", "r k2", "c"), *END,
    ]  # fmt: skip
    refused(tmp_path, nodes, r"node 3 Mul .*arithmetic with the number of inputs", two=np.int64(2))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("MaxPool", "r", "y", kernel_shape=[2, 2], pads=[2] * 4)], "padding less than"),
        ([node("AveragePool", "r", "c", kernel_shape=[2, 2], pads=[5] * 4), *END], "padding less"),
    ],
)
def test_windows_of_padding_alone_are_refused(
    tmp_path: Path, nodes: list[Any], message: str
) -> None:
    refused(tmp_path, nodes, message)


def test_every_attribute_that_is_not_honoured_is_refused_by_name(tmp_path: Path) -> None:
    """Of each operator: a value that is not its schema's default never passes in silence."""
    seen = 0
    for (domain, op), handler in HANDLERS.items():
        if domain or not defs.has(op) or defs.get_schema(op).since_version > 21:
            continue
        for name, schema in defs.get_schema(op, 21).attributes.items():
            if name in handler.attributes or not schema.default_value.type:
                continue
            default = helper.get_attribute_value(schema.default_value)
            other = default + 1 if isinstance(default, int | float) else "other"
            made = node(op, "r", "c", **{name: other})
            proto = onnx.load(save(tmp_path / "model.onnx", [*quantized(), made, *END]))
            with pytest.raises(ModelError, match=f"attribute {name} = .* is not honoured"):
                lower(graph_of(proto, "attribute"))
            seen += 1
    assert seen >= 3
