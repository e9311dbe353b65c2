"""Tasks carried out on a chip: operands in, integers out, and a `Part` that says what it took.

The rule: every value comes out of an array, none is computed here; which functions run and
how work is folded over loads is the task's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apsim.errors import ProgramError
from apsim.nn.model import Integers
from apsim.nn.on_ap import matrix
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import Part
from apsim.nn.on_ap.tasks import Loads, Requantization, Task
from apsim.nn.on_ap.watch import Watch, joined, one_load

__all__ = ["MAPPINGS", "grouped", "looked_up", "products", "requantize", "rowwise"]

Progress = Callable[[int], None]
TALL = 32  # loads that stand on one array


def products(
    chip: Chip, task: Task, x: Integers, weights: Integers, progress: Progress
) -> tuple[Integers, Part]:
    """x [u, j] times weights [i, j], each result a dot product on the AP: gives [i, u]."""
    watch, sums, start = Watch(chip), [], 0
    pieces = [loads for loads in task.loads if loads.function == "dot_products"]
    for piece in pieces:
        taken = slice(start, start := start + piece["j"])
        sums.append(_dot_products(chip, piece, x[:, taken], weights[:, taken], progress))
    values = sums[0] if len(sums) == 1 else _merged(chip, task.loads[-1], pieces, sums)
    part = watch.part(task)
    return values.reshape(len(weights), len(x)), part


def _weighted_sums(
    chip: Chip, task: Task, x: Integers, weights: Integers, progress: Progress
) -> tuple[Integers, Part]:
    """See `weighted`, which is imported where products are laid out so."""
    from apsim.nn.on_ap.weighted import weighted_sums

    return weighted_sums(chip, task, x, weights, progress)


MAPPINGS = {"im2col": products, "weights": _weighted_sums}
"""How products are carried out, by the names of `plan.MAPPINGS`."""


def _dot_products(
    chip: Chip, loads: Loads, x: Integers, weights: Integers, progress: Progress
) -> Integers:
    """Every output's dot product, outputs folded over loads in row-major order [i, u]."""
    count, length, fold = len(x), x.shape[1], loads.fold
    _require(loads, len(weights) * count)
    if not chip.literal:
        chip.require(loads.program(fold.size if fold.full else fold.rest))
        batch = matrix.dot_products(
            x, weights, fold, loads.program, engine=chip.engine, threads=chip.threads,
            progress=progress, clock=chip.clock,
        )  # fmt: skip
        chip.note(batch.counts, batch.activity, batch.loads)
        return batch.sums.ravel()
    results = []
    for load in fold.ranges():
        outputs = np.asarray(load)
        function = loads.program(len(outputs))
        chip.clock.turn("load")
        operands = x[outputs % count], weights[outputs // count]
        results.append(one_load(chip, function, *operands))
        progress(len(outputs) * length)
    return joined(chip, results)


def _merged(chip: Chip, merge: Loads, pieces: list[Loads], sums: list[Integers]) -> Integers:
    """Partial sums of every output, moved together and added."""
    total = _each_load(chip, merge, np.stack(sums, axis=1))
    product, length = pieces[0]["Ma"] + pieces[0]["Mw"], sum(piece["j"] for piece in pieces)
    return total - (length << (product - 1) if "s" in pieces[0]["signs"] else 0)


def grouped(chip: Chip, task: Task, *groups: Integers) -> tuple[Integers, Part]:
    """A function of groups of words [K, S] of each operand, one load after another.

    Gives a word for each group [K], or for each of its words [K, S].
    """
    watch = Watch(chip)
    values = _each_load(chip, task.loads[0], *groups)
    return values, watch.part(task)


def _each_load(chip: Chip, loads: Loads, *groups: Integers) -> Integers:
    """Loads run side by side where their groups are independent, and the chip is not literal."""
    _require(loads, len(groups[0]))
    if not chip.literal and len(groups) == 1:
        count = loads.fold.size if loads.fold.full else len(groups[0])
        chip.require(load := loads.program(count))
        if matrix.is_independent(load, matrix.rows_of_a_group(loads.program)):
            batch = matrix.grouped(
                groups[0], loads.fold, loads.program, engine=chip.engine, threads=chip.threads,
                clock=chip.clock,
            )  # fmt: skip
            chip.note(batch.counts, batch.activity, batch.loads)
            return batch.sums
    return joined(chip, [
        one_load(chip, loads.program(len(load)), *(some[load.start : load.stop] for some in groups))
        for load in loads.fold.ranges()
    ])  # fmt: skip


def rowwise(chip: Chip, task: Task, *operands: Integers) -> tuple[Integers, Part]:
    """A function of the words of each row alone, operands of one shape, which results keep."""
    watch = Watch(chip)
    values = _row_by_row(chip, task.loads[0], *(words.ravel() for words in operands))
    part = watch.part(task)
    return values.reshape(operands[0].shape), part


def looked_up(chip: Chip, task: Task, words: Integers, which: Integers) -> tuple[Integers, Part]:
    """Words [N, places] by the task's tables; `which` [places] says which one each takes."""
    watch = Watch(chip)
    values = np.empty_like(words)
    for number, loads in zip(np.unique(which), task.loads, strict=True):
        taken = which == number
        found = _row_by_row(chip, loads, words[:, taken].ravel())
        values[:, taken] = found.reshape(len(words), -1)
    return values, watch.part(task)


def _row_by_row(chip: Chip, loads: Loads, *operands: Integers) -> Integers:
    """Full loads run side by side on a tall array, but where the chip is to be literal."""
    _require(loads, operands[0].size)
    beside = 1 if chip.literal else TALL
    results, done = [], 0
    for groups, every in loads.fold.sizes():
        for first in range(0, every, beside):
            times = min(beside, every - first)
            function = loads.program(groups * times)
            one = (loads.program(groups), times) if times > 1 else None
            some = (words[done : done + groups * times] for words in operands)
            results.append(one_load(chip, function, *some, beside=one))
            done += groups * times
    return joined(chip, results)


def requantize(
    chip: Chip, task: Requantization, sums: Integers, axis: int
) -> tuple[Integers, Part]:
    """Accumulators (any shape, channels along `axis`) to activations, by the task's recipes."""
    watch = Watch(chip)
    channels = sum(len(share.channels) for share in task.shares)
    moved = np.moveaxis(sums, axis, 0) if channels > 1 else sums
    lines = moved.reshape(channels, -1)
    done = np.empty_like(lines)
    for share, loads in zip(task.shares, task.loads, strict=True):
        some = lines[share.channels]
        constants = [np.repeat(values, some.shape[1]) for values in share.constants]
        done[share.channels] = _row_by_row(chip, loads, some.ravel(), *constants).reshape(
            some.shape
        )
    part = watch.part(task)
    shaped = done.reshape(moved.shape)
    return np.moveaxis(shaped, 0, axis) if channels > 1 else shaped, part


def _require(loads: Loads, groups: int) -> None:
    """Refuse data of another size than was planned."""
    if groups != loads.fold.groups:
        raise ProgramError(
            f"{loads.function}: planned for {loads.fold.groups} words or groups, got {groups}"
        )
