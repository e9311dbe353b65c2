"""The lines of a run's report that say where each layer ran."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apsim.nn import runtime
from apsim.nn.on_ap.chip import Chip
from apsim.nn.runtime import Run
from apsim.report.run.places import place_lines
from apsim.report.run.tables import run_json, run_lines
from tests.helpers.networks import integers_in, small_network

MODEL = small_network()


def run_on(requant: str) -> Run:
    chip = Chip.preset("bf-imna-lr", requant=requant)
    return runtime.run(MODEL, integers_in(MODEL.tensors["x"], 1, 0), chip)


@pytest.mark.parametrize("requant", ["host", "ap"])
def test_every_layer_stands_once_with_both_sides_of_its_work(requant: str) -> None:
    """text(layer) == json(layer): its parts on the AP, and the host's"""
    done = run_on(requant)
    lines = [line.strip().partition(": ") for line in place_lines(done.layers)]
    shown = {name: work for names, _, work in lines for name in names.split(", ")}
    assert sorted(shown) == sorted(layer.name for layer in done.layers)
    for layer in run_json(done)["layers"]:
        for work in (*layer["ap"], *layer["host"]):
            assert work in shown[layer["name"]], layer["name"]


def test_the_host_requantizes_unless_the_ap_is_told_to() -> None:
    on_host, on_ap = (place_lines(run_on(requant).layers)[0] for requant in ("host", "ap"))
    assert "requantize" in on_host.partition("host ")[2]
    assert "requantize" in on_ap.partition("; host")[0]


def test_a_long_network_takes_few_lines() -> None:
    layer = run_on("host").layers[0]
    many = [replace(layer, name=f"conv{i}") for i in range(53)]
    (line,) = place_lines(many)
    assert line.startswith("  conv0, conv1, conv2, conv3 and 49 more like these: AP ")


def test_the_report_has_these_lines() -> None:
    done = run_on("host")
    lines = run_lines(done)
    first = lines.index("where each layer ran:") + 1
    assert lines[first : first + len(place_lines(done.layers))] == place_lines(done.layers)
