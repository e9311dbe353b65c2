"""What is costed, by the name that a user types: a network, a layer table, or a model.

The rule: a name means the same in `apsim cost` and in a sweep.
"""

from __future__ import annotations

from pathlib import Path

from apsim import cost, nn
from apsim.cost import Network
from apsim.cost.precision import Widths
from apsim.cost.quantity import nearest
from apsim.errors import InputError
from apsim.nn.zoo.bundled import BUNDLED
from apsim.report.cost.model_rows import network_of as network_of_model
from apsim.report.cost.model_rows import widths_of

__all__ = ["OWN", "is_model", "network_of"]

OWN = "own"
"""The widths of a model's own, as a sweep names them."""


def is_model(name: str) -> bool:
    """Whether `name` is a bundled model or a model's file."""
    return name in BUNDLED or Path(name).suffix not in ("", ".csv")


def network_of(name: str) -> tuple[Network, Widths | None]:
    """The network, and the widths of a model; None for what has none of its own.

    Raises `InputError` for an unknown name, with the nearest, and `ModelError` for a file
    that cannot be used.
    """
    known = (*BUNDLED, *cost.network_names())
    if name not in known and not Path(name).suffix:
        raise InputError(
            f"unknown network {name!r}: wanted a CSV file, a model's file or one of "
            f"{', '.join(known)}{nearest(name, known)}"
        )
    if name in cost.network_names() or not is_model(name):
        return cost.network(name), None
    model = nn.load(name)
    return network_of_model(model), widths_of(model)
