"""At 80 columns no word and no number is cut; the same words come as where there is room."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from apsim.report.screen import screen

COMMANDS = [
    "run --images 1",
    "cost alexnet",
    "cost digits --activity executed",
    "cost resnet50",
    "cost digits-vit --activity executed",
    "cost digits-vit --mapping auto",
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


PIPED = [
    *COMMANDS,
    "cost digits --mapping auto",
    "check --function add --function softmax --ap 2d --ap 2d-seg",
    "paper",
    "debug add --bits 4 -x continue -x quit",
    "guide costs",
]


@pytest.mark.parametrize("command", PIPED)
def test_a_pipe_gets_plain_tables_of_80_columns(command: str, tmp_path: Path) -> None:
    """no escape sequence, no frame, nothing cut; tables end at column 80, prose runs on"""
    plain = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")}
    words = [sys.executable, "-m", "apsim", *command.split()]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=plain)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not set(done.stdout) & set("\x1b…┃│━─┏╇")
    cells = [line for line in done.stdout.split("\n") if re.search(r"\S {2,}\S+ {2,}\S", line)]
    assert max(map(len, cells), default=0) <= 80


def test_names_of_any_length_cut_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """the name goes on below; numbers stand whole beside it, and no line is longer"""
    monkeypatch.setenv("COLUMNS", "40")
    table = Table("layer")
    for header in ("cycles", "energy", "more"):
        table.add_column(header, justify="right")
    name = "model/block_12/expand/Conv2D_depthwise"
    table.add_row(name, "1,234,567", "12.3 mJ", "9")
    console = screen()
    with console.capture() as taken:
        console.fit(table, ("more",))
    lines = taken.get().splitlines()
    assert max(map(len, lines)) <= 40
    assert "1,234,567  12.3 mJ" in lines[1]
    assert "".join(line.split("  ")[0].strip() for line in lines[1:]) == name


@pytest.mark.parametrize(
    "module",
    ["commands.check", "commands.explore", "commands.faults", "commands.fluid",
     "report.run.schedule", "report.run.tables", "report.cost.mappings",
     "report.cost.inference_tables", "report.cost.executed_tables"],
)  # fmt: skip
def test_the_order_in_which_columns_go_is_declared(module: str) -> None:
    """a tuple of headers, none of them twice"""
    dropped = importlib.import_module(f"apsim.{module}").DROPPED
    assert len(set(dropped)) == len(dropped) > 1
