"""The paper's equations held against executions: `apsim check` as a library."""

from apsim.check.conformance import Conformance
from apsim.check.grid import cases
from apsim.check.row import Case, Row, examine

__all__ = ["Case", "Conformance", "Row", "cases", "examine"]
