"""The whole loop on digits: choosing sees calibration images alone, costs are executed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apsim import nn
from apsim.cli import main
from apsim.cost.technology import technology
from apsim.errors import InputError
from apsim.nn import search
from apsim.nn.on_ap.chip import Chip
from apsim.nn.zoo import calibration
from apsim.report.run.fluid import widths_text

SENSITIVITY = {  # KL x 1e5 on the 360 calibration images, widths 2..7, measured here once
    "conv1": (13343, 900, 1892, 199, 21, 5),
    "conv2": (4329, 2641, 845, 567, 210, 120),
    "conv3": (1437, 897, 315, 23, 4, 10),
    "classifier": (1259, 1213, 252, 138, 50, 75),
}


@pytest.fixture(scope="module")
def model() -> nn.Model:
    return nn.load("digits")


@pytest.fixture(scope="module")
def chosen_on(model: nn.Model) -> search.Images:
    found = calibration.calibration_images(model, None)
    assert found is not None
    return found


def test_the_sensitivity_of_digits(model: nn.Model, chosen_on: search.Images) -> None:
    """KL of each layer alone at each width, to 1e-5; the widest loses nothing."""
    found = search.measure(model, chosen_on)
    for name, expected in SENSITIVITY.items():
        assert [round(1e5 * found.losses[name][w]) for w in range(2, 8)] == list(expected)
        assert found.losses[name][8] == 0


def test_no_calibration_image_is_a_test_image(model: nn.Model, chosen_on: search.Images) -> None:
    test = calibration.test_images(model, None)
    calibration.require_disjoint(chosen_on, test)
    mixed = {n: np.concatenate([x[:3], test.inputs[n][7:8]]) for n, x in chosen_on.inputs.items()}
    with pytest.raises(InputError, match="calibration image 3 is test image 7"):
        calibration.require_disjoint(search.Images(mixed), test)


def test_executed_costs_add_up_over_layers(model: nn.Model) -> None:
    """executed(mixed) == sum of uniform tables, to 1 % in cycles and 2 % in joules."""
    test = calibration.test_images(model, None)
    bench = search.Bench(
        model, test, lambda: Chip.preset("bf-imna-lr", ap="2d-seg"), technology("sram")
    )
    costs, widths = bench.costs((4, 8)), (8, 4, 4, 8)
    done = bench.execute(widths)
    assert done.cycles == pytest.approx(search.total(costs.cycles, widths), rel=1e-2)
    assert done.joules == pytest.approx(search.total(costs.joules, widths), rel=2e-2)
    whole = bench.execute((8,) * 4)
    assert whole.cycles == search.total(costs.cycles, (8,) * 4)


def fluid(*options: str) -> int:
    small = ("--ap", "2d-seg", "--from", "6", "--calibration", "24")
    return main(["fluid", *small, *options])


def test_choices_do_not_change_when_the_test_labels_are_permuted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """widths(labels) == widths(permuted labels), and so is every measured loss."""
    plain, permuted = tmp_path / "plain.json", tmp_path / "permuted.json"
    assert fluid("--budget", "50%", "--json", str(plain)) == 0
    real = calibration.test_images

    def shuffled(model: nn.Model, path: str | None) -> search.Images:
        found = real(model, path)
        assert found.labels is not None
        return replace(found, labels=np.random.default_rng(0).permutation(found.labels))

    monkeypatch.setattr(calibration, "test_images", shuffled)
    assert fluid("--budget", "50%", "--json", str(permuted)) == 0
    one, other = (json.loads(path.read_text()) for path in (plain, permuted))
    assert one["picked"]["widths"] == other["picked"]["widths"]
    assert one["sensitivity"] == other["sensitivity"]
    assert one["picked"]["accuracy"] != other["picked"]["accuracy"]


def test_what_is_picked_keeps_to_its_budget_and_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, table = tmp_path / "fluid.json", tmp_path / "fluid.csv"
    assert fluid("--energy", "3e-6", "--json", str(path), "--csv", str(table)) == 0
    out = capsys.readouterr().out
    assert "picked: --bits" in out and "±" in out
    written = json.loads(path.read_text())
    assert written["picked"]["joules"] <= 3e-6
    assert written["calibration"]["images"] == 24 and written["test"]["images"] == 360
    beaten = [s for s in written["settings"] if s["joules"] <= 3e-6]
    assert all(written["picked"]["measured"] <= one["measured"] for one in beaten)
    assert len(table.read_text().splitlines()) == 1 + len(written["settings"])


@pytest.mark.parametrize("how", ["walk", "exhaustive"])
def test_the_other_searches_run(how: str, tmp_path: Path) -> None:
    path = tmp_path / "fluid.json"
    options = ["--search", how, "--points", "2", "--from", "7", "--json", str(path)]
    assert fluid(*options) == 0
    assert json.loads(path.read_text())["tried"] == {"walk": 5, "exhaustive": 16}[how]


@pytest.mark.parametrize(
    "options,message",
    [
        (("--from", "8", "--to", "4"), "2 <= --from < --to <= 8"),
        (("--energy", "-1"), "wanted positive numbers"),
        (("--budget", "150%"), "0..100 %"),
        (("--tie", "conv1=conv9"), "no layer 'conv9'"),
        (("--calibration", "400"), "wanted 1 to 360 images"),
        (("--energy", "1e-12"), "with every layer at its cheapest an image takes"),
        (("--sensitivities", "hawq:vgg"), "wanted hawq:resnet18 or hawq:resnet50"),
        (("--sensitivities", "hawq:resnet18"), "digits has no layer 'layer1.0.conv1'"),
        (("--search", "exhaustive", "--from", "2", "--to", "8", "--tie", "x"), "wanted two layers"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fluid(*options) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "options,message",
    [
        (("--points", "1"), "--points: wanted 2 or more, got 1"),
        (("--budget", "half"), "--budget: wanted 0..100 %, got 'half'"),
        (("--budget", "nan"), "--budget: wanted 0..100 %, got 'nan'"),
        (("--latency", "nan"), "wanted positive numbers"),
        (("--accuracy", "200"), "--accuracy: wanted at most 100 %, got 200"),
        (("--tie", "conv1"), "--tie: wanted two layers"),
        (("--to", "1000000000000"), "2 <= --from < --to <= 8, got 2, 1000000000000"),
    ],
)
def test_options_wrong_in_themselves_are_refused_before_any_work(
    options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(search.Bench, "__init__", lambda *_, **__: pytest.fail("work began"))
    assert main(["fluid", *options]) == 2
    assert message in capsys.readouterr().err


def test_random_weights_have_no_loss_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fluid", "resnet18"]) == 2
    assert "--sensitivities" in capsys.readouterr().err


def test_an_exhaustive_search_has_an_end() -> None:
    losses = {name: dict.fromkeys(range(2, 9), 0.0) for name in "abcde"}
    space = search.Space(tuple("abcde"), losses, search.Costs(losses, losses))
    with pytest.raises(InputError, match="16,807 settings, wanted 10,000 at most"):
        search.candidates(space, "exhaustive", None)


def test_no_more_settings_of_many_layers_are_measured_than_of_few() -> None:
    """64 points of the front and 512 of their neighbours, whatever 24 layers have."""
    names = [f"layer{k}" for k in range(24)]
    widths = range(2, 9)
    losses = {name: {w: (k + 1) * 4.0**-w for w in widths} for k, name in enumerate(names)}
    costs = {name: {w: float(w * w) for w in widths} for name in names}
    space = search.Space(tuple(names), losses, search.Costs(costs, costs))
    found = [one.widths for one in search.candidates(space, "additive", None)]
    assert 64 < len(found) == len(set(found)) <= 64 + 512
    assert {(2,) * 24, (8,) * 24} <= set(found)


def test_widths_of_many_layers_are_shown_by_their_mean() -> None:
    assert widths_text((8, 4, 8)) == "8,4,8"
    assert widths_text((8,) * 9) == "888888888"
    assert widths_text((8,) * 25) == "8 bits"
    assert widths_text((8,) * 24 + (2,)) == "7.76 bits, mean"
