"""The cost of an executed run: its counts in cycles, its activity in joules.

The rule: nothing is averaged here.  Every line that a compare or a read left
mismatching discharged; of a write, the cells take energy that the technology says:
those it drove, or those that changed.
"""

from __future__ import annotations

from dataclasses import dataclass

from apsim.cost.energy import Energy
from apsim.cost.technology import Technology
from apsim.counts import Activity, Counts
from apsim.records import Record, Tabular

__all__ = ["FREQUENCY", "Cost", "estimate"]

FREQUENCY = 1e9  # Hz, Table V


@dataclass(frozen=True)
class Cost(Tabular):
    """Joules by part, and clock cycles; addable for programs that follow each other."""

    energy: Energy
    cycles: int
    frequency: float = FREQUENCY

    def table(self) -> list[Record]:
        """One record: joules by part and in all, cycles, seconds."""
        joules = {f"{name}_j": part for name, part in self.energy.as_dict().items()}
        whole = {"energy_j": self.energy.total, "cycles": self.cycles, "seconds": self.seconds}
        return [joules | whole]

    @property
    def seconds(self) -> float:
        """Latency in s."""
        return self.cycles / self.frequency

    @property
    def edp(self) -> float:
        """Energy times latency, in J s."""
        return self.energy.total * self.seconds

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.energy + other.energy, self.cycles + other.cycles, self.frequency)

    def __str__(self) -> str:
        return f"{self.energy.total:.3g} J in {self.seconds:.3g} s ({self.cycles} cycles)"


def estimate(
    counts: Counts,
    activity: Activity,
    technology: Technology,
    *,
    frequency: float = FREQUENCY,
) -> Cost:
    """Cost an executed run.

    Compares and reads take kappa C_in V_DD^2 in each mismatching line, for a read is a
    search (II.B); writes take the cell's write energy in each cell that the technology charges.
    """
    compares = activity.mismatched - activity.read_mismatched
    energy = Energy(
        compare=compares * technology.discharge_energy,
        write=technology.write_energy(activity),
        read=activity.read_mismatched * technology.discharge_energy,
    )
    return Cost(energy, technology.cycles(counts), frequency)
