"""The packed array with LUT steps fused: one loop over the rows for the passes of a step.

The rule: same cells, tags and numbers as the strict array, by test; only how often a
cell travels between memory and registers differs, and in how few operations the tags and
cells of a step are found.  Without machine code it is the strict array.
"""

from __future__ import annotations

from apsim.cam.packed import PackedCam

__all__ = ["FusedCam"]


class FusedCam(PackedCam):
    """A packed array that makes machine code for the LUT steps of a program as they come."""

    least = 4
