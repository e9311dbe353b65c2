"""From a requantization rule to what an AP does: recipes, and who shares one.

The rule: a recipe gives the integers that `rules` gives, for every accumulator within
the range that it was made for.  Channels whose scales differ share loads where one
number of dropped bits does for all, the multiplier then being a field; exponents that
lie far apart, or a rounding in between, part channels into loads of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from apsim.errors import ModelError
from apsim.functions import Recipe
from apsim.nn import rules
from apsim.nn.model import Integers, Model, Requant
from apsim.nn.model.words import Words, holding
from apsim.nn.rules.ranges import Range

__all__ = ["ON_AP", "Share", "on_ap", "refuse_floats", "shares"]

ON_AP = ("onnx-exact", "tflite", "tflite-16x8", "dyadic(k,mode)", "sign")
SPREAD = 7  # exponents that lie so close share loads, for as many more multiplier bits


@dataclass(frozen=True, eq=False)
class Share:
    """Channels that share loads: their recipe, and the row constants of each channel."""

    channels: Integers
    recipe: Recipe
    constants: tuple[Integers, ...]


@dataclass(frozen=True)
class _Channel:
    """One channel: `round` of (sum + bias) * multiplier + offset, by each of `drops`."""

    multiplier: int
    offset: int
    bias: int
    low: int
    high: int
    drops: tuple[int, ...]

    @property
    def product(self) -> tuple[int, int]:
        """The least and the greatest product, its offset included."""
        ends = [(end + self.bias) * self.multiplier + self.offset for end in (self.low, self.high)]
        return ends[0], ends[1]

    @property
    def product_bits(self) -> int:
        """Bits of a two's complement word that holds the product."""
        return holding(min(-1, self.product[0]), max(0, self.product[1])).bits

    def scaled(self, power: int) -> _Channel:
        """The same quotient with the first drop larger by `power` bits, or smaller if negative."""
        drops = (self.drops[0] + power, *self.drops[1:])
        up, down = max(power, 0), max(-power, 0)
        return replace(
            self, multiplier=self.multiplier << up >> down, offset=self.offset << up >> down,
            drops=drops,
        )  # fmt: skip


def on_ap(requant: Requant) -> bool:
    """Whether the rule is integer arithmetic that a recipe carries out."""
    return requant.rule in ON_AP or requant.rule.startswith("dyadic(")


def refuse_floats(model: Model) -> None:
    """Raise `ModelError` where a model's rule computes in floating point, as no AP does."""
    if model.rule == "ort-f32":
        raise ModelError(
            f"model {model.name!r}: rule ort-f32 computes in floating point and cannot run on "
            f"the AP; rules that can: {', '.join(ON_AP)} (choose one with --rule), or leave "
            "requantization on the host"
        )


def shares(
    requant: Requant, sums: Range, bias: Integers, *, relu: bool = False, lift: int = 0
) -> tuple[Share, ...]:
    """Recipes for accumulators within `sums`, to which `bias` [1 or channels] is added.

    Each gives `finish(max(scale((sum + bias) << lift), 0))`, the maximum where `relu` says so.
    """
    numbers = np.broadcast_arrays(
        requant.mantissa, requant.exponent, requant.offset, bias, sums.low, sums.high
    )
    channels = [
        _channel(requant.rule, lift, *map(int, line)) for line in zip(*numbers, strict=True)
    ]
    groups: dict[object, list[int]] = {}
    widest = max(channel.drops[0] for channel in channels)
    for number, channel in enumerate(channels):
        far = (widest - channel.drops[0]) // SPREAD
        key = channel.drops if len(channel.drops) > 1 else far
        groups.setdefault(key, []).append(number)
    return tuple(
        (_signs if requant.rule == "sign" else _share)(
            np.array(group), [channels[n] for n in group], requant, relu
        )
        for group in groups.values()
    )


def _channel(
    rule: str, lift: int, mantissa: int, exponent: int, offset: int, bias: int, low: int, high: int
) -> _Channel:
    """One channel in integers; more is never dropped than leaves a quotient below one half."""
    if rule == "sign":  # sum * M + offset >= 0 where sum + floor(offset / M) >= 0
        threshold = offset // (mantissa << (lift + max(-exponent, 0)))
        return _Channel(1, 0, bias + threshold, low, high, (0,))
    if rule == "tflite":
        left = max(31 - exponent, 0)
        drops: tuple[int, ...] = (31 - left - lift, max(exponent - 31, 0))
    else:
        drops = (exponent - lift,)
    up, drops = max(-drops[0], 0), (max(drops[0], 0), *drops[1:])
    channel = _Channel(mantissa << up, offset, bias, low, high, drops)
    most = channel.product_bits + 1
    if len(drops) == 1:
        return replace(channel, drops=(min(channel.drops[0], most),))
    first, second = channel.drops
    return replace(channel, drops=(first, min(second, max(most - first, 2) + 1)))


def _share(numbers: Integers, members: list[_Channel], requant: Requant, relu: bool) -> Share:
    """One recipe for channels whose drops can be made equal."""
    first = max(member.drops[0] for member in members)
    members = [member.scaled(first - member.drops[0]) for member in members]
    idle = min(first, *(_trailing_zeros(m.multiplier | m.offset) for m in members))
    members = [member.scaled(-idle) for member in members]
    bias, multiplier, offset = (
        _known([getattr(m, name) for m in members]) for name in ("bias", "multiplier", "offset")
    )
    words = _words(members)
    stages = list(zip(members[0].drops, _modes(requant), strict=True))
    constant, dropped, rest = _folded(stages, offset or 0)
    if not rest:
        constant += requant.zero_point << dropped
    if words.signed and multiplier not in (None, 1):
        constant -= (multiplier or 0) << (words.bits - 1)
    width, lo, hi = _bounds(members, requant, relu)
    recipe = Recipe(
        bits=words.bits, signed=words.signed, width=width, lo=lo, hi=hi, bias=bias,
        multiplier=multiplier,
        multiplier_bits=0 if multiplier else max(m.multiplier for m in members).bit_length(),
        offsets=offset is None, constant=constant, dropped=dropped,
        shift=rest[0][0] if rest else 0, mode=rest[0][1] if rest else "floor",
        parity=requant.parity, plus=requant.zero_point if rest else 0,
    )  # fmt: skip
    return _shared(numbers, members, recipe)


def _signs(numbers: Integers, members: list[_Channel], requant: Requant, relu: bool) -> Share:
    """No scaling at all: the threshold is part of the bias, and the sign chooses the result."""
    words = _words(members, least=-1)  # room for a sign
    negative, positive = (
        int(rules.finish(np.array([max(q, 0) if relu else q]), requant)[0]) for q in (-1, 1)
    )
    recipe = Recipe(
        bits=words.bits, signed=True, width=1, lo=min(negative, positive),
        hi=max(negative, positive), bias=_known([m.bias for m in members]),
        dropped=words.bits - 1, signs=(negative, positive),
    )  # fmt: skip
    return _shared(numbers, members, recipe)


def _shared(numbers: Integers, members: list[_Channel], recipe: Recipe) -> Share:
    fields = {"N": "bias", "M": "multiplier", "K": "offset"}
    constants = (np.array([getattr(m, fields[f]) for m in members]) for f in recipe.fields[1:])
    return Share(numbers, recipe, tuple(constants))


def _modes(requant: Requant) -> tuple[str, ...]:
    return ("half-up", "half-away") if requant.rule == "tflite" else (requant.rounding,)


def _folded(stages: list[tuple[int, str]], constant: int) -> tuple[int, int, list[tuple[int, str]]]:
    """Roundings that are a constant added before bits are dropped, and what stages are left.

    Half up is floor of one half more; the last stage is left where it rounds otherwise.
    """
    dropped = 0
    while stages and (stages[0][0] == 0 or stages[0][1] in ("half-up", "floor")):
        bits, mode = stages.pop(0)
        if bits and mode == "half-up":
            constant += 1 << (dropped + bits - 1)
        dropped += bits
    return constant, dropped, stages


def _words(members: Sequence[_Channel], least: int = 0) -> Words:
    """The narrowest words that hold the sums with and without their bias, and `least`."""
    low = min(least, *(min(m.low, m.low + m.bias) for m in members))
    return holding(low, max(max(m.high, m.high + m.bias) for m in members))


def _bounds(members: Sequence[_Channel], requant: Requant, relu: bool) -> tuple[int, int, int]:
    """Width of q, and the bounds of y: those that no y can cross widened to q's own ends."""
    drop, zero = sum(members[0].drops), requant.zero_point
    least = min(m.product[0] for m in members) >> drop
    most = (max(m.product[1] for m in members) >> drop) + 1
    lo = min(max(requant.lo, zero), requant.hi) if relu else requant.lo
    hi = requant.hi
    lowest = min(least, least + zero, *([lo] if lo > least + zero else []), -1, hi)
    highest = max(most, most + zero, *([hi] if hi < most + zero else []), 0, lo)
    width = holding(lowest, highest).bits
    return width, max(lo, -(1 << (width - 1))), min(hi, (1 << (width - 1)) - 1)


def _known(values: Sequence[int]) -> int | None:
    """The one value of all rows, or None where they differ."""
    return values[0] if len(set(values)) == 1 else None


def _trailing_zeros(value: int) -> int:
    return (value & -value).bit_length() - 1
