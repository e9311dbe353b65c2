"""Single tasks planned and carried out on a chip, as layers do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from apsim.functions import Function, table
from apsim.nn.model.words import Words
from apsim.nn.on_ap import tasks, work
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import Forecast, Part
from apsim.nn.on_ap.tasks import Setting
from apsim.nn.rules.recipes import Share

Array = np.ndarray
Done = tuple[Array, Part]


def setting(chip: Chip) -> Setting:
    return Setting(chip.kind, chip.design.rows)


def products(chip: Chip, x: Array, weights: Array, act: Words, weight: Words) -> Done:
    task = tasks.products(len(x) * len(weights), x.shape[1], act, weight, setting(chip))
    return work.products(chip, task, x, weights, lambda _: None)


def window_sums(chip: Chip, windows: Array, words: Words) -> Done:
    return work.grouped(chip, tasks.window_sums(*windows.shape, words, setting(chip)), windows)


def window_maxima(chip: Chip, windows: Array, words: Words) -> Done:
    return work.grouped(chip, tasks.window_maxima(*windows.shape, words, setting(chip)), windows)


def add(chip: Chip, a: Array, b: Array, words: Words) -> Done:
    return work.rowwise(chip, tasks.add(a.size, words, setting(chip)), a, b)


def relu(chip: Chip, values: Array, bits: int) -> Done:
    return work.rowwise(chip, tasks.relu(values.size, bits, setting(chip)), values)


def requantize(chip: Chip, sums: Array, shares: Sequence[Share], axis: int) -> Done:
    task = tasks.requantized("requantize", sums.size, shares, setting(chip))
    return work.requantize(chip, task, sums, axis)


def build_otherwise(
    monkeypatch: pytest.MonkeyPatch, function: str, change: Callable[[Function], Function]
) -> None:
    """From now on a function's programs are made with a change."""
    entry = table.FUNCTIONS[function]
    changed = replace(entry, build=lambda *sizes: change(entry.build(*sizes)))
    monkeypatch.setitem(table.FUNCTIONS, function, changed)


def forecast_otherwise(monkeypatch: pytest.MonkeyPatch, name: str, more: Forecast) -> None:
    """From now on a kind of task is forecast with something more."""
    right: Any = getattr(tasks, name)

    class Off(tasks.Task):
        @property
        def forecast(self) -> Forecast:  # type: ignore[override]
            return sum((loads.forecast for loads in self.loads), more)

    monkeypatch.setattr(tasks, name, lambda *sizes: Off(**vars(right(*sizes))))
