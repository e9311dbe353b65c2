"""From counts to joules, seconds and square millimetres.

`technology`, `chip` and `network` load tables, bundled or a user's; `infer` costs a
network on a chip from the paper's averages, `estimate` costs executed activity.
"""

import importlib
from typing import TYPE_CHECKING, Any

from apsim.cost.chip import Chip, chip
from apsim.cost.energy import Energy
from apsim.cost.estimate import Cost, estimate
from apsim.cost.network import Layer, Network, network, network_names
from apsim.cost.peers import Peer, peers
from apsim.cost.technology import Technology, technology

if TYPE_CHECKING:
    from apsim.cost.area import Area, chip_area
    from apsim.cost.inference import Inference, LayerCost, infer

__all__ = [
    "Area",
    "Chip",
    "Cost",
    "Energy",
    "Inference",
    "Layer",
    "LayerCost",
    "Network",
    "Peer",
    "Technology",
    "chip",
    "chip_area",
    "estimate",
    "infer",
    "network",
    "network_names",
    "peers",
    "technology",
]

_LATE = {
    "Area": "area", "Inference": "inference", "LayerCost": "inference", "chip_area": "area",
    "infer": "inference",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """What costs whole networks is imported when somebody wants it."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
