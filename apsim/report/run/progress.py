"""How far a run is, for people who wait for it.

The rule: an interruption leaves a word on what was kept.  What a run will take is said before
it from the work that there is, at the pace that such work had on two cores, and is no promise.
"""

from __future__ import annotations

from apsim.nn.model import Layer, Model, Weighted
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.execute import macs
from apsim.nn.on_ap.layer_run import LayerRun
from apsim.nn.runtime import Watcher
from apsim.report.bar import Working

__all__ = ["PACES", "Bar", "expected", "multiplications"]

PACES = {"lanes": 4e10, "arrays": 1e8, "faulty": 1e7, "steps": 1.5e5}
"""Products of single bits a second, measured: side by side, on arrays, step by step in Python."""


def multiplications(model: Model, images: int) -> int:
    """Those of a whole run, which its bar counts."""
    return sum(macs(model, layer, images) for layer in model.layers)


def expected(model: Model, images: int, chip: Chip, pace: str = "") -> float:
    """Seconds that a run of so many images takes at the pace of its engine, or the one named."""
    each = ((macs(model, layer, images), _bits(model, layer)) for layer in model.layers)
    return sum(products * bits for products, bits in each) / PACES[pace or _pace(chip)]


def _bits(model: Model, layer: Layer) -> int:
    widths = model.tensors[layer.inputs[0]].bits
    return widths * (layer.weight_bits if isinstance(layer, Weighted) else 1)


def _pace(chip: Chip) -> str:
    if not chip.literal:
        return "lanes"
    by_steps = chip.engine == "dense" or chip.mapping != "im2col"
    return "steps" if by_steps else "arrays"


class Bar(Watcher):
    """A bar over the multiplications of a run."""

    def __init__(self, model: Model, images: int, chip: Chip | None = None) -> None:
        seconds = 0.0 if chip is None else expected(model, images, chip)
        self.working = Working(model.name, multiplications(model, images), seconds)
        self._done, self._kept = 0, chip is None or chip.array == "load"

    def advance(self, layer: Layer, multiplications: int) -> None:
        """See `runtime.Watcher`."""
        self.working.advance(multiplications, layer.name)

    def finish(self, layer: Layer, done: LayerRun) -> None:
        """See `runtime.Watcher`."""
        self._done += 1

    def left_by(self, path: str | None) -> str:
        """What an interrupted run leaves behind."""
        if path is None and not self._kept:
            return "nothing was kept"
        if path is None:
            return "nothing was kept; with --checkpoint FILE an interrupted run can be resumed"
        if self._done:
            return f"layers done are kept; go on with: --resume {path}"
        return f"no further layer was done; {path} is as it was"

    def __enter__(self) -> Bar:
        self.working.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.working.__exit__()
