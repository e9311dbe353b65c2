"""Functions of the words of one row: add, subtract, multiply, ReLU, maximum, minimum.

The rule: they run horizontally, so that every AP kind takes the same counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from apsim import closed_form, functions
from apsim.check.subject import CLEAR, Integers, Params, Subject, draw, split_signs
from apsim.closed_form import optimised, realisable
from apsim.counts import Counts
from apsim.functions import Function
from apsim.functions import optimised as smaller
from apsim.functions.base import cleared

__all__ = ["OPTIMISED", "ROWWISE"]

Build = Callable[[str, Params], Function]


def _operands(generator: np.random.Generator, p: Params) -> tuple[Integers, ...]:
    if "Ma" in p:
        widths, signs = (p["Ma"], p["Mw"]), p["signs"]
    else:
        widths, signs = (p["M"], p["M"]), p["signs"] * 2
    return tuple(draw(generator, b, s, p["rows"]) for b, s in zip(widths, signs, strict=True))


def _one_operand(generator: np.random.Generator, p: Params) -> tuple[Integers, ...]:
    return (draw(generator, p["M"], "s", p["rows"]),)


def _clearing(build: Build) -> Build:
    """A used array is cleared first where the case says so."""
    return lambda ap, p: cleared(build(ap, p)) if p.get("dirty") else build(ap, p)


def _terms(p: Params) -> dict[str, Counts]:
    return {"scratch_clear": CLEAR} if p.get("dirty") else {}


def _subject(
    build: Build,
    expected: Callable[..., Any],
    counts: Callable[..., Counts],
    paper: Callable[..., Counts | None],
    operands: Callable[..., tuple[Integers, ...]] = _operands,
) -> Subject:
    return Subject(
        build=_clearing(build),
        operands=operands,
        expected=lambda p, *words: expected(*words),
        realisable=lambda ap, p: sum(_terms(p).values(), counts(*_widths(p))),
        paper=lambda ap, p: paper(*_widths(p)),
        terms=lambda ap, p: _terms(p),
    )


def _widths(p: Params) -> tuple[int, ...]:
    return (p["Ma"], p["Mw"]) if "Ma" in p else (p["M"],)


def _plain(name: str) -> Build:
    build = getattr(functions, name)
    return lambda ap, p: build(p["M"], p["rows"], kind=ap, words=p["signs"])


def _product(ap: str, p: Params) -> Function:
    return functions.multiply(p["Ma"], p["rows"], kind=ap, bits_b=p["Mw"], **split_signs(p))


def _paper_maximum(bits: int) -> Counts:
    """Eq. (12) with one window of two words: nothing is moved."""
    return closed_form.max_pool(bits, 2, 1, "1d")


def _relu(ap: str, p: Params) -> Function:
    return functions.relu(p["M"], p["rows"], kind=ap)


ROWWISE = {
    "add": _subject(_plain("add"), np.add, realisable.add, closed_form.add),
    "subtract": _subject(
        _plain("subtract"), lambda a, b: b - a, realisable.subtract, lambda bits: None
    ),
    "multiply": _subject(_product, np.multiply, realisable.multiply, closed_form.multiply),
    "max": _subject(_plain("maximum"), np.maximum, realisable.maximum, _paper_maximum),
    "min": _subject(_plain("minimum"), np.minimum, realisable.minimum, lambda bits: None),
    "relu": _subject(
        _relu, lambda a: np.maximum(a, 0), realisable.relu, closed_form.relu, _one_operand
    ),
}


def _below(name: str, function: str, build: Build) -> Subject:
    """The same function from smaller LUTs: the saving is a term of its own."""
    full = ROWWISE[name]
    counts = getattr(optimised, function)
    return Subject(
        build=build,
        operands=full.operands,
        expected=full.expected,
        realisable=lambda ap, p: counts(*_widths(p)),
        paper=full.paper,
        terms=lambda ap, p: {"smaller_lut": optimised.saving(function, *_widths(p))},
    )


def _smaller(name: str) -> Build:
    build = getattr(smaller, name)
    return lambda ap, p: build(p["M"], p["rows"], words=p["signs"])


OPTIMISED = {
    "add": _below("add", "add", _smaller("add")),
    "multiply": _below(
        "multiply",
        "multiply",
        lambda ap, p: smaller.multiply(p["Ma"], p["rows"], bits_b=p["Mw"]),
    ),
    "max": _below("max", "maximum", _smaller("maximum")),
    "relu": _below("relu", "relu", lambda ap, p: smaller.relu(p["M"], p["rows"])),
}
