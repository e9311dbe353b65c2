"""What is checked: a row of the table of functions, its operands, and the integers they give.

The rule: expected integers come from numpy, expected counts from the row; nothing here has
seen a program.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.functions import table
from apsim.functions.table import Entry, Params

__all__ = [
    "CURVES",
    "FUNCTIONS",
    "SMALLER_LUTS",
    "Curve",
    "Integers",
    "Params",
    "Subject",
    "Weights",
]

Integers = NDArray[np.int64]
Operands = tuple[Integers, ...]


@dataclass(frozen=True)
class Subject(Entry):
    """A function's row, with random operands for given sizes and what should come of them."""

    operands: Callable[[np.random.Generator, Params], Operands] = lambda rng, p: ()
    expected: Callable[..., Any] = lambda p, *operands: None


def _draw(
    generator: np.random.Generator, bits: int, sign: str, shape: int | tuple[int, ...]
) -> Integers:
    """Random words of `bits` bits, the extremes among them: unsigned ("u") or signed."""
    low = 0 if sign == "u" else -(1 << (bits - 1))
    words = generator.integers(low, low + (1 << bits), shape, dtype=np.int64)
    flat = words.reshape(-1)
    flat[:: max(7, flat.size // 4)] = low + (1 << bits) - 1
    flat[3 :: max(7, flat.size // 4)] = low
    return words


def _pairs(rng: np.random.Generator, p: Params) -> Operands:
    if "Ma" in p:
        widths, signs = (p["Ma"], p["Mw"]), p["signs"]
    else:
        widths, signs = (p["M"], p["M"]), p["signs"] * 2
    return tuple(_draw(rng, b, s, p["rows"]) for b, s in zip(widths, signs, strict=True))


def _signed(rng: np.random.Generator, p: Params) -> Operands:
    return (_draw(rng, p["M"], "s", p["rows"]),)


def _vector(rng: np.random.Generator, p: Params) -> Operands:
    return (_draw(rng, p["M"], p["signs"], p["L"]),)


def _factors(rng: np.random.Generator, p: Params) -> Operands:
    j = p["j"]
    shapes = ((p["i"], j), (j, p["u"])) if "i" in p else ((1, j), (1, j))
    return tuple(
        _draw(rng, p[bits], sign, shape)
        for bits, sign, shape in zip(("Ma", "Mw"), p["signs"], shapes, strict=True)
    )


def _windows(rng: np.random.Generator, p: Params) -> Operands:
    return (_draw(rng, p["M"], p["signs"], (p["K"], p["S"])),)


def _means(p: Params, x: Integers) -> Any:
    return x.sum(1) if p["divide"] == "none" else x.sum(1) // p["S"]


class Curve(tuple[int, ...]):
    """Values of a function of a word, from the lowest word on, shown by their name."""

    name: str

    @classmethod
    def of(cls, name: str, bits: int, sign: str) -> Curve:
        """`square` (cut to 8 bits), `gelu` or `reverse` of words of `bits` bits."""
        low = 0 if sign == "u" else -(1 << (bits - 1))
        found = cls(CURVES[name](x, bits) for x in range(low, low + (1 << bits)))
        found.name = name
        return found

    def __repr__(self) -> str:
        return self.name


def _gelu(x: int, bits: int) -> int:
    unit = x / (1 << max(bits - 3, 0))
    return round(0.5 * unit * (1 + math.erf(unit / math.sqrt(2))) * (1 << max(bits - 3, 0)))


CURVES: dict[str, Callable[[int, int], int]] = {
    "square": lambda x, bits: min(x * x, 127),
    "gelu": _gelu,
    "reverse": lambda x, bits: -x - 1,
    "exp": lambda x, bits: math.floor(255 * math.exp(-x * 8 / (1 << bits)) + 0.5),
}


def _curve(p: Params, a: Integers) -> Any:
    low = 0 if p["signs"][0] == "u" else -(1 << (p["M"] - 1))
    return np.asarray(p["values"])[a - low]


def _groups(rng: np.random.Generator, p: Params) -> Operands:
    """Scores or words, and among them groups that are all alike."""
    words = _draw(rng, p["M"], "s", (p["G"], p["T"]))
    words[1::3] = words[1::3, :1]
    return (words,)


def _softmax(p: Params, scores: Integers) -> Any:
    """One rounding of 256 e / sum e, halves up, at most 255."""
    found = np.asarray(p["values"])[scores.max(1, keepdims=True) - scores]
    total = found.sum(1, keepdims=True)
    return np.minimum((512 * found + total) // (2 * total), 255)


def _ita(p: Params, scores: Integers) -> Any:
    """(65280 div sum 2**(8 - k)) >> k, k the halves-up rounding of the difference over 2**shift."""
    step = 1 << p.get("shift", 0)
    k = (scores.max(1, keepdims=True) - scores + step // 2) // step
    powers = np.where(k > 8, 0, 256 // 2 ** np.minimum(k, 8))
    return 65280 // powers.sum(1, keepdims=True) // 2 ** np.minimum(k, 9)


def _norm(centred: bool) -> Callable[[Params, Integers], Any]:
    """One rounding of 32 c / R, halves away from zero, at most 127; Python's integers."""

    def of(p: Params, words: Integers) -> Any:
        x, size = words.astype(object), words.shape[1]
        total = x.sum(1, keepdims=True) * int(centred)
        c, squares = size * x - total, size * (x * x).sum(1, keepdims=True)
        root = np.vectorize(lambda v: max(math.isqrt(v), 1), otypes=[object])(squares - total**2)
        rounded = np.minimum((64 * abs(c) + root) // (2 * root), 127)
        return (np.sign(c) * rounded).astype(np.int64)

    return of


class Weights(tuple[tuple[int, ...], ...]):
    """Weights [i, J] of a signed width, shown by their size: random, 0, or of one kind."""

    name: str

    @classmethod
    def drawn(cls, outputs: int, words: int, bits: int, how: str = "random") -> Weights:
        """`random`, `lowest` (-2**(bits-1)), `negative`, `zero`, or `signs` (-1 and 1)."""
        low, high = -(1 << (bits - 1)), 1 << (bits - 1)
        rng = np.random.default_rng([outputs, words, bits])
        below = {"random": high, "lowest": low + 1, "negative": max(low + 1, 0)}.get(how, 1)
        drawn = rng.integers(0 if how == "zero" else low, below, (outputs, words))
        drawn = 2 * drawn + 1 if how == "signs" else drawn
        found = cls(tuple(line) for line in drawn.tolist())
        found.name = f"{outputs}x{words} {how} {bits} bits"
        return found

    def __repr__(self) -> str:
        return self.name


def _pixels(rng: np.random.Generator, p: Params) -> Operands:
    return (_draw(rng, p["M"], p["signs"], (p["rows"], len(p["w"][0]))),)


def _weighted(p: Params, x: Integers) -> Any:
    sums = np.asarray(p["w"]) @ x.T
    return sums[0] if len(sums) == 1 else sums


EXPECTED: dict[str, tuple[Callable[..., Operands], Callable[..., Any]]] = {
    "add": (_pairs, lambda p, a, b: a + b),
    "subtract": (_pairs, lambda p, a, b: b - a),
    "multiply": (_pairs, lambda p, a, b: a * b),
    "max": (_pairs, lambda p, a, b: np.maximum(a, b)),
    "min": (_pairs, lambda p, a, b: np.minimum(a, b)),
    "relu": (_signed, lambda p, a: np.maximum(a, 0)),
    "table": (lambda rng, p: (_draw(rng, p["M"], p["signs"][0], p["rows"]),), _curve),
    "reduce": (_vector, lambda p, words: words.sum()),
    "dot": (_factors, lambda p, a, b: (a * b).sum(1)),
    "matmul": (_factors, lambda p, a, b: a @ b),
    "average_pool": (_windows, _means),
    "max_pool": (_windows, lambda p, x: x.max(1)),
    "softmax": (_groups, _softmax),
    "ita_softmax": (_groups, _ita),
    "layer_norm": (_groups, _norm(centred=True)),
    "rms_norm": (_groups, _norm(centred=False)),
    "weighted_sums": (_pixels, _weighted),
}


def _subjects(entries: dict[str, Entry]) -> dict[str, Subject]:
    return {
        name: Subject(**vars(entries[name]), operands=operands, expected=expected)
        for name, (operands, expected) in EXPECTED.items()
        if name in entries
    }


FUNCTIONS = _subjects(table.FUNCTIONS)
SMALLER_LUTS = _subjects(table.SMALLER_LUTS)
