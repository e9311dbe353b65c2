"""What the AP did for a layer: parts, each one function over its loads, and the layer itself.

The rule: `counts` come from the programs that ran, `predicted` and `paper` from closed
forms times loads, and `terms` are the named differences of the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from apsim.counts import Activity, Counts
from apsim.nn.on_ap.seconds import Seconds

__all__ = ["Choice", "Facts", "Forecast", "LayerRun", "Part", "total_terms"]


NOTHING, NO_TIME = Counts(), Seconds()


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
    seconds: Seconds = NO_TIME

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


@dataclass(frozen=True)
class Facts:
    """How a layer's weights stand in the program, those of all its groups together.

    `chunk`, `width` and `together` (q, W, T) are those of its first group; `digits`, and `bytes`
    of the instruction stream, of a load.  `pixels` of `rows` of the loads hold data.  Each CAP
    sums `outputs` outputs at a time, and the words of a sum are in `split` parts; on a chip whose
    CAPs share loads, groups of outputs and parts the layer takes `latency` cycles.  `bias` says
    whether presets hold the layer's bias.  The chip has `caps` CAPs, None: as many as are needed.
    """

    chunk: int
    width: int
    together: int
    columns: int
    digits: int
    bytes: int
    pixels: int
    rows: int
    outputs: int
    split: int
    latency: int
    bias: bool = False
    caps: int | None = None

    @property
    def utilization(self) -> float:
        """Share of the rows of all loads that hold a pixel."""
        return self.pixels / self.rows


@dataclass(frozen=True)
class Choice:
    """The mapping of a layer, why it is that one, and what the mappings cost by forecast."""

    mapping: str
    why: str = "asked for"
    costs: tuple[tuple[str, float], ...] = ()
    facts: Facts | None = None


@dataclass(frozen=True)
class LayerRun:
    """One layer: what it is, what ran, and the two verdicts.

    `choice` says how products of weights were laid out, where there are any.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    bits_a: int
    bits_w: int | None
    macs: int
    parts: tuple[Part, ...]
    host: tuple[str, ...]
    bit_exact: bool
    seconds: float
    compared: str = "all"
    choice: Choice | None = None

    @property
    def loads(self) -> int:
        """Programs run on CAPs."""
        return sum(part.loads for part in self.parts)

    @property
    def counts(self) -> Counts:
        """What the programs took."""
        return sum((part.counts for part in self.parts), Counts())

    @property
    def predicted(self) -> Counts:
        """Closed forms times loads."""
        return sum((part.forecast.predicted for part in self.parts), Counts())

    @property
    def paper(self) -> Counts:
        """The printed equations times loads."""
        return sum((part.forecast.paper for part in self.parts), Counts())

    @property
    def terms(self) -> dict[str, Counts]:
        """Named differences of `predicted` from `paper`."""
        return total_terms(tuple(part.forecast.terms for part in self.parts))

    @property
    def activity(self) -> Activity:
        """Data-dependent work of the programs."""
        return sum((part.activity for part in self.parts), Activity())

    @property
    def engine_seconds_by(self) -> Seconds:
        """Time spent in parts: programs, load, passes and unload, without any check."""
        return Seconds.sum(part.seconds for part in self.parts)

    @property
    def engine_seconds(self) -> float:
        """The same, all together."""
        return self.engine_seconds_by.total

    @property
    def counts_match(self) -> bool:
        """Counted equals predicted for every part."""
        return all(part.counts_match for part in self.parts)
