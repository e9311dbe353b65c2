"""All that keeps a file from being imported, said at once.

The rule: one line, grouped by operator with its count and first place; a reason is the true
one, and nothing is blamed on the file that is only missing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apsim.errors import ModelError

__all__ = ["Blocked", "Blocker"]

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
        alike: dict[tuple[str, str], list[Blocker]] = {}
        for one in blockers:
            alike.setdefault((one.op, one.why), []).append(one)
        lines = [
            f"{op} x{len(many)} (first: {many[0].place}): {why}"
            for (op, why), many in sorted(alike.items(), key=lambda item: -len(item[1]))
        ]
        many = f"{len(self.blockers)} operator{'s' * (len(self.blockers) != 1)}"
        super().__init__(f"{many} cannot be imported: {'; '.join(lines)}")
