"""Mixed precision with the AP in the loop: losses measured, costs executed, an exact front."""

from apsim.nn.search.bench import Bench, Costs, Executed
from apsim.nn.search.front import Choice, best, front, limit, total
from apsim.nn.search.measure import Images, Judge, Score, Sensitivity, measure
from apsim.nn.search.settings import (
    Budget,
    Candidate,
    Setting,
    Space,
    candidates,
    pareto,
    pick,
    spread,
)

__all__ = [
    "Bench", "Budget", "Candidate", "Choice", "Costs", "Executed", "Images", "Judge", "Score",
    "Sensitivity", "Setting", "Space", "best", "candidates", "front", "limit", "measure", "pareto",
    "pick", "spread", "total",
]  # fmt: skip
