"""Signals at any moment: nothing lost, nothing half-written, and the same results afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT

pytest.importorskip("onnx")

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE)
SPEC = (
    "[axes]\nnetwork = ['resnet50', 'vgg16']\nap = ['1d', '2d']\n[mixes]\naverages = [3, 5]\n"
    "count = 20\n"
)
COMMANDS = {
    "run": "run digits --images 4 --ap 2d-seg --checkpoint c.npz --output out.npz --json out.json",
    "explore": "explore s.toml --workers 2 --out s.jsonl",
    "import": "import m.onnx --output m.npz --quiet",
    "trace": "trace digits:conv1 --vcd t.vcd --jsonl t.jsonl --steps 2000",
    "faults": "faults digits --images 1 --repeats 2 --workers 2 --json f.json",
    "fluid": "fluid --from 2 --to 3 --points 2 --json u.json",
}
RESUMED = {"run": COMMANDS["run"] + " --resume c.npz"}
WORDS = {-signal.SIGKILL: "", 130: "interrupted", 143: "terminated"}


def prepared(folder: Path) -> Path:
    from benchmarks.malformed_readers import READERS

    folder.mkdir()
    (folder / "s.toml").write_text(SPEC)
    (folder / "m.onnx").write_bytes(READERS["onnx"].good(folder))
    return folder


def start(command: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "apsim", *shlex.split(command)], cwd=folder, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def finish(command: str, folder: Path) -> None:
    with start(command, folder) as process:
        _, err = process.communicate()
    assert (process.returncode, err) == (0, "")


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if "seconds" not in k}
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


def contents(folder: Path) -> dict[str, Any]:
    """What is in the files of a folder, without times; a half-written one cannot be read."""
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".npz":
            with np.load(path) as archive:
                arrays = {n: archive[n].tobytes() for n in archive.files if n != "head"}
            found[path.name] = {n: hashlib.sha256(b).hexdigest() for n, b in arrays.items()}
        elif path.suffix == ".jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[path.name] = sorted(map(json.dumps, lines))
        elif path.suffix == ".json":
            found[path.name] = without_seconds(json.loads(path.read_text()))
        else:
            found[path.name] = path.read_bytes()
    return found


def killed(command: str, folder: Path, number: int, wait: float) -> tuple[int, float, str]:
    """Start, wait, send the signal to the process (Ctrl-C to all of its group); how it ended."""
    with start(command, folder) as process:
        try:
            _, err = process.communicate(timeout=wait)
            return process.returncode, 0.0, err
        except subprocess.TimeoutExpired:
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        began = time.monotonic()
        if number == signal.SIGPIPE:  # which Python ignores: a broken pipe is an error of writing
            os.kill(process.pid, signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        return process.returncode, time.monotonic() - began, err


@pytest.mark.long
@pytest.mark.parametrize("verb", COMMANDS)
def test_a_command_killed_ten_times_ends_as_one_that_was_left_alone(
    verb: str, tmp_path: Path
) -> None:
    """60 kills: files whole at each, no temporaries but after KILL, one line, the same end"""
    whole = prepared(tmp_path / "whole")
    began = time.monotonic()
    finish(COMMANDS[verb], whole)
    length, random = time.monotonic() - began, Random(verb)
    folder = prepared(tmp_path / "killed")
    for k in range(10):
        number = SIGNALS[k % len(SIGNALS)]
        again = verb == "run" and (folder / "c.npz").exists()
        command = RESUMED[verb] if again else COMMANDS[verb]
        code, took, err = killed(command, folder, number, random.uniform(0.1, length))
        assert "Traceback" not in err, err
        assert code in (0, -signal.SIGINT, -signal.SIGTERM, *WORDS), (code, err)
        assert err.count("\n") <= 1
        assert took < 10, "a processor that does much else included; alone it is below 2"
        if number != signal.SIGKILL:
            assert not [item for item in folder.iterdir() if item.name.startswith(".")]
        for item in folder.glob(".*"):
            item.unlink()
        if verb != "explore":
            contents(folder)
    again = verb == "run" and (folder / "c.npz").exists()
    finish(RESUMED[verb] if again else COMMANDS[verb], folder)
    assert contents(folder) == contents(whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_a_file_is_written_leaves_the_old_one_and_nothing_else(
    number: int, tmp_path: Path
) -> None:
    """The process is held in the middle of its file"""
    (tmp_path / "t.jsonl").write_text("old")
    held = (
        "import sys\nfrom apsim import cli\nfrom apsim.trace import jsonl\n"
        "def stopped(self, event):\n    print('held', flush=True)\n    sys.stdin.read()\n"
        "jsonl.JsonLines.__call__ = stopped\nsys.exit(cli.main())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", held, "trace", "add", "--jsonl", "t.jsonl"], cwd=tmp_path, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert len(list(tmp_path.iterdir())) == 2  # the old file, and the new one beside it
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 128 + number
    assert err.startswith(f"apsim: {WORDS[128 + number]}; ")
    assert [item.name for item in tmp_path.iterdir()] == ["t.jsonl"]
    assert (tmp_path / "t.jsonl").read_text() == "old"


def test_ctrl_c_ends_faults_at_once_and_its_workers_say_nothing(tmp_path: Path) -> None:
    """Sent to all processes of the group, as a terminal does, while both workers are at it"""
    held = (
        "import os, sys\nfrom apsim import cli, faults\n"
        "def trial(*a):\n    os.write(1, b'held\\n')\n    sys.stdin.read()\n"
        "faults._trial = trial\nsys.exit(cli.main())\n"
    )
    command = "faults digits --images 1 --repeats 4 --workers 2"
    process = subprocess.Popen(
        [sys.executable, "-c", held, *command.split()],
        cwd=tmp_path, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["held\n"] * 2
    os.killpg(process.pid, signal.SIGINT)
    _out, err = process.communicate()  # ends only when the workers have closed their output, too
    assert process.returncode == 130
    assert err.startswith("apsim: interrupted; ")
    assert err.count("\n") == 1
