"""Result files are written whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from apsim import files
from apsim.errors import InputError


def test_text_is_written_as_utf8(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "tag ·1·1\n")
    assert (tmp_path / "a.txt").read_bytes() == "tag ·1·1\n".encode()


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    """load(write_json(value)) == value."""
    value = {"schema": "apsim.run/1", "layers": [1, 2.5, None, "x"]}
    files.write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == value


def test_a_new_file_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    files.write_text(target, "old")
    files.write_text(target, "new")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_has_the_mode_that_the_umask_asks_for(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "")
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failure_midway_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    files.write_text(target, "old")
    with pytest.raises(RuntimeError), files.replacing(target) as stream:
        stream.write(b"half a f")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    files.write_json(target, 1)
    with pytest.raises(TypeError):
        files.write_json(target, object())
    assert target.read_text() == "1\n"


@pytest.mark.parametrize("place", ["missing/a.txt", "file/a.txt", "."])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / place
    with pytest.raises(InputError, match="cannot write") as caught:
        files.write_text(target, "text")
    assert str(target) in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


def test_paths_that_can_be_written_are_let_pass_and_left_alone(tmp_path: Path) -> None:
    """Nothing is made, nothing is changed; no path at all is fine"""
    old = tmp_path / "old.json"
    old.write_text("old")
    files.require_writable(old, None, tmp_path / "new.json")
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_text() == "old"


@pytest.mark.parametrize("name", ["no/run.json", "."])
def test_a_path_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match="cannot write"):
        files.require_writable(None, tmp_path / name)


def test_neither_an_empty_name_nor_a_link_to_itself_is_written(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name, why in (("", "the name is empty"), (str(tmp_path / "loop"), "symbolic links")):
        for write in (files.require_writable, lambda name: files.write_text(name, "text")):
            with pytest.raises(InputError, match=why):
                write(name)
    assert os.readlink(tmp_path / "loop") == "loop"


def test_text_that_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="bytes: it is not UTF-8 text"):
        files.read_text(tmp_path / "bytes")
    with pytest.raises(InputError, match="none: No such file or directory"):
        files.read_text(tmp_path / "none")
    files.write_text(tmp_path / "text", "µ\n")
    assert files.read_text(tmp_path / "text") == "µ\n"


def test_a_symbolic_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    link = tmp_path / "link"
    link.symlink_to("deep/target")
    for text in ("new", "newer"):  # first it dangles
        files.write_text(link, text)
        assert os.readlink(link) == "deep/target"
        assert (tmp_path / "deep" / "target").read_text() == text
    assert os.listdir(tmp_path / "deep") == ["target"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o777])
def test_a_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "a.txt"
    target.touch()
    target.chmod(mode)
    files.write_text(target, "new")
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_a_pipe_gets_the_whole_text_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        files.write_text(pipe, "x" * 100_000)
        assert reader.stdout is not None
        assert reader.stdout.read() == b"x" * 100_000
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_failure_midway_sends_a_pipe_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(RuntimeError), files.replacing(pipe) as stream:
        stream.write(b"half a f")
        raise RuntimeError  # nobody reads: opening the pipe would wait for ever


def test_devices_and_open_descriptors_are_written_through(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = os.stat("/dev/null")
    files.write_text("/dev/null", "nothing")
    after = os.stat("/dev/null")
    assert (before.st_rdev, before.st_ino) == (after.st_rdev, after.st_ino)
    print("before")
    files.write_json("/dev/stdout", {"a": 1})
    print("after")
    assert capfd.readouterr().out == 'before\n{\n "a": 1\n}\nafter\n'
    with pytest.raises(InputError, match="cannot write /dev/full: No space left on device"):
        files.write_text("/dev/full", "text")


def test_a_file_named_twice_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InputError, match="b: it is named twice"):
        files.require_writable(tmp_path / "a", tmp_path / "b")
    files.require_writable("/dev/null", "/dev/null")


def test_no_more_is_read_than_may_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the plan /dev/zero: wanted at most 1,000 b"):
        files.read_text("/dev/zero", 1000, what="the plan")
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbfa = 1\n")
    assert files.read_text(tmp_path / "bom") == "a = 1\n"


def test_a_file_that_is_appended_to_is_one_process_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with files.appending(path) as first:
        first.write(b"one\n")
        with pytest.raises(InputError, match="another sweep is writing"), files.appending(path):
            pass
    with files.appending(path) as again:
        again.write(b"two\n")
    assert path.read_text() == "one\ntwo\n"
