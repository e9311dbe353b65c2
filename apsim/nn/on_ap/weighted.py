"""Weighted sums on a chip: pixels of all images as rows, weights as digits in the program.

The rule: from rows of digits, or on a literal chip every pass as a step of its own, a group of
outputs after another; both give the same sums, counts and activity.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from apsim.cam import digits
from apsim.cam.lanes import planes_of
from apsim.cam.lanes.operands import words_of
from apsim.errors import ProgramError
from apsim.functions import weights as program
from apsim.nn.model import Integers
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import Part
from apsim.nn.on_ap.tasks import Task, WeightedSums
from apsim.nn.on_ap.watch import Watch
from apsim.ops.steps import look_up

__all__ = ["weighted_sums"]

Progress = Callable[[int], None]


def weighted_sums(
    chip: Chip, task: Task, x: Integers, weights: Integers, progress: Progress
) -> tuple[Integers, Part]:
    """x [u, J] times weights [i, J], each result an accumulator of the AP: gives [i, u]."""
    assert isinstance(task, WeightedSums)
    if len(x) != task.fold.groups:
        raise ProgramError(f"weighted sums: planned for {task.fold.groups} pixels, got {len(x)}")
    watch = Watch(chip)
    run = _by_steps if chip.literal else _by_digits
    sums = run(chip, task, x, weights, progress)
    chip.clock.turn("program")
    return sums, watch.part(task)


def _by_digits(
    chip: Chip, task: WeightedSums, x: Integers, weights: Integers, progress: Progress
) -> Integers:
    """The kernel that expands digits, over planes of pixels."""
    plan = task.plan
    presets = program.presets(weights, plan.bits)
    offsets = program.subtracted(plan, weights, task.words)
    digits.prepare(_luts())
    if plan.chunk:
        presets = np.zeros_like(presets)
    chip.clock.turn("load")
    field = program.layout_of(plan, task.words)["A0"]
    planes = planes_of(field.encode_narrow(x).T, plan.bits)
    chip.clock.turn("passes")
    done = digits.run(
        _luts(), plan, weights, presets, planes, len(x), chip.design.rows,
        threads=chip.threads, progress=lambda sums: progress(sums * plan.words),
    )  # fmt: skip
    chip.clock.turn("unload")
    chip.note(done.counts, done.activity, task.fold.loads)
    sums = np.empty((plan.outputs, len(x)), np.int64)
    for line, accumulator, offset in zip(sums, done.planes, offsets, strict=True):
        np.subtract(words_of(accumulator)[: len(x)].view(np.int64), offset, out=line)
    return sums


@cache
def _luts() -> digits.Luts:
    """The shipped LUTs of a digit and of a merge."""
    return tuple(
        (name, tuple((row.key, row.write) for row in look_up(name).passes)) for name in digits.LUTS
    )


def _by_steps(
    chip: Chip, task: WeightedSums, x: Integers, weights: Integers, progress: Progress
) -> Integers:
    """Load after load, each group of outputs a program on the cells that the one before left."""
    plan, sums = task.plan, np.empty((task.plan.outputs, len(x)), np.int64)
    for load in task.fold.ranges():
        pixels = x[load.start : load.stop]
        for outputs in program.groups(plan):
            chip.clock.turn("program")
            function = program.group(plan, weights, outputs, len(load), task.words, chip.kind)
            chip.clock.turn("load")
            data = function.words(pixels)
            out = chip.execute_next(function, data, outputs.start == 0)
            sums[outputs.start : outputs.stop, load.start : load.stop] = function.results(out)
            progress(len(load) * plan.words * len(outputs))
    return sums
