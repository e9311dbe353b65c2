"""What is to be done on the AP, before anything is: tasks, each of loads of known functions.

The rule: a load is a row of `apsim.functions.table` with its sizes; how many there are comes
from the fold, what they take from the row's closed forms.  No data, and no program before
`Loads.program` is asked for one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from apsim import closed_form
from apsim.ap_kind import ApKind
from apsim.closed_form import WeightPlan, realisable
from apsim.counts import Counts
from apsim.errors import ProgramError
from apsim.functions import Function, table
from apsim.functions.cnn import default_scheme
from apsim.functions.table import Entry
from apsim.nn.model import Integers
from apsim.nn.model.words import Words
from apsim.nn.on_ap.layer_run import NOTHING, Forecast
from apsim.nn.on_ap.mapping import Fold, chunks, fold_groups, fold_sums, fold_windows, fold_words

if TYPE_CHECKING:
    from apsim.nn.rules.recipes import Share

__all__ = [
    "UNLIMITED", "Loads", "Requantization", "Setting", "Task", "WeightedSums", "add", "extremes",
    "hold_bias", "looked_up", "multiply", "normalized", "products", "relu", "requantized",
    "weighted_sums", "window_maxima", "window_sums",
]  # fmt: skip

Sizes = tuple[tuple[str, Any], ...]

UNLIMITED = 1 << 40
"""CAPs of a chip that has as many as a layer needs."""


@dataclass(frozen=True)
class Setting:
    """What a run is made with: CAPs of a kind and size, a batch, who requantizes.

    `requant` is who turns accumulators into activations, "host" or "ap"; `mapping` is how
    products are laid over rows (a row of `plan.MAPPINGS`, or "auto": what costs less in `cost`).
    `columns` are those of a CAP, of which there are `caps`; `broadcast` is how a word comes to
    all rows of its group, a key of `ops.rows.BROADCASTS`.  `array` is what a load runs on, rows
    that hold data ("load") or all of a CAP's ("cap").
    """

    kind: ApKind
    rows: int
    images: int = 1
    requant: str = "host"
    mapping: str = "im2col"
    columns: int = 160
    cost: str = "energy"
    caps: int = 4096
    broadcast: str = "group"
    array: str = "load"


@dataclass(frozen=True)
class Loads:
    """One function over all its loads: `sizes` say all of it but the groups of a load."""

    function: str
    kind: ApKind
    fold: Fold
    sizes: Sizes

    def __getitem__(self, size: str) -> Any:
        return dict(self.sizes)[size]

    @property
    def entry(self) -> Entry:
        """The function's row."""
        return table.FUNCTIONS[self.function]

    def program(self, groups: int) -> Function:
        """The function of a load of so many groups, which is kept."""
        return _built(self.entry, self.kind.value, (*self.sizes, (self.entry.groups, groups)))

    def once(self, groups: int) -> Forecast:
        """What one load will take."""
        entry, ap = self.entry, self.kind.value
        params = dict(self.sizes) | {entry.groups: groups}
        paper = entry.paper(ap, params) or NOTHING
        return Forecast(1, entry.realisable(ap, params), paper, entry.terms(ap, params))

    @property
    def forecast(self) -> Forecast:
        """What all loads will take."""
        each = (self.once(groups) * times for groups, times in self.fold.sizes())
        return sum(each, Forecast())


@lru_cache(448)
def _built(entry: Entry, ap: str, sizes: Sizes) -> Function:
    return entry.build(ap, dict(sizes))


@dataclass(frozen=True)
class Task:
    """One kind of work on the AP, as it will stand in the report: all its loads.

    `unprinted` are terms for what the paper has no function for, beside those of the loads.
    """

    name: str
    loads: tuple[Loads, ...]
    unprinted: tuple[tuple[str, Counts], ...] = ()

    @cached_property
    def forecast(self) -> Forecast:
        """Closed forms times loads."""
        total = sum((loads.forecast for loads in self.loads), Forecast())
        return replace(total, terms=total.terms | dict(self.unprinted))


@dataclass(frozen=True, eq=False)
class Requantization(Task):
    """Accumulators to activations: loads for each share of the channels.

    `paper` is what the paper counts of it: a ReLU, where the recipes hold one.
    """

    shares: tuple[Share, ...] = ()
    paper: Counts = NOTHING

    @cached_property
    def forecast(self) -> Forecast:
        """Closed forms times loads; the term is what the paper leaves out."""
        total = sum((loads.forecast for loads in self.loads), Forecast())
        left_out = {"requantization": total.terms["requantization"] - self.paper}
        return replace(total, paper=self.paper, terms=total.terms | left_out)


@dataclass(frozen=True, eq=False, kw_only=True)
class WeightedSums(Task):
    """Sums of words times weights [i, J] that the program holds: rows are output pixels.

    `plans` are those of the parts that the words of a sum are split into, one as a rule; `words`
    is how words are coded, "u" or "o"; the paper has no equation for it.
    """

    plans: tuple[WeightPlan, ...]
    fold: Fold
    words: str

    @property
    def plan(self) -> WeightPlan:
        """Of all words, or of the first part."""
        return self.plans[0]

    @property
    def parts(self) -> Iterator[tuple[WeightPlan, slice]]:
        """Each part, and its words."""
        ends = itertools.accumulate((plan.words for plan in self.plans), initial=0)
        return zip(self.plans, (slice(*pair) for pair in itertools.pairwise(ends)), strict=True)

    @cached_property
    def forecast(self) -> Forecast:
        """The closed form times loads."""
        each = (Forecast(1, plan.counts, NOTHING, plan.terms) for plan in self.plans)
        return sum(each, Forecast()) * self.fold.loads


def weighted_sums(
    weights: Integers,
    pixels: int,
    act: Words,
    on: Setting,
    *,
    bias: Integers | None = None,
    beside: int = 1,
) -> WeightedSums:
    """Weights [i, J] for `pixels` rows over the batch; `ProgramError` where it does not fit.

    Presets hold `bias` int[i] where they can.  Where latency is to be least, fewer outputs stand
    in a CAP and the words of a sum are split over CAPs, as the chip has them for so many layers
    `beside` each other.
    """
    fold = fold_words(pixels, on.rows)
    _, whole = closed_form.weights(weights, act.bits, on.columns, bias=bias)
    plans: tuple[WeightPlan, ...] = (whole,)
    if on.cost == "latency":
        loads = fold.loads * beside
        shared = closed_form.spread(whole, loads, on.caps)
        with suppress(ProgramError):  # no room for what others send: each CAP does all of a sum
            apart = closed_form.split(weights, whole, on.columns, shared)
            plans = min(plans, apart, key=lambda p: closed_form.latency(p, loads, on.caps))
    return WeightedSums(name="weighted sums", loads=(), plans=plans, fold=fold, words=act.coding)


def hold_bias(body: Sequence[Task]) -> bool:
    """Whether accumulators begin with the layer's bias, so that nobody else adds it."""
    return bool(body) and all(
        isinstance(task, WeightedSums) and task.plan.raised is not None for task in body
    )


def products(groups: int, length: int, act: Words, weight: Words, on: Setting) -> Task:
    """`groups` dot products of `length` words, in chunks where one is longer than a CAP.

    Raises `ProgramError` where the partial sums do not fit a CAP together.
    """
    cut = chunks(length, on.kind, on.rows)
    signs = act.kind + weight.kind
    common = {"Ma": act.bits, "Mw": weight.bits, "signs": signs, "dirty": True}
    parts = common | {"partial": len(cut) > 1}
    loads = [
        _loads("dot_products", on, fold_sums(groups, piece, on.kind, on.rows), parts | {"j": piece})
        for piece in cut
    ]
    if len(cut) > 1:
        product = act.bits + weight.bits
        sizes = {
            "M": product + (cut[0] - 1).bit_length(),
            "width": product + (length - 1).bit_length(),
            "j": len(cut),
        }
        loads.append(_loads("merge", on, fold_sums(groups, len(cut), on.kind, on.rows), sizes))
    return Task("multiply-accumulate", tuple(loads))


def window_sums(windows: int, window: int, words: Words, on: Setting) -> Task:
    """Sums of windows, read in full."""
    fold = fold_sums(windows, (window + 1) // 2, on.kind, on.rows)
    sizes = {"M": words.bits, "S": window, "signs": words.coding, "divide": "none", "dirty": True}
    return Task("window sums", (_loads("average_pool", on, fold, sizes),))


def window_maxima(windows: int, window: int, words: Words, on: Setting) -> Task:
    """Maxima of windows, by the kind's own scheme."""
    scheme = default_scheme(on.kind)
    fold = fold_windows(windows, (window + 1) // 2, on.kind, on.rows, scheme)
    sizes = {"M": words.bits, "S": window, "signs": words.coding, "scheme": scheme, "dirty": True}
    return Task("window maxima", (_loads("max_pool", on, fold, sizes),))


def add(count: int, words: Words, on: Setting) -> Task:
    """Pairs of words, one pair in each row."""
    sizes = {"M": words.bits, "signs": words.coding, "dirty": True}
    return Task("add", (_loads("add", on, fold_words(count, on.rows), sizes),))


def multiply(count: int, a: Words, b: Words, on: Setting) -> Task:
    """Pairs of words, one pair in each row, their products read in full."""
    sizes = {"Ma": a.bits, "Mw": b.bits, "signs": a.kind + b.kind, "dirty": True}
    return Task("multiply", (_loads("multiply", on, fold_words(count, on.rows), sizes),))


def extremes(function: str, count: int, words: Words, on: Setting) -> Task:
    """The "max" or "min" of pairs of words, one pair in each row."""
    sizes = {"M": words.bits, "signs": words.coding, "dirty": True}
    loads = _loads(function, on, fold_words(count, on.rows), sizes)
    each = realisable.minimum(words.bits)
    least = () if function == "max" else (("minimum", each * loads.fold.loads),)
    return Task(function, (loads,), least)


def looked_up(
    name: str, tables: Sequence[tuple[int, Sequence[int]]], x: Words, y: Words, on: Setting
) -> Task:
    """Words, one in each row, by tables: (how many words, the values of all words) of each."""
    loads = tuple(
        _loads(
            "table",
            on,
            fold_words(count, on.rows),
            {"M": x.bits, "N": y.bits, "signs": x.kind + y.kind, "values": tuple(values)},
        )
        for count, values in tables
    )
    return Task(f"table ({name})", loads)


def normalized(
    function: str, groups: int, size: int, bits: int, on: Setting, **more: Any
) -> Task:  # fmt: skip
    """`groups` groups of `size` words of `bits` bits by a `function` of groups, a word in each row.

    It is "softmax", "ita_softmax", "layer_norm" or "rms_norm"; `more` is what the
    function's row wants besides.  Raises `ProgramError` where one group does not fit a CAP.
    """
    sizes = {"M": bits, "T": size, "broadcast": on.broadcast, "dirty": True} | more
    one = _loads(function, on, Fold(1, 1, 0), sizes).program(1)
    if one.rows > on.rows or one.columns > on.columns:
        raise ProgramError(
            f"{one.name} of {size} words of {bits} bits wants {one.rows} rows and {one.columns} "
            f"columns; a CAP has {on.rows} rows and {on.columns} columns"
        )
    fold = fold_groups(groups, one.rows, on.rows)
    return Task(one.name, (_loads(function, on, fold, sizes),))


def relu(count: int, bits: int, on: Setting) -> Task:
    """Signed words of `bits` bits, one in each row."""
    return Task("relu", (_loads("relu", on, fold_words(count, on.rows), {"M": bits}),))


def requantized(
    name: str, count: int, shares: Sequence[Share], on: Setting, paper: Counts = NOTHING
) -> Requantization:
    """`count` words over all channels, each with the recipe of its share."""
    channels = sum(len(share.channels) for share in shares)
    loads = tuple(
        _loads(
            "requantize",
            on,
            fold_words(count // channels * len(share.channels), on.rows),
            {"recipe": share.recipe},
        )
        for share in shares
    )
    return Requantization(name, loads, shares=tuple(shares), paper=paper)


def _loads(function: str, on: Setting, fold: Fold, sizes: dict[str, Any]) -> Loads:
    return Loads(function, on.kind, fold, tuple(sizes.items()))
