"""What a judge makes of a file: the values of its tensors, under the file's own names.

The rule: values stand as the judge gave them, of its type and in the file's layout;
whoever compares them turns them, no one rounds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from apsim.nn.model import Origin

__all__ = ["Array", "Exact", "Feeds", "Key", "Reading", "Rounding", "nothing_exact"]

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]
Key = str | int


@dataclass(frozen=True, eq=False)
class Rounding:
    """A tensor just before it becomes integers: `steps` in float64, zero point included.

    `finish` rounds and clips steps as the file says; it never decreases.
    """

    steps: Array
    finish: Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Exact:
    """A tensor in float64, and its rounding where it is the result of one."""

    value: Array
    rounding: Rounding | None = None


def nothing_exact() -> Mapping[str, Exact]:
    """For judges whose results are integers all the way."""
    return {}


@dataclass(frozen=True, eq=False)
class Reading:
    """One run of a judge: values by name (or by number, for LiteRT).

    `exact` works out, with the judge's own integers at every rounding, what the file says
    in float64; it is asked only where something differs.
    """

    values: Mapping[Key, Array]
    exact: Callable[[], Mapping[str, Exact]] = field(default=nothing_exact)

    def find(self, origin: Origin) -> Array | None:
        """The value of a tensor of the file, None where the judge does not give it."""
        return self.values.get(origin.index if origin.index >= 0 else origin.name)
