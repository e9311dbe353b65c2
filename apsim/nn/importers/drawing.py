"""A real function of the words of a tensor as a table, or as steps where they are sums.

The rule: every word that there can be is put through the function, in float64, rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from apsim.errors import ModelError
from apsim.nn import rules
from apsim.nn.importers.pending import Curve, Pending, Target
from apsim.nn.importers.targets import rounded
from apsim.nn.model import Floats, Integers, Layer, Steps, Table, Tensor

__all__ = ["MOST_WORDS", "WIDEST_TABLE", "Span", "drawn_as"]

WIDEST_TABLE = 16  # bits of the words that a table takes
MOST_WORDS = 1 << 24  # of all tables of a layer, before equal ones are one
FAR = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Span:
    """The least and the greatest sum of each channel, which lie along `axis`."""

    low: Integers
    high: Integers
    axis: int


def drawn_as(
    value: Pending, curve: Curve, given: Tensor, span: Span | None, target: Target
) -> Layer:
    """The layer that gives each word of `given` what the function makes of it."""
    layer = value.layer
    assert isinstance(layer, Table)
    if span is None:
        return _tabled(value, curve, layer, given, target)
    return _stepped(value, curve, layer, given, span, target)


def _tabled(value: Pending, curve: Curve, layer: Table, given: Tensor, target: Target) -> Table:
    """One table for all places, or one for each kind of place."""
    if given.bits > WIDEST_TABLE:
        raise ModelError(f"a table of words of {given.bits} bits; {WIDEST_TABLE} at most")
    words = np.arange(given.lo, given.hi + 1, dtype=np.float64)
    real = (words - given.zero_point) * rules.one_scale(given)
    made = _made(value, curve, layer, real)
    lines = rounded(made, target).reshape(-1, len(words))
    values, which = np.unique(lines, axis=0, return_inverse=True)
    return replace(layer, values=values, which=which.reshape(made.shape[:-1]).astype(np.int32))


def _made(value: Pending, curve: Curve, layer: Table, real: Floats) -> Floats:
    """What a function makes of real words [..., words], clipped; every one a number."""
    with np.errstate(all="ignore"):
        made = np.asarray(curve.function(real))
    if made.size > MOST_WORDS:
        raise ModelError(f"{made.size} words of tables of {layer.function}; {MOST_WORDS} at most")
    if np.isnan(made).any():
        at = np.broadcast_to(real, made.shape)[np.isnan(made)][0]
        raise ModelError(f"{layer.function} of {at:g} is no number")
    return np.clip(made, value.bounds.lo, value.bounds.hi)


def _stepped(
    value: Pending, curve: Curve, layer: Table, given: Tensor, span: Span, target: Target
) -> Steps:
    """Where the function of a sum changes, for each channel."""
    scale = np.atleast_1d(np.asarray(given.scale, np.float64))
    low, high = span.low, span.high
    if scale.size == 1:
        low, high = low.min(keepdims=True), high.max(keepdims=True)
    width = int((high - low).max()) + 1
    if width * low.size > MOST_WORDS:
        raise ModelError(f"{layer.function} of {low.size} x {width} sums that there can be; "
                         f"{MOST_WORDS} at most")  # fmt: skip
    lay = [1] * len(given.shape)
    lay[span.axis] = -1
    words = np.minimum(low[:, None] + np.arange(width), high[:, None])
    real = (words * scale[:, None]).reshape(*lay, width)
    made = _made(value, curve, layer, real)
    integers = rounded(made, target)
    places = np.broadcast_to(words.reshape(*lay, width), made.shape)
    lines, which = _lines(integers.reshape(-1, width), places.reshape(-1, width))
    breaks, values = _of_one_length(lines)
    unit = given.scale if isinstance(given.scale, tuple) else (float(scale[0]),)
    return Steps(
        name=layer.name, inputs=layer.inputs, output="", breaks=breaks, values=values,
        which=which.reshape(made.shape[:-1]), unit=unit, function=layer.function,
    )  # fmt: skip


Line = tuple[Integers, Integers]


def _lines(integers: Integers, words: Integers) -> tuple[list[Line], Integers]:
    """The different lines of words where the result changes, and which each place takes."""
    known: dict[tuple[bytes, bytes], int] = {}
    lines: list[Line] = []
    which = np.zeros(len(integers), np.int32)
    for place, (results, sums) in enumerate(zip(integers, words, strict=True)):
        at = np.flatnonzero(np.diff(results)) + 1
        line = sums[at], results[np.r_[0, at]]
        key = line[0].tobytes(), line[1].tobytes()
        if key not in known:
            known[key] = len(lines)
            lines.append(line)
        which[place] = known[key]
    return lines, which


def _of_one_length(lines: Sequence[Line]) -> tuple[Integers, Integers]:
    """Breaks and values side by side; what fills a short line is never reached."""
    longest = max(len(breaks) for breaks, _ in lines)
    breaks = np.full((len(lines), longest), FAR, np.int64)
    values = np.zeros((len(lines), longest + 1), np.int64)
    for number, (line, results) in enumerate(lines):
        breaks[number, : len(line)] = line
        values[number] = results[-1]
        values[number, : len(results)] = results
    return breaks, values
