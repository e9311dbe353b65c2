"""At 80 columns no word and no number is cut; the same words come as where there is room."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = [
    "run --images 1",
    "cost alexnet",
    "cost digits --activity executed",
    "faults --images 1 --repeats 2 --workers 1 --write-error 1e-4",
    "explore precision --workers 1",
]


def shown(command: str, folder: Path, columns: int) -> str:
    """What a person sees on a terminal of so many columns."""
    settings = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "FORCE_COLOR": "1",
                "TERM": "xterm"}  # fmt: skip
    words = [sys.executable, "-m", "apsim", *command.split()]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=settings)
    assert done.returncode == 0, done.stderr
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_80_columns_are_enough(command: str, tmp_path: Path) -> None:
    """no line is longer, nothing is cut, and each word of prose is one of the wide output"""
    narrow, wide = shown(command, tmp_path, 80), shown(f"{command} --wide", tmp_path, 80)
    assert max(map(len, narrow.split("\n"))) <= 80
    assert "…" not in narrow
    whole = set(re.sub(r"\d+\.\d+ s\b", "", wide).split())
    prose = [line for line in narrow.split("\n") if line and not re.search(r"[│┃ ─━]{3}", line)]
    words = {word for line in prose for word in re.sub(r"\d+\.\d+ s\b", "", line).split()}
    assert words <= whole


def test_wide_shows_every_column(tmp_path: Path) -> None:
    command = "cost digits --activity executed"
    narrow, wide = shown(command, tmp_path, 80), shown(f"{command} --wide", tmp_path, 80)
    assert "reshape" not in narrow.split("energy 2.59")[0]
    assert "reshape" in wide.split("energy 2.59")[0]
