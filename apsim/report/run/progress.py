"""How far a run is, for people who wait for it.

The rule: an interruption leaves a word on what was kept.
"""

from __future__ import annotations

from apsim.nn.model import Layer, Model
from apsim.nn.on_ap.execute import macs
from apsim.nn.on_ap.layer_run import LayerRun
from apsim.nn.runtime import Watcher
from apsim.report.bar import Working

__all__ = ["Bar", "multiplications"]


def multiplications(model: Model, images: int) -> int:
    """Those of a whole run, which its bar counts."""
    return sum(macs(model, layer, images) for layer in model.layers)


class Bar(Watcher):
    """A bar over the multiplications of a run."""

    def __init__(self, model: Model, images: int) -> None:
        self.working = Working(model.name, multiplications(model, images))
        self._done = 0

    def advance(self, layer: Layer, multiplications: int) -> None:
        """See `runtime.Watcher`."""
        self.working.advance(multiplications, layer.name)

    def finish(self, layer: Layer, done: LayerRun) -> None:
        """See `runtime.Watcher`."""
        self._done += 1

    def left_by(self, path: str | None) -> str:
        """What an interrupted run leaves behind."""
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
