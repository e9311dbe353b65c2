"""Operators that keep a state: the integers of other runtimes, call after call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("tflite")
pytest.importorskip("flatbuffers")

from apsim.errors import InputError
from apsim.nn import exact, importers, runtime, streaming
from apsim.nn.judges import kinds
from apsim.nn.on_ap.chip import Chip
from tests.helpers.tflite_models import RELU, OperatorSpec, TensorSpec, TfliteCase, network
from tests.helpers.tflite_operators import Draw
from tests.helpers.tflite_rarer_operators import svdf

Array = NDArray[Any]
CALLS = 6
Step = Callable[[Array], Array]


@st.composite
def cases(draw: st.DrawFn, state: str) -> tuple[TfliteCase, list[Array]]:
    """A model with one SVDF, and what it is given call after call."""
    d = Draw(draw, "int8")
    case = svdf(d, state)
    return case, [d.values(case.inputs[0].shape) for _ in range(CALLS)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("states")


def ours(case: TfliteCase, given: list[Array], folder: Path) -> list[Array]:
    path = folder / "case.tflite"
    path.write_bytes(case.content)
    model = importers.read(path).model
    state: dict[str, Array] = {}
    found = []
    for x in given:
        tensors = exact.run(model, {model.input: x, **state})
        state = {one.read: tensors[one.written] for one in model.states}
        found.append(tensors[model.output])
    return found


def litert(case: TfliteCase) -> Step:
    module = pytest.importorskip("ai_edge_litert.interpreter")
    judge = module.Interpreter(
        model_content=case.content, num_threads=1,
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF,
    )  # fmt: skip
    judge.allocate_tensors()

    def step(x: Array) -> Array:
        judge.set_tensor(judge.get_input_details()[0]["index"], x)
        judge.invoke()
        return np.asarray(judge.get_tensor(judge.get_output_details()[0]["index"]))

    return step


def micro(case: TfliteCase) -> Step:
    module = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    judge = module.Interpreter.from_bytes(case.content)

    def step(x: Array) -> Array:
        judge.set_input(x, 0)
        judge.invoke()
        return np.array(judge.get_output(0))

    return step


@pytest.mark.parametrize(("state", "judge"), [("int16", litert), ("int16", micro), ("int8", micro)])
def test_an_svdf_remembers_what_its_kernel_does(
    state: str, judge: Callable[[TfliteCase], Step], folder: Path
) -> None:
    """run(import(m), x_t, state_t) == kernel(x_t) for every t, from a fresh interpreter on"""
    varied: set[int] = set()

    @settings(max_examples=30, database=None)
    @given(drawn=cases(state))
    def one(drawn: tuple[TfliteCase, list[Array]]) -> None:
        case, given = drawn
        step = judge(case)
        for mine, x in zip(ours(case, given, folder), given, strict=True):
            wanted = step(x)
            varied.update(wanted.ravel().tolist())
            assert np.array_equal(mine.ravel(), wanted.ravel())

    one()
    assert len(varied) > 200  # and not at the ends of the range alone


def small() -> tuple[TfliteCase, list[Array]]:
    """Six units of rank 2 over three steps, four features, an int8 state; six calls."""
    rng = np.random.default_rng(5)
    w, t = (rng.integers(-127, 128, shape).astype(np.int8) for shape in ((12, 4), (12, 3)))
    b = rng.integers(-900, 900, 6).astype(np.int32)
    specs = [
        TensorSpec("x", (1, 4), "int8", [0.05], [-7]),
        TensorSpec("w", w.shape, "int8", [0.004], [0], w),
        TensorSpec("t", t.shape, "int8", [0.01], [0], t),
        TensorSpec("b", (6,), "int32", [0.0002], [0], b),
        TensorSpec("state", (1, 36), "int8", [0.02], [31], variable=True),
        TensorSpec("y", (1, 6), "int8", [0.05], [-9]),
    ]
    options = {"Rank": 2, "FusedActivationFunction": RELU}
    operator = OperatorSpec("SVDF", [0, 1, 2, 3, 4], 5, "SVDFOptions", options, 3)
    given = rng.integers(-40, 30, (CALLS, 1, 4)).astype(np.int8)
    return TfliteCase("SVDF", network(specs, [operator]), list(given)), list(given)


BY_MICRO = (
    (-13, -13, -10, -5, -7, -5),
    (10, 0, -28, -30, -22, -9),
    (-18, -9, -44, -34, -58, 30),
    (-15, -23, -100, 12, -32, -20),
    (3, -11, -105, -32, -48, -9),
    (-20, -26, -48, 0, -39, 2),
)


def test_a_state_of_8_bits_is_as_tflite_micro_had_it(folder: Path) -> None:
    """Recorded; with tflite-micro installed it is asked again"""
    case, given = small()
    found = np.concatenate(ours(case, given, folder))
    assert found.tolist() == [list(line) for line in BY_MICRO]


def drawn(state: str) -> tuple[TfliteCase, list[Array]]:
    found = []

    @settings(max_examples=1, database=None)
    @given(one=cases(state))
    def draw(one: tuple[TfliteCase, list[Array]]) -> None:
        found.append(one)

    draw()
    return found[0]


def test_an_svdf_runs_step_by_step_on_an_ap_and_is_counted(folder: Path) -> None:
    case, given = drawn("int16")
    path = folder / "case.tflite"
    path.write_bytes(case.content)
    model = importers.read(path).model
    done = streaming.run(model, ({model.input: x} for x in given), Chip.preset("bf-imna-lr"))
    assert isinstance(done.run, runtime.Run) and done.run.passed
    assert np.array_equal(done.run.tensors[model.output].ravel(),
                          np.concatenate(ours(case, given, folder)).ravel())  # fmt: skip


def test_a_state_that_litert_writes_past_is_not_given_to_it(folder: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    path = folder / "case.tflite"
    path.write_bytes(drawn("int8")[0].content)
    with pytest.raises(InputError, match="write past the state"):
        kinds.judge("litert", path)
