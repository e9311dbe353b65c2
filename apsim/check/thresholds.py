"""From which size on the 1D AP beats the unsegmented 2D AP.

The rule: thresholds are searched, by the printed equations and by what executions take;
the sizes at the threshold and just below it are then executed on both kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from apsim.check.row import Case, Row, examine, subject
from apsim.counts import Counts

__all__ = ["Threshold", "thresholds"]

Counter = Callable[[str, dict[str, Any]], Counts]


@dataclass(frozen=True)
class Threshold:
    """The size from which on the 1D AP takes less, and the rows executed around it.

    `printed` and `executed` are sizes of `symbol`; None where no size up to the limit does.
    """

    function: str
    fixed: str
    symbol: str
    printed: int | None
    executed: int | None
    limit: int
    rows: tuple[Row, ...]

    @property
    def confirmed(self) -> bool:
        """Whether the executed totals cross where the search says: 2D last, then 1D."""
        totals = [row.counted.total for row in self.rows]
        pairs = list(zip(totals[0::2], totals[1::2], strict=True))  # (1d, 2d) below, at
        return all((one < two) == (n == len(pairs) - 1) for n, (one, two) in enumerate(pairs))


def thresholds() -> Iterator[Threshold]:
    """The thresholds of reduction, matrix product, average and max pooling."""
    powers = [2**q for q in range(1, 13)]
    few = list(range(1, 65))
    for bits in (4, 8, 16):
        yield _threshold("reduce", {"M": bits, "signs": "u"}, "L", powers)
    for bits in (4, 8, 16):
        fixed = {"Ma": bits, "Mw": bits, "j": 64, "u": 1, "signs": "uu"}
        yield _threshold("matmul", fixed, "i", few)
    for window in (4, 16):
        fixed = {"M": 8, "S": window, "signs": "u", "divide": "shift"}
        yield _threshold("average_pool", fixed, "K", few)
        fixed = {"M": 8, "S": window, "signs": "u", "scheme": "prefix"}
        yield _threshold("max_pool", fixed, "K", few)


def _threshold(function: str, fixed: dict[str, Any], symbol: str, sizes: list[int]) -> Threshold:
    of = subject(Case(function, "2d", fixed))

    def last_crossing(count: Counter) -> int | None:
        """The size from which on the 1D AP wins at every size."""
        loses = [n for n, s in enumerate(sizes) if not _beats(count, fixed | {symbol: s})]
        at = loses[-1] + 1 if loses else 0
        return sizes[at] if at < len(sizes) else None

    executed = last_crossing(of.realisable)
    around: Iterable[int] = []
    if executed is not None:
        at = sizes.index(executed)
        around = sizes[max(at - 1, 0) : at + 1]
    rows = [
        examine(_case(function, ap, fixed | {symbol: s})) for s in around for ap in ("1d", "2d")
    ]
    sign = {k: v for k, v in fixed.items() if k != "signs"}
    return Threshold(
        function, ", ".join(f"{k}={v}" for k, v in sign.items()), symbol,
        last_crossing(_printed(function)), executed, sizes[-1], tuple(rows),
    )  # fmt: skip


def _printed(function: str) -> Counter:
    def count(ap: str, params: dict[str, Any]) -> Counts:
        paper = subject(Case(function, ap, params)).paper(ap, params)
        assert paper is not None
        return paper

    return count


def _beats(count: Counter, params: dict[str, Any]) -> bool:
    return count("1d", _of(params, "1d")).total < count("2d", params).total


def _case(function: str, ap: str, params: dict[str, Any]) -> Case:
    return Case(function, ap, _of(params, ap))


def _of(params: dict[str, Any], ap: str) -> dict[str, Any]:
    """The 1D AP has no vertical scheme: its maxima are taken by moves."""
    return params | ({"scheme": "moves"} if ap == "1d" and "scheme" in params else {})
