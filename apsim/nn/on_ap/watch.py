"""A chip's work load by load, with its counts and its seconds.

The rule: the clock is turned where one kind of work ends and the next begins; what a part
is held against is worked out while it stands.
"""

from __future__ import annotations

import numpy as np

from apsim.counts import Activity
from apsim.functions import Function
from apsim.nn.model import Integers
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import Part
from apsim.nn.on_ap.tasks import Task

__all__ = ["Watch", "joined", "one_load"]


class Watch:
    """What a chip does between two moments, with what was gathered for it just before."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        chip.clock.turn("program")
        self.counts, self.activity, self.loads = chip.counts, chip.activity, chip.loads

    def part(self, task: Task) -> Part:
        """What ran since then; the forecast it is held against is worked out off the clock."""
        seconds, chip, before = self.chip.clock.take(), self.chip, self.activity.as_dict()
        since = {key: value - before[key] for key, value in chip.activity.as_dict().items()}
        return Part(
            task.name,
            chip.counts - self.counts,
            Activity(**since),
            chip.loads - self.loads,
            task.forecast,
            seconds,
        )


def one_load(
    chip: Chip,
    function: Function,
    *operands: Integers,
    beside: tuple[Function, int] | None = None,
) -> Integers:
    """Operands put in, results read; of several loads where some stand `beside` one another."""
    chip.clock.turn("load")
    data = function.words(*operands)
    out = chip.execute_beside(function, *beside, data) if beside else chip.execute(function, data)
    results = function.results(out[None])
    chip.clock.turn("program")
    return results


def joined(chip: Chip, results: list[Integers]) -> Integers:
    """The results of all loads."""
    chip.clock.turn("unload")
    return np.concatenate(results)
