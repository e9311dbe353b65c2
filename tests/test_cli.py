"""The command line's own manners: help that is quick, errors of one line, exit codes."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from apsim import cli
from apsim.errors import InputError
from tests.conftest import ROOT

FULL = "apsim: error: cannot write to the standard output"


def run(*arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-m", "apsim", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Makes `apsim probe` do what the given function does."""

    def install(action: Callable[[], int]) -> None:
        def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
            subparsers.add_parser("probe").set_defaults(run=lambda _: action())

        module = types.ModuleType("apsim.commands.probe")
        module.__dict__["add_parser"] = add_parser
        monkeypatch.setitem(sys.modules, "apsim.commands.probe", module)
        monkeypatch.setattr(cli, "VERBS", ("probe",))

    return install


IMPORTED = """
import sys
from apsim.cli import main
try:
    main()
finally:
    print()
    print(*sys.modules)
"""


def imported(*arguments: str) -> set[str]:
    """The modules that a command imports."""
    command = [sys.executable, "-c", IMPORTED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    found = imported(*arguments)
    assert "apsim.cli" in found
    assert not found & {"numpy", "numba", "rich", "llvmlite", "apsim.files", "json"}


NOT_OF_DIGITS = (
    "apsim.cam.stream", "apsim.cost.inference", "apsim.debug", "apsim.explore", "apsim.faults",
    "apsim.functions.weight_run", "apsim.lut.compiler", "apsim.lut.cubes", "apsim.lut.word_table",
    "apsim.nn.importers", "apsim.nn.judges", "apsim.nn.on_ap.layer_recipes",
    "apsim.nn.on_ap.layers", "apsim.nn.rules.precision", "apsim.nn.rules.recipes",
    "apsim.nn.search", "apsim.nn.zoo.transformer", "apsim.trace", "numpy.ma.core",
    "rich.progress",
)  # fmt: skip


def test_a_run_imports_what_it_uses() -> None:
    """numba, which its kernels are; not other verbs, mappings, formats, and layers' makers"""
    found = imported("run", "digits", "--images", "1")
    assert {"numba", "apsim.commands.run"} <= found
    assert [name for name in NOT_OF_DIGITS if find_spec(name) is None] == []
    assert {name for name in found if name.startswith(NOT_OF_DIGITS)} == set()
    assert not found & {f"apsim.commands.{verb}" for verb in cli.VERBS if verb != "run"}


def test_help_names_every_verb() -> None:
    assert {verb for verb in cli.VERBS if verb not in run("--help").stdout} == set()


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help(verb: str) -> None:
    done = run(verb, "--help")
    assert done.returncode == 0
    assert f"usage: apsim {verb}" in done.stdout


def test_a_mistyped_verb_is_answered_with_the_nearest_one() -> None:
    done = run("pobre")
    assert done.returncode == 2
    assert done.stderr.startswith("apsim: error: there is no verb 'pobre'")
    assert done.stderr.count("\n") == 1


def test_the_nearest_verb_is_suggested(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda: 0)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["porbe"])
    assert "did you mean 'probe'?" in capsys.readouterr().err


def test_no_verb_at_all_shows_the_help() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert all(verb in done.stdout for verb in cli.VERBS)


def test_the_nearest_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["run", "--imges", "3"])
    said = capsys.readouterr().err
    assert "unrecognized arguments: --imges; did you mean --images?" in said
    assert "(see: apsim run --help)" in said


def test_a_python_without_what_apsim_needs_is_named(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """one line, exit code 2; a module of apsim's own that is not there is a defect"""

    def lacking(name: str) -> int:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    verb(lambda: lacking("rich.table"))
    assert cli.main(["probe"]) == 2
    assert "lacks the package 'rich.table'; install apsim" in capsys.readouterr().err
    verb(lambda: lacking("apsim.nosuch"))
    assert cli.main(["probe"]) == 70


def test_the_nearest_choice_is_named_and_options_are_spelled_in_full(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command, message in (
        (["run", "--mapping", "wieghts"], "got 'wieghts'; did you mean 'weights'?"),
        (["lut", "lst"], "wanted one of list, show, check, make, table, got 'lst'; did you mean"),
        (["paper", "--htm", "x"], "unrecognized arguments: --htm x; did you mean --html?"),
    ):
        with pytest.raises(SystemExit, match="2"):
            cli.main(command)
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", cli.VERBS)
def test_the_example_of_a_verbs_help_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "import":
        pytest.importorskip("onnx")
        from tests.helpers.judge_models import conv_net

        conv_net(tmp_path / "model.onnx")
    example = cli.parser(name).epilog or ""
    assert example.startswith(f"example: apsim {name} ")
    assert cli.main(shlex.split(example)[2:]) == 0, capsys.readouterr()


@pytest.mark.parametrize("action", ["list", "show", "check", "make", "table"])
def test_the_example_of_each_action_on_luts_runs(
    action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("xor.txt").write_text(" A B D | D\n 0 0 0 | 0\n 0 1 0 | 1\n 1 0 0 | 1\n 1 1 0 | 0\n"
                               " 0 0 1 | NP\n 0 1 1 | NP\n 1 0 1 | NP\n 1 1 1 | NP\n")  # fmt: skip
    with pytest.raises(SystemExit, match="0"):
        cli.main(["lut", action, "--help"])
    example = capsys.readouterr().out.partition("example: ")[2].strip()
    assert example.startswith(f"apsim lut {action}")
    assert cli.main(shlex.split(example)[1:]) == 0, capsys.readouterr()


def test_completions_are_printed_for_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--completion", "bash"])
    assert "--images" in capsys.readouterr().out
    assert cli.main(["--completion", "dos"]) == 2


@pytest.mark.parametrize("code", [0, 1])
def test_a_verb_gives_the_exit_code(verb: Callable[..., None], code: int) -> None:
    verb(lambda: code)
    assert cli.main(["probe"]) == code


def test_a_users_mistake_is_one_line_and_exit_2(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def action() -> int:
        raise InputError("wanted 1..16 bits, got 17")

    verb(action)
    assert cli.main(["probe"]) == 2
    assert capsys.readouterr() == ("", "apsim: error: wanted 1..16 bits, got 17\n")


def test_ctrl_c_is_one_line_and_exit_130(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def action() -> int:
        raise KeyboardInterrupt

    verb(action)
    assert cli.main(["probe"]) == 130
    assert capsys.readouterr() == ("", f"apsim: interrupted; {cli.KEPT}\n")


@pytest.mark.parametrize(("number", "word"), [(2, "interrupted"), (15, "terminated")])
def test_a_signal_within_a_callback_of_the_interpreter_is_not_lost(number: int, word: str) -> None:
    """Python drops what the callback of a weak reference raises; the process ends all the same"""
    code = (
        "import signal, weakref\n"
        "from apsim import process\n"
        "class Thing: pass\n"
        "process.prepare()\n"
        "thing = Thing()\n"
        f"watch = weakref.ref(thing, lambda _: signal.raise_signal({number}))\n"
        "del thing\n"
        "print('went on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"apsim: {word}\n")


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_whose_error_compiled_code_drops_comes_again(number: int) -> None:
    """numpy asks an operand for `__array_ufunc__` and forgets what that raises, as Ctrl-C may be"""
    code = (
        "import signal, numpy\n"
        "from apsim import process\n"
        "class Meta(type):\n"
        "    def __getattr__(cls, name):\n"
        "        if name == '__array_ufunc__':\n"
        f"            signal.raise_signal({number})\n"
        "        raise AttributeError(name)\n"
        "class Thing(metaclass=Meta): pass\n"
        "process.prepare()\n"
        "try:\n"
        "    numpy.int64(1) == Thing()\n"
        "    while True: pass\n"
        "except KeyboardInterrupt:\n"
        "    print('answered', process.code())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"answered {128 + number}\n", "")


@pytest.mark.parametrize(("number", "word"), [(2, "interrupted"), (15, "terminated")])
def test_a_signal_before_anything_is_imported_is_answered(number: int, word: str) -> None:
    code = (
        "import signal, sys\n"
        "from importlib.abc import MetaPathFinder\n"
        "class Signal(MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == 'apsim.cli': signal.raise_signal({number})\n"
        "import apsim.__main__\n"
        "sys.meta_path.insert(0, Signal())\n"
        "apsim.__main__.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"apsim: {word}\n")


def test_a_reader_that_stops_reading_causes_no_noise() -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, "-m", "apsim", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=buffered,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, noise = process.communicate()
    assert (process.returncode, noise) == (cli.BROKEN_PIPE, b"")


def test_a_defect_of_apsim_itself_is_one_line_and_exit_70(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traceback is for those who ask for it"""

    def action() -> int:
        raise ZeroDivisionError("two\nlines")

    verb(action)
    assert cli.main(["probe"]) == cli.DEFECT
    line = capsys.readouterr().err
    assert re.match(
        r"apsim: a defect of apsim, .*: ZeroDivisionError: two lines \(.*\.py:\d+\)", line
    )
    assert line.count("\n") == 1
    monkeypatch.setenv("APSIM_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe"])


def test_names_in_an_error_do_not_steer_the_terminal(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def action() -> int:
        raise InputError("no layer \x1b]0;PWN\x07\u202e")

    verb(action)
    assert cli.main(["probe"]) == 2
    assert capsys.readouterr().err == r"apsim: error: no layer \x1b]0;PWN\x07\u202e" + "\n"


@pytest.mark.parametrize(
    ("redirect", "code", "noise"),
    [
        (
            ">/dev/full",
            2,
            "apsim: error: cannot write to the standard output: No space left on device\n",
        ),
        (">&-", 0, ""),
        ("2>&- >/dev/null", 0, ""),
        ("<&- >/dev/null", 0, ""),
    ],
)
def test_a_full_or_closed_stream_ends_quietly_or_in_one_line(
    redirect: str, code: int, noise: str
) -> None:
    command = f"{sys.executable} -m apsim lut list {redirect}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, noise)


def test_a_terminal_of_ascii_gets_ascii() -> None:
    """No UnicodeEncodeError, and what stands for a sign can be read"""
    plain = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "apsim", "cost", "digits"]
    done = subprocess.run(command, capture_output=True, env=plain)
    assert done.returncode == 0
    assert b" us" in done.stdout and done.stdout.isascii()


@pytest.mark.parametrize(("number", "word", "code"), [
    (signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143),
])  # fmt: skip
def test_a_signal_while_a_module_is_imported_is_answered_at_once(
    tmp_path: Path, number: int, word: str, code: int
) -> None:
    """A half-imported module unwinds nothing; a temporary file of the moment is removed"""
    (tmp_path / "slow.py").write_text(
        "import signal\nfrom apsim import files\n"
        "inside = files.replacing('out.txt')\ninside.__enter__()\n"
        f"signal.raise_signal({int(number)})\n"
    )
    probe = "from apsim import process; process.prepare(); import slow"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, f"apsim: {word}\n")
    assert {item.name for item in tmp_path.iterdir()} <= {"slow.py", "__pycache__"}


def test_a_wide_command_leaves_the_next_one_as_narrow_as_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output of a command is the same before and after the same command with --wide"""
    monkeypatch.delenv("COLUMNS", raising=False)
    said = []
    for wide in ([], ["--wide"], []):
        assert cli.main(["cost", "digits", *wide]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[2] != said[1]
    assert "COLUMNS" not in os.environ
