"""What a figure of latency assumes, in the words of every table, JSON and line that shows one.

The rule: one chain leads from counts to seconds, and a figure says which link it is; the guide's
page on costs tells the chain (`apsim guide costs`).
"""

from __future__ import annotations

from apsim.cost import Technology

__all__ = ["ACTIVITY", "ONE_CAP", "OPERATIONS", "PAPER_LATENCY", "SPREAD", "cycles_of", "each_of"]

ACTIVITY = {
    "load": "of arrays cut to each load and zeroed before it (--array cap: of a CAP in use)",
    "cap": "of one CAP in use: all its rows, and what the load before left in them",
}
"""What the activity of a run is of, by what its loads ran on."""

OPERATIONS = (
    "compares + writes + reads, one cycle each, all loads one after another "
    "(apsim cost: of a technology, spread over CAPs)"
)
"""What `cycles` of a run are."""

ONE_CAP = (
    "cycles of the technology at 1 GHz, all loads of one image one after another on one CAP, "
    "without the mesh; energy: executed activity"
)
"""What the latency of a setting of widths is."""

SPREAD = "each layer's executed loads side by side, one on each CAP, in rounds"
"""What the latency of an executed run is."""

PAPER_LATENCY = "the paper's closed forms on the mapping model's steps"
"""What the latency of an inference from averages is."""


def cycles_of(technology: Technology) -> str:
    """What cycles on one CAP are in `technology`."""
    return f"{each_of(technology)}; all loads one after another"


def each_of(technology: Technology) -> str:
    """What an operation takes in `technology`."""
    each = ", ".join(
        f"a {name} {cycles:g}"
        for name, cycles in (
            ("compare", technology.compare_cycles),
            ("write", technology.write_cycles),
            ("read", technology.read_cycles),
        )
    )
    return f"{each} in {technology.name}"
