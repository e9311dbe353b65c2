"""Runs that are interrupted and gone on with, and checkpoints that must not be used."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsim.errors import InputError
from apsim.nn import runtime
from apsim.nn.model import Model
from apsim.nn.on_ap.chip import Chip
from apsim.report.run.tables import run_json
from tests.conftest import ROOT
from tests.helpers.networks import integers_in, small_network

MODEL = small_network()
X = integers_in(MODEL.tensors["x"], 2, 0)
LABELS = np.array([1, 2])


class Stop(Exception):
    """What stops a run in these tests."""


class StopAfter(runtime.Watcher):
    """Stops a run after so many layers, in the middle of the next one."""

    def __init__(self, layers: int) -> None:
        self.left = layers

    def advance(self, layer: Any, multiplications: int) -> None:
        if self.left < 0:
            raise Stop

    def finish(self, layer: Any, done: Any) -> None:
        self.left -= 1
        if self.left <= 0:
            self.left = -1


def chip(kind: str = "2d", **options: Any) -> Chip:
    return Chip.preset("bf-imna-lr", ap=kind, **options)


def without_seconds(value: Any) -> Any:
    """JSON without the fields that hold times."""
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if "seconds" not in k}
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


def as_json(done: runtime.Run) -> Any:
    return without_seconds(json.loads(json.dumps(run_json(done))))


def interrupted(path: Path, layers: int, kind: str = "2d") -> None:
    with pytest.raises(Stop):
        runtime.run(MODEL, X, chip(kind), labels=LABELS, save=path, watcher=StopAfter(layers))


@pytest.mark.parametrize("layers", range(1, len(MODEL.layers)))
@pytest.mark.parametrize("keep", ["all", "outputs"])
def test_a_run_interrupted_after_any_layer_goes_on_to_the_same_end(
    tmp_path: Path, layers: int, keep: str
) -> None:
    """json(interrupted, resumed) == json(whole), but for seconds; outputs and chip alike"""
    path = tmp_path / "run.checkpoint"
    whole = runtime.run(MODEL, X, chip(), labels=LABELS, keep=keep)
    with pytest.raises(Stop):
        runtime.run(MODEL, X, chip(), labels=LABELS, keep=keep, save=path,
                    watcher=StopAfter(layers))  # fmt: skip
    resumed = runtime.run(MODEL, X, chip(), labels=LABELS, keep=keep, resume=path)
    assert as_json(resumed) == as_json(whole)
    assert resumed.chip.counts == whole.chip.counts
    assert {k: v.tolist() for k, v in resumed.tensors.items()} == {
        k: v.tolist() for k, v in whole.tensors.items()
    }


def test_a_resumed_run_does_only_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    interrupted(path, 4)
    names: list[str] = []

    class Names(runtime.Watcher):
        def finish(self, layer: Any, done: Any) -> None:
            names.append(layer.name)

    runtime.run(MODEL, X, chip(), resume=path, save=path, watcher=Names())
    assert names == [layer.name for layer in MODEL.layers[4:]]
    names.clear()
    runtime.run(MODEL, X, chip(), resume=path, watcher=Names())  # it went on writing the file
    assert names == []


def other_weights() -> Model:
    first: Any = MODEL.layers[0]
    return MODEL.replace(layers=(replace(first, weights=-first.weights), *MODEL.layers[1:]))


def other_bias() -> Model:
    first: Any = MODEL.layers[0]
    return MODEL.replace(layers=(replace(first, bias=first.bias + 1), *MODEL.layers[1:]))


def other_zero_point() -> Model:
    given = replace(MODEL.tensors["x"], zero_point=1)
    return MODEL.replace(tensors={**MODEL.tensors, "x": given})


OTHERS = {
    "weights": (other_weights(), X, chip()),
    "biases": (other_bias(), X, chip()),
    "a zero point": (other_zero_point(), X, chip()),
    "images": (MODEL, X[::-1], chip()),
    "fewer images": (MODEL, X[:1], chip()),
    "an AP kind": (MODEL, X, chip("1d")),
    "rows of a CAP": (MODEL, X, chip(rows=400)),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, other: str) -> None:
    """Whatever decides values or counts makes another run."""
    path = tmp_path / "run.checkpoint"
    interrupted(path, 2)
    with pytest.raises(InputError, match="belongs to a run of another model, input, chip or check"):
        runtime.run(*OTHERS[other], resume=path)


def test_what_changes_no_result_changes_no_run(tmp_path: Path) -> None:
    """Threads, engine and order of loads may differ when a run goes on."""
    path = tmp_path / "run.checkpoint"
    interrupted(path, 3)
    done = runtime.run(MODEL, X, chip(threads=1, literal=True, engine="fused"), resume=path)
    assert done.passed


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "a byte changed":
        middle = len(content) // 2
        changed = bytes([content[middle] ^ 255])
        path.write_bytes(content[:middle] + changed + content[middle + 1 :])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("not an archive")
    elif how == "one array":
        with open(path, "wb") as stream:
            np.save(stream, np.arange(3))
    else:
        with np.load(path) as archive:
            arrays = dict(archive)
        head = json.loads(bytes(arrays["head"]))
        if how == "a layer lacks a number":
            del head["layers"][0]["macs"]
        elif how == "no name of its run":
            del head["run"]
        elif how == "another version":
            head["schema"] = "apsim.checkpoint/9"
        elif how == "a tensor edited":
            name = next(name for name in arrays if name != "head")
            arrays[name] = arrays[name] + 1
        elif how == "a layer doubled":
            head["layers"].append(head["layers"][-1])
        elif how == "a layer without parts":
            head["layers"][0]["parts"] = []
        elif how == "a tensor renamed":
            name = next(name for name in arrays if name != "head")
            arrays[f"{name}'"] = arrays.pop(name)
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
        with open(path, "wb") as stream:
            np.savez(stream, **arrays)


HOW = {
    "cut short": "cannot read the checkpoint .*not a whole",
    "a byte changed": "cannot read the checkpoint .*CRC",
    "empty": "cannot read the checkpoint .*not a whole",
    "text": "cannot read the checkpoint .*not a whole",
    "one array": "is not a checkpoint: it lacks an entry head",
    "a layer lacks a number": r"wanted an entry 'macs', got none - at \$\.layers\[0\]",
    "no name of its run": "wanted an entry 'run'",
    "another version": "wanted schema 'apsim.checkpoint/3', got 'apsim.checkpoint/9'",
    "a tensor edited": "its contents are not those that were written: wrong digest",
    "a layer doubled": "its contents are not those that were written: wrong digest",
    "a layer without parts": "its contents are not those that were written: wrong digest",
    "a tensor renamed": "its contents are not those that were written: wrong digest",
}


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "run.checkpoint"
    interrupted(path, 2)
    damage(path, how)
    with pytest.raises(InputError, match=HOW[how]):
        runtime.run(MODEL, X, chip(), resume=path)


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the checkpoint .*nothing: No such file"):
        runtime.run(MODEL, X, chip(), resume=tmp_path / "nothing")
    with pytest.raises(InputError, match=r"cannot read the checkpoint .*: Is a directory"):
        runtime.run(MODEL, X, chip(), resume=tmp_path)


def test_a_checkpoint_without_the_tensors_that_are_asked_for_is_refused(tmp_path: Path) -> None:
    """A run that keeps its outputs only cannot be gone on with for every tensor."""
    path = tmp_path / "run.checkpoint"
    with pytest.raises(Stop):
        runtime.run(MODEL, X, chip(), keep="outputs", save=path, watcher=StopAfter(3))
    with pytest.raises(InputError, match=r"does not hold .*x.*: start anew to keep every tensor"):
        runtime.run(MODEL, X, chip(), keep="all", resume=path)


NO_SPACE = """
import resource, sys
from apsim.errors import InputError
from apsim.nn import runtime
from apsim.nn.on_ap.chip import Chip
from tests.helpers.networks import integers_in, small_network

model = small_network()
x = integers_in(model.tensors["x"], 2, 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    runtime.run(model, x, Chip.preset("bf-imna-lr"), resume=sys.argv[1], save=sys.argv[1])
except InputError as error:
    sys.exit(str(error))
"""


def test_the_earlier_checkpoint_stays_where_there_is_no_space_for_the_next(tmp_path: Path) -> None:
    """Files may grow to the size of the old checkpoint and no further."""
    path = tmp_path / "run.checkpoint"
    interrupted(path, 2)
    before = path.read_bytes()
    command = [sys.executable, "-c", NO_SPACE, str(path), str(len(before))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f"cannot write {path}: File too large\n")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert runtime.run(MODEL, X, chip(), resume=path).passed
