"""Random TFLite layers: our integers against TFLite's own reference kernels, all equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("tflite")
litert = pytest.importorskip("ai_edge_litert.interpreter")

from apsim.nn import exact, importers  # noqa: E402
from tests.helpers.tflite_models import (  # noqa: E402
    TfliteCase,
    additions,
    concatenations,
    convolutions,
    fully_connected,
    padded_convolutions,
    pools,
    requantizations,
)


def by_reference_kernels(case: TfliteCase) -> NDArray[Any]:
    judge = litert.Interpreter(
        model_content=case.content,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
    )
    judge.allocate_tensors()
    for detail, values in zip(judge.get_input_details(), case.inputs, strict=True):
        judge.set_tensor(detail["index"], values)
    judge.invoke()
    return np.asarray(judge.get_tensor(judge.get_output_details()[0]["index"]))


def ours(case: TfliteCase, folder: Path) -> NDArray[Any]:
    path = folder / "case.tflite"
    path.write_bytes(case.content)
    model = importers.read(path).model
    feeds = dict(zip(model.inputs, case.inputs, strict=True))
    return exact.run(model, feeds)[model.output]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tflite")


CASES = st.one_of(convolutions(), fully_connected(), additions(), pools(), concatenations())
WIDE = st.one_of(convolutions(wide=True), fully_connected(wide=True))


@settings(max_examples=200)
@given(case=CASES)
def test_int8_layers_equal_the_reference_kernels(case: TfliteCase, folder: Path) -> None:
    """run(import(m), x) == BUILTIN_REF(m)(x)"""
    assert np.array_equal(ours(case, folder), by_reference_kernels(case))


@settings(max_examples=100)
@given(case=WIDE)
def test_int16x8_layers_equal_the_reference_kernels(case: TfliteCase, folder: Path) -> None:
    assert np.array_equal(ours(case, folder), by_reference_kernels(case))


@settings(max_examples=60)
@given(case=padded_convolutions() | requantizations())
def test_explicit_padding_and_requantization_equal_the_reference_kernels(
    case: TfliteCase, folder: Path
) -> None:
    """PAD becomes the padding of its convolution, QUANTIZE a layer of its own"""
    assert np.array_equal(ours(case, folder), by_reference_kernels(case))


@pytest.mark.long
@settings(max_examples=10_000)
@given(case=CASES | WIDE)
def test_ten_thousand_layers_equal_the_reference_kernels(case: TfliteCase, folder: Path) -> None:
    assert np.array_equal(ours(case, folder), by_reference_kernels(case))
