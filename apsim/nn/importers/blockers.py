"""All that keeps a file from being imported, said at once.

The rule: one line, grouped by operator with its count and first place; a reason is the true
one, and nothing is blamed on the file that is only missing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apsim.errors import ModelError

__all__ = ["NO_FORM", "Blocked", "Blocker"]

MOST_REASONS = 3  # of one kind of operator
NO_FORM = "no exact integer form yet"


@dataclass(frozen=True)
class Blocker:
    """An operator of a file that cannot be imported, where it stands, and why."""

    op: str
    place: str
    why: str


class Blocked(ModelError):
    """A file with operators that cannot be imported: `blockers` holds each of them."""

    def __init__(self, blockers: Sequence[Blocker]) -> None:
        self.blockers = tuple(blockers)
        alike: dict[str, list[Blocker]] = {}
        for one in blockers:
            alike.setdefault(one.op, []).append(one)
        lines = [
            f"{op} x{len(some)} (first: {some[0].place}): {_reasons(some)}"
            for op, some in sorted(alike.items(), key=lambda item: -len(item[1]))
        ]
        many = f"{len(self.blockers)} operator{'s' * (len(self.blockers) != 1)}"
        super().__init__(f"{many} cannot be imported: {'; '.join(lines)}")


def _reasons(blockers: Sequence[Blocker]) -> str:
    """The different reasons of one kind of operator, the first of them in full."""
    reasons = list(dict.fromkeys(one.why for one in blockers))
    more = len(reasons) - MOST_REASONS
    return ", or ".join(reasons[:MOST_REASONS]) + (f", and {more} more" if more > 0 else "")
