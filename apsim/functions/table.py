"""One row for each function: how it is built, what it really takes, what the paper prints.

The rule: the cost of an operation is stated three times, each by itself: the program that
`build` makes is executed and counted, `realisable` is a formula of that program, `paper` the
printed equation, and `terms` names what parts these two.  They are paired here and nowhere
else: `apsim.check`, and the plans and forecasts of `apsim.nn`, look them up.

Every member takes the AP kind and the sizes by the paper's symbols (`Params`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from apsim import closed_form
from apsim.closed_form import normalize as normalize_counts
from apsim.closed_form import realisable
from apsim.closed_form import smaller_luts as smaller_counts
from apsim.closed_form.differences import LABELS, OF_WEIGHTS
from apsim.counts import Counts
from apsim.functions import cnn, macro, micro, normalize, weights
from apsim.functions import smaller_luts as smaller
from apsim.functions.base import Function, cleared
from apsim.functions.requantize import Recipe, requantize
from apsim.layout import Field
from apsim.ops.table import patterns_of

__all__ = ["EQUATIONS", "FUNCTIONS", "SMALLER_LUTS", "Entry", "Params", "Terms"]

Params = Mapping[str, Any]
"""Sizes: M, Ma, Mw, L, S, K, i, j, u, rows, signs, scheme, divide; `dirty` clears scratch first.

Signs are kinds of words: "u", "s" (two's complement) or "o" (offset binary), one letter for
each operand of a product.
"""

Terms = dict[str, Counts]
CLEAR = Counts(write=1)


@dataclass(frozen=True)
class Entry:
    """One function.

    `paper` is None where the paper prints no equation for it.  `groups` names the size that
    says how many words, windows or sums a load holds: what work is folded over.  `labels` are
    the terms that no case can refute (`closed_form.differences`).
    """

    build: Callable[[str, Params], Function]
    realisable: Callable[[str, Params], Counts]
    paper: Callable[[str, Params], Counts | None]
    terms: Callable[[str, Params], Terms]
    groups: str = "rows"
    labels: Callable[[Params], tuple[str, ...]] = lambda p: LABELS


def _entry(
    build: Callable[[str, Params], Function],
    counts: Callable[[str, Params], Counts],
    paper: Callable[[str, Params], Counts | None],
    terms: Callable[[str, Params], Terms],
    extra: Callable[[Params], Terms],
    groups: str,
    labels: Callable[[Params], tuple[str, ...]] = lambda p: (),
) -> Entry:
    """What `extra` names is no part of the formulas: it is added to one side and named on the
    other, so that as terms such lines are labels."""
    return Entry(
        build,
        lambda ap, p: sum(extra(p).values(), counts(ap, p)),
        paper,
        lambda ap, p: {n: t for n, t in (terms(ap, p) | extra(p)).items() if t != Counts()},
        groups,
        lambda p: (*LABELS, *extra(p), *labels(p)),
    )


def _clear(p: Params) -> Terms:
    """A used array is cleared in one write."""
    return {"scratch_clear": CLEAR} if p.get("dirty") else {}


def _none(ap: str, p: Params) -> None:
    """The paper prints no equation."""


def _no_terms(ap: str, p: Params) -> Terms:
    return {}


# Words of one row: horizontal, so that every AP kind takes the same counts.


def _rowwise(
    build: Callable[[str, Params], Function],
    counts: Callable[..., Counts],
    paper: Callable[..., Counts] | None,
) -> Entry:
    return _entry(
        lambda ap, p: cleared(build(ap, p)) if p.get("dirty") else build(ap, p),
        lambda ap, p: counts(*_widths(p)),
        _none if paper is None else lambda ap, p: paper(*_widths(p)),
        _no_terms,
        _clear,
        "rows",
    )


def _widths(p: Params) -> tuple[int, ...]:
    return (p["Ma"], p["Mw"]) if "Ma" in p else (p["M"],)


def _plain(build: Callable[..., Function]) -> Callable[[str, Params], Function]:
    return lambda ap, p: build(p["M"], p["rows"], kind=ap, words=p["signs"])


def _split_signs(p: Params) -> dict[str, Any]:
    return dict(zip(("words", "words_b"), p["signs"], strict=True))


def _multiply(ap: str, p: Params) -> Function:
    return micro.multiply(p["Ma"], p["rows"], kind=ap, bits_b=p["Mw"], **_split_signs(p))


def _paper_maximum(bits: int) -> Counts:
    """Eq. (12) with one window of two words: nothing is moved."""
    return closed_form.max_pool(bits, 2, 1, "1d")


# Groups of rows: these differ between the AP kinds, and from the printed equations.


def _shape(p: Params) -> dict[str, Any]:
    return {"i": p.get("i", 1), "j": p["j"], "u": p.get("u", 1)}


def _products(build: Callable[[str, Params], Function]) -> Entry:
    """One write presets the top bit of an unsigned word times a signed one, and clears the rest."""

    def extra(p: Params) -> Terms:
        mixed = p["signs"] in ("us", "su")
        return {"scratch_clear": CLEAR} if p.get("dirty") or mixed else {}

    return _entry(
        build,
        lambda ap, p: realisable.matmul(
            p["Ma"], **_shape(p), ap=ap, bits_b=p["Mw"], partial=bool(p.get("partial"))
        ),
        lambda ap, p: closed_form.matmul(p["Ma"], **_shape(p), ap=ap, bits_b=p["Mw"]),
        lambda ap, p: closed_form.terms(
            "matmul", ap, bits=p["Ma"], bits_b=p["Mw"], **_shape(p), partial=bool(p.get("partial"))
        ),
        extra,
        "u",
    )  # fmt: skip


def _factors(p: Params) -> dict[str, Any]:
    return {"bits_b": p["Mw"], "clear": bool(p.get("dirty")), **_split_signs(p)}


def _matmul(ap: str, p: Params) -> Function:
    return macro.matmul(p["Ma"], **_shape(p), kind=ap, **_factors(p))


def _dot(ap: str, p: Params) -> Function:
    return macro.dot(p["Ma"], p["j"], kind=ap, **_factors(p))


def _dot_products(ap: str, p: Params) -> Function:
    partial = bool(p.get("partial"))
    return macro.dot_products(p["Ma"], p["u"], p["j"], kind=ap, partial=partial, **_factors(p))


def _pooled(p: Params) -> dict[str, Any]:
    return {"bits": p["M"], "window": p["S"], "windows": p["K"]}


def _pool_options(p: Params) -> dict[str, Any]:
    return _pooled(p) | {"words": p["signs"], "clear": bool(p.get("dirty"))}


def _full(p: Params) -> bool:
    return bool(p["divide"] == "none")


def _divided(p: Params) -> Terms:
    """A division in the AP is a constant more on either side."""
    extra = _clear(p)
    if p["divide"] == "multiply":
        width = p["M"] + (p["S"] - 1).bit_length()
        factor = cnn.Divider.exact(p["S"], p["S"] * ((1 << p["M"]) - 1)).factor
        extra["division"] = realisable.division(width, factor)
    return extra


def _how(ap: str, p: Params) -> dict[str, Any]:
    """The kind and scheme that price a maximum: a chain that is not used is not there."""
    if p["scheme"] == "chain":
        return {"ap": ap, "scheme": "moves"}
    return {"ap": ap.removesuffix("-tc"), "scheme": p["scheme"]}


def _table(ap: str, p: Params) -> Function:
    signs = dict(zip(("words", "words_out"), p["signs"], strict=True))
    return micro.table(p["values"], p["M"], p["N"], p["rows"], kind=ap, **signs)


def _table_passes(p: Params) -> int:
    """How many passes the list of a function has: a property of its table, not of a program."""
    return _listed(p, Field("A", 0, p["M"], p["signs"][0]), Field("B", 0, p["N"], p["signs"][1]))


def _listed(p: Params, source: Field, target: Field) -> int:
    from apsim.lut.word_table import word_table

    patterns = patterns_of(p["values"], source, target)
    return len(word_table(patterns, target.width, p.get("method")).passes)


# Groups of words that are brought to one scale: no equation either.

Normal = Callable[[str, Params], normalize_counts.Normalized]


def _normalized(build: Callable[..., Function], counts: Normal) -> Entry:
    def options(p: Params) -> dict[str, Any]:
        names = ("values", "broadcast", "method", "shift", "masked")
        known = {name: p[name] for name in names if name in p}
        return known | {"bits": p["M"], "size": p["T"], "groups": p["G"]}

    def terms(ap: str, p: Params) -> Terms:
        found = counts(ap, p)
        return {
            "normalization": found.rest, "word_moves": found.moves, "broadcast": found.broadcast,
        }  # fmt: skip

    return _entry(
        lambda ap, p: build(**options(p), kind=ap, clear=bool(p.get("dirty"))),
        lambda ap, p: counts(ap, p).whole,
        _none,
        terms,
        _clear,
        "G",
        lambda p: ("normalization", "word_moves", "broadcast"),
    )


def _grouped(p: Params) -> dict[str, Any]:
    return {
        "bits": p["M"], "size": p["T"], "groups": p["G"],
        "broadcast": p.get("broadcast", "group"),
    }  # fmt: skip


def _softmax_counts(ap: str, p: Params) -> normalize_counts.Normalized:
    passes, masked = _listed(p, Field("K", 0, p["M"]), Field("E", 0, 8)), p.get("masked", False)
    return normalize_counts.softmax(**_grouped(p), passes=passes, ap=ap, masked=masked)


def _ita_counts(ap: str, p: Params) -> normalize_counts.Normalized:
    shift = p.get("shift", 0)
    values = [256 >> ((d + (1 << shift) // 2) >> shift) for d in range(1 << p["M"])]
    passes = _listed({"values": values}, Field("K", 0, p["M"]), Field("E", 0, 9))
    return normalize_counts.ita_softmax(**_grouped(p), passes=passes, ap=ap)


def _recipe_counts(ap: str, p: Params) -> Counts:
    """The closed form knows numbers, not recipes."""
    recipe: Recipe = p["recipe"]
    free = ("parity", "plus")  # they choose bits of keys and LUTs, no passes
    return realisable.requantize(**{n: v for n, v in asdict(recipe).items() if n not in free})


def _weight_plan(p: Params) -> closed_form.WeightPlan:
    return closed_form.weights(p["w"], p["M"], p["columns"])[1]


FUNCTIONS: dict[str, Entry] = {
    "add": _rowwise(_plain(micro.add), realisable.add, closed_form.add),
    "subtract": _rowwise(_plain(micro.subtract), realisable.subtract, None),
    "multiply": _rowwise(_multiply, realisable.multiply, closed_form.multiply),
    "max": _rowwise(_plain(micro.maximum), realisable.maximum, _paper_maximum),
    "min": _rowwise(_plain(micro.minimum), realisable.minimum, None),
    "relu": _rowwise(
        lambda ap, p: cnn.relu(p["M"], p["rows"], kind=ap), realisable.relu, closed_form.relu
    ),
    "table": _entry(
        lambda ap, p: _table(ap, p),
        lambda ap, p: realisable.table(_table_passes(p), p["M"], p["N"]),
        _none,
        lambda ap, p: {"table": realisable.table(_table_passes(p), p["M"], p["N"])},
        lambda p: {},
        "rows",
    ),
    "reduce": _entry(
        lambda ap, p: micro.reduce(
            p["M"], p["L"], kind=ap, coding=p["signs"], clear=bool(p.get("dirty"))
        ),
        lambda ap, p: realisable.reduce(p["M"], p["L"], ap),
        lambda ap, p: closed_form.reduce(p["M"], p["L"], ap),
        lambda ap, p: closed_form.terms("reduce", ap, bits=p["M"], words=p["L"]),
        _clear,
        "",
    ),
    "dot": _products(_dot),
    "matmul": _products(_matmul),
    "average_pool": _entry(
        lambda ap, p: cnn.average_pool(**_pool_options(p), kind=ap, divide=p["divide"]),
        lambda ap, p: realisable.average_pool(**_pooled(p), ap=ap, full_sum=_full(p)),
        lambda ap, p: closed_form.average_pool(**_pooled(p), ap=ap),
        lambda ap, p: closed_form.terms("average_pool", ap, **_pooled(p), full_sum=_full(p)),
        _divided,
        "K",
    ),
    "max_pool": _entry(
        lambda ap, p: cnn.max_pool(**_pool_options(p), kind=ap, scheme=p["scheme"]),
        lambda ap, p: realisable.max_pool(**_pooled(p), **_how(ap, p)),
        lambda ap, p: closed_form.max_pool(**_pooled(p), ap=ap),
        lambda ap, p: closed_form.terms("max_pool", **_pooled(p), **_how(ap, p)),
        _clear,
        "K",
        lambda p: ("flag_propagation",) if p["scheme"] == "moves" else (),
    ),
    "softmax": _normalized(normalize.softmax, _softmax_counts),
    "ita_softmax": _normalized(normalize.ita_softmax, _ita_counts),
    "layer_norm": _normalized(
        normalize.layer_norm, lambda ap, p: normalize_counts.layer_norm(**_grouped(p), ap=ap)
    ),
    "rms_norm": _normalized(
        normalize.rms_norm, lambda ap, p: normalize_counts.rms_norm(**_grouped(p), ap=ap)
    ),
    # What networks run beside these: the loads of a matrix product, partial sums, rules.
    "dot_products": _products(_dot_products),
    "merge": _entry(
        lambda ap, p: macro.merge(p["M"], p["u"], p["j"], p["width"], kind=ap),
        lambda ap, p: realisable.merge(p["u"], p["j"], p["M"], p["width"], ap),
        _none,
        lambda ap, p: closed_form.terms(
            "merge", ap, bits=p["M"], words=p["j"], u=p["u"], width=p["width"]
        ),
        lambda p: {"scratch_clear": CLEAR},
        "u",
    ),
    "weighted_sums": Entry(
        lambda ap, p: weights.one_group(
            np.asarray(p["w"]), p["M"], p["columns"], p["rows"], p["signs"], ap
        ),
        lambda ap, p: _weight_plan(p).counts,
        _none,
        lambda ap, p: _weight_plan(p).terms,
        labels=lambda p: OF_WEIGHTS,
    ),
    "requantize": _entry(
        lambda ap, p: requantize(p["recipe"], p["rows"], kind=ap),
        _recipe_counts,
        _none,
        lambda ap, p: {"requantization": _recipe_counts(ap, p)},
        lambda p: {"scratch_clear": CLEAR},
        "rows",
    ),
}


def _below(name: str, build: Callable[[str, Params], Function], function: str = "") -> Entry:
    """The same function from smaller LUTs: the saving is a term of its own."""
    counts = getattr(smaller_counts, function or name)
    return Entry(
        build,
        lambda ap, p: counts(*_widths(p)),
        FUNCTIONS[name].paper,
        lambda ap, p: {"smaller_lut": smaller_counts.saving(function or name, *_widths(p))},
    )


SMALLER_LUTS: dict[str, Entry] = {
    "add": _below("add", lambda ap, p: smaller.add(p["M"], p["rows"], words=p["signs"])),
    "multiply": _below(
        "multiply", lambda ap, p: smaller.multiply(p["Ma"], p["rows"], bits_b=p["Mw"])
    ),
    "max": _below(
        "max", lambda ap, p: smaller.maximum(p["M"], p["rows"], words=p["signs"]), "maximum"
    ),
    "relu": _below("relu", lambda ap, p: smaller.relu(p["M"], p["rows"])),
}


@dataclass(frozen=True)
class Column:
    """A column of the table in the shape in which `apsim.cost`, which knows no function, wants
    its closed forms (`cost.latency.Equations`)."""

    counts: Callable[[Entry], Callable[[str, Params], Counts | None]]

    def add(self, bits: int) -> Counts:
        """Words of one row."""
        return self._of("add", "2d", M=bits)

    def relu(self, bits: int) -> Counts:
        """Words of one row."""
        return self._of("relu", "2d", M=bits)

    def matmul(
        self, bits: int, i: int, j: int, u: int, ap: str, bits_b: int | None = None
    ) -> Counts:
        """Unsigned words, on a fresh array."""
        other = bits if bits_b is None else bits_b
        return self._of("matmul", ap, Ma=bits, Mw=other, i=i, j=j, u=u, signs="uu")

    def average_pool(self, bits: int, window: int, windows: int, ap: str) -> Counts:
        """Divided by a shift where that does, else as whole sums."""
        divide = "none" if window & (window - 1) else "shift"
        return self._of("average_pool", ap, M=bits, S=window, K=windows, divide=divide)

    def max_pool(self, bits: int, window: int, windows: int, ap: str) -> Counts:
        """By the kind's own scheme."""
        scheme = cnn.default_scheme(ap)
        return self._of("max_pool", ap, M=bits, S=window, K=windows, scheme=scheme)

    def _of(self, function: str, ap: str, **sizes: Any) -> Counts:
        return self.counts(FUNCTIONS[function])(ap, sizes) or Counts()


EQUATIONS = {
    "paper": Column(lambda entry: entry.paper),
    "realisable": Column(lambda entry: entry.realisable),
}
"""By the names of a chip's `vertical_add`: what `cost.infer` is given."""
