"""How much a trace holds: the limits that all recorders share.

The rule: what lies beyond a limit is left out and said, never silently lost.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Steps recorded, and the rows whose cells are followed (None: the first `most_rows`)."""

    steps: int = 100_000
    rows: tuple[int, ...] | None = None
    most_rows: int = 64

    def chosen(self, rows: int) -> tuple[int, ...]:
        """The rows followed on an array of so many."""
        return tuple(range(min(rows, self.most_rows))) if self.rows is None else self.rows

    def note(self, rows: int, steps: int) -> str:
        """What was left out, or nothing."""
        kept = len(self.chosen(rows))
        parts = [f"{kept} of {rows} rows"] if kept < rows else []
        parts += [f"the first {self.steps} of {steps} steps"] if steps > self.steps else []
        return f"cut to {' and '.join(parts)}" if parts else ""
