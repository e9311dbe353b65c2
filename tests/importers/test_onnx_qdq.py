"""QDQ and QCDQ networks: every integer tensor against the reference evaluator's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

pytest.importorskip("onnx")

from onnx import helper
from onnx.reference import ReferenceEvaluator

from apsim.nn import exact
from apsim.nn.importers.onnx import lower
from apsim.nn.importers.onnx_file import graph_of
from apsim.nn.rules import real
from tests.helpers.onnx_models import OnnxCase
from tests.helpers.onnx_qdq import qdq_networks


def expected(case: OnnxCase, names: list[str]) -> dict[str, Any]:
    """The reference evaluator's integers, one run for all tensors."""
    for name in names:
        case.proto.graph.output.append(helper.make_empty_tensor_value_info(name))
    values = ReferenceEvaluator(case.proto).run(None, {"x": case.x})[1:]
    return dict(zip(names, values, strict=True))


def agrees(case: OnnxCase, names: list[str]) -> None:
    """run(import(m), quantize(x))[t] == ReferenceEvaluator(m)(x)[t] for every integer t.

    A tensor that the import has under another name (a narrowed one) is found through
    the output that depends on it.
    """
    model = lower(graph_of(case.proto, "network")).model
    ours = exact.run(model, real.quantize(model, case.x))
    theirs = expected(case, names)
    shared = [name for name in names if name in ours]
    for name in shared:
        assert np.array_equal(ours[name], theirs[name]), name
    assert np.array_equal(ours[model.output], theirs[names[-1]])


@settings(max_examples=150)
@given(qdq_networks())
def test_every_tensor_of_a_network_equals_the_reference(
    network: tuple[OnnxCase, list[str]],
) -> None:
    agrees(*network)


@pytest.mark.long
@settings(max_examples=5000)
@given(qdq_networks())
def test_five_thousand_networks_equal_the_reference(network: tuple[OnnxCase, list[str]]) -> None:
    agrees(*network)
