"""Every TFLite operator that is imported, for every type: LiteRT's integers, all of them."""

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
from apsim.nn.model.inputs import in_file  # noqa: E402
from tests.helpers.tflite_graphs import graphs  # noqa: E402
from tests.helpers.tflite_models import TfliteCase  # noqa: E402
from tests.helpers.tflite_operators import UNARY  # noqa: E402
from tests.helpers.tflite_rarer_operators import EVERY_PAIR, RARER, every_case  # noqa: E402
from tests.helpers.tflite_transformer import blocks  # noqa: E402

# these have no reference kernel (ELU), or one that reads what nobody wrote (SUM of signed words):
NOT_IN_REFERENCE = ("ELU", "SUM")  # the default one judges
SMALL = ("REDUCE_MAX", "REDUCE_MIN", "EXPAND_DIMS", "SQUEEZE", "GATHER_ND", "SVDF",
         "SUM at another scale")  # fmt: skip
SMALLER = (
    "SPACE_TO_DEPTH",
    "CAST",
    "ARG_MIN",
    "REVERSE_V2",
    "BATCH_TO_SPACE_ND alone",
    "GATHER of batches",
)
SOME = dict.fromkeys(UNARY, 8) | dict.fromkeys(RARER, 32) | dict.fromkeys(SMALL, 130) | {
    "STRIDED_SLICE": 160, "SLICE": 120, "SUM": 60, "MEAN": 60, "UNIDIRECTIONAL_SEQUENCE_LSTM": 25,
    **dict.fromkeys(SMALLER, 70),
}  # cases, 40 of the others  # fmt: skip


def theirs(case: TfliteCase) -> list[NDArray[Any]]:
    resolver = litert.OpResolverType
    kernels = resolver.BUILTIN_REF
    if case.op in NOT_IN_REFERENCE and case.inputs[0].dtype != np.uint8:
        kernels = resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    judge = litert.Interpreter(
        model_content=case.content, experimental_op_resolver_type=kernels, num_threads=1
    )
    judge.allocate_tensors()
    for detail, values in zip(judge.get_input_details(), case.inputs, strict=True):
        judge.set_tensor(detail["index"], values)
    judge.invoke()
    return [np.asarray(judge.get_tensor(one["index"])) for one in judge.get_output_details()]


def ours(case: TfliteCase, folder: Path) -> list[NDArray[Any]]:
    path = folder / "case.tflite"
    path.write_bytes(case.content)
    model = importers.read(path).model
    tensors = exact.run(model, dict(zip(model.inputs, case.inputs, strict=True)))
    return [in_file(model, name, tensors[name]) for name in model.outputs]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operators")


def held_against_litert(case: TfliteCase, folder: Path) -> int:
    """How many integers are equal: all, in the file's own order."""
    mine, others = ours(case, folder), theirs(case)
    assert len(mine) == len(others)
    for a, b in zip(mine, others, strict=True):
        assert np.array_equal(a, b)
    return sum(b.size for b in others)


@pytest.mark.parametrize(("name", "dtype"), EVERY_PAIR)
def test_an_operator_equals_litert_in_a_thousand_values(
    name: str, dtype: str, folder: Path
) -> None:
    """run(import(m), x) == BUILTIN_REF(m)(x), for 1,000 values and more"""
    seen = []

    @settings(max_examples=SOME.get(name, 40), database=None)
    @given(case=every_case(name, dtype))
    def one(case: TfliteCase) -> None:
        seen.append(held_against_litert(case, folder))

    one()
    assert sum(seen) >= 1000


@settings(max_examples=80)
@given(case=graphs())
def test_graphs_equal_litert(case: TfliteCase, folder: Path) -> None:
    """Planes and files' own layouts, moves before and after products, several outputs"""
    held_against_litert(case, folder)


def test_a_transformer_block_equals_litert_in_every_tensor(folder: Path) -> None:
    """Layer norm in eight operators, heads by moves, products of two activations, softmax, GELU"""
    seen = []

    @settings(max_examples=25, database=None)
    @given(case=blocks())
    def one(case: TfliteCase) -> None:
        seen.append(held_against_litert(case, folder))

    one()
    assert sum(seen) >= 10_000


@pytest.mark.long
@settings(max_examples=5_000)
@given(case=graphs())
def test_five_thousand_graphs_equal_litert(case: TfliteCase, folder: Path) -> None:
    held_against_litert(case, folder)


@pytest.mark.long
@settings(max_examples=20_000)
@given(case=st.sampled_from(EVERY_PAIR).flatmap(lambda pair: every_case(*pair)))
def test_twenty_thousand_layers_equal_litert(case: TfliteCase, folder: Path) -> None:
    held_against_litert(case, folder)
