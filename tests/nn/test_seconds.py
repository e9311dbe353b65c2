"""Where a run's time goes: parts that add up, and im2col among them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsim.errors import InputError
from apsim.nn import checkpoint, runtime
from apsim.nn.model import Conv2d
from apsim.nn.model.words import Words
from apsim.nn.on_ap import patches
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.seconds import Clock, Seconds
from tests.helpers.networks import integers_in, small_network

MODEL = small_network()
X = integers_in(MODEL.tensors["x"], 2, 0)


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What a clock reads, one moment after another."""
    left: list[float] = []
    monkeypatch.setattr("apsim.nn.on_ap.seconds.time.perf_counter", lambda: left.pop(0))
    return left


def test_time_belongs_to_the_part_that_was_named_last(moments: list[float]) -> None:
    """Turns at 0, 1, 3, 7, 15: 1 of program, 2 and 8 of load, 4 of passes"""
    moments += [0, 1, 3, 7, 15]
    clock = Clock()
    for part in ("program", "load", "passes", "load"):
        clock.turn(part)
    assert clock.take() == Seconds(program=1, load=2 + 8, passes=4, unload=0)


def test_a_clock_that_stands_counts_nothing(moments: list[float]) -> None:
    moments += [0, 1, 100, 101]
    clock = Clock()
    clock.turn("unload")
    first = clock.take()
    clock.turn("unload")
    assert (first, clock.take()) == (Seconds(unload=1), Seconds(unload=1))


def test_the_share_of_moving_data_is_that_of_load_and_unload() -> None:
    assert Seconds(1, 2, 5, 2).moving == 0.4
    assert Seconds().moving == 0


@pytest.mark.parametrize("literal", [False, True])
def test_im2col_and_windows_belong_to_load(literal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer whose patches take so long has loads that take no less"""
    for name in ("columns", "windows"):
        slow = _slow(getattr(patches, name))
        monkeypatch.setattr(patches, name, slow)
    done = runtime.run(MODEL, X, Chip.preset("bf-imna-lr", literal=literal))
    patched = [layer for layer in done.layers if "im2col" in layer.host or "windows" in layer.host]
    assert len(patched) > 1
    assert all(layer.engine_seconds_by.load >= PAUSE for layer in patched if layer.parts)


PAUSE = 0.02


def _slow(make: Any) -> Any:
    def slowly(*args: Any) -> Any:
        time.sleep(PAUSE)
        return make(*args)

    return slowly


RUN = "0123456789abcdef" * 4


def test_seconds_survive_a_checkpoint(tmp_path: Path) -> None:
    """read(write(layers)) == layers, seconds, mappings and all"""
    for mapping in ("im2col", "weights", "auto"):
        layers = runtime.run(MODEL, X, Chip.preset("bf-imna-lr", mapping=mapping)).layers
        path = tmp_path / "run.checkpoint"
        checkpoint.write(path, RUN, checkpoint.Checkpoint(layers, {}))
        assert checkpoint.read(path, RUN).layers == layers


def test_a_checkpoint_without_parts_of_seconds_is_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    head = {"schema": "apsim.checkpoint/1", "run": RUN, "layers": []}
    with open(path, "wb") as stream:
        np.savez(stream, head=np.frombuffer(json.dumps(head).encode(), np.uint8))
    with pytest.raises(InputError, match=r"wanted schema 'apsim\.checkpoint/3'"):
        checkpoint.read(path, RUN)


def convolution(**options: Any) -> Conv2d:
    weights = np.random.default_rng(1).integers(-4, 4, (6, 2, 3, 2))
    return Conv2d(
        name="c", inputs=("x",), output="y", weights=weights, bias=np.zeros(6, np.int64),
        weight_bits=4, groups=2, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [{}, {"padding": (1, 0, 2, 1)}, {"stride": (2, 3)}, {"dilation": (2, 1), "padding": (2,) * 4}],
)
def test_columns_of_bytes_are_those_of_words(options: dict[str, Any]) -> None:
    """columns(narrow(x)) == columns(x): outputs side by side in memory, patches in each line"""
    x, layer = integers_in(MODEL.tensors["x"], 3, 1), convolution(**options)
    x = np.concatenate([x] * 4, axis=1)[:, :4]
    wide, narrow = (patches.columns(v, layer, 3) for v in (x, Words(8, False).narrow(x)))
    assert narrow.dtype == np.uint8
    np.testing.assert_array_equal(wide, narrow)


def test_padding_that_its_tensor_cannot_hold_is_refused() -> None:
    """A byte would wrap around, and nobody would know"""
    tensor = MODEL.tensors["x"]
    layer = convolution(padding=(1, 1, 1, 1))
    with pytest.raises(InputError, match=r"wanted values from .* to "):
        patches.narrow(tensor, X, layer, tensor.hi + 1)
