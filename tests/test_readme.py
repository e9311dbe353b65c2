"""What the README shows is what runs: its Python, its console sessions, its results table."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def sessions() -> list[tuple[str, str]]:
    """Each `$ apsim ...` line of the console blocks, with the output shown below it."""
    parts = [re.split(r"^\$ ", block, flags=re.MULTILINE)[1:] for block in blocks("console")]
    return [tuple(part.split("\n", 1)) for block in parts for part in block]  # type: ignore[misc]


def test_the_python_snippets_run_in_order_and_print_what_they_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert blocks("python")
    for number, block in enumerate(blocks("python"), 1):
        example = doctest.DocTestParser().get_doctest(block, names, f"snippet {number}", None, 0)
        if not example.examples:
            exec(compile(block, f"README snippet {number}", "exec"), names)
            continue
        runner = doctest.DocTestRunner(optionflags=flags)
        assert runner.run(example, clear_globs=False).failed == 0
        names.update(example.globs)


@pytest.mark.parametrize(("command", "shown"), sessions())
def test_a_console_command_prints_what_the_readme_shows(
    command: str, shown: str, tmp_path: Path
) -> None:
    program, *arguments = shlex.split(command)
    assert program == "apsim"
    done = subprocess.run(
        [sys.executable, "-m", "apsim", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.OutputChecker().check_output(shown or "...", done.stdout, flags), done.stdout
