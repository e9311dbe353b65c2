"""Both mappings of each weighted layer side by side: by forecast, nothing is executed.

The rule: cycles are closed forms times loads, one CAP doing all; latency is that of a chip
whose CAPs share them; energies are averages over random bits in rows that hold data, and leave
out the mesh and the broadcast of the instruction stream.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.table import Table

from apsim.errors import ModelError, ProgramError
from apsim.nn.model import Model, Weighted
from apsim.nn.on_ap import choices, plan
from apsim.nn.on_ap.layer_run import Facts
from apsim.nn.on_ap.tasks import UNLIMITED, Setting, Task
from apsim.report.cost.files import layer_table, scaled
from apsim.report.run.mappings import NOT_MODELLED

if TYPE_CHECKING:
    from apsim.nn.on_ap.layer_run import Choice

__all__ = ["DROPPED", "LayerMappings", "compare", "draw", "mappings_json", "mappings_lines",
           "mappings_rows", "mappings_table"]  # fmt: skip

SCHEMA = "apsim.mappings/1"
COSTS = "cycles", "latency", "energy"
NAMES = ("layer", "a/w", "taken", "cycles im2col", "weights", "energy im2col", "weights ",
         "latency im2col", "weights  ", "rows", "program", "break-even")  # fmt: skip
LONG = "a/w", "latency im2col", "weights  ", "program"
DROPPED = "break-even", "rows"  # of the short table, in this order, where there is no room


@dataclass(frozen=True)
class LayerMappings:
    """One layer of a batch under both mappings; None where a mapping does not fit.

    `costs` by mapping and by kind of cost: cycles, latency in cycles, energy in J.
    `break_even` is how many pixels a load must hold for fewer cycles than im2col takes.
    """

    name: str
    bits: tuple[int, int]
    choice: Choice
    costs: dict[str, dict[str, float] | None]
    facts: Facts | None
    break_even: float | None


def compare(model: Model, on: Setting) -> tuple[LayerMappings, ...]:
    """Every weighted layer of a model for `on.images`; `ModelError` where it has none.

    Raises `ProgramError` where neither mapping fits a layer.
    """
    found = tuple(
        _layer(model, layer, on)
        for layer in model.layers
        if isinstance(layer, Weighted) and not layer.host
    )
    if not found:
        raise ModelError(f"{model.name} has no layer with weights: mappings are theirs")
    return found


def _layer(model: Model, layer: Weighted, on: Setting) -> LayerMappings:
    bodies: dict[str, Any] = {}
    for name in plan.MAPPINGS:
        try:
            bodies[name] = plan.fitting(model, layer, replace(on, mapping=name))
        except ProgramError:
            bodies[name] = None
    choice, _ = plan.chosen(model, layer, on)
    costs = {
        name: body and {cost: _forecast(model, layer, body, replace(on, mapping=name, cost=cost))
                        for cost in COSTS}
        for name, body in bodies.items()
    }  # fmt: skip
    weights, im2col, even = bodies["weights"], costs["im2col"], None
    if weights and im2col:
        once = sum(task.forecast.predicted.total / task.fold.loads for task in weights)
        even = once / (im2col["cycles"] / weights[0].fold.groups)
    bits = model.tensors[layer.inputs[0]].bits, layer.weight_bits
    facts = choices.facts(weights, on) if weights else None
    return LayerMappings(layer.name, bits, choice, costs, facts, even)


def _forecast(model: Model, layer: Weighted, body: tuple[Task, ...], on: Setting) -> float:
    """A cost of the body, but for latency of the one that is laid out for it."""
    if on.cost == "latency" and on.mapping == "weights":
        body = plan.body_of(model, layer, on)
    return choices.cost_of(body, on)


def _cost(layer: LayerMappings, mapping: str, cost: str) -> float | None:
    costs = layer.costs[mapping]
    return None if costs is None else costs[cost]


def _total(layers: Sequence[LayerMappings], mapping: str, cost: str) -> float | None:
    """Over all layers; None where one does not fit."""
    every = [_cost(layer, mapping, cost) for layer in layers]
    return None if None in every else sum(cost for cost in every if cost is not None)


def mappings_table(title: str, layers: Sequence[LayerMappings], *, short: bool = False) -> Table:
    """A line for each layer and one for all; `short` fits 80 columns."""
    rows = [_cells(layer) for layer in layers]
    total = ["total", "", ""]
    for cost, unit in (("cycles", ""), ("energy", "J"), ("latency", "")):
        total += [_shown(_total(layers, name, cost), unit) for name in plan.MAPPINGS]
    program = sum(layer.facts.bytes for layer in layers if layer.facts)
    rows.append([*total, "", f"{program:,}", ""])
    return layer_table(title, NAMES, rows, LONG if short else ())


def _cells(layer: LayerMappings) -> list[str]:
    cells = [layer.name, "/".join(map(str, layer.bits)), layer.choice.mapping]
    for cost, unit in (("cycles", ""), ("energy", "J"), ("latency", "")):
        cells += [_shown(_cost(layer, name, cost), unit) for name in plan.MAPPINGS]
    facts = layer.facts
    used = "-" if facts is None else f"{facts.utilization:.1%}"
    even = "-" if layer.break_even is None else f"{layer.break_even:.0f}"
    return [*cells, used, "-" if facts is None else f"{facts.bytes:,}", even]


def _shown(cost: float | None, unit: str) -> str:
    if cost is None:
        return "does not fit"
    return scaled(cost, unit) if unit else f"{cost:,.0f}"


def _assumes(on: Setting) -> dict[str, str]:
    """What each cost is, in the words of the table and of the JSON."""
    caps = "unlimited" if on.caps == UNLIMITED else f"{on.caps:,}"
    return {
        "cycles": f"one CAP, {on.images} image{'s' * (on.images != 1)}",
        "energy": "averages over random bits, mesh left out",
        "latency": f"cycles with loads, outputs and parts of sums spread over {caps} CAPs",
    }


def mappings_lines(layers: Sequence[LayerMappings], on: Setting) -> list[str]:
    """What the columns mean, and which layers have fewer rows than pay."""
    lines = [
        "; ".join(f"{cost}: {what}" for cost, what in _assumes(on).items()),
        "rows: share of the rows of a load that hold a pixel, with weights in the program; "
        "program: bytes of its instruction stream, a load: " + NOT_MODELLED,
        "break-even: pixels of a load from which on weights in the program take fewer cycles",
    ]
    few = [x.name for x in layers if x.facts and x.break_even and x.facts.pixels < x.break_even]
    if few:
        lines.append(f"note: too few pixels in this batch for fewer cycles: {', '.join(few)}")
    if on.mapping == "auto":
        lines += [f"  {layer.name}: {layer.choice.mapping}, {layer.choice.why}" for layer in layers]
    return lines


def mappings_rows(layers: Sequence[LayerMappings]) -> list[dict[str, Any]]:
    """The layers as flat rows, for CSV."""
    found = []
    for layer in layers:
        row: dict[str, Any] = {"layer": layer.name, "taken": layer.choice.mapping}
        row |= dict(zip(("bits_a", "bits_w"), layer.bits, strict=True))
        for name in plan.MAPPINGS:
            row |= {f"{name}_{cost}": _cost(layer, name, cost) for cost in COSTS}
        facts = layer.facts
        if facts is not None:
            row |= {"digits": facts.digits, "program_bytes": facts.bytes, "pixels": facts.pixels,
                    "rows": facts.rows, "utilization": facts.utilization,
                    "columns": facts.columns, "split": facts.split}  # fmt: skip
        found.append(row | {"break_even_rows": layer.break_even})
    return found


def mappings_json(model: Model, layers: Sequence[LayerMappings], on: Setting) -> dict[str, Any]:
    """Both mappings under schema apsim.mappings/1."""
    totals = {name: {cost: _total(layers, name, cost) for cost in COSTS} for name in plan.MAPPINGS}
    return {
        "schema": SCHEMA,
        "model": model.name,
        "images": on.images,
        "ap": on.kind.value,
        "rows": on.rows,
        "columns": on.columns,
        "caps": None if on.caps == UNLIMITED else on.caps,
        "mapping": on.mapping,
        "cost": on.cost,
        "activity": "averages over random bits; neither mesh nor broadcast",
        "assumes": _assumes(on),
        "layers": mappings_rows(layers),
        "totals": totals,
    }


def draw(title: str, layers: Sequence[LayerMappings]) -> str:
    """Cycles and energy of both mappings by layer, as SVG; raises `MissingExtra`."""
    from apsim.report.paper.plots import svg_pyplot

    pyplot = svg_pyplot()
    figure, axes = pyplot.subplots(2, 1, figsize=(max(6, 0.45 * len(layers)), 6), sharex=True)
    for axis, (cost, unit) in zip(axes, (("cycles", "cycles"), ("energy", "J")), strict=True):
        for shift, name in ((-0.2, "im2col"), (0.2, "weights")):
            there = [(k + shift, _cost(layer, name, cost)) for k, layer in enumerate(layers)]
            bars = [(k, height) for k, height in there if height is not None]
            axis.bar([k for k, _ in bars], [h for _, h in bars], 0.4, label=name)
        axis.set_yscale("log")
        axis.set_ylabel(unit)
    axes[0].set_title(title)
    axes[0].legend(loc="upper left", bbox_to_anchor=(1, 1))  # beside the bars, whatever they are
    axes[1].set_xticks(range(len(layers)), [layer.name for layer in layers], rotation=90)
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight")
    pyplot.close(figure)
    return text.getvalue()
