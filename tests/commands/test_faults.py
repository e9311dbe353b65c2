"""`apsim faults`: trials on failing arrays against a faultless run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import nn
from apsim.cam import DenseCam
from apsim.cam.faulty import Faults, FaultyCam
from apsim.cli import main
from apsim.errors import InputError
from apsim.faults import FaultyChip, Study, interval, study
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import real
from apsim.nn.zoo import datasets
from apsim.report.run.progress import multiplications
from tests.helpers.networks import integers_in, small_network

IMAGES = 2


def run_study(*faults: Faults, repeats: int = 1, ap: str = "2d-seg") -> list[Study]:
    model, digits = nn.load("digits"), datasets.digits()
    images = real.quantize(model, digits.images[:IMAGES])
    chip = nn.Chip.preset("bf-imna-lr", ap=ap)
    return study(model, images, digits.labels[:IMAGES], chip, faults, repeats=repeats)


@pytest.mark.parametrize("ap", ["1d", "2d-seg", "2d-seg-tc"])
def test_a_faulty_chip_without_faults_is_a_chip(ap: str) -> None:
    """Outputs, counts and activity of the faulty array at rate 0 == those of the packed one"""
    model, digits = nn.load("digits"), datasets.digits()
    images = real.quantize(model, digits.images[:1])
    plain = nn.run(model, images, nn.Chip.preset("bf-imna-lr", ap=ap))
    chip = nn.Chip.preset("bf-imna-lr", ap=ap)
    faulty = nn.run(model, images, FaultyChip(chip.design, ap=ap, faults=Faults()))
    assert faulty.passed
    assert (faulty.outputs == plain.outputs).all()
    assert [layer.counts for layer in faulty.layers] == [layer.counts for layer in plain.layers]
    assert [layer.activity for layer in faulty.layers] == [layer.activity for layer in plain.layers]


def test_every_layer_runs_on_arrays_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """programs carried out by faulty arrays == loads of the layers, dot products included"""
    ran = []
    monkeypatch.setattr(
        FaultyCam, "execute", lambda self, *how: ran.append(1) or DenseCam.execute(self, *how)
    )
    model, digits = nn.load("digits"), datasets.digits()
    chip = nn.Chip.preset("bf-imna-lr", ap="2d-seg")
    done = nn.run(
        model, real.quantize(model, digits.images[:1]),
        FaultyChip(chip.design, ap="2d-seg", faults=Faults()),
    )  # fmt: skip
    assert len(ran) == sum(layer.loads for layer in done.layers) > 20


def test_without_faults_nothing_moves() -> None:
    found = run_study(Faults())[0]
    assert found.trials[0].correct == found.clean_correct
    assert found.moved == found.changed == 0.0
    assert found.activity == found.clean_activity


def test_a_study_runs_as_its_chip_does() -> None:
    """counts of the trials == those of the chip's mapping, for the cost that chooses it"""
    model, digits, ran = nn.load("digits"), datasets.digits(), set()
    images = real.quantize(model, digits.images[:1])
    for cost in ("energy", "cycles"):
        chip = nn.Chip.preset("bf-imna-lr", ap="2d-seg", mapping="auto", cost=cost)
        counts = nn.run(model, images, chip).counts
        assert study(model, images, None, chip, [Faults()], repeats=1)[0].trials[0].counts == counts
        ran.add(counts)
    assert len(ran) == 2


@pytest.mark.parametrize("option", [{"requant": "ap"}, {"array": "cap"}])
def test_what_faulty_arrays_cannot_stand_for_is_refused(option: dict[str, str]) -> None:
    model = nn.load("digits")
    (name,) = option
    with pytest.raises(InputError, match=f"{name}: .* got '{option[name]}'"):
        study(model, [], None, nn.Chip.preset("bf-imna-lr", **option), [Faults()])


def test_faults_move_logits_and_leave_counts_alone() -> None:
    """Counts are known before a run and do not depend on data, faults included"""
    clean, rare, often = run_study(Faults(), Faults(write_error=1e-4), Faults(write_error=0.1))
    assert 0 < rare.moved < often.moved
    assert clean.trials[0].counts == rare.trials[0].counts == often.trials[0].counts


def test_each_kind_of_fault_strikes() -> None:
    for faults in (Faults(missed_match=0.01), Faults(stuck_cells=0.02)):
        assert run_study(faults)[0].moved > 0


def test_a_study_is_repeatable_and_its_trials_differ() -> None:
    """study(seed) == study(seed); trial r of seed s == trial 0 of seed s + r"""
    faults = Faults(write_error=1e-3, seed=11)
    first, again = (run_study(faults, repeats=2)[0] for _ in range(2))
    assert first == again
    assert first.trials[0] != first.trials[1]
    assert first.trials[1] == run_study(replace(faults, seed=12))[0].trials[0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_interval_stays_among_the_values(values: list[float]) -> None:
    """min <= low <= high <= max, and one value repeated has no width"""
    low, high = interval(values)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12
    assert interval([values[0]] * 5) == pytest.approx((values[0], values[0]))


def test_processes_give_the_trials_of_one() -> None:
    """study(workers=2) == study(workers=1)"""
    model, digits = nn.load("digits"), datasets.digits()
    images = real.quantize(model, digits.images[:1])
    chip = nn.Chip.preset("bf-imna-lr", ap="2d-seg")
    faults = [Faults(write_error=1e-3), Faults(missed_match=1e-3)]
    alone, shared = (
        study(model, images, None, chip, faults, repeats=2, workers=workers) for workers in (1, 2)
    )
    assert alone == shared
    assert alone[0].accuracy is None is alone[0].accuracy_interval


def test_a_saved_model_fails_on_inputs_from_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without labels there is no accuracy; with labels it is that of the bundled images"""
    model, digits = nn.load("digits"), datasets.digits()
    saved, inputs, labels, out = (str(tmp_path / n) for n in ("m.npz", "x.npy", "y.npy", "f.json"))
    nn.save(model, saved)
    np.save(inputs, digits.images[:2])
    np.save(labels, digits.labels[:2])
    command = ["faults", saved, "--input", inputs, "--repeats", "1", "--workers", "1"]
    assert main([*command, "--images", "1", "--json", out]) == 0
    found = json.loads(Path(out).read_text())
    assert (found["images"], found["clean_correct"]) == (1, None)
    assert found["studies"][0]["accuracy"] is None
    assert "right" not in capsys.readouterr().out
    assert main([*command, "--labels", labels, "--write-error", "0", "--json", out]) == 0
    right = json.loads(Path(out).read_text())["clean_correct"]
    assert right == run_study(Faults())[0].clean_correct
    np.save(labels, digits.labels[:1])
    assert main([*command, "--labels", labels]) == 2
    assert "wanted 2 whole numbers, got shape (1,) of int64" in capsys.readouterr().err


def test_the_command_reports_every_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "faults.json"
    arguments = ["--images", "1", "--repeats", "1", "--write-error", "0.021", "1e-5"]
    assert main(["faults", "digits", *arguments, "--json", str(out)]) == 0
    assert "write error 0.021" in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert found["schema"] == "apsim.faults/1"
    assert [one["faults"]["write_error"] for one in found["studies"]] == [0.021, 1e-5]
    for one in found["studies"]:
        assert 0.0005 < one["energy_saved"] < 0.0008
        assert one["accuracy_interval"][0] <= one["accuracy"] <= one["accuracy_interval"][1]


def test_a_technology_without_a_lower_voltage_saves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    few = ["--images", "1", "--repeats", "1", "--workers", "1", "--missed-match", "1e-3"]
    assert main(["faults", "digits", "--tech", "reram", *few, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["technology"] == found["scaled_technology"] == "reram-16nm"
    assert found["studies"][0]["energy_saved"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--write-error", "2"], "write_error is a probability, 0 to 1; got 2.0"),
        (["--images", "0"], "--images: wanted 1 to 360, got 0"),
        (["--repeats", "0"], "--repeats: wanted 1 to 1000, got 0"),
        (["--tech", "reram", "--write-voltage", "0.5"], "reram-16nm: scaling of the write voltage"),
        (["--workers", "0"], "--workers: wanted 1 to 1024, got 0"),
        (["--cost", "cycles"], "--cost goes with --mapping auto or weights"),
        (["vgg61"], "did you mean"),
        (["--labels", "y.npy"], "--labels: they belong to the inputs of --input"),
        (["--input", "nowhere.npy"], "cannot read inputs from nowhere.npy"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faults", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_is_told_inside_a_trial(workers: int) -> None:
    """what is told grows up to all multiplications of all trials, in more steps than trials"""
    model = small_network()
    x = integers_in(model.tensors["x"], 2, 0)
    told: list[int] = []
    kinds = [Faults(write_error=1e-3), Faults(missed_match=1e-3)]
    chip = Chip.preset("bf-imna-lr")
    study(model, x, None, chip, kinds, repeats=2, workers=workers, watch=told.append)
    assert told == sorted(told)
    assert told[-1] == multiplications(model, 2) * 4
    assert workers > 1 or len(told) > 4
