"""Figures of a network: no legend over a bar, no label over another, whatever is drawn."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from apsim import cost, nn
from apsim.nn.on_ap.tasks import Setting
from apsim.nn.zoo import sources
from apsim.report.cost import mappings
from apsim.report.cost.blocks import draw_operations
from apsim.report.cost.executed import cost_run
from apsim.report.run.tables import run_json

pyplot = pytest.importorskip("matplotlib.pyplot")


def collisions(figure: Any) -> list[str]:
    """Legends that meet bars, and numbers on bars that meet each other."""
    figure.canvas.draw()
    found = []
    for axis in figure.axes:
        bars = [bar.get_window_extent() for bar in axis.patches]
        legend = axis.get_legend()
        if legend and any(legend.get_window_extent().overlaps(bar) for bar in bars):
            found.append("legend")
        labels = [text for text in axis.texts if text.get_text()]
        found += [
            f"{a.get_text()} and {b.get_text()}"
            for a, b in combinations(labels, 2)
            if a.get_window_extent().overlaps(b.get_window_extent())
        ]
    return found


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were drawn, kept when they are closed."""
    kept: list[Any] = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    return kept


def test_mappings_of_many_layers_have_their_legend_beside_them(drawn: list[Any]) -> None:
    chip = nn.Chip.preset("lr", mapping="auto")
    model = sources.model("resnet18", bits="2")
    on = Setting(chip.kind, chip.design.rows, 8, mapping="auto", cost="cycles")
    assert "<svg" in mappings.draw("resnet18", mappings.compare(model, on))
    assert [collisions(figure) for figure in drawn] == [[]]


def test_operations_of_a_transformer_have_room_for_their_numbers(drawn: list[Any]) -> None:
    model = sources.model("digits-vit")
    images, _ = sources.inputs(model, 1, None)
    run = run_json(nn.run(model, images, nn.Chip.preset("lr", engine="fused")))
    assert "<svg" in draw_operations(cost_run(run, cost.chip("lr"), cost.technology("sram")))
    assert [collisions(figure) for figure in drawn] == [[]]
