"""The published numbers, and when the model reproduces one.

The rule: the paper's numbers and tolerances are data (`cost/published.toml`); here is
only what each tier means.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

__all__ = ["TIERS", "Published", "Reproduced", "by_tier", "judge", "published"]

TIERS = ("exact", "within 5 %", "trend", "not reproducible")
_KEPT = 0.02  # how far a documented, irreproducible model value may drift


@dataclass(frozen=True)
class Published:
    """One published number or statement, and how closely it must come out.

    `paper` is a number, or words for a statement; the other fields are explained at the
    head of the data file.
    """

    id: str
    where: str
    quantity: str
    paper: float | str
    tier: str
    tolerance: float | None = None
    absolute: float | None = None
    digits: int | None = None
    bound: str = ""
    documented: float | None = None
    reading: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Reproduced:
    """A published number beside the model's; `error` is relative, None for statements."""

    published: Published
    model: float | str
    error: float | None
    holds: bool

    def as_dict(self) -> dict[str, object]:
        """The row as result files hold it."""
        p = self.published
        return {
            "id": p.id,
            "where": p.where,
            "quantity": p.quantity,
            "paper": p.paper,
            "model": self.model,
            "error": self.error,
            "tier": p.tier,
            "holds": self.holds,
            "reading": p.reading,
            "reason": p.reason,
        }


def published() -> tuple[Published, ...]:
    """All rows, in the order of the data file."""
    text = files("apsim.cost").joinpath("published.toml").read_text()
    return tuple(Published(**row) for row in tomllib.loads(text)["row"])


def judge(row: Published, model: float | bool) -> Reproduced:
    """Lay the model's value beside the published one."""
    if isinstance(model, bool):
        return Reproduced(row, "yes" if model else "no", None, model)
    error = model / row.paper - 1 if isinstance(row.paper, float | int) else None
    return Reproduced(row, model, error, _holds(row, model))


def _holds(row: Published, model: float) -> bool:
    if row.tier == "not reproducible":
        return _as_documented(row, model)
    assert not isinstance(row.paper, str)
    if row.digits is not None:
        return round(model, row.digits) == row.paper
    if row.bound:
        return model <= row.paper if row.bound == "at most" else model >= row.paper
    if row.absolute is not None:
        return abs(model - row.paper) <= row.absolute
    assert row.tolerance is not None
    return abs(model / row.paper - 1) <= row.tolerance


def _as_documented(row: Published, model: float) -> bool:
    """Whether the model still gives what is documented, or has come closer to the paper."""
    assert row.documented is not None
    if math.isclose(model, row.documented, rel_tol=_KEPT):
        return True
    if isinstance(row.paper, str):
        return False
    return abs(model - row.paper) < abs(row.documented - row.paper)


def by_tier(rows: Mapping[str, Reproduced]) -> dict[str, tuple[int, int]]:
    """For each tier, how many rows hold and how many there are."""
    found = {}
    for tier in TIERS:
        there = [row.holds for row in rows.values() if row.published.tier == tier]
        found[tier] = (sum(there), len(there))
    return found
