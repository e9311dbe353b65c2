"""The bar over a run: all of the work, silent where nobody looks, a word when interrupted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apsim.nn import runtime
from apsim.nn.on_ap.chip import Chip
from apsim.report.bar import Working
from apsim.report.run.progress import Bar, expected
from tests.helpers.networks import integers_in, small_network

MODEL = small_network()
X = integers_in(MODEL.tensors["x"], 2, 0)


def watched(bar: Bar) -> Working:
    with bar:
        runtime.run(MODEL, X, Chip.preset("bf-imna-lr"), watcher=bar)
    return bar.working


def test_the_bar_is_full_when_the_run_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """completed == total == all multiplications of the model, for all images; so on a terminal"""
    products = 2 * (3 * 16 * 2 * 9 + 3 * 9 * 3 + 10 * 3)
    silent = watched(Bar(MODEL, len(X)))
    assert (silent.done, silent.total, silent.progress) == (products, products, None)
    monkeypatch.setenv("FORCE_COLOR", "1")
    drawn = watched(Bar(MODEL, len(X))).progress
    assert drawn and (drawn.tasks[0].completed, drawn.tasks[0].total) == (products, products)


def test_nothing_is_shown_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    watched(Bar(MODEL, len(X)))
    assert capfd.readouterr() == ("", "")


def test_an_interrupted_run_says_what_it_leaves() -> None:
    bar = Bar(MODEL, len(X))
    assert bar.left_by(None) == (
        "nothing was kept; with --checkpoint FILE an interrupted run can be resumed"
    )
    cap = Bar(MODEL, len(X), Chip.preset("lr", array="cap"))
    assert cap.left_by(None) == "nothing was kept"
    assert bar.left_by("c") == "no further layer was done; c is as it was"
    bar.finish(MODEL.layers[0], None)  # type: ignore[arg-type]
    assert bar.left_by("c") == "layers done are kept; go on with: --resume c"


def test_names_that_look_like_markup_are_shown_as_they_are(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with Bar(MODEL.replace(name="[/net]"), 1) as bar:
        bar.advance(replace(MODEL.layers[0], name="[/conv]"), 1)
        assert bar.working.progress
        bar.working.progress.refresh()
    assert "[/conv]" in capfd.readouterr().err


def goes_on(bar: Working, monkeypatch: pytest.MonkeyPatch, passed: float, first: float = 0) -> None:
    """A tenth of the work after `first` s, and another one `passed` s later."""
    monkeypatch.setattr("apsim.report.bar.time.monotonic", lambda: bar.begun + first)
    bar.advance(1)
    monkeypatch.setattr("apsim.report.bar.time.monotonic", lambda: bar.begun + first + passed)
    bar.advance(1)


@pytest.mark.parametrize(("passed", "said"), [(1, ""), (5, ""), (30, "about 4 min in all")])
def test_what_takes_over_a_minute_is_said_once_its_pace_is_known(
    passed: float, said: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """a tenth of the work in `passed` s: nothing before 2 s, nor for 50 s in all; then once"""
    bar = Working("work", 10)
    goes_on(bar, monkeypatch, passed)
    assert said in capfd.readouterr().err
    bar.advance(0)
    assert capfd.readouterr().err == ""


def test_a_compiler_at_the_beginning_is_no_pace(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """a first tenth of 20 s and a second of 3 s: 47 s in all, of which nothing is said"""
    goes_on(Working("work", 10), monkeypatch, 3, first=20)
    assert capfd.readouterr().err == ""


def test_long_work_is_announced_before_it_begins(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """expected > 60 s: one line before anything is done; at that pace no second one"""
    with Working("work", 10, expected=400) as bar:
        assert "takes about 7 min in all, as such work went elsewhere" in capfd.readouterr().err
        goes_on(bar, monkeypatch, 40)
        assert capfd.readouterr().err == ""
    with Working("work", 10, expected=59):
        assert capfd.readouterr().err == ""


def test_a_pace_that_is_far_off_is_said(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Working("work", 10, expected=400) as bar:
        capfd.readouterr()
        goes_on(bar, monkeypatch, 1200)
        assert "takes about 3.0 h in all" in capfd.readouterr().err


def test_work_that_turns_has_its_own_pace(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Working("reading") as bar:
        bar.turn("settings", 10)
        goes_on(bar, monkeypatch, 30)
        assert "takes about 4 min in all" in capfd.readouterr().err
        assert (bar.total, bar.done) == (10, 2)


def test_what_a_run_takes_is_expected_by_its_engine() -> None:
    """seconds = products of bits / pace; arrays one by one are slower than lanes, dense slower"""
    chips = Chip.preset("lr"), Chip.preset("lr", array="cap"), Chip.preset("lr", engine="dense")
    lanes, arrays, dense = (expected(MODEL, 2, chip) for chip in chips)
    assert 0 < lanes < arrays < dense
    assert expected(MODEL, 4, Chip.preset("lr")) == pytest.approx(2 * lanes)


def test_what_is_printed_meanwhile_goes_where_it_is_to_go(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """a bar on a terminal takes nothing from a standard output that is a file"""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Working("work", 2):
        print("a line")
    out, err = capfd.readouterr()
    assert out == "a line\n" and "a line" not in err
