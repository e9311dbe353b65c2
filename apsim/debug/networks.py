"""A whole network as a timeline: every layer executed load by load, and noted as it runs.

The rule: what is shown is what a chip was told to execute, in the order in which it
was told; lengths are the counts of the executed programs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from apsim import cost
from apsim.debug.layer_load import image_of
from apsim.errors import ApsimError
from apsim.functions import Function
from apsim.nn import exact, load
from apsim.nn.on_ap.chip import Chip, design_of
from apsim.nn.on_ap.execute import execute
from apsim.trace.perfetto import Slice, Timeline, slices

__all__ = ["write_timeline"]

Words = NDArray[np.uint64]


class _Clocked(Chip):
    """A chip that shows its loads on a timeline, and knows when each CAP has time again."""

    timeline: Timeline
    part = ""
    began = 0
    dealt = 0

    def execute(self, function: Function, data: Words) -> Words:
        if function.name != self.part:
            self.wait()
        caps = self.design.clusters * self.design.caps
        cap, self.dealt, self.part = self.dealt % caps, self.dealt + 1, function.name
        shown = slices(function)
        start = self.free.get(cap, self.began)
        self.timeline.on_cap(cap, shown, start)
        self.free[cap] = start + shown[0].cycles
        return super().execute(function, data)

    def wait(self) -> int:
        """Wait until every CAP is done; gives the cycle at which that is."""
        self.began = max(self.free.values(), default=self.began)
        self.free: dict[int, int] = {}
        self.dealt, self.part = 0, ""
        return self.began


def write_timeline(
    stream: BinaryIO, model: str, ap: str,
    begin: Callable[[int], Callable[[], None]] = lambda layers: lambda: None,
) -> str:  # fmt: skip
    """Run one image through a network and write its timeline; gives what was left out.

    `begin` is told how many layers there are, and gives what is called after each.  Raises
    `ApsimError` where a layer differs from its exact twin.
    """
    network = load(model)
    chip = _Clocked(design_of(cost.chip("lr")), ap=ap, literal=True)
    chip.timeline, chip.free = Timeline(stream, f"{network.name}, one image, {ap} AP"), {}
    tensors = dict(exact.checked_inputs(network, image_of(network)))
    layer_done = begin(len(network.layers))
    for layer in network.layers:
        start, before = chip.wait(), chip.counts
        output = execute(network, layer, tensors, chip).output
        if not np.array_equal(output, exact.layer_output(network, layer, tensors)):
            raise ApsimError(f"layer {layer.name!r} differs from its exact twin: nothing is shown")
        tensors[layer.output] = output
        if length := chip.wait() - start:
            chip.timeline.layer(Slice(layer.name, "layer", start, length, chip.counts - before))
        layer_done()
    chip.timeline.close()
    return chip.timeline.note
