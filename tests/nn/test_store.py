"""The project's own model file: what is saved is loaded, and damage is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from apsim.errors import InputError, ModelError
from apsim.nn import exact
from apsim.nn.model import codec, store
from apsim.nn.zoo import bundled
from tests.helpers.networks import Case, conv2d_cases

DIGITS = bundled.data_file("digits.npz")


def parts(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON document and the arrays of a model file."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(arrays.pop("model.json").tobytes()), arrays


def write(path: Path, document: Any, arrays: dict[str, Any]) -> Path:
    text = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(path, **{"model.json": text}, **arrays)
    return path


def damaged(path: Path, damage: Callable[[dict[str, Any], dict[str, Any]], object]) -> Path:
    """The bundled model with something wrong in it."""
    document, arrays = parts(DIGITS)
    damage(document, arrays)
    return write(path, document, arrays)


@settings(max_examples=20)
@given(conv2d_cases())
def test_a_loaded_model_is_the_saved_one(tmp_path_factory: Any, case: Case) -> None:
    """encode(load(save(model))) == encode(model), arrays and all"""
    path = tmp_path_factory.mktemp("store") / "model.npz"
    store.save(case.model, path)
    saved: dict[str, Any] = {}
    loaded: dict[str, Any] = {}
    assert codec.encode(store.load(path), loaded) == codec.encode(case.model, saved)
    assert saved.keys() == loaded.keys()
    assert all((saved[name] == loaded[name]).all() for name in saved)
    assert (exact.run(store.load(path), case.x)["y"] == exact.run(case.model, case.x)["y"]).all()


def test_the_bundled_model_is_saved_as_it_was_loaded(tmp_path: Path) -> None:
    store.save(bundled.load("digits"), tmp_path / "again.npz")
    assert parts(tmp_path / "again.npz")[0] == parts(DIGITS)[0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read the model .*nowhere\.npz: No such file"):
        store.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: float) -> None:
    whole = DIGITS.read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelError, match=r"cut\.npz: not a whole \.npy or \.npz of numbers"):
        store.load(tmp_path / "cut.npz")


def test_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    whole = bytearray(DIGITS.read_bytes())
    whole[len(whole) // 3] ^= 0xFF
    (tmp_path / "bad.npz").write_bytes(whole)
    with pytest.raises(ModelError, match=r"bad\.npz: not a whole"):
        store.load(tmp_path / "bad.npz")


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickle.npz", **{"model.json": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(ModelError, match="not a whole"):
        store.load(tmp_path / "pickle.npz")


def test_other_archives_and_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ModelError, match="not an apsim model"):
        store.load(tmp_path / "other.npz")
    with pytest.raises(ModelError, match=r"expected an \.npz archive"):
        store.load(tmp_path / "array.npy")


def layer(document: dict[str, Any], index: int) -> dict[str, Any]:
    return document["model"]["layers"][index]


DAMAGES: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    r"expected schema 'apsim.model/1', got 'apsim.model/9'": (
        lambda d, a: d.update(schema="apsim.model/9")
    ),
    r"expected the fields weights of Conv2d, got 'none' - at \$\.layers\[0\]": (
        lambda d, a: layer(d, 0).pop("weights")
    ),
    r"expected only the fields of Conv2d, got \['colour'\] - at \$\.layers\[0\]": (
        lambda d, a: layer(d, 0).update(colour="red")
    ),
    r"expected 2 entries, got \[1, 1, 1\] - at \$\.layers\[0\]\.stride": (
        lambda d, a: layer(d, 0).update(stride=[1, 1, 1])
    ),
    r"expected int, got '8' - at \$\.tensors\.image\.bits": (
        lambda d, a: d["model"]["tensors"]["image"].update(bits="8")
    ),
    r"expected one of .*Conv2d.*, got 'Conv9d' - at \$\.layers\[0\]": (
        lambda d, a: layer(d, 0).update(type="Conv9d")
    ),
    r"expected an entry 'gone' of the archive": (
        lambda d, a: layer(d, 0).update(weights={"array": "gone"})
    ),
    r"layer 0 'conv1' \(conv2d\): expected output shape \[16, 6, 6\], got \[16, 8, 8\]": (
        lambda d, a: layer(d, 0).update(padding=[0, 0, 0, 0])
    ),
    r"layer 0 'conv1' \(conv2d\): expected weights in -8\.\.7": (
        lambda d, a: layer(d, 0).update(weight_bits=4)
    ),
    r"layer 'pool1': expected inputs made by earlier layers, got 'sum'": (
        lambda d, a: layer(d, 1).update(inputs=["sum"])
    ),
    r"expected an array of integer": (
        lambda d, a: a.update({layer(d, 0)["weights"]["array"]: np.zeros((16, 1, 3, 3))})
    ),
    r"expected 16 biases, got \[3\]": (
        lambda d, a: a.update({layer(d, 0)["bias"]["array"]: np.zeros(3, int)})
    ),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damage_is_named_with_its_place(tmp_path: Path, message: str) -> None:
    path = damaged(tmp_path / "model.npz", DAMAGES[message])
    with pytest.raises(ModelError, match=rf"model\.npz: .*{message}"):
        store.load(path)


def test_saving_where_nothing_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        store.save(bundled.load("digits"), tmp_path / "no" / "model.npz")
    assert list(tmp_path.iterdir()) == []
