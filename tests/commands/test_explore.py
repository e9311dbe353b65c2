"""`apsim explore`: points, resuming, dead workers, Pareto fronts, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import nn
from apsim.cli import main
from apsim.errors import ApsimError, InputError
from apsim.explore import pareto_front, read_spec, sweep
from apsim.explore import points as point_module
from apsim.explore.pareto import beats
from apsim.explore.points import evaluate
from apsim.explore.spec import Point, identity, spec_names, spec_of
from apsim.explore.sweep import finished
from apsim.explore.values import MAXIMISED
from apsim.nn.rules import real
from apsim.nn.zoo import datasets

runner = sys.modules["apsim.explore.sweep"]

SPEC = """
name = "small"
pareto = ["energy_j", "latency_s"]
[axes]
network = ["alexnet", "resnet18"]
bits = [2, 4, 8, "hawq-low"]
technology = ["sram", "reram"]
chip = ["lr", "ir"]
"""
TABLE = {
    "axes": {"network": ["alexnet", "vgg16"], "bits": [4, 8, 16], "batch": [1, 2]},
}


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SPEC)
    return path


def test_points_are_the_product_of_the_axes() -> None:
    """points == 2 networks x 3 widths x 2 batches, each once"""
    spec = spec_of(TABLE, "here")
    assert len(spec.points) == len({identity(point) for point in spec.points}) == 12
    assert {point["technology"] for point in spec.points} == {"sram"}


def test_a_point_has_one_identity_whatever_the_order_of_its_values() -> None:
    point = {"network": "alexnet", "bits": 8}
    assert identity(point) == identity(dict(reversed(point.items())))
    assert identity(point) != identity(point | {"bits": 4})


def test_random_mixes_are_the_same_for_the_same_seed() -> None:
    table = {
        "axes": {"network": ["alexnet"]},
        "mixes": {"averages": [3, 5.5], "count": 4, "seed": 7},
    }
    first, again = spec_of(table, "here"), spec_of(table, "here")
    assert first == again
    assert len(first.points) == 8
    assert all(len(point["bits"]) == 8 for point in first.points)


def test_a_sweep_gives_what_its_points_give_alone(spec_file: Path, tmp_path: Path) -> None:
    """sweep(points) == [evaluate(point)], in this process and in two"""
    spec = read_spec(str(spec_file))
    wanted = [evaluate("cost", point) for point in spec.points]
    assert sweep(spec, str(tmp_path / "one.jsonl"), workers=1) == wanted
    assert sweep(spec, str(tmp_path / "two.jsonl"), workers=2) == wanted


def test_a_finished_sweep_evaluates_nothing(
    spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec_file.write_text(SPEC.replace(', "hawq-low"', ""))
    spec, out = read_spec(str(spec_file)), tmp_path / "out.jsonl"
    first = sweep(spec, str(out), workers=1)
    text = out.read_text()
    monkeypatch.setattr(runner, "evaluate_all", None)
    assert sweep(spec, str(out), workers=1) == first
    assert out.read_text() == text


def test_an_interrupted_sweep_goes_on_where_it_stopped(
    spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted, torn in its last line, resumed: every point once, equal to a run in one go"""
    monkeypatch.setattr(runner, "CHUNK", 3)
    spec, out = read_spec(str(spec_file)), tmp_path / "out.jsonl"

    def interrupt(done: int, total: int) -> None:
        if done >= 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(spec, str(out), workers=1, progress=interrupt)
    assert 7 <= len(out.read_text().splitlines()) < len(spec.points)
    with out.open("a") as stream:
        stream.write('{"id": "torn')
    resumed = sweep(spec, str(out), workers=1)
    names = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert sorted(names) == sorted({identity(point) for point in spec.points})
    assert resumed == sweep(spec, str(tmp_path / "other.jsonl"), workers=1)


def _dies_once(kind: str, chunk: Sequence[Point]) -> list[dict[str, Any]]:
    marker = Path(os.environ["APSIM_TEST_MARKER"])
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return point_module.evaluate_all(kind, chunk)


def _always_dies(kind: str, chunk: Sequence[Point]) -> list[dict[str, Any]]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def test_a_worker_that_dies_costs_nothing_but_time(
    spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APSIM_TEST_MARKER", str(tmp_path / "died"))
    monkeypatch.setattr(runner, "CHUNK", 4)
    spec = read_spec(str(spec_file))
    wanted = sweep(spec, str(tmp_path / "one.jsonl"), workers=1)
    monkeypatch.setattr(runner, "evaluate_all", _dies_once)
    assert sweep(spec, str(tmp_path / "two.jsonl"), workers=2) == wanted
    assert (tmp_path / "died").exists()
    assert finished(str(tmp_path / "two.jsonl")) == {
        one["id"]: one for one in wanted if "error" not in one
    }


def test_workers_that_keep_dying_end_the_sweep_with_a_reason(
    spec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "evaluate_all", _always_dies)
    with pytest.raises(ApsimError, match="workers died 3 times; the finished points are kept"):
        sweep(read_spec(str(spec_file)), str(tmp_path / "x.jsonl"), workers=2)


def test_a_point_that_cannot_be_is_an_answer() -> None:
    results = [evaluate("cost", point) for point in spec_of(TABLE, "here").points]
    failed = [result for result in results if "error" in result]
    assert {result["bits"] for result in failed} == {16}
    assert "columns" in failed[0]["error"]


metrics = st.fixed_dictionaries(
    {name: st.integers(0, 12) for name in ("energy_j", "latency_s", "gops")}
)


@given(st.lists(metrics, max_size=40))
def test_the_front_is_what_no_other_resultbeats(results: list[dict[str, int]]) -> None:
    """front == {r : no other is at least as good in all and better in one}, by brute force"""
    objectives = ("energy_j", "latency_s", "gops")
    front = pareto_front(results, objectives)

    def place(result: Any) -> tuple[float, ...]:
        return tuple(-result[n] if n in MAXIMISED else result[n] for n in objectives)

    wanted = [r for r in results if not any(beats(place(o), place(r)) for o in results)]
    assert sorted(map(place, front)) == sorted(map(place, wanted))


def test_the_command_shows_fronts_and_writes_files(
    spec_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    table, plot = tmp_path / "all.csv", tmp_path / "front.svg"
    arguments = ["--workers", "1", "--csv", str(table), "--plot", str(plot)]
    assert main(["explore", str(spec_file), *arguments]) == 0
    assert "Pareto fronts: energy_j, latency_s" in capsys.readouterr().out
    assert len(table.read_text().splitlines()) == 33
    assert plot.read_text().startswith("<svg")
    assert spec_file.with_suffix(".jsonl").exists()


@pytest.mark.parametrize("name", spec_names())
def test_a_bundled_sweep_can_be_run(name: str, tmp_path: Path) -> None:
    """Every point of it has its metrics"""
    spec = read_spec(name)
    assert len(spec.points) > 20
    some = spec.points if spec.kind == "cost" else spec.points[:3]  # what executes takes longer
    results = sweep(replace(spec, points=some), str(tmp_path / "out.jsonl"), workers=1)
    assert len(results) == len(some)
    assert not [result for result in results if "error" in result]


def test_a_sweep_of_transformers_tells_products_from_moves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """T groups of T words: two trees move T - 1 words each, two broadcasts one, in 2 cycles."""
    path, out = tmp_path / "vit.toml", tmp_path / "out.jsonl"
    text = 'kind = "run"\nimages = 1\n[axes]\nmodel = ["vit:5,4", "vit:9,4"]\nap = ["2d"]\n'
    path.write_text(text)
    assert main(["explore", str(path), "-o", str(out), "--workers", "1"]) == 0
    assert "products %" in capsys.readouterr().out
    for tokens, line in zip((5, 9), out.read_text().splitlines(), strict=True):
        result = json.loads(line)
        moved = result["moved_by_operation"]["softmax"]
        assert moved == 2 * tokens * (2 * (tokens - 1) + 2)
        assert moved < result["cycles_by_operation"]["softmax"]


def test_an_unknown_sweep_is_refused_with_the_nearest_name() -> None:
    wanted = r"did you mean 'precision'\?; bundled: attention, mixes, precision"
    with pytest.raises(InputError, match=wanted):
        read_spec("precison")


def test_images_are_run_in_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The blocks of a data set have the counts and answers of a run over all of it"""
    path = tmp_path / "run.toml"
    path.write_text('kind = "run"\nimages = 3\nblock = 2\n[axes]\nmodel = "digits"\nap = "2d"\n')
    spec = read_spec(str(path))
    assert [(point["first"], point["images"]) for point in spec.points] == [(0, 2), (2, 1)]
    assert main(["explore", str(path), "--workers", "1"]) == 0
    assert "exact" in capsys.readouterr().out


def test_any_model_is_run_on_the_images_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A saved model on 3 of 3 images, in blocks, as the run over all; a fourth there is none"""
    model, digits = nn.load("digits"), datasets.digits()
    nn.save(model, tmp_path / "mine.npz")
    np.save(tmp_path / "x.npy", digits.images[:3])
    path = tmp_path / "run.toml"
    path.write_text(
        f'kind = "run"\nimages = 4\nblock = 1\n[axes]\nmodel = "{tmp_path}/mine.npz"\n'
        f'input = "{tmp_path}/x.npy"\nap = "2d-tc"\nbits = [[4, 4, 4, 4]]\n'
    )
    assert main(["explore", str(path), "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "1 points cannot be: " in shown
    assert "wanted 1 to 3, got 4" in shown
    blocks = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    assert [block.get("correct") for block in blocks] == [None] * 4
    narrow, chip = model.at(4), nn.Chip.preset("bf-imna-lr", ap="2d-tc")
    nn.run(narrow, real.quantize(narrow, digits.images[2:3]), chip)
    assert blocks[2]["activity"] == chip.activity.as_dict()
    assert blocks[2]["counts"] == chip.counts.as_dict()


def test_a_sweep_runs_chips_as_their_options_say() -> None:
    """counts and activity of a point == those of a run with its requant, broadcast and array"""
    options = {"requant": "ap", "broadcast": "rows", "array": "cap", "mapping": "auto"}
    axes = {"model": "digits", "ap": "2d-seg", "cost": "cycles", **options}
    (point,) = spec_of({"kind": "run", "images": 1, "axes": axes}, "here").points
    found, model = evaluate("run", point), nn.load("digits")
    chip = nn.Chip.preset("bf-imna-lr", ap="2d-seg", cost="cycles", **options)
    nn.run(model, real.quantize(model, datasets.digits().images[:1]), chip)
    assert found["counts"] == chip.counts.as_dict()
    assert found["activity"] == chip.activity.as_dict()


REFUSED = {
    "kind = 'run'\n[axes]\nmodel = 'digits'\nrequant = 'me'": "requant: 'me' is not one of host",
    "kind = 'run'\n[axes]\nmodel = 'digits'\nmapping = 'my'": "'my' is not one of im2col, weights",
    "": "'network' is missing",
    "[axes]\nnetwork = []": "network has no values",
    "[axes]\nnetwrk = ['alexnet']": "unknown key 'netwrk'; did you mean 'network'",
    "[axis]\nnetwork = ['alexnet']": "unknown key 'axis'; did you mean 'axes'",
    "kind = 'walk'": "kind 'walk' is not one of cost, run",
    "kind = 'run'\nblock = 0\n[axes]\nmodel = 'digits'": "block: wanted a whole number of at",
    "axes = 3": "axes: wanted a table, got 3",
    "[axes]\nnetwork = 3": "axes, network: wanted text, got 3",
    "[axes]\nnetwork = 'vgg16'\nbatch = 'two'": "batch: wanted a whole number of at least 1, got",
    "[axes]\nnetwork = 'vgg16'\nbatch = 0": "batch: wanted a whole number of at least 1, got 0",
    "[axes]\nnetwork = 'vgg16'\nbits = 8.5": "bits: wanted 8, '8/4', 'hawq-low' or [8, 4], got 8.5",
    "[axes]\nnetwork = 'vgg16'\nap = '3d'": "ap: '3d' is not one of 1d, 2d",
    "[axes]\nnetwork = 'vgg16'\nwrite_voltage = 'x'": "wanted a number of volts, got 'x'",
    "mixes = 3\n[axes]\nnetwork = 'vgg16'": "mixes: wanted a table, got 3",
    "[axes]\nnetwork = 'vgg16'\n[mixes]\ncount = 2": "wanted a list of averages, got None",
    "[axes]\nnetwork = 'vgg16'\n[mixes]\naverages = [9]": "wanted averages of 2 to 8 bits, got 9",
    "pareto = 'energy_j'\n[axes]\nnetwork = 'vgg16'": "wanted a list of metrics, got 'energy_j'",
    "[axes": "small.toml: ",
    "[axes]\nnetwork = 'vgg16'\n[mixes]\naverages = [3]\ncount = 1000000000": "most 200,000",
    "kind = 'run'\nimages = 1000000000\nblock = 1\n[axes]\nmodel = 'digits'": "at most 200,000",
    "pareto = ['joy']\n[axes]\nnetwork = 'alexnet'": "'joy' is not known; known: energy_j",
    "pareto = ['energie']\n[axes]\nnetwork = 'vgg16'": "did you mean 'energy_j'",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_wrong_sweep_is_refused_with_its_reason(
    text: str, spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec_file.write_text(text)
    assert main(["explore", str(spec_file), "--workers", "1"]) == 2
    assert REFUSED[text] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers: wanted 1 to 1024, got 0"),
        (["--workers", "1000000000"], "--workers: wanted 1 to 1024, got 1000000000"),
        (["--csv", "/nowhere/x.csv"], "cannot write /nowhere/x.csv"),
        (["--out", "/nowhere/x.jsonl"], "cannot write /nowhere/x.jsonl"),
        (["--plot", "x.svg"], "--plot: wanted a sweep of costs with two objectives"),
    ],
)
def test_wrong_options_are_refused_before_any_work(
    options: list[str], message: str, spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec_file.write_text("pareto = ['energy_j']\n[axes]\nnetwork = 'alexnet'\n")
    assert main(["explore", str(spec_file), *options]) == 2
    assert message in capsys.readouterr().err
    assert not spec_file.with_suffix(".jsonl").exists()


def test_a_sweep_without_a_single_result_fails(
    spec_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec_file.write_text("[axes]\nnetwork = 'vgg61'\nbits = [4, 8]\n")
    assert main(["explore", str(spec_file), "--workers", "1"]) == 1
    shown = capsys.readouterr().out
    assert "2 points cannot be: unknown network 'vgg61': wanted" in shown
    assert "did you mean 'vgg16'" in shown


def test_a_technology_made_dearer_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command after an edit: what a new sweep gives, and the rest as it was"""
    monkeypatch.chdir(tmp_path)
    mine, spec = Path("mine.toml"), Path("s.toml")
    base = Path("base.toml")
    spec.write_text("[axes]\nnetwork = 'alexnet'\ntechnology = ['sram', 'mine.toml']\n")
    base.write_text("extends = 'sram-16nm'\n")
    mine.write_text("extends = 'base.toml'\n")
    first = sweep(read_spec("s.toml"), "s.jsonl", workers=1)
    base.write_text("extends = 'sram-16nm'\ncompare_factor = { value = 20, unit = '1' }\n")
    again = sweep(read_spec("s.toml"), "s.jsonl", workers=1)
    assert again[0] == first[0]
    assert again[1]["energy_j"] > 2 * first[1]["energy_j"]
    assert again == sweep(read_spec("s.toml"), "new.jsonl", workers=1)
    assert len(Path("s.jsonl").read_text().splitlines()) == 3


def test_a_model_or_input_replaced_is_run_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    digits = datasets.digits()
    nn.save(nn.load("digits").at(8), "m.npz")
    np.save("x.npy", digits.images[:1])
    table = {"kind": "run", "images": 1, "axes": {"model": "m.npz", "input": "x.npy"}}
    first = sweep(spec_of(table, "here"), "s.jsonl", workers=1)
    nn.save(nn.load("digits").at(4), "m.npz")
    narrow = sweep(spec_of(table, "here"), "s.jsonl", workers=1)
    assert narrow[0]["counts"]["compare"] < first[0]["counts"]["compare"]
    np.save("x.npy", digits.images[1:2])
    other = sweep(spec_of(table, "here"), "s.jsonl", workers=1)
    assert other[0]["activity"] != narrow[0]["activity"]


def test_an_error_is_tried_again_and_leaves_no_line_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = {"axes": {"network": "alexnet", "technology": ["late.toml", "sram"]}}
    missing = sweep(spec_of(table, "here"), "s.jsonl", workers=1)
    assert "cannot read late.toml" in missing[0]["error"]
    Path("late.toml").write_text("extends = 'reram-16nm'\n")
    found = sweep(spec_of(table, "here"), "s.jsonl", workers=1)
    assert found[0]["energy_j"] != found[1]["energy_j"] == missing[1]["energy_j"]
    assert len(Path("s.jsonl").read_text().splitlines()) == 2


def test_a_second_sweep_on_one_file_is_refused_while_the_first_is_at_it(
    spec_file: Path, tmp_path: Path
) -> None:
    """The first goes on and does each point once"""
    spec, out, met = read_spec(str(spec_file)), str(tmp_path / "out.jsonl"), []

    def second(done: int, total: int) -> None:
        with pytest.raises(InputError, match="another sweep is writing it"):
            sweep(spec, out, workers=1)
        met.append(done)

    sweep(spec, out, workers=1, progress=second)
    assert len(met) > 1
    names = [json.loads(line)["id"] for line in Path(out).read_text().splitlines()]
    assert len(names) == len(set(names)) == len(spec.points)


@pytest.mark.parametrize("text", ["one line, no end", "", '{"id": 1}\n{', "PK\x03\x04\n\n\x00"])
def test_no_byte_of_a_file_that_is_no_sweep_is_lost(
    text: str, spec_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.write_bytes(text.encode())
    code = main(["explore", str(spec_file), "--out", str(other), "--workers", "1"])
    assert code == (2 if text else 0)
    assert other.read_bytes().startswith(text.encode())


def test_a_results_file_that_is_something_else_is_refused(
    spec_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("dear diary\n")
    assert main(["explore", str(spec_file), "--out", str(other)]) == 2
    assert "line 1: not a result of apsim explore" in capsys.readouterr().err
    assert other.read_text() == "dear diary\n"


@pytest.mark.long
def test_a_killed_command_is_resumed_by_the_same_command(tmp_path: Path) -> None:
    """SIGKILL midway, then again: every point once, and the results of a run in one go"""
    spec = tmp_path / "big.toml"
    spec.write_text(
        "[axes]\nnetwork = ['resnet50']\nchip = ['lr', 'ir']\nap = ['1d', '2d']\n"
        "[mixes]\naverages = [3, 4, 5, 6, 7]\ncount = 60\n"
    )
    out = tmp_path / "big.jsonl"
    command = [sys.executable, "-m", "apsim", "explore", str(spec), "--workers", "2"]
    first = subprocess.Popen(command, start_new_session=True)
    while not out.exists() or out.stat().st_size < 50_000:
        assert first.poll() is None
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    before = len(out.read_text().splitlines())
    subprocess.run(command, check=True)
    names = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert before < len(names) == len(set(names)) == 1200


@pytest.mark.long
def test_a_cluster_that_loses_a_worker_gives_the_same_results(tmp_path: Path) -> None:
    """A local cluster of two workers, one killed midway: sweep(dask) == sweep(here)"""
    distributed = pytest.importorskip("distributed")
    table = {
        "axes": {"network": ["resnet18", "resnet50"], "technology": ["sram", "reram"]},
        "mixes": {"averages": [3, 4, 5, 6], "count": 50},
    }
    spec = spec_of(table, "here")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        victims = [worker.pid for worker in cluster.workers.values()][:1]

        def kill_one(done: int, total: int) -> None:
            if done > total // 4 and victims:
                os.kill(victims.pop(), signal.SIGKILL)

        out = tmp_path / "cluster.jsonl"
        found = sweep(spec, str(out), dask=cluster.scheduler_address, progress=kill_one)
    assert not victims
    assert found == sweep(spec, str(tmp_path / "here.jsonl"), workers=1)
    assert len(out.read_text().splitlines()) == len(spec.points)


def test_a_missing_cluster_is_one_message(
    spec_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["explore", str(spec_file), "--dask", "tcp://127.0.0.1:1"]) == 2
    assert "apsim[dask]" in capsys.readouterr().err
