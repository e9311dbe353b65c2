"""Plans: what is forecast is what runs, and nothing runs that was not planned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from apsim import nn
from apsim.ap_kind import ApKind
from apsim.counts import Counts
from apsim.errors import ModelError, ProgramError
from apsim.functions.table import FUNCTIONS
from apsim.nn.model import Linear, Model, Tensor
from apsim.nn.model.words import Words
from apsim.nn.on_ap import execute, plan, tasks, work
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.tasks import Setting
from tests.helpers import on_ap

ON = Setting(ApKind.TWO_D, 64)


def test_every_layer_that_is_planned_can_run() -> None:
    """layers with a plan == layers that execute knows; so with mappings"""
    assert plan.PLANS.keys() == execute.RUN.keys()
    assert plan.MAPPINGS.keys() == work.MAPPINGS.keys()


def test_loads_of_a_task_hold_all_its_words_and_fit_a_cap() -> None:
    """sum(groups * loads) == groups, program(groups).rows <= rows of a CAP"""
    (loads,) = tasks.products(100, 9, Words(4, False), Words(3, True), ON).loads
    assert sum(groups * times for groups, times in loads.fold.sizes()) == 100
    for groups, _ in loads.fold.sizes():
        function = loads.program(groups)
        assert function.rows <= ON.rows
        assert loads.program(groups) is function
        assert function.program.counts() == loads.once(groups).predicted


@pytest.mark.parametrize("requant", ["host", "ap"])
def test_parts_are_the_tasks_of_the_plan_in_their_order(requant: str) -> None:
    """names and forecasts of the parts that ran == those planned; host work likewise"""
    model = nn.load("digits")
    chip = Chip.preset("bf-imna-lr", ap="2d-seg", requant=requant)
    run = nn.run(model, np.zeros((2, *model.tensors[model.input].shape), np.int64), chip)
    on = Setting(chip.kind, chip.design.rows, 2, requant)
    for layer, done in zip(model.layers, run.layers, strict=True):
        planned = plan.plan_of(model, layer, on)
        if planned is None:
            assert not done.parts
            continue
        wanted = [*planned.before, *planned.body, *planned.after]
        assert [part.name for part in done.parts] == [task.name for task in wanted]
        assert [part.forecast for part in done.parts] == [task.forecast for task in wanted]
        assert done.host == planned.host


def test_a_minimum_is_a_term_of_its_own_and_no_remainder(monkeypatch: pytest.MonkeyPatch) -> None:
    """predicted == terms, and no longer where a closed form of the loads is another"""
    found = tasks.extremes("min", 100, Words(5, False), ON).forecast
    assert found.terms.keys() == {"minimum", "scratch_clear"}
    assert found.predicted == sum(found.terms.values(), Counts())
    row = FUNCTIONS["min"]
    wrong = replace(row, realisable=lambda ap, p: row.realisable(ap, p) + Counts(read=1))
    monkeypatch.setitem(FUNCTIONS, "min", wrong)
    found = tasks.extremes("min", 100, Words(5, False), ON).forecast
    assert found.predicted == sum(found.terms.values(), Counts(read=2))


def test_data_of_another_size_than_planned_are_refused() -> None:
    chip = Chip.preset("bf-imna-lr")
    task = tasks.relu(10, 8, on_ap.setting(chip))
    with pytest.raises(ProgramError, match=r"relu: planned for 10 words or groups, got 11"):
        work.rowwise(chip, task, np.zeros(11, np.int64))


def test_a_relu_as_wide_as_its_sums_has_no_forecast_but_runs() -> None:
    """Where nobody requantizes, the width of a ReLU is that of the sums that come"""
    layer = Linear(
        name="layer", inputs=("x",), output="y", weights=np.array([[1, -2]]), weight_bits=3,
        bias=np.array([0]), relu=True,
    )  # fmt: skip
    tensors = {"x": Tensor((2,), 4, False), "y": Tensor((1,), 32, True)}
    model = Model("relu of sums", "none", ("x",), ("y",), tensors, (layer,))
    with pytest.raises(ModelError, match="the width of its ReLU depends on the sums"):
        plan.predicted(model, 1, ApKind.TWO_D, 64)
    run = nn.run(model, np.array([[9, 1], [1, 9]]), Chip.preset("bf-imna-lr"))
    assert run.passed
    assert run.outputs.ravel().tolist() == [7, 0]
