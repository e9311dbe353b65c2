"""The work of layers on a chip: products, sums, maxima, additions, ReLU.

The rule: operands in, integers out, and a `Part` that says what it took; every value
comes out of an array, none is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from apsim import functions
from apsim.counts import Counts
from apsim.functions import Function
from apsim.functions.base import cleared
from apsim.functions.cnn import default_scheme
from apsim.nn.model import Integers
from apsim.nn.model.words import Words
from apsim.nn.on_ap import forecast, matrix
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import NOTHING, Part
from apsim.nn.on_ap.loads import Watch, joined, one_load
from apsim.nn.on_ap.mapping import chunks, fold_sums, fold_windows, fold_words
from apsim.nn.rules.recipes import Share

__all__ = ["add", "average_pool", "max_pool", "products", "relu", "requantize"]

Progress = Callable[[int], None]
TALL = 32  # loads that stand on one array

dot_products = lru_cache(64)(functions.dot_products)
merge = lru_cache(64)(functions.merge)
average = lru_cache(64)(functions.average_pool)
largest = lru_cache(64)(functions.max_pool)
plain_add = lru_cache(64)(functions.add)
plain_relu = lru_cache(64)(functions.relu)
requantized = lru_cache(64)(functions.requantize)


@lru_cache(64)
def cleared_add(bits: int, rows: int, *, kind: str, words: str) -> Function:
    """An addition that clears its carry column first."""
    return cleared(plain_add(bits, rows, kind=kind, words=words))


def products(
    chip: Chip, x: Integers, weights: Integers, act: Words, weight: Words, progress: Progress
) -> tuple[Integers, Part]:
    """x [u, j] times weights [i, j], each result a dot product on the AP: gives [i, u]."""
    watch, (outputs, length) = Watch(chip), (len(weights) * len(x), x.shape[1])
    cut = chunks(length, chip.kind, chip.design.rows)
    sums, start = [], 0
    for piece in cut:
        taken = slice(start, start + piece)
        sums.append(
            _dot_products(chip, x[:, taken], weights[:, taken], act, weight, len(cut) > 1, progress)
        )
        start += piece
    values = sums[0] if len(cut) == 1 else _merged(chip, sums, cut, act, weight)
    part = watch.part(
        "multiply-accumulate",
        lambda: forecast.products(
            outputs, length, act.bits, weight.bits, chip.kind, chip.design.rows
        ),
    )
    return values.reshape(len(weights), len(x)), part


def _dot_products(
    chip: Chip,
    x: Integers,
    weights: Integers,
    act: Words,
    weight: Words,
    partial: bool,
    progress: Progress,
) -> Integers:
    """Every output's dot product, outputs folded over loads in row-major order [i, u]."""
    count, length = len(x), x.shape[1]
    fold = fold_sums(len(weights) * count, length, chip.kind, chip.design.rows)

    def make(groups: int) -> Function:
        return dot_products(
            act.bits, groups, length, kind=chip.kind.value, bits_b=weight.bits, words=act.kind,
            words_b=weight.kind, clear=True, partial=partial,
        )  # fmt: skip

    if not chip.literal:
        chip.require(make(fold.size if fold.full else fold.rest))
        batch = matrix.dot_products(
            x, weights, fold, make, engine=chip.engine, threads=chip.threads, progress=progress,
            clock=chip.clock,
        )  # fmt: skip
        chip.note(batch.counts, batch.activity, batch.loads)
        return batch.sums.ravel()
    results = []
    for load in fold.ranges():
        outputs = np.asarray(load)
        function = make(len(outputs))
        chip.clock.turn("load")
        operands = x[outputs % count], weights[outputs // count]
        results.append(one_load(chip, function, *operands))
        progress(len(outputs) * length)
    return joined(chip, results)


def _merged(
    chip: Chip, sums: list[Integers], cut: list[int], act: Words, weight: Words
) -> Integers:
    """Partial sums of every output, moved together and added."""
    words, bits = np.stack(sums, axis=1), act.bits + weight.bits
    partial, total = bits + (cut[0] - 1).bit_length(), bits + (sum(cut) - 1).bit_length()
    results = []
    for load in fold_sums(len(words), len(cut), chip.kind, chip.design.rows).ranges():
        function = merge(partial, len(load), len(cut), total, kind=chip.kind.value)
        results.append(one_load(chip, function, words[load.start : load.stop]))
    signed = "s" in act.kind + weight.kind
    return joined(chip, results) - (sum(cut) << (bits - 1) if signed else 0)


def average_pool(chip: Chip, windows: Integers, act: Words) -> tuple[Integers, Part]:
    """Sums of windows [K, S]."""
    watch, (count, size) = Watch(chip), windows.shape
    rows = chip.design.rows
    results = []
    for load in fold_sums(count, (size + 1) // 2, chip.kind, rows).ranges():
        function = average(
            act.bits, size, len(load), kind=chip.kind.value, words=act.coding, divide="none",
            clear=True,
        )  # fmt: skip
        results.append(one_load(chip, function, windows[load.start : load.stop]))
    sums = joined(chip, results)
    part = watch.part(
        "window sums", lambda: forecast.average_pool(count, size, act.bits, chip.kind, rows)
    )
    return sums, part


def max_pool(chip: Chip, windows: Integers, act: Words) -> tuple[Integers, Part]:
    """Maxima of windows [K, S]."""
    watch, (count, size) = Watch(chip), windows.shape
    rows, scheme = chip.design.rows, default_scheme(chip.kind)
    results = []
    for load in fold_windows(count, (size + 1) // 2, chip.kind, rows, scheme).ranges():
        function = largest(
            act.bits, size, len(load), kind=chip.kind.value, words=act.coding, clear=True
        )
        results.append(one_load(chip, function, windows[load.start : load.stop]))
    maxima = joined(chip, results)
    part = watch.part(
        "window maxima",
        lambda: forecast.max_pool(count, size, act.bits, chip.kind, rows, scheme),
    )
    return maxima, part


def add(chip: Chip, a: Integers, b: Integers, words: Words) -> tuple[Integers, Part]:
    """a + b, word by word (any shape)."""
    watch, rows = Watch(chip), chip.design.rows
    sums = _row_by_row(
        chip,
        lambda rows: cleared_add(words.bits, rows, kind=chip.kind.value, words=words.coding),
        (a.ravel(), b.ravel()),
    )
    part = watch.part("add", lambda: forecast.add(a.size, words.bits, rows))
    return sums.reshape(a.shape), part


def relu(chip: Chip, values: Integers, bits: int) -> tuple[Integers, Part]:
    """max(value, 0) of signed words of `bits` bits (any shape)."""
    watch, rows = Watch(chip), chip.design.rows
    positive = _row_by_row(
        chip, lambda rows: plain_relu(bits, rows, kind=chip.kind.value), (values.ravel(),)
    )
    part = watch.part("relu", lambda: forecast.relu(values.size, bits, rows))
    return positive.reshape(values.shape), part


def _row_by_row(
    chip: Chip, make: Callable[[int], Function], operands: Sequence[Integers]
) -> Integers:
    """A function of the words of each row alone: `make(rows)`, folded over loads.

    Full loads run side by side on a tall array, but where the chip is to be literal.
    """
    fold = fold_words(operands[0].size, chip.design.rows)
    beside = 1 if chip.literal else TALL
    results, done = [], 0
    for groups, loads in fold.sizes():
        for first in range(0, loads, beside):
            times = min(beside, loads - first)
            function = make(groups * times)
            one = (make(groups), times) if times > 1 else None
            some = (words[done : done + groups * times] for words in operands)
            results.append(one_load(chip, function, *some, beside=one))
            done += groups * times
    return joined(chip, results)


def requantize(
    chip: Chip,
    sums: Integers,
    plan: Sequence[Share],
    axis: int,
    name: str,
    paper: Counts = NOTHING,
) -> tuple[Integers, Part]:
    """Accumulators (any shape, channels along `axis`) to activations, by the plan's recipes.

    `paper` is what the paper counts for it: a ReLU, where the recipes hold one.
    """
    watch, rows = Watch(chip), chip.design.rows
    channels = sum(len(share.channels) for share in plan)
    moved = np.moveaxis(sums, axis, 0) if channels > 1 else sums
    lines = moved.reshape(channels, -1)
    done, sizes = np.empty_like(lines), []
    for share in plan:
        some = lines[share.channels]
        constants = [np.repeat(values, some.shape[1]) for values in share.constants]
        done[share.channels] = _recipe(chip, share, some.ravel(), constants).reshape(some.shape)
        sizes.append((some.size, share.recipe))
    part = watch.part(name, lambda: forecast.requantize(sizes, rows, paper))
    settled = done.reshape(moved.shape)
    return np.moveaxis(settled, 0, axis) if channels > 1 else settled, part


def _recipe(chip: Chip, share: Share, words: Integers, constants: list[Integers]) -> Integers:
    """One recipe over its loads: a word, and its row constants, in each row."""
    return _row_by_row(
        chip,
        lambda rows: requantized(share.recipe, rows, kind=chip.kind.value),
        (words, *constants),
    )
