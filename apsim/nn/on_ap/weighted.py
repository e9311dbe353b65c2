"""Weighted sums on a chip: pixels of all images as rows, weights as digits in the program.

The rule: from rows of digits, or on a literal chip every pass as a step of its own, a group of
outputs after another; both give the same sums, counts and activity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam.lanes import planes_of
from apsim.cam.lanes.operands import words_of
from apsim.closed_form import WeightPlan
from apsim.errors import ProgramError
from apsim.functions import weight_run
from apsim.functions import weights as program
from apsim.nn.model import Integers
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import Part
from apsim.nn.on_ap.tasks import Task, WeightedSums
from apsim.nn.on_ap.watch import Watch

__all__ = ["weighted_sums"]

Progress = Callable[[int], None]
Planes = NDArray[np.uint64]


def weighted_sums(
    chip: Chip, task: Task, x: Integers, weights: Integers, progress: Progress
) -> tuple[Integers, Part]:
    """x [u, J] times weights [i, J], each result an accumulator of the AP: gives [i, u].

    Of sums in parts the last are done first: others get what they, and those behind them, have.
    """
    assert isinstance(task, WeightedSums)
    if len(x) != task.fold.groups:
        raise ProgramError(f"weighted sums: planned for {task.fold.groups} pixels, got {len(x)}")
    watch, run = Watch(chip), _by_steps if chip.literal else _by_digits
    read: dict[int, Any] = {}
    taken = np.zeros(len(weights), np.int64)
    for k, (plan, words) in reversed(list(enumerate(task.parts))):
        others = [read.pop(k + (1 << level)) for level in range(plan.received)]
        some = weights[:, words]
        read[k] = run(chip, task, plan, x[:, words], some, others, progress)
        taken += program.subtracted(plan, some, task.words)
    sums = _integers(read[0], len(x))
    np.subtract(sums, taken[:, None], out=sums)
    chip.clock.turn("program")
    return sums, watch.part(task)


def _integers(read: Planes | Integers, pixels: int) -> Integers:
    """Accumulators as integers [i, u], from planes or as they are."""
    if read.ndim == 2:
        return read.astype(np.int64)
    sums = np.empty((len(read), pixels), np.int64)
    for line, accumulator in zip(sums, read, strict=True):
        line[:] = words_of(accumulator)[:pixels].view(np.int64)
    return sums


def _by_digits(
    chip: Chip, task: WeightedSums, plan: WeightPlan, x: Integers, weights: Integers,
    others: list[Planes], progress: Progress,
) -> Planes:  # fmt: skip
    """The kernel that expands digits, over planes of pixels."""
    weight_run.prepare()
    chip.clock.turn("load")
    field = program.layout_of(plan, task.words)["A0"]
    planes = planes_of(field.encode_narrow(x).T, plan.bits)
    chip.clock.turn("passes")
    done = weight_run.run(
        plan, program.taken(plan, weights), program.starts(plan, weights), planes, len(x),
        chip.design.rows, received=others, threads=chip.threads,
        progress=lambda sums: progress(sums * plan.words),
    )  # fmt: skip
    chip.clock.turn("unload")
    chip.note(done.counts, done.activity, task.fold.loads)
    return done.planes


def _by_steps(
    chip: Chip, task: WeightedSums, plan: WeightPlan, x: Integers, weights: Integers,
    others: list[Integers], progress: Progress,
) -> Integers:  # fmt: skip
    """Load after load, each group of outputs a program on the cells that the one before left."""
    read = np.empty((plan.outputs, len(x)), np.uint64)
    for load in task.fold.ranges():
        here = slice(load.start, load.stop)
        for outputs in program.groups(plan):
            chip.clock.turn("program")
            function = program.group(plan, weights, outputs, len(load), task.words, chip.kind)
            chip.clock.turn("load")
            some = slice(outputs.start, outputs.stop)
            data = function.words(x[here], *(other[some, here] for other in others))
            read[some, here] = chip.execute_next(function, data, outputs.start == 0)
            progress(len(load) * plan.words * len(outputs))
    return read
