"""What settings of one network cost, executed on a chip.

The rule: joules and cycles are those of passes that ran and were checked; a table of
costs by layer and width comes from one run at each uniform width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from apsim.cost.estimate import Cost, estimate
from apsim.cost.technology import Technology
from apsim.errors import ApsimError, InputError
from apsim.nn import runtime
from apsim.nn.model import Model
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import real
from apsim.nn.runtime import Run
from apsim.nn.search.front import Table
from apsim.nn.search.measure import Images

__all__ = ["Bench", "Costs", "Executed"]

NEAR = 0.9  # of the sum of layers' costs: what no mixture of them comes down to


@dataclass(frozen=True)
class Costs:
    """Per image: clock cycles and joules by layer and width."""

    cycles: Table
    joules: Table

    def of(self, kind: str) -> Table:
        """The table that a search minimises against: `energy` or `cycles`."""
        if kind not in ("energy", "cycles"):
            raise InputError(f"cost {kind!r}: wanted energy or cycles")
        return self.joules if kind == "energy" else self.cycles

    def only(self, layers: Sequence[str]) -> Costs:
        """The same for some layers alone."""
        return Costs(*({n: table[n] for n in layers} for table in (self.cycles, self.joules)))


@dataclass(frozen=True)
class Executed:
    """A setting as executed: what one image took, and each layer of it that has widths."""

    widths: tuple[int, ...]
    cycles: float
    seconds: float
    joules: float
    layers: dict[str, tuple[float, float]]  # cycles, joules

    @property
    def edp(self) -> float:
        """Energy times latency per image, in J s."""
        return self.joules * self.seconds


class Bench:
    """Executes settings of one loaded network on the first `batch` images, each once."""

    def __init__(
        self, model: Model, images: Images, make_chip: Callable[[], Chip],
        technology: Technology, *, batch: int = 1, check: str = "all",
    ) -> None:  # fmt: skip
        """Raises `InputError` where there are not so many images."""
        if not 1 <= batch <= len(images):
            raise InputError(f"wanted 1 to {len(images)} images to execute, got {batch}")
        self.model, self.batch, self.check = model, batch, check
        self.inputs = {name: x[:batch] for name, x in images.inputs.items()}
        self.make_chip, self.technology = make_chip, technology
        self.done: dict[tuple[int, ...], Executed] = {}

    def execute(self, widths: Sequence[int]) -> Executed:
        """Run the network at `widths`; raises `ApsimError` where the run is not exact."""
        key = tuple(widths)
        if key not in self.done:
            model = self.model.at(key)
            x = {name: real.quantize(model, values, name) for name, values in self.inputs.items()}
            run = runtime.run(model, x, self.make_chip(), keep="outputs", check=self.check)
            if not run.passed:
                raise ApsimError(f"at widths {key} a layer differs from its twin or its counts")
            self.done[key] = self._executed(key, run)
        return self.done[key]

    def costs(self, widths: Sequence[int], watch: Callable[[], None] = lambda: None) -> Costs:
        """Costs by layer and width, from one run at each uniform width."""
        cycles: dict[str, dict[int, float]] = {layer.name: {} for layer in self.model.fluid}
        joules: dict[str, dict[int, float]] = {layer.name: {} for layer in self.model.fluid}
        for width in widths:
            for name, took in self.execute((width,) * len(self.model.fluid)).layers.items():
                cycles[name][width], joules[name][width] = took
            watch()
        return Costs(cycles, joules)

    def require_reachable(self, costs: Costs, energy: float | None, latency: float | None) -> None:
        """Refuse budgets per image below what all layers take together at their cheapest.

        Raises `InputError`.  A layer beside others takes nearly what it takes among equals.
        """
        joules, cycles = (
            sum(min(by.values()) for by in table.values()) for table in (costs.joules, costs.cycles)
        )
        one = next(iter(self.done.values()))
        seconds = cycles * one.seconds / one.cycles
        for budget, least, unit in ((energy, joules, "J"), (latency, seconds, "s")):
            if budget is not None and budget < NEAR * least:
                raise InputError(
                    f"no setting keeps to the budget of {budget:.3g} {unit}: with every layer at "
                    f"its cheapest an image takes {least:.3g} {unit}"
                )

    def _executed(self, widths: tuple[int, ...], run: Run) -> Executed:
        took: dict[str, Cost] = {}
        for name, cost in self._charged(run):
            took[name] = took[name] + cost if name in took else cost
        whole = sum(list(took.values())[1:], start=next(iter(took.values())))
        parts = {n: (c.cycles / self.batch, c.energy.total / self.batch) for n, c in took.items()}
        return Executed(
            widths, whole.cycles / self.batch, whole.seconds / self.batch,
            whole.energy.total / self.batch, parts,
        )  # fmt: skip

    def _charged(self, run: Run) -> Iterator[tuple[str, Cost]]:
        """Each layer's cost beside the layer whose chosen width decides it.

        What pools, adds and requantizes works at the width of the next such layer.
        """
        named = {layer.name for layer in self.model.fluid}
        fluid = [layer.name in named for layer in run.model.layers]
        last = max(k for k, has in enumerate(fluid) if has)
        for k, layer in enumerate(run.layers):
            owner = next((j for j in range(k, last) if fluid[j]), last)
            cost = estimate(layer.counts, layer.activity, self.technology)
            yield run.model.layers[owner].name, cost
