"""`apsim faults`: trials on failing arrays against a faultless run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import nn
from apsim.cam.faulty import Faults
from apsim.cli import main
from apsim.faults import FaultyChip, Study, interval, study
from apsim.nn import datasets, real

IMAGES = 3


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
    faulty = nn.run(model, images, FaultyChip(chip.design, ap=ap))
    assert faulty.passed
    assert (faulty.outputs == plain.outputs).all()
    assert [layer.counts for layer in faulty.layers] == [layer.counts for layer in plain.layers]
    assert [layer.activity for layer in faulty.layers] == [layer.activity for layer in plain.layers]


def test_without_faults_nothing_moves() -> None:
    found = run_study(Faults())[0]
    assert found.trials[0].correct == found.clean_correct
    assert found.moved == found.changed == 0.0
    assert found.activity == found.clean_activity


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


def test_the_command_reports_every_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "faults.json"
    arguments = ["--images", "2", "--repeats", "1", "--write-error", "0.021", "1e-5"]
    assert main(["faults", "digits", *arguments, "--json", str(out)]) == 0
    assert "write error 0.021" in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert found["schema"] == "apsim.faults/1"
    assert [one["faults"]["write_error"] for one in found["studies"]] == [0.021, 1e-5]
    for one in found["studies"]:
        assert 0.0005 < one["energy_saved"] < 0.0008
        assert one["accuracy_interval"][0] <= one["accuracy"] <= one["accuracy_interval"][1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--write-error", "2"], "write_error is a probability, 0 to 1; got 2.0"),
        (["--images", "0"], "--images: wanted 1 to 360, got 0"),
        (["--repeats", "0"], "--repeats: wanted 1 to 1000, got 0"),
        (["--tech", "reram"], "reram-16nm: scaling of the write voltage"),
        (["vgg16"], "model 'vgg16' has no images of its own"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faults", *arguments]) == 2
    assert message in capsys.readouterr().err
