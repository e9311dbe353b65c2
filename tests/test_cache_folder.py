"""The folder of what is kept is the user's alone, or nothing is kept: nobody else has a way in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from apsim import cache
from tests.conftest import ROOT

ASK = "from apsim import cache; print(cache.folder('kept'))"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_folder_is_private(home: Path) -> None:
    found = cache.folder("kept")
    assert found == home / "apsim" / "kept"
    assert found.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_not_named_from_the_root_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left in whatever folder a process happens to be in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.folder("kept") == tmp_path / "home" / ".cache" / "apsim" / "kept"
    monkeypatch.setenv("HOME", "nowhere")
    assert cache.folder("kept") is None
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("open_one", ["", "apsim", "apsim/kept"])
def test_a_folder_that_others_can_write_keeps_nothing(open_one: str, home: Path) -> None:
    cache.folder("kept")
    (home / open_one).chmod(0o777)
    assert cache.folder("kept") is None
    (home / open_one).chmod(0o700)
    assert cache.folder("kept") is not None


@pytest.mark.parametrize("in_the_way", ["file", "link to nowhere", "link to a file"])
def test_what_is_no_folder_keeps_nothing(in_the_way: str, home: Path) -> None:
    (home / "apsim").mkdir(parents=True)
    if in_the_way == "file":
        (home / "apsim" / "kept").touch()
    else:
        (home / "apsim" / "kept").symlink_to("nowhere" if "nowhere" in in_the_way else __file__)
    assert cache.folder("kept") is None


def test_a_link_that_could_be_turned_is_not_followed_later(home: Path, tmp_path: Path) -> None:
    """What is given has no links in it"""
    (tmp_path / "real").mkdir(mode=0o700)
    home.symlink_to("real")
    assert cache.folder("kept") == tmp_path / "real" / "apsim" / "kept"


@pytest.mark.skipif(os.getuid() != 0, reason="two users can be played by root only")
@pytest.mark.parametrize("prepared", ["the folder", "its parent", "a link to it"])
def test_another_user_who_comes_first_is_not_believed(prepared: str, tmp_path: Path) -> None:
    """Root plays both: 1234 prepares a shared folder, 65534 then asks for a cache in it"""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    theirs = shared / "theirs"
    for path in (theirs, theirs / "apsim", theirs / "apsim" / "kept"):
        path.mkdir()
        path.chmod(0o777)
        os.chown(path, 1234, 1234)
    if prepared == "its parent":
        os.chown(theirs / "apsim" / "kept", 65534, 65534)
        (theirs / "apsim" / "kept").chmod(0o700)
    asked = theirs
    if prepared == "a link to it":
        asked = shared / "link"
        asked.symlink_to(theirs)
        os.lchown(asked, 1234, 1234)
    ask = f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); import apsim.cache; " \
          f"os.setgroups([]); os.setgid(65534); os.setuid(65534); {ASK}"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True,
        env={"XDG_CACHE_HOME": str(asked), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("None\n", "")
