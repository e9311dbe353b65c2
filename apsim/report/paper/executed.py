"""Executed counts in the place of closed forms: the digits network, and AlexNet's conv layers.

The rule: for each conv layer one CAP runs the program of one step on seeded random words;
every other CAP and step does the same, so that its counts and activity stand for them.
A layer holds when it counts what the closed form says and its sums are right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apsim import cost, functions, nn
from apsim.closed_form import matmul, realisable
from apsim.cost.energy import layer_energy
from apsim.cost.mapping import Placement, place
from apsim.counts import Activity, Counts
from apsim.nn.rules import real
from apsim.report.cost.executed import ExecutedCost, cost_run
from apsim.report.run.tables import run_json

__all__ = ["NAMES", "Executed", "ExecutedStep", "alexnet_steps", "digits_cost", "execute"]

BITS = 8
KIND = "2d"
IMAGES = 4
ON_CAPS = ("populate", "multiply", "reduce", "read_out")


@dataclass(frozen=True)
class ExecutedStep:
    """One step of a conv layer on one CAP: counted, predicted and printed, and its energy.

    `executed` and `averages` are J for each multiply-accumulate, from the activity of the
    step and from the paper's averages; `rows` includes the carry row, which Table V's CAP
    of 4800 rows does not have where its segments fill it.
    """

    layer: str
    segments: int
    segment_rows: int
    rows: int
    counts: Counts
    predicted: Counts
    paper: Counts
    activity: Activity
    correct: bool
    executed: float
    averages: float

    @property
    def holds(self) -> bool:
        """Right sums, and counted equals predicted."""
        return self.correct and self.counts == self.predicted

    @property
    def gap(self) -> float:
        """Executed energy over that of the averages."""
        return self.executed / self.averages

    def row(self) -> tuple[str, ...]:
        """The step as words; `NAMES` says of what."""
        return (
            f"AlexNet, {self.layer}",
            f"{self.segments} x {self.segment_rows} rows",
            str(self.counts.total),
            str(self.predicted.total) if self.holds else "FAILS",
            str(self.paper.total),
            f"{self.executed * 1e12:.3g} pJ a MAC",
            f"{self.gap:.2f}",
        )


@dataclass(frozen=True)
class Executed:
    """What was executed: AlexNet's conv steps, and the digits network as it ran."""

    steps: tuple[ExecutedStep, ...]
    digits: ExecutedCost
    digits_hold: bool

    @property
    def holds(self) -> bool:
        """Everything was bit-exact and counted as predicted."""
        return self.digits_hold and all(step.holds for step in self.steps)

    def rows(self) -> list[tuple[str, ...]]:
        """A row of words for each layer: `NAMES` says of what."""
        return [step.row() for step in self.steps] + [
            (
                f"digits, {layer.name}",
                f"{layer.loads} loads",
                str(layer.counts.total),
                "as predicted" if self.digits_hold else "FAILS",
                str(layer.paper.total),
                f"{layer.cost.energy.total / IMAGES * 1e9:.3g} nJ an image",
                "-" if layer.gap is None else f"{layer.gap:.2f}",
            )
            for layer in self.digits.layers
            if layer.loads
        ]


NAMES = (
    "layer",
    "on a CAP",
    "executed cycles",
    "realisable",
    "printed",
    "energy as executed",
    "over averages",
)


def execute() -> Executed:
    """Execute everything; some seconds."""
    steps = alexnet_steps()
    digits, holds = digits_cost()
    return Executed(steps, digits, holds)


def alexnet_steps(seed: int = 0) -> tuple[ExecutedStep, ...]:
    """Execute a step of each conv layer of AlexNet at 8 bits, on the paper's 2D AP."""
    chip = cost.chip("lr")
    random = np.random.default_rng(seed)
    return tuple(
        _step(layer, place(layer, chip), random)
        for layer in cost.network("alexnet").layers
        if layer.kind == "conv"
    )


def digits_cost() -> tuple[ExecutedCost, bool]:
    """The digits network executed on the paper's 2D AP and costed as it ran; if all held."""
    model, digits = nn.load("digits"), nn.datasets.digits()
    images = real.quantize(model, digits.images[:IMAGES])
    chip = nn.Chip.preset("bf-imna-lr", ap=KIND)
    done = nn.run(model, images, chip, labels=digits.labels[:IMAGES])
    return cost_run(run_json(done), cost.chip("lr"), cost.technology("sram")), done.passed


def _step(layer: cost.Layer, placed: Placement, random: np.random.Generator) -> ExecutedStep:
    size = placed.segments, placed.segment_rows
    function = functions.dot_products(BITS, *size, kind=KIND)
    a, b = (random.integers(0, 2**BITS, size) for _ in range(2))
    done = functions.run(function, a, b)
    macs = placed.segments * placed.segment_rows
    sram = cost.technology("sram")
    energy = cost.estimate(done.counts, done.activity, sram).energy.total
    return ExecutedStep(
        layer.name,
        *size,
        function.rows,
        done.counts,
        realisable.matmul(BITS, 1, placed.segment_rows, placed.segments, KIND),
        matmul(BITS, 1, placed.segment_rows, placed.segments, KIND),
        done.activity,
        bool((done.values == (a * b).sum(axis=1)).all()),
        energy / macs,
        _averages(layer, sram),
    )


def _averages(layer: cost.Layer, technology: cost.Technology) -> float:
    """The paper's averages for the work on the CAPs, in J for each multiply-accumulate."""
    chip = cost.chip("lr")
    energy = layer_energy(layer, (BITS, BITS), chip.caps, chip, technology)
    return sum(energy[name].total for name in ON_CAPS) / layer.macs
