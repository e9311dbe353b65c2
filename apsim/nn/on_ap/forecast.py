"""What a part of a layer will take, from closed forms times loads.

The rule: nothing here has seen a program; `apsim.closed_form` and the fold say it all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace

from apsim import closed_form
from apsim.closed_form import realisable
from apsim.counts import Counts
from apsim.functions import Recipe
from apsim.nn.on_ap.layer_run import Forecast
from apsim.nn.on_ap.mapping import chunks, fold_sums, fold_windows, fold_words
from apsim.program import ApKind

__all__ = ["add", "average_pool", "max_pool", "products", "relu", "requantize"]

CLEAR = {"scratch_clear": Counts(write=1)}


def products(groups: int, length: int, bits: int, bits_b: int, kind: ApKind, rows: int) -> Forecast:
    """`groups` dot products of `length` words, in chunks where one is longer than a CAP."""
    cut = chunks(length, kind, rows)
    if len(cut) == 1:
        return _folded(
            fold_sums(groups, length, kind, rows).sizes(),
            lambda size: _dot_products(size, length, bits, bits_b, kind),
        )
    total = Forecast()
    for piece in cut:
        total += _folded(
            fold_sums(groups, piece, kind, rows).sizes(),
            lambda size, piece=piece: _partial(size, piece, bits, bits_b, kind),  # type: ignore[misc]
        )
    width = bits + bits_b + (cut[0] - 1).bit_length()
    return total + _folded(
        fold_sums(groups, len(cut), kind, rows).sizes(),
        lambda size: _merge(size, len(cut), width, bits + bits_b, length, kind),
    )


def _dot_products(groups: int, length: int, bits: int, bits_b: int, kind: ApKind) -> Forecast:
    ap = kind.value
    return _explained(
        realisable.matmul(bits, 1, length, groups, ap, bits_b),
        closed_form.matmul(bits, 1, length, groups, ap, bits_b),
        realisable.terms("matmul", ap, bits=bits, bits_b=bits_b, i=1, j=length, u=groups) | CLEAR,
    )


def _partial(groups: int, length: int, bits: int, bits_b: int, kind: ApKind) -> Forecast:
    """A chunk: as a dot product, but each partial sum is read as a word, to be moved."""
    width = bits + bits_b + (length - 1).bit_length()
    words = {"partial_sums": Counts(read=groups - width)}
    return _explained_more(_dot_products(groups, length, bits, bits_b, kind), words)


def _merge(groups: int, count: int, bits: int, product: int, length: int, kind: ApKind) -> Forecast:
    """Partial sums written as words and added up; the paper knows no sum longer than a CAP."""
    width = product + (length - 1).bit_length()
    counts = realisable.merge(groups, count, bits, width, kind.value)
    return Forecast(1, counts + Counts(write=1), Counts(), {"partial_sums": counts} | CLEAR)


def average_pool(windows: int, window: int, bits: int, kind: ApKind, rows: int) -> Forecast:
    """Sums of windows, read in full."""
    ap = kind.value

    def one(size: int) -> Forecast:
        terms = realisable.terms(
            "average_pool", ap, bits=bits, window=window, windows=size, full_sum=True
        )
        return _explained(
            realisable.average_pool(bits, window, size, ap, full_sum=True),
            closed_form.average_pool(bits, window, size, ap),
            terms | CLEAR,
        )

    return _folded(fold_sums(windows, (window + 1) // 2, kind, rows).sizes(), one)


def max_pool(
    windows: int, window: int, bits: int, kind: ApKind, rows: int, scheme: str
) -> Forecast:
    """Maxima of windows."""
    ap, named = kind.value, "moves" if scheme == "chain" else scheme  # a chain needs no scheme

    def one(size: int) -> Forecast:
        how = {"bits": bits, "window": window, "windows": size}
        return _explained(
            realisable.max_pool(**how, ap=ap, scheme=named),
            closed_form.max_pool(**how, ap=ap),
            realisable.terms("max_pool", ap, **how, scheme=named) | CLEAR,  # type: ignore[arg-type]
        )

    size = (window + 1) // 2
    return _folded(fold_windows(windows, size, kind, rows, scheme).sizes(), one)


def add(words: int, bits: int, rows: int) -> Forecast:
    """Pairs of words, one pair in each row."""
    once = _explained(realisable.add(bits), closed_form.add(bits), CLEAR)
    return once * fold_words(words, rows).loads


def relu(words: int, bits: int, rows: int) -> Forecast:
    """Words, one in each row."""
    once = _explained(realisable.relu(bits), closed_form.relu(bits), {})
    return once * fold_words(words, rows).loads


def requantize(sizes: Sequence[tuple[int, Recipe]], rows: int, paper: Counts) -> Forecast:
    """Words and their recipe; `paper` is what the paper counts of it (a ReLU, or nothing)."""
    total = Forecast()
    for words, recipe in sizes:
        numbers = asdict(recipe)
        for free in ("parity", "plus"):  # they choose bits of keys and LUTs, no passes
            del numbers[free]
        counts = realisable.requantize(**numbers)
        once = Forecast(1, counts, Counts(), {"requantization": counts} | CLEAR)
        total += replace(once, predicted=counts + CLEAR["scratch_clear"]) * (
            fold_words(words, rows).loads
        )
    more = {"requantization": total.terms["requantization"] - paper}
    return replace(total, paper=paper, terms=total.terms | more)


def _explained(counts: Counts, paper: Counts, terms: dict[str, Counts]) -> Forecast:
    clear = terms.get("scratch_clear", Counts())
    return Forecast(1, counts + clear, paper, {n: t for n, t in terms.items() if t != Counts()})


def _explained_more(forecast: Forecast, terms: dict[str, Counts]) -> Forecast:
    more = sum(terms.values(), Counts())
    return Forecast(1, forecast.predicted + more, forecast.paper, forecast.terms | terms)


def _folded(sizes: Iterator[tuple[int, int]], one: Callable[[int], Forecast]) -> Forecast:
    return sum((one(size) * loads for size, loads in sizes), Forecast())
