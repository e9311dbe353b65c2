"""How a network's integers compare with another implementation's, in lines of text.

The rule: what was compared is said along with what differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apsim.nn.judges.against import Verdict
    from apsim.nn.judges.compare import Agreement

__all__ = ["agreement_lines"]


def agreement_lines(verdict: Verdict) -> Iterator[str]:
    """The verdict, and a line for each tensor that differs."""
    compared, integers = verdict.compared
    line = (
        f"against {verdict.judge}, rule {verdict.rule}: {compared} of {verdict.layers} layers "
        f"compared, {integers:,} integers: {verdict.sum('unexplained'):,} differ "
        f"layer by layer, {verdict.sum('whole'):,} end to end"
    )
    decided = verdict.sum("ties") + verdict.sum("float32")
    if decided:
        line += (
            f"; tie {decided:,}, which the judge's float32 decided: "
            f"{verdict.sum('ties'):,} half-way, {verdict.sum('float32'):,} within its rounding"
        )
        line += ", and those from end to end follow" if verdict.sum("whole") else ""
    yield line
    for one in verdict.judged:
        if one.forced or one.problem or (one.whole and not decided):
            yield _line(one)


def _line(one: Agreement) -> str:
    if one.problem:
        return f"  {one.place}: {one.problem}"
    decided = one.ties + one.float32
    tie = f", {decided} of them tie" if decided else ""
    first = f"; first at {one.first}" if one.first else ""
    many = f" of {one.total}" if one.total else ", counted above,"  # the same by another name
    return (
        f"  {one.place}: {one.forced}{many} with the judge's own inputs{tie}, "
        f"{one.whole} end to end{first}"
    )
