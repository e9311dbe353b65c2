"""ONNX's own node tests of integer operators, through the importer and the exact twins.

    python -m benchmarks.onnx_nodes

Every test whose name says it works on quantized or narrow integers is listed.  The first
input is the network's, the others become constants, as weights and scales are in any
network.  A quantization with a scale for each channel, which no activation has, is judged
as one of weights, with all inputs constant; a product of two stacks of matrices as one
network for each pair.  What the importer refuses in every form is inapplicable, with the
importer's own reason; what it accepts must equal the expected output, integers with `==`.
Exit code 1 if one does not.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from apsim.errors import ApsimError, ModelError
from apsim.nn import exact
from apsim.nn.importers.constants import ConstReal
from apsim.nn.importers.graph import all_refused
from apsim.nn.importers.onnx import HANDLERS, lower
from apsim.nn.importers.onnx_file import graph_of
from apsim.nn.importers.walk import Walk
from apsim.nn.model import Model
from apsim.nn.rules import real

QUANTIZATION = ("QuantizeLinear", "DequantizeLinear")
INTEGERS = re.compile(r"qlinear|integer|quantizelinear|u?int(2|4|8|16)(_|$)")


@dataclass(frozen=True)
class Verdict:
    """One node test: "passed", "failed", or "inapplicable" with the reason."""

    name: str
    verdict: str
    reason: str = ""


def cases() -> Iterator[Any]:
    """The integer node tests of the installed onnx package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package computes its cases with overflows
        from onnx.backend.test.loader import load_model_tests

        found = load_model_tests(kind="node")
    return (case for case in found if INTEGERS.search(case.name))


def judge(case: Any) -> Verdict:
    """Import and run one case on each of its data sets, in the first form that is accepted."""
    found = [_judge_data(case, data) for data in case.data_sets]
    return next((one for one in found if one.verdict != "passed"), found[0])


def _judge_data(case: Any, data: Any) -> Verdict:
    inputs, outputs = ([array_of(one) for one in part] for part in data)
    refusals = []
    for form, differs in FORMS.items():
        try:
            wrong = differs(case.model, inputs, outputs)
        except ApsimError as error:
            refusals.append(" ".join(str(error).split()))
        else:
            return Verdict(case.name, "failed" if wrong else "passed", wrong or form)
    return Verdict(case.name, "inapplicable", refusals[0])


def as_activations(proto: Any, inputs: list[Any], outputs: list[Any]) -> str:
    """The first input is the network's: what differs, "" where nothing does."""
    return difference(imported(proto, inputs), inputs[0], outputs)


def as_weights(proto: Any, inputs: list[Any], outputs: list[Any]) -> str:
    """All inputs are constants, as those of weights are; for quantization alone."""
    if not all(node.op_type in QUANTIZATION for node in proto.graph.node):
        raise ModelError("not a quantization of weights")
    walk = Walk(graph_of(with_constants(proto, inputs), "node"), "onnx-exact")
    for node in walk.graph.nodes:
        walk.visit(node, HANDLERS)
    if walk.blockers:
        raise all_refused(walk.blockers)
    made = [walk.values[name] for name in walk.graph.outputs]
    arrays = [one.real if isinstance(one, ConstReal) else one.array for one in made]  # type: ignore[union-attr]
    return "".join(
        f"expected {wanted.ravel()[:8]}, got {np.ravel(got)[:8]}"
        for got, wanted in zip(arrays, outputs, strict=True)
        if not np.array_equal(np.asarray(got, np.float32), wanted.astype(np.float32))
    )


def matrix_by_matrix(proto: Any, inputs: list[Any], outputs: list[Any]) -> str:
    """A product of two stacks of matrices is the stack of their products: a network for each."""
    weights = [index for index, array in enumerate(inputs) if index and array.ndim == 3]
    if len(weights) != 1 or inputs[0].ndim != 3 or len(outputs) != 1:
        raise ModelError("no product of two stacks of matrices")
    wrong = ""
    for position, x in enumerate(inputs[0]):
        parts = [array[position] if i in weights else array for i, array in enumerate(inputs)]
        parts[0], alone = x, onnx_copy(proto)
        del alone.graph.input[0].type.tensor_type.shape.dim[0]
        wrong += difference(imported(alone, parts), x, [outputs[0][position]])
    return wrong


FORMS = {"": as_activations, "as weights": as_weights, "matrix by matrix": matrix_by_matrix}


def array_of(value: Any) -> Any:
    """A tensor of a data set as a numpy array; 4- and 2-bit ones come as protobuf."""
    import onnx

    is_proto = isinstance(value, onnx.TensorProto)
    return onnx.numpy_helper.to_array(value) if is_proto else np.asarray(value)


def onnx_copy(proto: Any) -> Any:
    """The same model, to be changed."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return copy


def with_constants(proto: Any, inputs: list[Any], first: int = 0) -> Any:
    """The model with the inputs from number `first` on as constants."""
    import onnx

    bound = onnx_copy(proto)
    for value, array in list(zip(proto.graph.input, inputs, strict=True))[first:]:
        bound.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
    return bound


def imported(proto: Any, inputs: list[Any]) -> Model:
    """The model with every input but the first as a constant."""
    return lower(graph_of(with_constants(proto, inputs, 1), "node")).model


def difference(model: Model, x: Any, outputs: list[Any]) -> str:
    """What differs from the expected outputs, "" where nothing does."""
    integers = real.quantize(model, x) if x.dtype.kind == "f" else x.astype(np.int64)
    tensors = exact.run(model, integers)
    for name, expected in zip(model.outputs, outputs, strict=True):
        got: Any = tensors[name]
        if expected.dtype.kind == "f":
            got = real.dequantize(model.tensors[name], got)
        if not np.array_equal(got, expected.astype(got.dtype)):
            return f"{name}: expected {expected.ravel()[:8]}, got {np.ravel(got)[:8]}"
    return ""


def main() -> int:
    verdicts = [judge(case) for case in cases()]
    for one in verdicts:
        print(f"{one.verdict:12} {one.name}{': ' + one.reason if one.reason else ''}")
    passed, failed = (sum(v.verdict == kind for v in verdicts) for kind in ("passed", "failed"))
    print(f"passed / applicable / total: {passed} / {passed + failed} / {len(verdicts)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
