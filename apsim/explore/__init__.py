"""Design-space exploration: many points costed or run, over processes or a cluster.

`spec` reads what to sweep, `points` evaluates one point, `sweep` runs them all into a
file that a later run resumes, `pareto` finds the points that no other one beats.
"""

from apsim.explore.pareto import pareto_front
from apsim.explore.spec import Spec, read_spec
from apsim.explore.sweep import sweep

__all__ = ["Spec", "pareto_front", "read_spec", "sweep"]
