"""Real networks with the integers of other tools: each imports and gives them, or says why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tflite")

from apsim.errors import ModelError
from apsim.nn import exact, importers
from apsim.nn.importers import Imported
from apsim.nn.model import Integers
from apsim.nn.rules import real

Array = NDArray[Any]
REFUSED = {
    "audio_preprocessor_int8_custom": "CUSTOM SignalWindow x1",
}
COMPARED = {  # integers of the oracle, of every tensor that the network has as well
    "deeplab_dm05_resize_bilinear": 1_239_739,
    "lenet_300_100_log_softmax": 1_978,
    "lstm_mnist_ptq": 1_934,
    "mcunet_detection_resize_nn": 967_440,
    "mobilenet_v1_0.25_224_uint8": 1_262_930,
    "mobilenet_v2_ptq_mean": 928_836,
    "own_concat_unequal_uint8": 252,
    "own_int16x8_bias32": 554,
    "own_prelu_pad_channels": 900,
    "own_silu_resize_slice": 3_968,
    "seanet_leaky_relu0": 2_560,
    "seanet_pad0": 664,
    "seanet_quantize0": 640,
    "seanet_strided_slice0": 1_992,
    "seanet_strided_slice15": 640,
    "seanet_sub0": 1_536,
    "seanet_transpose_conv0": 2_304,
    "split_concat": 896,
    "toycar_float_input": 2_952,
    "vww_float_input_transpose_mean": 471_740,
    "wakeword_okay_nabu_streaming": 14_986,
    "wakeword_vad_streaming": 4_042,
}


@pytest.fixture(scope="module")
def zoo(models_dir: Path) -> Path:
    if not (models_dir / "zoo").is_dir():
        pytest.skip(f"no zoo at {models_dir}")
    return models_dir / "zoo"


def arrays(path: Path) -> dict[str, Array]:
    if not path.is_file():
        return {}
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def steps(imported: Imported, given: dict[str, Array]) -> Iterator[dict[str, Integers]]:
    """What each call takes: one for a network without a state."""
    model, count = imported.model, 1
    if model.states:
        count = len(next(iter(given.values())))
        given = {name: values.reshape(count, *values.shape[1:]) for name, values in given.items()}
    for i in range(count):
        one = {name: values[i] if model.states else values for name, values in given.items()}
        only = next(iter(one.values()))
        feeds = {
            name: one.get(model.called(name), one.get(name, only)) for name in model.inputs
        }  # fmt: skip
        yield {
            name: real.quantize(model, values, name) if values.dtype.kind == "f" else values
            for name, values in feeds.items()
        }


def ran(imported: Imported, given: dict[str, Array]) -> dict[str, Integers]:
    """Every tensor of the last call, outputs of all calls."""
    model, state, all_outputs = imported.model, {}, []
    tensors: dict[str, Integers] = {}
    for feeds in steps(imported, given):
        tensors = exact.run(model, {**feeds, **state})
        state = {one.read: tensors[one.written] for one in model.states}
        all_outputs.append({name: tensors[name] for name in model.outputs})
    if model.states:
        tensors |= {name: np.stack([o[name] for o in all_outputs]) for name in model.outputs}
    return tensors


def in_the_file_s_layout(values: Integers, axes: tuple[int, ...]) -> Integers:
    if not axes:
        return values
    back = np.argsort(axes) + 1
    return values.transpose(0, *back)


def differing(imported: Imported, mine: dict[str, Integers], theirs: dict[str, Array]) -> int:
    """How many of the oracle's integers are compared; all of them are equal."""
    compared = 0
    by_name = {one.name: one for one in imported.origins} | {
        f"t{one.index}": one for one in imported.origins
    }
    for name, wanted in theirs.items():
        one = by_name.get(name)
        if one is None or one.tensor not in mine:
            continue
        values = in_the_file_s_layout(mine[one.tensor], one.axes).ravel()
        if wanted.dtype.kind == "f":
            tensor = imported.model.tensors[one.tensor]
            scaled = (values - tensor.zero_point).astype(np.float32) * np.float32(tensor.scale or 1)
            assert np.array_equal(scaled, wanted.ravel()), name
        else:
            assert np.array_equal(values, wanted.ravel()), name
        compared += wanted.size
    return compared


@pytest.mark.parametrize("name", COMPARED)
def test_a_network_of_the_zoo_gives_its_oracle_s_integers(zoo: Path, name: str) -> None:
    path = zoo / f"{name}.tflite"
    imported = importers.read(path)
    mine = ran(imported, arrays(Path(f"{path}.in.npz")))
    theirs = arrays(Path(f"{path}.mid.npz")) | arrays(Path(f"{path}.out.npz"))
    assert differing(imported, mine, theirs) == COMPARED[name]


def test_the_scrambled_keyword_net_keeps_seven_states(zoo: Path) -> None:
    """LiteRT writes past its states of 8 bits, so another runtime says what comes out"""
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    path = zoo / "keyword_scrambled_8bit_svdf.tflite"
    model, judge = importers.read(path).model, runtime.Interpreter.from_file(str(path))
    rng, state = np.random.default_rng(0), {}
    for _ in range(8):
        x = rng.integers(-400, 12000, (1, 96)).astype(np.int16)
        judge.set_input(x, 0)
        judge.invoke()
        tensors = exact.run(model, {model.input: x, **state})
        state = {one.read: tensors[one.written] for one in model.states}
        assert len(state) == 7
        assert np.array_equal(tensors[model.output].ravel(), judge.get_output(0).ravel())


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_every_operator_that_blocks(zoo: Path, name: str) -> None:
    with pytest.raises(ModelError, match=REFUSED[name]):
        importers.read(zoo / f"{name}.tflite")
