"""From counts to joules, seconds and square millimetres.

`technology`, `chip` and `network` load tables, bundled or a user's; `infer` costs a
network on a chip from the paper's averages, `estimate` costs executed activity.
"""

from apsim.cost.area import Area, chip_area
from apsim.cost.chip import Chip, chip
from apsim.cost.energy import Energy
from apsim.cost.estimate import Cost, estimate
from apsim.cost.inference import Inference, LayerCost, infer
from apsim.cost.network import Layer, Network, network, network_names
from apsim.cost.peers import Peer, peers
from apsim.cost.technology import Technology, technology

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
