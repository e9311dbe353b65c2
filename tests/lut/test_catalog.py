"""Finding LUTs: by name in every home, by path, and the nearest name for a mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apsim.errors import LutError
from apsim.lut import catalog, find, names, to_toml


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's own, named in APSIM_LUTS, with one LUT called `clear`."""
    text = to_toml(find("relu")).replace('"relu"', '"clear"')
    (tmp_path / "clear.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("APSIM_LUTS", str(tmp_path))
    return tmp_path


def test_a_lut_is_found_by_name() -> None:
    assert find("add").name == "add"


def test_a_lut_is_found_by_path(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APSIM_LUTS")
    monkeypatch.chdir(mine)
    assert find("./clear.toml") == find("clear.toml") == find(mine / "clear.toml")


def test_a_folder_of_the_user_adds_names(mine: Path) -> None:
    assert find("clear").name == "clear"
    assert {"clear", "add"} <= set(names())


def test_a_lut_of_the_user_comes_before_one_of_apsim(mine: Path) -> None:
    (mine / "clear.toml").rename(mine / "relu.toml")
    assert find("relu").name == "clear"


def test_a_changed_file_is_read_again(mine: Path) -> None:
    first, path = find("clear"), mine / "clear.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('"clear"', '"erase"'))
    os.utime(path, ns=(1, 1))
    assert (first.name, find("clear").name) == ("clear", "erase")


def test_an_installed_wheel_keeps_its_luts_inside_the_package(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine.rename(mine.parent / "_luts")
    monkeypatch.delenv("APSIM_LUTS")
    monkeypatch.setattr(catalog, "PACKAGE", mine.parent)
    assert names() == ("clear",)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(LutError, match="there is no LUT named 'relv'; did you mean relu"):
        find("relv")


def test_an_unknown_name_with_nothing_near_is_answered_with_all() -> None:
    with pytest.raises(LutError, match="there is no LUT named '§'; known are add, "):
        find("§")


def test_a_path_that_does_not_exist_is_named() -> None:
    with pytest.raises(LutError, match=r"cannot read the LUT file .*none\.toml: No such file"):
        find("./none.toml")


def test_a_folder_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APSIM_LUTS", "nowhere")
    with pytest.raises(LutError, match="APSIM_LUTS names nowhere, which is not a folder"):
        find("add")
