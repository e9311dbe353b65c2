"""Sessions as a person types them: each file in `golden/` is replayed and compared.

A golden file begins with the command line; its lines that begin with the prompt are
what was typed.  APSIM_GOLDEN=write writes what comes now, to be read in a diff.
"""

from __future__ import annotations

import io
import os
import shlex
from pathlib import Path

import pytest

from apsim import cli
from apsim.debug.terminal import PROMPT
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"
SESSIONS = sorted(GOLDEN.glob("debug_*.txt"))


def test_the_sessions_asked_for_are_there() -> None:
    names = {path.stem.removeprefix("debug_") for path in SESSIONS}
    assert names >= {"add", "multiply", "relu", "maximum", "user_lut", "reduction", "layer"}


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.stem)
def test_a_session_prints_what_it_printed(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = path.read_text()
    head, *lines = text.split("\n")
    typed = [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]
    monkeypatch.chdir(GOLDEN)
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in typed)))
    code = cli.main(shlex.split(head.removeprefix("$ apsim ")))
    shown = "\n".join(line.rstrip() for line in capsys.readouterr().out.split("\n"))
    if os.environ.get("APSIM_GOLDEN") == "write":
        path.write_text(f"{head}\n{shown}")
    assert f"{head}\n{shown}" == path.read_text()
    assert code == (2 if "\nerror: " in shown else 0)


def test_every_session_fits_80_columns() -> None:
    wide = [
        (path.name, line)
        for path in SESSIONS
        for line in path.read_text().split("\n")[1:]
        if len(line) > 80 and not line.startswith(("#", "error", "populate", "clear"))
    ]
    assert wide == []
