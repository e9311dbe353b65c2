"""Random ONNX layers: our integers against two other implementations, all of them equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from apsim.nn import exact  # noqa: E402
from apsim.nn.importers.onnx import lower  # noqa: E402
from apsim.nn.importers.onnx_file import graph_of  # noqa: E402
from tests.helpers.onnx_models import OnnxCase, onnxruntime_cases, reference_cases  # noqa: E402

LONG = settings(max_examples=10_000)


def ours(case: OnnxCase, rule: str) -> NDArray[Any]:
    model = lower(graph_of(case.proto, "case"), rule).model
    return exact.run(model, case.x.astype(np.int64))["y"]


def by_onnxruntime(case: OnnxCase) -> NDArray[Any]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        case.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": case.x})[0])


def agrees_with_the_reference(case: OnnxCase) -> None:
    """run(import(m, onnx-exact), x) == ReferenceEvaluator(m)(x)"""
    expected = ReferenceEvaluator(case.proto).run(None, {"x": case.x})[0]
    assert np.array_equal(ours(case, "onnx-exact"), expected)


def agrees_with_onnxruntime(case: OnnxCase) -> None:
    """run(import(m, ort-f32), x) == onnxruntime(m)(x)"""
    assert np.array_equal(ours(case, "ort-f32"), by_onnxruntime(case))


@settings(max_examples=200)
@given(reference_cases())
def test_layers_equal_the_reference_evaluator(case: OnnxCase) -> None:
    agrees_with_the_reference(case)


@settings(max_examples=200)
@given(onnxruntime_cases())
def test_layers_equal_onnxruntime(case: OnnxCase) -> None:
    agrees_with_onnxruntime(case)


@pytest.mark.long
@LONG
@given(reference_cases())
def test_ten_thousand_layers_equal_the_reference_evaluator(case: OnnxCase) -> None:
    agrees_with_the_reference(case)


@pytest.mark.long
@LONG
@given(onnxruntime_cases())
def test_ten_thousand_layers_equal_onnxruntime(case: OnnxCase) -> None:
    agrees_with_onnxruntime(case)
