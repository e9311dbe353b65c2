"""An import is held once, in bounded time, and remembered by what decides the verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsim import cache
from apsim.errors import InputError, MissingExtra
from apsim.nn import importers
from apsim.nn.judges import cases, held, kept, kinds
from apsim.nn.judges.held import Held, hold
from tests.helpers.judge_models import conv_net, node, saved


def taken(path: Path, **more: Any) -> Held:
    imported = importers.read(path)
    return hold(path, imported.model, imported.origins, **more)


def test_the_verdict_is_one_line(tmp_path: Path) -> None:
    found = taken(conv_net(tmp_path / "net.onnx", clip=False))
    assert found.line == (
        "import: held against onnx's reference evaluator: 4 inputs, 600 integers, 0 differ"
    )
    assert found.as_dict()["held"] and found.as_dict()["passed"]


def test_a_verdict_is_remembered(tmp_path: Path, own_cache: Path) -> None:
    path = conv_net(tmp_path / "net.onnx")
    first, again = taken(path), taken(path)
    assert not first.remembered and again == replace(first, remembered=True)
    assert len(list(own_cache.rglob("*.json"))) == 1


def test_another_file_or_another_network_is_held_anew(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "net.onnx")
    assert not taken(path).remembered
    conv_net(path, seed=1)
    assert not taken(path).remembered
    imported = importers.read(path)
    layer = imported.model.layers[0]
    wrong = imported.model.replace(layers=(replace(layer, bias=layer.bias + 9),))  # type: ignore[attr-defined,call-arg]
    found = hold(path, wrong, imported.origins)
    assert not found.remembered and not found.passed


def test_a_conviction_is_not_remembered(tmp_path: Path, own_cache: Path) -> None:
    path = conv_net(tmp_path / "net.onnx")
    imported = importers.read(path)
    layer = imported.model.layers[0]
    wrong = imported.model.replace(layers=(replace(layer, bias=layer.bias + 9),))  # type: ignore[attr-defined,call-arg]
    assert not hold(path, wrong, imported.origins).passed
    assert list(own_cache.rglob("*.json")) == []


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"by": "me"}', "null"])
def test_a_damaged_memory_is_none(tmp_path: Path, own_cache: Path, text: str) -> None:
    path = conv_net(tmp_path / "net.onnx")
    first = taken(path)
    (kept_at,) = own_cache.rglob("*.json")
    kept_at.write_text(text)
    assert taken(path) == first
    assert json.loads(kept_at.read_text())["by"]


def test_without_a_folder_of_our_own_it_is_just_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_may_be_used", lambda *_: False)
    path = conv_net(tmp_path / "net.onnx")
    assert not taken(path).remembered and not taken(path).remembered


def test_a_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert cache.folder("imports") is not None
    monkeypatch.setattr("os.getuid", lambda: 12345)
    assert cache.folder("imports") is None


def test_where_no_judge_can_run_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = conv_net(tmp_path / "net.onnx")

    def missing(name: str, where: Any) -> Any:
        raise MissingExtra(name, "oracle")

    monkeypatch.setattr(kinds, "judge", missing)
    found = taken(path)
    assert found.passed and not found.by
    assert found.line.startswith("import: not held against anything: ")
    assert "pip install 'apsim[oracle]'" in found.line
    assert not found.as_dict()["held"]


def test_the_time_is_bounded_and_the_line_says_so(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "net.onnx")
    found = taken(path, budget=0.0)
    assert found.inputs == 1 and not found.complete
    assert "1 of 4 (time ran out) input" in found.line


def test_inputs_are_drawn_at_both_ends_and_past_them(tmp_path: Path) -> None:
    model = importers.read(conv_net(tmp_path / "net.onnx")).model
    drawn = list(cases.drawn(model, 2))
    assert [case.what for case in drawn] == ["middle", "random", "all minimum", "all maximum"]
    low, high = (drawn[i].x[model.input] for i in (2, 3))
    assert (low == -128).all() and (high == 127).all()
    assert all(case.size == 2 for case in drawn)
    assert drawn[1].feeds["x"].dtype == np.float32


def test_the_user_s_own_input_takes_a_place(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "net.onnx", clip=False)
    imported = importers.read(path)
    model = imported.model
    own = cases.given(model, {model.input: np.full((5, 3, 5, 5), 7)})
    found = hold(path, model, imported.origins, own=own)
    assert found.inputs == 4 and found.integers == (5 + 3) * 150


def test_two_quantizations_of_one_input_are_fed_the_same_reals(tmp_path: Path) -> None:
    nodes = [
        node("QuantizeLinear", "x s1 z", "a"), node("DequantizeLinear", "a s1 z", "ad"),
        node("QuantizeLinear", "x s2 z", "b"), node("DequantizeLinear", "b s2 z", "bd"),
    ]  # fmt: skip
    constants = {"s1": np.float32(0.5), "s2": np.float32(0.3), "z": np.int8(1)}
    path = saved(tmp_path / "two.onnx", nodes, constants, ("n", 4), outputs=("ad", "bd"))
    found = taken(path)
    assert found.passed and found.integers == 4 * 2 * 4


def test_a_fixed_batch_is_kept(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "net.onnx", batch=3, clip=False)
    assert taken(path).integers == 4 * 3 * 150


def test_other_files_have_no_reading(tmp_path: Path) -> None:
    model = importers.read(conv_net(tmp_path / "net.onnx")).model
    found = held.hold(tmp_path / "net.npz", model, ())
    assert not found.by and "no judge reads files such as" in found.line


def test_an_unknown_judge_is_named() -> None:
    with pytest.raises(InputError, match="unknown judge 'tvm'; known: onnxruntime, "):
        kinds.judge("tvm", "net.onnx")


def test_a_judge_of_another_format_says_which_it_reads() -> None:
    with pytest.raises(
        InputError, match=r"--against litert judges TFLite files, net\.onnx is none"
    ):
        kinds.judge("litert", "net.onnx")


def test_what_a_judge_cannot_run_is_its_own_one_line(tmp_path: Path) -> None:
    nodes = [node("Nonsense", "x", "y", domain="made.up")]
    path = saved(tmp_path / "odd.onnx", nodes, {}, ("n", 3), domains=("made.up",))
    with pytest.raises(InputError, match="reference evaluator cannot run") as caught:
        kinds.judge("reference", path)
    assert "\n" not in str(caught.value)


def test_the_place_of_a_verdict_depends_on_weights_and_claims(tmp_path: Path) -> None:
    path = conv_net(tmp_path / "net.onnx")
    imported = importers.read(path)
    places = {
        kept.place(path, imported.model, imported.origins),
        kept.place(path, imported.model, imported.origins[1:]),
        kept.place(path, imported.model.replace(rule="other"), imported.origins),
    }
    assert len(places) == 3


@pytest.mark.parametrize(("op", "more"), [("QLinearLeakyRelu", {"alpha": 0.1}),
                                          ("QLinearSigmoid", {})])  # fmt: skip
def test_functions_of_integers_are_read_without_float32(
    tmp_path: Path, op: str, more: dict[str, float]
) -> None:
    """A tenth of x in equal steps is half-way at every fifth word, but for 0.1 of float32"""
    nodes = [node("QuantizeLinear", "x s z", "q"),
             node(op, "q s z s z", "y", domain="com.microsoft", **more)]  # fmt: skip
    path = saved(
        tmp_path / "m.onnx", nodes, {"s": np.float32(0.5), "z": np.int8(3)}, ("n", 200),
        domains=("com.microsoft",),
    )  # fmt: skip
    found = taken(path)
    assert found.passed and "reference evaluator" in found.line and found.line.endswith("0 differ")
