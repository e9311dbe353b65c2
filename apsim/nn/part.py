"""What the AP did for a layer: parts, each one function over its loads.

The rule: `counts` come from the programs that ran, `predicted` and `paper` from closed
forms times loads, and `terms` are the named differences of the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from apsim.counts import Activity, Counts

__all__ = ["Forecast", "Part", "total_terms"]


NOTHING = Counts()


@dataclass(frozen=True)
class Forecast:
    """Closed forms times loads: what will run, what the paper prints, and why they differ."""

    loads: int = 0
    predicted: Counts = NOTHING
    paper: Counts = NOTHING
    terms: dict[str, Counts] = field(default_factory=dict)

    def __add__(self, other: Forecast) -> Forecast:
        return Forecast(
            self.loads + other.loads,
            self.predicted + other.predicted,
            self.paper + other.paper,
            total_terms((self.terms, other.terms)),
        )

    def __mul__(self, loads: int) -> Forecast:
        terms = {name: counts * loads for name, counts in self.terms.items()}
        return Forecast(self.loads * loads, self.predicted * loads, self.paper * loads, terms)


@dataclass(frozen=True)
class Part:
    """One kind of work of a layer on the AP, counted and forecast."""

    name: str
    counts: Counts
    activity: Activity
    loads: int
    forecast: Forecast
    seconds: float = 0.0

    @property
    def counts_match(self) -> bool:
        """Counted equals predicted, and the named terms are all that parts it from the paper."""
        forecast = self.forecast
        explained = sum(forecast.terms.values(), forecast.paper)
        return self.loads == forecast.loads and self.counts == forecast.predicted == explained


def total_terms(many: tuple[dict[str, Counts], ...]) -> dict[str, Counts]:
    """Terms by name, added up."""
    total: dict[str, Counts] = {}
    for terms in many:
        for name, counts in terms.items():
            total[name] = total.get(name, Counts()) + counts
    return total
