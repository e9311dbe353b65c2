"""Malformed files of every kind: refused, or accepted and right; nothing crashes, nothing hangs."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx")
pytest.importorskip("tflite")

from benchmarks.malformed import GOOD, Outcomes, main, try_reader
from benchmarks.malformed_readers import READERS, Reader


@pytest.mark.parametrize("name", READERS)
def test_a_reader_refuses_what_is_malformed_or_reads_it_rightly(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """outcomes of 600 cases of all readers <= {clean, accepted}"""
    found = try_reader(name, 600 // len(READERS))
    assert set(found) <= set(GOOD), (found, capsys.readouterr().err)
    assert found["clean"] > found.total() // 3


@pytest.mark.long
def test_ten_thousand_malformed_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cases", "10000"]) == 0, capsys.readouterr().err


WAYS = {
    "traceback": lambda path: 1 // 0,
    "memory": lambda path: 0,
    "signal": lambda path: __import__("os").kill(__import__("os").getpid(), 11),
    "wrong": lambda path: 1,
    "accepted": lambda path: 0,
    "clean": lambda path: 2,
    "hang": lambda path: __import__("signal").pause(),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_reader_that_goes_wrong_is_caught(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the outcomes is told from the others"""
    monkeypatch.setattr("benchmarks.malformed.WAIT", 0.1 if way == "hang" else 60)
    monkeypatch.setattr("benchmarks.malformed.RESIDENT", 0 if way == "memory" else 2 << 30)
    spoilt = Reader("f", lambda folder: b"good", (lambda good, random: good,), WAYS[way])
    monkeypatch.setitem(READERS, "spoilt", spoilt)
    assert try_reader("spoilt", 1) == Outcomes({way: 1})
