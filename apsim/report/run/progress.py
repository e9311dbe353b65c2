"""How far a run is, for people who wait for it.

The rule: silent where nobody looks; an interruption leaves a word on what was kept.
"""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from apsim.errors import shown
from apsim.nn.model import Layer, Model
from apsim.nn.on_ap.execute import macs
from apsim.nn.on_ap.layer_run import LayerRun
from apsim.nn.runtime import Watcher

__all__ = ["Bar"]


class Bar(Watcher):
    """A bar over the multiplications of a run; silent where nobody looks."""

    def __init__(self, model: Model, images: int) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        total = sum(macs(model, layer, images) for layer in model.layers)
        self._task = self._bar.add_task(shown(model.name), total=total)
        self._done = 0

    def advance(self, layer: Layer, multiplications: int) -> None:
        """See `runtime.Watcher`."""
        self._bar.update(self._task, advance=multiplications, description=shown(layer.name))

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
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
