"""`apsim run` as a person types it: results, files, mistakes, and interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsim import cli
from apsim.counts import Counts
from apsim.nn.model import store
from apsim.nn.on_ap.layer_run import Forecast
from apsim.nn.zoo import bundled
from tests.conftest import ROOT
from tests.helpers.networks import integers_in, small_network
from tests.helpers.on_ap import build_otherwise, forecast_otherwise

DIGITS = bundled.data_file("digits.npz")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a small network, images for it, and nothing else."""
    model = small_network()
    store.save(model, tmp_path / "small.npz")
    np.save(tmp_path / "images.npy", integers_in(model.tensors["x"], 2, 0))
    monkeypatch.chdir(tmp_path)
    return tmp_path


SMALL = ("small.npz", "--input", "images.npy")


def run(*arguments: str) -> int:
    return cli.main(["run", *arguments])


def test_the_main_job_passes_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Real digits: every layer exact, the accuracy (the twin's), PASS"""
    assert run("--images", "2") == 0
    out = capsys.readouterr().out
    assert "accuracy: 1 of 2 = 50.00%" in out
    assert "PASS: bit-exact, counted == predicted" in out


@pytest.mark.parametrize("kind", ["1d", "2d", "2d-seg", "2d-tc", "2d-seg-tc"])
def test_every_kind_gives_the_same_outputs(folder: Path, kind: str) -> None:
    """outputs(kind) == outputs(2d)"""
    assert run(*SMALL, "--ap", kind, "--output", "out.npz") == 0
    assert run(*SMALL, "--output", "plain.npz") == 0
    with np.load("out.npz") as out, np.load("plain.npz") as plain:
        assert out.files == plain.files == ["linear"]
        np.testing.assert_array_equal(out["linear"], plain["linear"])


def test_the_tag_chain_is_an_option_of_its_own(folder: Path) -> None:
    """--ap 2d-seg --tag-chain == --ap 2d-seg-tc"""
    assert run(*SMALL, "--ap", "2d-seg", "--tag-chain", "--json", "a.json") == 0
    assert run(*SMALL, "--ap", "2d-seg-tc", "--json", "b.json") == 0
    a, b = (json.loads(Path(name).read_text()) for name in ("a.json", "b.json"))
    assert (a["ap"], a["totals"]) == (b["ap"], b["totals"])
    assert a["ap"]["tag_chain"]


def test_the_json_is_written_whole(folder: Path) -> None:
    assert run(*SMALL, "--json", "run.json") == 0
    found = json.loads(Path("run.json").read_text())
    assert (found["schema"], found["model"], found["images"]) == ("apsim.run/1", "small", 2)
    assert sorted(path.name for path in folder.iterdir()) == ["images.npy", "run.json", "small.npz"]


def test_all_tensors_are_written_where_they_are_asked_for(folder: Path) -> None:
    assert run(*SMALL, "--output", "out.npz", "--tensors") == 0
    with np.load("out.npz") as out:
        assert set(out.files) == set(small_network().tensors)


def test_a_run_takes_as_many_images_of_a_file_as_it_is_told(folder: Path) -> None:
    assert run(*SMALL, "--images", "1", "--json", "run.json") == 0
    assert json.loads(Path("run.json").read_text())["images"] == 1


def test_a_sampled_check_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apsim.nn.verify.SAMPLE", 2)
    assert run(*SMALL, "--check", "sample", "--json", "run.json") == 0
    assert "checked: a sample of channels" in capsys.readouterr().out
    layers = json.loads(Path("run.json").read_text())["layers"]
    assert [layer["compared"] for layer in layers if layer["op"] == "linear"] == [
        "2 of 10 channels"
    ]


def test_a_wrong_program_is_a_failure(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that is dropped: value and count differ, exit 1"""
    from tests.nn.test_runtime import dropped, spoilt

    build_otherwise(monkeypatch, "dot_products", lambda function: spoilt(function, dropped))
    assert run(*SMALL) == 1
    out = capsys.readouterr().out
    assert "value and count differ" in out
    assert "FAIL: NOT bit-exact, counted != predicted" in out


def test_a_wrong_forecast_is_a_failure(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """count differs, exit 1"""
    forecast_otherwise(monkeypatch, "add", Forecast(0, Counts(read=1)))
    assert run(*SMALL) == 1
    out = capsys.readouterr().out
    assert "count differs" in out
    assert "value differs" not in out
    assert "FAIL: bit-exact, counted != predicted" in out


def write_inputs(folder: Path) -> None:
    """Inputs of all the wrong kinds."""
    model = folder / "small.npz"
    (folder / "cut.npz").write_bytes(model.read_bytes()[:500])
    (folder / "empty.npz").write_bytes(b"")
    (folder / "cut.npy").write_bytes((folder / "images.npy").read_bytes()[:100])
    with np.load(model) as archive:
        arrays = {name: archive[name] for name in archive.files}
    head = json.loads(bytes(arrays["model.json"])) | {"schema": "apsim.model/9"}
    arrays["model.json"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    np.savez(folder / "schema.npz", **arrays)
    shape = (2, *small_network().tensors["x"].shape)
    good = np.ones(shape)
    for name, values in {
        "nan": good * np.nan, "flat": np.ones(shape[:2]), "plane": np.ones((*shape[:-1], 5), int),
        "high": np.full(shape, 99), "none": np.ones((0, *shape[1:]), int), "one": np.array(3),
        "text": np.full(shape, "a"), "real": good,
    }.items():  # fmt: skip
        np.save(folder / f"{name}.npy", values)
    np.save(folder / "object.npy", np.array([None]), allow_pickle=True)
    np.savez(folder / "others.npz", a=good, b=good)


IMAGES = "input 'x' must have shape [N, 2, 4, 4], got "
MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "no such file": (("nothing.npz",), "cannot read the model nothing.npz: No such file"),
    "no such network": (("resnet51",), "unknown model 'resnet51'.*did you mean 'resnet50'?"),
    "no name": (("",), "unknown model ''"),
    "a folder": ((".",), "cannot read the model .: Is a directory"),
    "a truncated model": (("cut.npz",), "cut.npz: not a whole .npy or .npz of numbers"),
    "an empty model": (("empty.npz",), "empty.npz: not a whole .npy or .npz of numbers"),
    "a model of another schema": (("schema.npz",), "schema.npz.*apsim.model/9"),
    "images for another model": (("small.npz",), "give some with --input"),
    "no images": (("small.npz", "--input", "nothing.npy"), "cannot read inputs from nothing.npy"),
    "truncated images": (("small.npz", "--input", "cut.npy"), "cannot read inputs from cut.npy"),
    "images without a plane": (("small.npz", "--input", "flat.npy"), IMAGES + "[2, 2]"),
    "images of another size": (("small.npz", "--input", "plane.npy"), IMAGES + "[2, 2, 4, 5]"),
    "one number": (("small.npz", "--input", "one.npy"), IMAGES + "[]"),
    "no image": (("small.npz", "--input", "none.npy"), "must hold at least one"),
    "integers out of range": (("small.npz", "--input", "high.npy"), "must lie in 0..15, got 99"),
    "NaN": (("digits", "--input", "nan8.npy"), "input 'image' holds NaN or infinity"),
    "real numbers without a scale": (("small.npz", "--input", "real.npy"), "one scale"),
    "text": (("small.npz", "--input", "text.npy"), "must hold .*, got <U1"),
    "pickles": (("small.npz", "--input", "object.npy"), "object.npy.*"),
    "arrays of other names": (
        ("small.npz", "--input", "others.npz"), "wanted an array for each of x.*, found a, b"),
    "more images than there are": ((*SMALL, "--images", "3"), "--images: wanted 1 to 2, got 3"),
    "zero images": ((*SMALL, "--images", "0"), "--images: wanted 1 to 2, got 0"),
    "more digits than there are": (("--images", "361"), "wanted 1 to 360, got 361"),
    "no threads": ((*SMALL, "--threads", "0"), "wanted at least one thread, got 0"),
    "an unknown engine": (
        (*SMALL, "--engine", "warp"), "unknown engine 'warp': wanted one of dense, strict, fused"),
    "an unknown chip": ((*SMALL, "--chip", "bf-imna-rl"), "neither.*'bf-imna-lr'?"),
    "an unknown kind": (
        (*SMALL, "--ap", "3d"), "wanted one of 1d, 2d, 2d-seg, 2d-tc, 2d-seg-tc, got '3d'"),
    "a tag chain on 1d": ((*SMALL, "--ap", "1d", "--tag-chain"), "1d AP has no column tags"),
    "too few columns": (
        (*SMALL, "--columns", "18"),
        "layer 'conv2d': dot products on the 2d AP needs 1729 rows and 27 columns; "
        "a CAP of bf-imna-lr has 4800 rows and 18 columns; no AP kind would fit"),
    "columns that suffice for another kind": (
        (*SMALL, "--columns", "25"), "it would fit on 1d, 2d-tc, 2d-seg-tc"),
    "too few rows": (
        (*SMALL, "--rows", "4"), "a sum of 18 words wants a CAP of 6 rows.*a CAP has 4 rows"),
    "no rows": ((*SMALL, "--rows", "0"), "wanted CAPs of 2 rows and 1 column at least, got 0"),
    "widths that are no numbers": ((*SMALL, "--bits", "x"), "--bits: wanted numbers such as 8"),
    "a seed below zero": (("resnet18", "--seed", "-1"), "--seed: wanted a number from 0 on"),
    "an unwritable JSON": ((*SMALL, "--json", "no/run.json"), "cannot write no/run.json"),
    "an unwritable output": ((*SMALL, "--output", "."), "cannot write .: Is a directory"),
    "an unwritable checkpoint": ((*SMALL, "--checkpoint", "no/c"), "cannot write no/c"),
    "no checkpoint": ((*SMALL, "--resume", "c"), "cannot read the checkpoint c: No such file"),
    "a model for a checkpoint": ((*SMALL, "--resume", "small.npz"), "is not a checkpoint: it"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    folder: Path, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, one message on stderr that names what was wanted, no table, no new file"""
    arguments, message = MISTAKES[mistake]
    write_inputs(folder)
    np.save(folder / "nan8.npy", np.full((1, 1, 8, 8), np.nan))
    before = sorted(folder.iterdir())
    try:
        code = run(*arguments)
    except SystemExit as stop:  # argparse leaves by itself
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("apsim: error: ")
    assert err.count("\n") == 1
    for piece in message.split(".*"):
        assert piece in err
    assert sorted(folder.iterdir()) == before


def test_an_existing_result_survives_a_mistake(folder: Path) -> None:
    Path("run.json").write_text("old")
    assert run(*SMALL, "--rows", "4", "--json", "run.json") == 2
    assert Path("run.json").read_text() == "old"


def started(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, which says that 3 layers are done and waits there."""
    held = (
        "import sys; from apsim import cli; from apsim.nn import runtime\n"
        "whole = runtime._Progress.step\n"
        "def step(self, *a):\n"
        "    whole(self, *a)\n"
        "    if len(self.layers) == 3:\n"
        "        print('held', flush=True)\n"
        "        sys.stdin.read()\n"
        "runtime._Progress.step = step\n"
        "sys.exit(cli.main())\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", held, "run", *arguments], cwd=folder, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def stopped(process: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.send_signal(number)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_ctrl_c_is_one_line_that_says_how_to_go_on_and_the_run_does(
    number: int, code: int, word: str, folder: Path
) -> None:
    """The checkpoint is kept, nothing else is left; the resumed run equals a whole one"""
    process = started(*SMALL, "--checkpoint", "c.npz", folder=folder)
    line = f"apsim: {word}; layers done are kept; go on with: --resume c.npz\n"
    assert stopped(process, number) == (code, "", line)
    assert sorted(item.name for item in folder.iterdir()) == ["c.npz", "images.npy", "small.npz"]
    assert run(*SMALL, "--resume", "c.npz", "--json", "resumed.json") == 0
    assert run(*SMALL, "--json", "whole.json") == 0
    assert without_seconds("resumed.json") == without_seconds("whole.json")


def without_seconds(path: str) -> Any:
    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if "seconds" not in k}
        return [clean(v) for v in value] if isinstance(value, list) else value

    return clean(json.loads(Path(path).read_text()))


def test_a_pipe_gets_a_plain_table_without_colour(folder: Path) -> None:
    """No escape sequences, no frames and no progress bar where nobody looks"""
    command = [sys.executable, "-m", "apsim", "run", *SMALL]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "predicted" in done.stdout
    assert not set(done.stdout) & set("…│┃─━")


def test_a_reader_that_stops_reading_is_no_failed_check(folder: Path) -> None:
    """`apsim run | head` ends as other commands do: 141, and not a word"""
    command = [sys.executable, "-m", "apsim", "run", *SMALL]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    _, noise = process.communicate()
    assert (process.returncode, noise) == (cli.BROKEN_PIPE, b"")
