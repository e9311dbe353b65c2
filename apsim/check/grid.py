"""The grid of sizes that `apsim check` runs over.

The rule: every function, every AP kind, every sign and scheme that the kind offers;
the reduced grid has the awkward sizes (1, odd, not a power of two), the full one all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, cycle, product
from typing import Any

from apsim.check.row import FUNCTIONS, OPT, Case
from apsim.check.subject import CURVES, SMALLER_LUTS, Curve, Weights
from apsim.closed_form import AP_KINDS

__all__ = ["cases"]

TABLES = tuple(name for name in CURVES if name != "exp")
ROWS = (1, 63, 64, 65, 511, 512, 513, 4800)
PAIRS = ((1, 1), (1, 4), (2, 3), (3, 2), (4, 4), (8, 3), (4, 8), (8, 8), (16, 16))
GOLDEN_MATMULS = ((2, 4, 2, 4, 4), (1, 16, 1, 8, 8), (4, 8, 4, 8, 4))
MATMULS = (*GOLDEN_MATMULS, (2, 1, 3, 3, 5), (1, 7, 2, 4, 3), (3, 5, 2, 8, 8), (2, 9, 1, 1, 1))
FOLDED = ((3, 5, 4, 17), (2, 33, 2, 17), (1, 70, 1, 32))
Params = dict[str, Any]


def cases(
    full: bool = False, aps: Sequence[str] = (*AP_KINDS, OPT), names: Sequence[str] = ()
) -> list[Case]:
    """The cases of the reduced or the full grid, of the given kinds and functions (all)."""
    wanted = names or tuple(FUNCTIONS)
    return [
        Case(name, ap, params)
        for name, ap in product(wanted, aps)
        for params in _params(name, ap, full)
    ]


def _params(name: str, ap: str, full: bool) -> Iterator[Params]:
    if ap == OPT:
        return _with_smaller_luts(name, full) if name in SMALLER_LUTS else iter(())
    match name:
        case "multiply":
            return _products(full)
        case "table":
            return _tables(full)
        case "reduce":
            return _reductions(full)
        case "dot" | "matmul":
            return _matmuls(name, full)
        case "softmax" | "ita_softmax" | "layer_norm" | "rms_norm":
            return _groups(name, full)
        case "weighted_sums":
            return _weighted_sums(full)
        case "average_pool" | "max_pool":
            return _pools(name, ap, full)
        case _:
            return _words(name, full)


def _words(name: str, full: bool) -> Iterator[Params]:
    signs = {"relu": "s", "max": "uso", "min": "uso"}.get(name, "uo")
    bits = (*range(1, 17), 24, 32) if full else (1, 2, 3, 5, 8, 16)
    rows = cycle(ROWS)
    for m, sign in product(bits, signs):
        yield {"M": m, "signs": sign, "rows": next(rows)}
    yield {"M": 8, "signs": signs[0], "rows": 65, "dirty": True}


def _tables(full: bool) -> Iterator[Params]:
    """Functions of a word, into one bit more, into columns that held something."""
    bits, rows = (range(1, 11) if full else (1, 4, 8)), cycle(ROWS)
    for m, name, sign in product(bits, TABLES, "us" if full else "s"):
        values = Curve.of(name, m, sign)
        sizes = {"M": m, "N": max(m + 1, 8), "rows": next(rows)}
        yield sizes | {"values": values, "signs": sign + "s"}


def _weighted_sums(full: bool) -> Iterator[Params]:
    """Weights in the program: one level of accumulators and two, extremes, one column enough."""
    rows, signs = cycle(ROWS[:-1]), cycle("uo")
    shapes = (
        product((1, 2, 3), (1, 5, 18), (2, 4, 8)) if full else ((1, 1, 8), (2, 5, 4), (1, 9, 2))
    )
    kinds = [(*shape, "random") for shape in shapes]
    kinds += [(2, 4, 4, how) for how in ("lowest", "negative", "zero")] + [(5, 40, 1, "signs")]
    for (i, j, b, how), m in product(kinds, (1, 2, 4, 8) if full else (1, 4, 8)):
        yield {"M": m, "w": Weights.drawn(i, j, b, how), "columns": 160, "rows": next(rows),
               "signs": next(signs) if m > 1 else "u"}  # fmt: skip


def _products(full: bool) -> Iterator[Params]:
    widths = [*product(range(1, 9), repeat=2), (16, 16), (16, 3), (2, 12)] if full else PAIRS
    rows = cycle(ROWS)
    for (a, b), signs in product(widths, ("uu", "us", "su", "ss")):
        yield {"Ma": a, "Mw": b, "signs": signs, "rows": next(rows)}
    yield {"Ma": 4, "Mw": 8, "signs": "us", "rows": 65, "dirty": True}


def _with_smaller_luts(name: str, full: bool) -> Iterator[Params]:
    rows = cycle(ROWS)
    if name == "multiply":
        for a, b in product(range(1, 13), repeat=2) if full else PAIRS:
            yield {"Ma": a, "Mw": b, "signs": "uu", "rows": next(rows)}
        return
    for m, sign in product(range(1, 17) if full else (1, 2, 5, 8), "s" if name == "relu" else "uo"):
        yield {"M": m, "signs": sign, "rows": next(rows)}


def _reductions(full: bool) -> Iterator[Params]:
    bits = (1, 2, 3, 4, 8, 12, 16) if full else (1, 3, 8, 16)
    words = [*range(2, 34), 63, 64, 65, 100, 128, 1000] if full else [2, 3, 4, 5, 7, 8, 10, 16, 33]
    for m, length, sign in product(bits, words, "uo"):
        yield {"M": m, "L": length, "signs": sign}
    for length in (3, 16):
        yield {"M": 8, "L": length, "signs": "o", "dirty": True}


def _matmuls(name: str, full: bool) -> Iterator[Params]:
    signs = cycle(("uu", "us", "su", "ss"))
    dirty = {"dirty": True}
    if name == "dot":
        widths = ((1, 1), (2, 4), (8, 8), (16, 5)) if full else ((1, 1), (8, 3))
        lengths = [*range(1, 18), 31, 32, 33, 64, 100, 576] if full else (1, 2, 3, 5, 8, 16, 33)
        for (a, b), j in product(widths, lengths):
            yield {"Ma": a, "Mw": b, "j": j, "signs": next(signs)}
        yield {"Ma": 8, "Mw": 4, "j": 9, "signs": "ss"} | dirty
        return
    sizes = chain(MATMULS, product((1, 2, 3), (1, 2, 3, 5, 8, 13), (1, 3), (1, 3, 8), (2, 4)))
    for i, j, u, a, b in sizes if full else MATMULS:
        for sign in (
            [next(signs)] if full and (i, j, u, a, b) not in MATMULS else ("uu", "us", "ss")
        ):
            yield {"i": i, "j": j, "u": u, "Ma": a, "Mw": b, "signs": sign}
    yield {"i": 2, "j": 5, "u": 3, "Ma": 4, "Mw": 3, "signs": "us"} | dirty
    yield from _loads(full)


def _loads(full: bool) -> Iterator[Params]:
    """Products of more rows than a CAP has, and sums longer than a CAP."""
    sizes = product((1, 3), (5, 16, 33, 70), (1, 4), (17, 32)) if full else FOLDED
    for (i, j, u, rows), signs in zip(sizes, cycle(("ss", "uu", "us"))):
        yield {"i": i, "j": j, "u": u, "Ma": 4, "Mw": 3, "signs": signs, "cap_rows": rows}


def _groups(name: str, full: bool) -> Iterator[Params]:
    """Softmax and norms of any number of words; both ways to broadcast."""
    small = (1, 4, 5) if name.endswith("softmax") else (1, 4, 11, 32)
    sizes = (1, 2, 3, 4, 5, 7, 8, 16, 32, 33, 48, 64) if full else small
    ways = cycle(("group", "rows"))
    for m, size in product((2, 3, 4, 8) if full else (4, 8), sizes):
        way = next(ways)
        yield {"M": m, "T": size, "G": 3, "broadcast": way} | _exponential(name, m)
    yield {"M": 8, "T": 8, "G": 2, "dirty": True} | _exponential(name, 8)


def _exponential(name: str, bits: int) -> Params:
    if name == "ita_softmax":
        return {"shift": max(bits - 3, 0)}
    return {"values": Curve.of("exp", bits, "u")} if name == "softmax" else {}


def _pools(name: str, ap: str, full: bool) -> Iterator[Params]:
    bits = (1, 2, 3, 4, 8, 16) if full else (1, 3, 8)
    windows = (*range(2, 18), 25, 36, 49, 64) if full else (2, 3, 4, 6, 9, 16)
    counts = (1, 3, 4, 9) if full else (1, 4)
    ways = ("shift", "none", "multiply") if name == "average_pool" else _schemes(ap, full)
    option = "divide" if name == "average_pool" else "scheme"
    signs = cycle("uuo")
    sizes = [*product(bits, windows, counts, ways), (8, 16, 9, ways[-1]), (8, 49, 2, ways[-1])]
    for m, s, k, way in sizes:
        if way != "shift" or not s & (s - 1):
            yield {"M": m, "S": s, "K": k, "signs": next(signs), option: way}
    for way in ways:
        yield {"M": 8, "S": 8, "K": 3, "signs": "o", option: way, "dirty": True}


def _schemes(ap: str, full: bool) -> tuple[str, ...]:
    """How maxima of rows can be taken on a kind; without need not the slow ways on a chain."""
    if ap == "1d":
        return ("moves",)
    if ap.endswith("-tc"):
        return ("moves", "prefix", "chain") if full else ("chain",)
    return ("moves", "prefix")
