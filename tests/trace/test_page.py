"""The page that plays a trace: complete in itself, right at every step, and usable by keyboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from apsim import cli
from apsim.debug.targets import Wanted, open_target
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.trace import recorder
from tests.conftest import ROOT
from tests.helpers.strategies import cells, programs

LAYOUT = Layout(A=3, B=3, C=1)
DRIVER = ROOT / "tests" / "golden" / "drive_page.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=4000", "--dump-dom",
)  # fmt: skip


def film_of(path: Path) -> dict[str, Any]:
    found = re.search(r"^const film = (.*);$", path.read_text(), re.MULTILINE)
    assert found is not None
    return dict(json.loads(found[1].replace("<\\/", "</")))


@given(cells(5, LAYOUT.columns), programs(5, LAYOUT.columns))
@settings(max_examples=30)
def test_a_film_replayed_is_the_run(
    tmp_path_factory: pytest.TempPathFactory, contents: np.ndarray, program: Any
) -> None:
    """start + flips of every step == cells; areas add up to the run's activity."""
    path = tmp_path_factory.mktemp("t") / "f.html"
    machine = Machine(5, LAYOUT, engine="dense")
    machine.cam.poke(contents)
    with recorder(path, machine, program) as told:
        for event in machine.steps(program):
            told(event)
    film = film_of(path)
    state = np.array([[int(bit) for bit in row] for row in film["start"]])
    for step in film["steps"]:
        for row, column in step["f"]:
            state[row, column] ^= 1
    assert state.astype(bool).tolist() == machine.cam.peek().tolist()
    assert sum(len(step["f"]) for step in film["steps"]) <= machine.activity.flipped
    assert [sum(n) for n in zip(*(s["n"] for s in film["steps"]), strict=True)] == [
        *machine.counts.as_dict().values()
    ]


def test_driven_areas_are_the_cells_written(tmp_path: Path) -> None:
    """sum(|area|) of writes == activity.written, of horizontal programs without repeats."""
    path = tmp_path / "f.html"
    assert cli.main(["trace", "multiply", "--bits", "3", "--ap", "1d", "--html", str(path)]) == 0
    film = film_of(path)
    rows, columns = len(film["rows"]), film["columns"]
    driven = sum(
        len(range(rows) if some is None else some)
        * len(range(columns) if across is None else across)
        for step in film["steps"]
        for some, across in step["d"]
    )

    session = open_target(Wanted("multiply", bits=3, ap="1d"))
    session.go_to(session.end)
    assert driven == session.tape.activity.written


def test_compares_and_reads_are_told_apart(tmp_path: Path) -> None:
    """lines compared by compares and searched by reads == activity.compared; looking counts none"""
    path = tmp_path / "f.html"
    assert cli.main(["trace", "add", "--bits", "3", "--rows", "5", "--html", str(path)]) == 0
    steps = film_of(path)["steps"]
    session = open_target(Wanted("add", bits=3, rows=5))
    session.go_to(session.end)
    searched = {kind: sum(bool(step[kind]) for step in steps) for kind in "cr"}
    assert searched == {"c": session.counts.compare, "r": session.counts.read}
    assert not any(step["c"] and step["r"] for step in steps)
    assert 5 * sum(searched.values()) == session.tape.activity.compared


def test_the_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    path = tmp_path / "f.html"
    cli.main(["trace", "add", "--bits", "2", "--html", str(path)])
    page = path.read_text()
    assert not re.search(r"(src|href)=|https?://|@import|url\(|fetch\(|XMLHttp", page)
    assert "/*DATA*/" not in page


def in_browser(path: Path, script: str, tmp_path: Path) -> dict[str, Any]:
    """What `script` puts into `result`, run in the page by a headless browser."""
    if CHROMIUM is None:
        pytest.skip("no chromium here; with it installed this test plays the page")
    page = tmp_path / "driven.html"
    report = "document.body.dataset.result = JSON.stringify(result);"
    driver = f"<script>const result = {{}}; {script}; {report}</script></body>"
    page.write_text(path.read_text().replace("</body>", driver))
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={tmp_path}/browser", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r'data-result="([^"]*)"', done.stdout)
    assert found is not None, done.stdout[-2000:]
    return dict(json.loads(found[1].replace("&quot;", '"')))


def test_the_page_plays_steps_back_and_scrubs_in_a_browser(tmp_path: Path) -> None:
    path = tmp_path / "f.html"
    operands = ["--set", "A=1,2,3,4", "--set", "B=10,20,30,250"]
    cli.main(["trace", "add", "--ap", "1d", *operands, "--html", str(path)])
    seen = in_browser(path, DRIVER.read_text(), tmp_path)
    assert [int(word, 2) for word in seen["end"]] == [11, 22, 33, 254]
    assert seen["start"] == seen["again"] == ["0" * 8] * 4
    assert seen["zero"] == [0] * 5 and min(seen["sums"]) > 0
    assert "done32489" in seen["counters"]
    assert (seen["before"], seen["clicked"], seen["scrubbed"]) == (56, 1, 18)
    assert "Step 18 of 57:  bit 0  pass 2" in seen["status"]
    assert "key A.0 = 1, B.0 = 0, C.0 = 0   write B.0 = 1, C.0 = 0" in seen["status"]
    assert (seen["flipped"], seen["marked"]) == (2, 2)
    assert (seen["playing"], seen["paused"]) == ("true", "play")
    assert seen["named"] and seen["buttons"]
