"""What weights in the program gain by other digits, ends and sums, by forecast on a network.

    python -m benchmarks.weight_digits [NETWORK] [--bits 8 4 2]

Cycles of a load of every layer, added up, against canonical digits whose carries ripple to the
end of the accumulator:

* stopped: a ripple ends at the most that the accumulator can hold, word by word (what runs);
* finest: the same digit by digit, lowest places first;
* chosen: stopped, and the words of a chunk chosen for that;
* least: stopped, digits as few as canonical ones but of least reach (3 is 2 + 1 and not 4 - 1), in
  layers where narrower accumulators pay for lower places;
* shared: sums and differences of word pairs made once for the outputs of a group, the best up to
  three of a chunk that columns allow, whole ripples; on 60 chunks of a layer drawn at random.

Nothing is executed.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.closed_form import WeightPlan, weights
from apsim.closed_form.weights import CHUNKS
from apsim.errors import ProgramError
from apsim.nn.model import Weighted
from apsim.nn.zoo import sources

Integers = NDArray[np.int64]
COLUMNS, SAMPLE, FAR = 160, 60, 2
PLACES = 10


@dataclass(frozen=True)
class Forms:
    """Negative and positive digits of weights [i, J], as numbers with a bit for each digit."""

    negative: Integers
    positive: Integers

    @classmethod
    def canonical(cls, w: Integers) -> Forms:
        return cls((w & ~(3 * w)) >> 1, (3 * w & ~w) >> 1)

    @classmethod
    def least(cls, w: Integers) -> Forms:
        """4 - 1 becomes 2 + 1 and -4 + 1 becomes -2 - 1, from below: as many digits."""
        minus, plus = (
            form.copy() for form in (cls.canonical(w).negative, cls.canonical(w).positive)
        )
        for one, other in ((minus, plus), (plus, minus)):
            for k in range(PLACES):
                found = (one >> k & 1) & (other >> (k + 2) & 1)
                one -= found << k
                other -= found << (k + 2)
                other += (found << (k + 1)) + (found << k)
        return cls(minus, plus)

    @property
    def reach(self) -> Integers:
        return self.negative + self.positive


def digits_of(form: Integers) -> tuple[Integers, Integers]:
    """How many digits, and the sum of their places."""
    places = range(PLACES)
    bits = [form >> k & 1 for k in places]
    return sum(bits), sum(k * some for k, some in zip(places, bits, strict=True))  # type: ignore[return-value]


def lengths(values: Integers) -> Integers:
    """Bit lengths."""
    return np.ceil(np.log2(values + 1.0)).astype(np.int64)


def by_chunk(values: Integers, step: int) -> Integers:
    """Sums over chunks of words."""
    found: Integers = np.add.reduceat(values, np.arange(0, values.shape[1], step), axis=1)
    return found


def cycles(forms: Forms, plan: WeightPlan, way: str) -> float:
    """Cycles of a load: "whole" ripples, "stopped" word by word, or "finest"."""
    bits, size, step = plan.bits, (1 << plan.bits) - 1, max(plan.chunk, 1)
    (down, _), (up, _), (count, places) = map(
        digits_of, (forms.negative, forms.positive, forms.reach)
    )
    begin = by_chunk(forms.negative, step) * size
    held = by_chunk(forms.reach, step) * size
    if not plan.chunk:  # the preset is there from the beginning
        later = (begin.sum(axis=1, keepdims=True) - np.cumsum(begin, axis=1)) + np.cumsum(held, 1)
        begin, held = later - forms.positive * size, later
    passes = float((count * (2 * bits - 2) - 2 * places).sum())
    if way == "whole":
        passes += 2 * float(count.sum()) * (plan.short or plan.width)
    else:
        passes += 2 * float((by_chunk(down, step) * lengths(begin)).sum())
        passes += 2 * _above(forms, begin, step, size, up if way == "stopped" else None)
    if plan.chunk:
        live = by_chunk(count, step) > 0
        short = plan.short if way == "whole" else lengths(held)
        top = plan.width if way == "whole" else lengths(np.cumsum(held, axis=1))
        passes += float(((short - 1 + 2 * top) * live).sum())
    others = plan.terms["preset"] + plan.terms["populate"] + plan.terms["read_out"]
    return 2 * passes + others.total


def _above(
    forms: Forms, begin: Integers, step: int, size: int, up: Integers | None
) -> float:  # fmt: skip
    """Ends of ripples of all additions, as the bound grows: by words of `up` digits, or digits."""
    bound, total = begin.copy(), 0.0
    for place in [None] if up is not None else range(PLACES):
        for word in range(step):
            some = forms.positive[:, word::step]
            some = some if place is None else some & 1 << place
            part = bound[:, : some.shape[1]]
            part += some * size
            many = (some != 0) if up is None else up[:, word::step]
            total += float((many * lengths(part)).sum())
    return total


def shared(w: Integers, plan: WeightPlan) -> dict[int, float]:
    """Cycles a weight with up to 0, 1, 2, 3 pair sums a chunk, of the best q for each."""
    found: dict[int, list[float]] = {sums: [] for sums in range(4)}
    for chunk in (2, 4, 6, 8):
        for sums, costs in found.items():
            held = (plan.bits + 1 + FAR) * sums
            short = plan.short if plan.chunk else plan.width
            room = COLUMNS - 1 - plan.bits * chunk - short - held
            together = min(room // plan.width, len(w))
            if together >= 1:
                some = _drawn(w, together, chunk, np.random.default_rng(0))
                each = [_chunk(one, plan.bits, plan.width, short, sums) for one in some]
                costs.append(float(np.mean(each)) / (together * chunk))
    return {sums: min(costs) for sums, costs in found.items() if costs}


def _drawn(w: Integers, together: int, chunk: int, rng: np.random.Generator) -> Iterator[Integers]:
    for _ in range(SAMPLE):
        first = int(rng.integers(0, len(w) // together)) * together
        start = int(rng.integers(0, max(w.shape[1] // chunk, 1))) * chunk
        yield w[first : first + together, start : start + chunk]


def _chunk(w: Integers, bits: int, width: int, short: int, sums: int) -> float:
    """Cycles of a chunk of a group: populate, digits, merges, and pair sums that pay."""
    forms = Forms.canonical(w)
    d = np.stack([(forms.positive >> k & 1) - (forms.negative >> k & 1) for k in range(PLACES)], -1)
    ripple = 2 * (short - bits - np.arange(PLACES))
    each = 4 * bits - 2 + ripple
    saved = 0.0
    for _ in range(sums):
        gain, taken = max(
            (_pair(d, a, b, far, sign, each, bits) for a in range(w.shape[1])
             for b in range(a + 1, w.shape[1]) for far in range(-FAR, FAR + 1)
             for sign in (1, -1)), key=lambda one: one[0], default=(0.0, ()),
        )  # fmt: skip
        if gain <= 0:
            break
        saved += gain
        for word, mask in taken:
            d[:, word][mask] = 0
    digits = float((np.abs(forms.reach[..., None] >> np.arange(PLACES) & 1) * each).sum())
    merges = len(w) * (3 * short - 1 + 2 * (width - short))
    return 2 * (digits + merges) - 2 * saved + bits * w.shape[1] + len(w)


def _pair(
    d: Integers, a: int, b: int, far: int, sign: int, each: Integers, bits: int
) -> tuple[float, Any]:
    """Passes that x_a + sign 2^far x_b saves, and the digits that it takes."""
    low, high = max(0, -far), PLACES - max(0, far)
    one, other = d[:, a, low:high], d[:, b, low + far : high + far]
    same = (one != 0) & (one * sign == other)
    wide = bits + 1 + abs(far)
    use = 4 * wide - 2 + (each[low:high] - (4 * bits - 2)) - 2 * (wide - bits)
    gain = (same * (each[low:high] + each[low + far : high + far] - use)).sum()
    made = 4 * bits - 2 + 2 * (1 + abs(far)) + wide / 2
    masks = np.zeros(d[:, a].shape, bool), np.zeros(d[:, a].shape, bool)
    masks[0][:, low:high], masks[1][:, low + far : high + far] = same, same
    return float(gain - made), ((a, masks[0]), (b, masks[1]))


def forecast(w: Integers, bits: int) -> dict[str, float]:
    """Cycles of a load of one layer by each way."""
    base = weights(w, bits, COLUMNS)[1]
    canonical, least, size = Forms.canonical(w), Forms.least(w), (1 << bits) - 1
    narrow = replace(
        base, width=int(least.reach.sum(axis=1).max() * size).bit_length(),
        short=base.chunk and int(by_chunk(least.reach, base.chunk).max() * size).bit_length(),
    )  # fmt: skip
    found = {way: cycles(canonical, base, way) for way in ("whole", "stopped", "finest")}
    assert found["whole"] == (base.counts - base.terms["stopped"]).total
    assert found["stopped"] == base.counts.total
    found["chosen"] = min(_with(w, bits, chunk) for chunk in CHUNKS)
    found["least"] = min(found["stopped"], cycles(least, narrow, "stopped"))
    per = shared(w, base)
    found["shared"] = found["whole"] * min(per.values()) / per[0]
    return found


def _with(w: Integers, bits: int, chunk: int) -> float:
    try:
        return float(weights(w, bits, COLUMNS, [chunk])[0].total)
    except ProgramError:
        return math.inf


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", nargs="?", default="resnet18")
    parser.add_argument("--bits", nargs="+", default=["8", "4", "2"])
    args = parser.parse_args(argv)
    for bits in args.bits:
        model, total = sources.model(args.network, bits=bits), Counter[str]()
        for layer in model.layers:
            if isinstance(layer, Weighted):
                w = layer.weights.reshape(len(layer.weights), -1).astype(np.int64)
                total.update(forecast(w, model.tensors[layer.inputs[0]].bits))
        whole = total.pop("whole")
        shown = ", ".join(f"{way} {1 - cycles / whole:.1%}" for way, cycles in total.items())
        print(f"{args.network}, {bits} bits: {whole:,.0f} cycles; less by: {shown}")


if __name__ == "__main__":
    main()
