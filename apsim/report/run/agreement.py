"""How a network's integers compare with another implementation's, in lines of text.

The rule: what was compared is said along with what differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from apsim.nn.oracle import Agreement

__all__ = ["agreement_lines"]


def agreement_lines(
    judged: Sequence[Agreement], layers: int, judge: str, rule: str
) -> Iterator[str]:
    """The verdict, and a line for each layer that differs."""
    total = sum(one.total for one in judged)
    forced, whole = (sum(getattr(one, kind) for one in judged) for kind in ("forced", "whole"))
    yield (
        f"against {judge}, rule {rule}: {len(judged)} of {layers} layers compared, "
        f"{total} integers: {forced} differ layer by layer, {whole} end to end"
    )
    for one in judged:
        if not one.equal:
            first = f"; first at {one.first}" if one.first else ""
            yield (
                f"  {one.layer}: {one.forced} of {one.total} with the judge's own inputs, "
                f"{one.whole} end to end{first}"
            )
