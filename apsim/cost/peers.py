"""Other accelerators' published throughput and efficiency, as Table VIII prints them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["Peer", "peers"]


@dataclass(frozen=True)
class Peer:
    """One accelerator; `frequency_ghz` is None where none is printed."""

    name: str
    technology: str
    bits: int
    gops: float
    gops_per_watt: float
    frequency_ghz: float | None = None
    note: str = ""


@cache
def peers() -> tuple[Peer, ...]:
    """The rows of Table VIII other than BF-IMNA's own, in the printed order."""
    table = tomllib.loads(files("apsim.cost").joinpath("peers.toml").read_text())
    return tuple(Peer(**row) for row in table["peer"])
