"""ONNX's own node tests of integer operators, through the importer and the exact twins.

    python -m benchmarks.onnx_nodes

Every test whose name says it works on quantized or narrow integers is listed.  The first
input is the network's, the others become constants, as weights and scales are in any
network.  What the importer refuses is inapplicable, with the importer's own reason; what
it accepts must equal the expected output, integers with `==`.  Exit code 1 if one does not.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from apsim.errors import ApsimError
from apsim.nn import exact, real
from apsim.nn.importers.onnx import lower
from apsim.nn.importers.onnx_file import graph_of
from apsim.nn.model import Model

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
    """Import and run one case on each of its data sets."""
    for data in case.data_sets:
        inputs, outputs = ([array_of(one) for one in part] for part in data)
        try:
            model = imported(case.model, inputs)
            wrong = difference(model, inputs[0], outputs)
        except ApsimError as error:
            return Verdict(case.name, "inapplicable", " ".join(str(error).split()))
        if wrong:
            return Verdict(case.name, "failed", wrong)
    return Verdict(case.name, "passed")


def array_of(value: Any) -> Any:
    """A tensor of a data set as a numpy array; 4- and 2-bit ones come as protobuf."""
    import onnx

    is_proto = isinstance(value, onnx.TensorProto)
    return onnx.numpy_helper.to_array(value) if is_proto else np.asarray(value)


def imported(proto: Any, inputs: list[Any]) -> Model:
    """The model with every input but the first as a constant."""
    import onnx

    bound = onnx.ModelProto()
    bound.CopyFrom(proto)
    for value, array in list(zip(proto.graph.input, inputs, strict=True))[1:]:
        bound.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
    return lower(graph_of(bound, "node")).model


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
