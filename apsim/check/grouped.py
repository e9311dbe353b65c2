"""Functions of groups of rows: reduction, dot product, matrix product, average and max pooling.

The rule: these differ between the AP kinds, and from the printed equations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from apsim import closed_form, functions
from apsim.check.subject import CLEAR, Integers, Params, Subject, draw, split_signs
from apsim.closed_form import realisable
from apsim.counts import Counts
from apsim.functions import Function
from apsim.functions.cnn import Divider

__all__ = ["GROUPED"]

Terms = dict[str, Counts]


def _dirty(p: Params) -> bool:
    return bool(p.get("dirty"))


def _clear(p: Params) -> Terms:
    """A used array is cleared in one write."""
    return {"scratch_clear": CLEAR} if _dirty(p) else {}


def _sum(terms: Terms, start: Counts) -> Counts:
    return sum(terms.values(), start)


# Reduction.


REDUCE = Subject(
    build=lambda ap, p: functions.reduce(
        p["M"], p["L"], kind=ap, coding=p["signs"], clear=_dirty(p)
    ),
    operands=lambda rng, p: (draw(rng, p["M"], p["signs"], p["L"]),),
    expected=lambda p, words: words.sum(),
    realisable=lambda ap, p: _sum(_clear(p), realisable.reduce(p["M"], p["L"], ap)),
    paper=lambda ap, p: closed_form.reduce(p["M"], p["L"], ap),
    terms=lambda ap, p: closed_form.terms("reduce", ap, bits=p["M"], words=p["L"]) | _clear(p),
)


# Matrix-matrix multiplication and the dot product, which is i = u = 1.


def _shape(p: Params) -> dict[str, Any]:
    return {"i": p.get("i", 1), "j": p["j"], "u": p.get("u", 1)}


def _matmul(ap: str, p: Params) -> Function:
    return functions.matmul(
        p["Ma"], **_shape(p), kind=ap, bits_b=p["Mw"], clear=_dirty(p), **split_signs(p)
    )


def _dot(ap: str, p: Params) -> Function:
    return functions.dot(
        p["Ma"], p["j"], kind=ap, bits_b=p["Mw"], clear=_dirty(p), **split_signs(p)
    )


def _factors(rng: np.random.Generator, p: Params) -> tuple[Integers, ...]:
    i, j, u = _shape(p).values()
    shapes = ((1, j), (1, j)) if "i" not in p else ((i, j), (j, u))
    return tuple(
        draw(rng, p[bits], sign, shape)
        for bits, sign, shape in zip(("Ma", "Mw"), p["signs"], shapes, strict=True)
    )


def _product_extra(p: Params) -> Terms:
    """One write presets the top bit of an unsigned word times a signed one, and clears the rest."""
    return {"scratch_clear": CLEAR} if _dirty(p) or p["signs"] in ("us", "su") else {}


def _product_terms(ap: str, p: Params) -> Terms:
    found = closed_form.terms("matmul", ap, bits=p["Ma"], bits_b=p["Mw"], **_shape(p))
    return found | _product_extra(p)


def _product_counts(ap: str, p: Params) -> Counts:
    counts = realisable.matmul(p["Ma"], **_shape(p), ap=ap, bits_b=p["Mw"])
    return _sum(_product_extra(p), counts)


def _product_paper(ap: str, p: Params) -> Counts:
    return closed_form.matmul(p["Ma"], **_shape(p), ap=ap, bits_b=p["Mw"])


MATMUL = Subject(
    build=_matmul,
    operands=_factors,
    expected=lambda p, a, b: a @ b,
    realisable=_product_counts,
    paper=_product_paper,
    terms=_product_terms,
)
DOT = Subject(
    build=_dot,
    operands=_factors,
    expected=lambda p, a, b: (a * b).sum(1),
    realisable=_product_counts,
    paper=_product_paper,
    terms=_product_terms,
)


# Average pooling.


def _windows(rng: np.random.Generator, p: Params) -> tuple[Integers, ...]:
    return (draw(rng, p["M"], p["signs"], (p["K"], p["S"])),)


def _pooled(p: Params) -> dict[str, Any]:
    return {"bits": p["M"], "window": p["S"], "windows": p["K"]}


def _average_build(ap: str, p: Params) -> Function:
    return functions.average_pool(
        **_pooled(p), kind=ap, words=p["signs"], divide=p["divide"], clear=_dirty(p)
    )


def _average_extra(p: Params) -> Terms:
    extra = _clear(p)
    if p["divide"] == "multiply":
        width = p["M"] + (p["S"] - 1).bit_length()
        factor = Divider.exact(p["S"], p["S"] * ((1 << p["M"]) - 1)).factor
        extra["division"] = realisable.division(width, factor)
    return extra


def _average_terms(ap: str, p: Params) -> Terms:
    full = p["divide"] == "none"
    named = closed_form.terms("average_pool", ap, **_pooled(p), full_sum=full)
    return named | _average_extra(p)


def _average_counts(ap: str, p: Params) -> Counts:
    full = p["divide"] == "none"
    return _sum(_average_extra(p), realisable.average_pool(**_pooled(p), ap=ap, full_sum=full))


AVERAGE = Subject(
    build=_average_build,
    operands=_windows,
    expected=lambda p, x: x.sum(1) if p["divide"] == "none" else x.sum(1) // p["S"],
    realisable=_average_counts,
    paper=lambda ap, p: closed_form.average_pool(**_pooled(p), ap=ap),
    terms=_average_terms,
)


# Max pooling.


def _largest(ap: str, p: Params) -> Function:
    return functions.max_pool(
        **_pooled(p), kind=ap, words=p["signs"], scheme=p["scheme"], clear=_dirty(p)
    )


def _how(ap: str, p: Params) -> dict[str, Any]:
    """The kind and scheme that price a case: a chain that is not used is not there."""
    if p["scheme"] == "chain":
        return {"ap": ap, "scheme": "moves"}
    return {"ap": ap.removesuffix("-tc"), "scheme": p["scheme"]}


MAX = Subject(
    build=_largest,
    operands=_windows,
    expected=lambda p, x: x.max(1),
    realisable=lambda ap, p: _sum(_clear(p), realisable.max_pool(**_pooled(p), **_how(ap, p))),
    paper=lambda ap, p: closed_form.max_pool(**_pooled(p), ap=ap),
    terms=lambda ap, p: closed_form.terms("max_pool", **_pooled(p), **_how(ap, p)) | _clear(p),
)

GROUPED = {
    "reduce": REDUCE,
    "dot": DOT,
    "matmul": MATMUL,
    "average_pool": AVERAGE,
    "max_pool": MAX,
}
