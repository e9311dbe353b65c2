"""Bit fluidity on real accuracy: one loaded network at many widths, each one measured.

The rule: nothing is estimated.  Accuracy is counted over all images with the exact twin;
cycles and energy are those of passes executed on a chip, whose values and counts are
checked as in any run.  A walk from wide to narrow follows measured sensitivities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apsim.cost.estimate import Cost, estimate
from apsim.cost.technology import Technology
from apsim.counts import Activity
from apsim.errors import ApsimError, InputError
from apsim.nn import exact, runtime
from apsim.nn.model import Model
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import real
from apsim.nn.zoo.datasets import Dataset

__all__ = ["Budget", "Fluid", "Setting", "pareto", "pick", "sweep"]

Widths = tuple[int, ...]


@dataclass(frozen=True)
class Setting:
    """One list of widths as measured: how many images were right, and what a batch cost."""

    widths: Widths
    correct: int
    images: int
    cost: Cost
    batch: int

    @property
    def accuracy(self) -> float:
        """The part of all images that was classified rightly."""
        return self.correct / self.images

    @property
    def seconds(self) -> float:
        """Latency per image, in s: all passes of the batch one after another."""
        return self.cost.seconds / self.batch

    @property
    def joules(self) -> float:
        """Energy per image, in J."""
        return self.cost.energy.total / self.batch

    @property
    def edp(self) -> float:
        """Energy times latency per image, in J s."""
        return self.joules * self.seconds


@dataclass(frozen=True)
class Budget:
    """What a setting must not exceed (s and J per image) or must reach; None asks nothing."""

    latency: float | None = None
    energy: float | None = None
    accuracy: float | None = None

    def allows(self, setting: Setting) -> bool:
        """Whether a setting keeps to it."""
        return (
            (self.latency is None or setting.seconds <= self.latency)
            and (self.energy is None or setting.joules <= self.energy)
            and (self.accuracy is None or setting.accuracy >= self.accuracy)
        )


@dataclass(frozen=True)
class Fluid:
    """A sweep: the settings in the order measured, and what narrowing each layer alone loses."""

    model: Model
    settings: tuple[Setting, ...]
    sensitivity: Mapping[str, Mapping[int, float]]


class _Bench:
    """Measures settings of one model, each once."""

    def __init__(
        self, model: Model, data: Dataset, make_chip: Callable[[], Chip],
        technology: Technology, batch: int,
    ) -> None:  # fmt: skip
        if not 1 <= batch <= len(data):
            raise InputError(f"wanted 1 to {len(data)} images to execute, got {batch}")
        self.model, self.data, self.batch = model, data, batch
        self.make_chip, self.technology = make_chip, technology
        self.measured: dict[Widths, Setting] = {}

    def measure(self, widths: Widths) -> Setting:
        """The network at these widths: all images on the twin, a batch on the chip."""
        if widths not in self.measured:
            model = self.model.at(widths)
            x = real.quantize(model, self.data.images)
            answers = exact.run(model, x)[model.output].argmax(axis=1)
            correct = int((answers == self.data.labels).sum())
            self.measured[widths] = Setting(
                widths, correct, len(self.data), self._cost(model, x), self.batch
            )
        return self.measured[widths]

    def _cost(self, model: Model, x: np.ndarray) -> Cost:
        done = runtime.run(model, x[: self.batch], self.make_chip(), keep="outputs")
        if not done.passed:
            raise ApsimError(f"at {model.bits} a layer differs from its twin or its counts")
        activity = sum((layer.activity for layer in done.layers), Activity())
        return estimate(done.counts, activity, self.technology)


def sweep(
    model: Model, data: Dataset, make_chip: Callable[[], Chip], technology: Technology, *,
    narrowest: int = 2, widest: int = 8, batch: int = 2,
    watch: Callable[[Setting], None] = lambda _: None,
) -> Fluid:  # fmt: skip
    """Measure a network at every uniform width, each layer narrowed alone, and a walk down.

    The walk starts at the widest setting and takes one bit from the layer that loses the
    least accuracy (as measured alone) for the cycles it saves, until all are narrowest.
    """
    bench = _Bench(model, data, make_chip, technology, batch)
    layers = len(model.weighted)
    full = (widest,) * layers
    for width in range(widest, narrowest - 1, -1):
        watch(bench.measure((width,) * layers))
    alone = {
        (layer, width): bench.measure(_narrowed(full, layer, width))
        for layer in range(layers)
        for width in range(narrowest, widest)
    }
    for setting in alone.values():
        watch(setting)
    for widths in _walk(full, narrowest, bench.measure(full), alone):
        watch(bench.measure(widths))
    best = bench.measure(full).accuracy
    sensitivity = {
        layer.name: {w: best - alone[i, w].accuracy for w in range(narrowest, widest)}
        for i, layer in enumerate(model.weighted)
    }
    return Fluid(model, tuple(bench.measured.values()), sensitivity)


def _narrowed(widths: Widths, layer: int, width: int) -> Widths:
    return (*widths[:layer], width, *widths[layer + 1 :])


def _walk(
    widths: Widths, narrowest: int, full: Setting, alone: Mapping[tuple[int, int], Setting]
) -> Iterator[Widths]:
    """From wide to narrow, one bit of one layer at a time."""

    def price(layer: int, width: int) -> float:
        """Images lost for each cycle saved when a layer goes from `width` to one bit less."""
        before = full if width == full.widths[layer] else alone[layer, width]
        after = alone[layer, width - 1]
        saved = before.cost.cycles - after.cost.cycles
        return (before.correct - after.correct) / max(saved, 1)

    while max(widths) > narrowest:
        open_layers = [i for i, width in enumerate(widths) if width > narrowest]
        cheapest = min(open_layers, key=lambda i: (price(i, widths[i]), -widths[i], i))
        widths = _narrowed(widths, cheapest, widths[cheapest] - 1)
        yield widths


def pareto(settings: Sequence[Setting]) -> tuple[Setting, ...]:
    """The settings that no other beats in accuracy and EDP at once, the best accuracy first."""
    front: list[Setting] = []
    for setting in sorted(settings, key=lambda s: (-s.correct, s.edp)):
        if not front or setting.edp < front[-1].edp:
            front.append(setting)
    return tuple(front)


def pick(settings: Sequence[Setting], budget: Budget) -> Setting:
    """The setting to use: the least EDP where an accuracy is asked, else the best accuracy.

    Raises `InputError` that says how near the settings come where none keeps to the budget.
    """
    allowed = [setting for setting in settings if budget.allows(setting)]
    if not allowed:
        best = max(settings, key=lambda s: s.accuracy)
        least = min(settings, key=lambda s: s.joules)
        raise InputError(
            f"no measured setting keeps to the budget: accuracy reaches {best.accuracy:.2%}, "
            f"latency comes down to {min(s.seconds for s in settings):.3g} s and energy to "
            f"{least.joules:.3g} J per image"
        )
    if budget.accuracy is not None:
        return min(allowed, key=lambda s: (s.edp, -s.correct))
    return max(allowed, key=lambda s: (s.correct, -s.edp))
