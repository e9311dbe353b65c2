"""TFLite operators on emulated APs: the twin's integers, and the counts that were forecast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tflite")
pytest.importorskip("flatbuffers")

from apsim.errors import InputError
from apsim.nn import exact, importers, runtime
from apsim.nn.importers import Options
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.plan import predicted
from tests.helpers.tflite_models import TfliteCase
from tests.helpers.tflite_operators import cases
from tests.helpers.tflite_transformer import blocks

ON_AP = ("MUL", "SUB", "MAXIMUM", "MINIMUM", "MEAN", "BATCH_MATMUL", "SQUARED_DIFFERENCE",
         "FULLY_CONNECTED of two activations")  # fmt: skip
SIGNED_ALONE = ("BATCH_MATMUL", "SQUARED_DIFFERENCE", "FULLY_CONNECTED of two activations")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("on_ap")


def run_on(case: TfliteCase, folder: Path, kind: str, requant: str) -> runtime.Run:
    path = folder / "case.tflite"
    path.write_bytes(case.content)
    model = importers.read(path).model
    chip = Chip.preset("bf-imna-lr", ap=kind, requant=requant)
    return runtime.run(model, dict(zip(model.inputs, case.inputs, strict=True)), chip)


@settings(max_examples=40)
@given(data=st.data(), kind=st.sampled_from(["1d", "2d", "2d-seg"]),
       requant=st.sampled_from(["host", "ap"]))  # fmt: skip
def test_operators_of_two_words_and_sums_are_exact_and_counted_as_forecast(
    data: st.DataObject, kind: str, requant: str, folder: Path
) -> None:
    name = data.draw(st.sampled_from(ON_AP))
    types = ("int8",) if name in SIGNED_ALONE else ("int8", "uint8", "int16")
    case = data.draw(cases(name, data.draw(st.sampled_from(types))))
    done = run_on(case, folder, kind, requant)
    assert done.bit_exact and done.counts_match
    assert any(layer.parts for layer in done.layers)
    forecast = predicted(done.model, 1, done.chip.kind, done.chip.design.rows, requant)
    assert {one.name: one.counts for one in done.layers if one.loads} == {
        name: one.predicted for name, one in forecast.items()
    }


@settings(max_examples=3)
@given(case=blocks(), kind=st.sampled_from(["1d", "2d"]))
def test_a_transformer_block_is_exact_on_an_ap_and_counted_as_forecast(
    case: TfliteCase, kind: str, folder: Path
) -> None:
    """Only softmax is the host's: an island, by LiteRT's integer rule"""
    done = run_on(case, folder, kind, "ap")
    assert done.passed
    islands = {layer.op for layer in done.layers if any("island" in one for one in layer.host)}
    assert islands == {"softmax"}


@pytest.mark.parametrize("op", ["LOGISTIC", "HARD_SWISH", "LEAKY_RELU"])
def test_a_function_of_a_word_is_a_list_of_passes(op: str, folder: Path) -> None:
    """The words of the reference kernels come out of an array, p passes for each load."""
    case = _one(op)
    done = run_on(case, folder, "2d", "host")
    (table,) = [layer for layer in done.layers if layer.op == "table"]
    assert done.bit_exact and done.counts_match
    assert table.loads == 1 and not table.host
    assert table.counts.write == table.counts.compare + 1 + 8 and table.counts.read == 8


def _one(op: str) -> TfliteCase:
    found: list[TfliteCase] = []

    @settings(max_examples=1, database=None)
    @given(case=cases(op, "int8"))
    def draw(case: TfliteCase) -> None:
        found.append(case)

    draw()
    return found[0]


def test_the_ap_s_own_softmax_is_taken_where_it_is_asked_for(folder: Path) -> None:
    """Other integers than LiteRT's, near them, and no island of the host is left"""
    path = folder / "case.tflite"
    path.write_bytes(_one("SOFTMAX").content)
    theirs, ours = (
        importers.read(path, options=Options(softmax=rule)).model for rule in ("", "ap")
    )
    x = np.arange(-128, 128).reshape(1, -1)[:, : np.prod(ours.tensors[ours.input].shape)]
    x = np.resize(x, (1, *ours.tensors[ours.input].shape))
    done = runtime.run(ours, x, Chip.preset("bf-imna-lr"))
    assert done.passed and not any("island" in one for layer in done.layers for one in layer.host)
    other = exact.run(theirs, x)[theirs.output]
    assert np.abs(done.outputs - other).max() <= 2
    with pytest.raises(InputError, match="rules of their own"):
        importers.read(path, options=Options(softmax="real"))
