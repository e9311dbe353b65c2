"""A sweep over widths as a table, as JSON, and as a plot.

The rule: every number is one that the sweep measured.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from rich.table import Table

from apsim.nn.fluid import Fluid, Setting, pareto

__all__ = ["fluid_json", "fluid_plot", "fluid_table", "sensitivity_lines"]

SCHEMA = "apsim.fluid/1"


def fluid_table(fluid: Fluid, *, all_settings: bool = False) -> Table:
    """The Pareto front of accuracy and EDP, or every setting."""
    shown = fluid.settings if all_settings else pareto(fluid.settings)
    names = ", ".join(layer.name for layer in fluid.model.weighted)
    what = "settings" if all_settings else "settings on the Pareto front"
    table = Table(
        title=f"{fluid.model.name}: {len(shown)} {what} of {len(fluid.settings)}; "
        f"widths of {names}; latency, energy and EDP per image",
        title_justify="left",
    )
    for name in ("widths", "accuracy", "cycles", "latency [s]", "energy [J]", "EDP [J s]"):
        table.add_column(name, justify="left" if name == "widths" else "right", no_wrap=True)
    for one in shown:
        table.add_row(
            ",".join(map(str, one.widths)), f"{one.accuracy:.2%}",
            f"{one.cost.cycles / one.batch:,.0f}", f"{one.seconds:.3g}", f"{one.joules:.3g}",
            f"{one.edp:.3g}",
        )  # fmt: skip
    return table


def sensitivity_lines(fluid: Fluid) -> Iterator[str]:
    """What each layer costs in accuracy when it alone is narrowed."""
    yield "accuracy lost when one layer alone is narrowed:"
    for layer, lost in fluid.sensitivity.items():
        listed = "  ".join(f"{width} bits {loss:+.2%}" for width, loss in sorted(lost.items()))
        yield f"  {layer}: {listed}"


def fluid_json(fluid: Fluid, picked: Setting | None) -> dict[str, Any]:
    """The sweep for programs; latency in s, energy in J, per image."""
    front = set(pareto(fluid.settings))
    return {
        "schema": SCHEMA,
        "model": fluid.model.name,
        "rule": fluid.model.rule,
        "layers": [layer.name for layer in fluid.model.weighted],
        "settings": [{**_record(one), "pareto": one in front} for one in fluid.settings],
        "sensitivity": {k: {str(b): v for b, v in d.items()} for k, d in fluid.sensitivity.items()},
        "picked": None if picked is None else _record(picked),
    }


def _record(one: Setting) -> dict[str, Any]:
    return {
        "widths": list(one.widths), "correct": one.correct, "images": one.images,
        "accuracy": one.accuracy, "executed_images": one.batch, "cycles": one.cost.cycles,
        "latency": one.seconds, "energy": one.joules, "edp": one.edp,
    }  # fmt: skip


def fluid_plot(fluid: Fluid, picked: Setting | None = None) -> str:
    """Accuracy over EDP as SVG: all settings, the front, and the picked one (extra report)."""
    from apsim.report.paper.plots import svg_pyplot

    plot = svg_pyplot()
    figure, axes = plot.subplots(figsize=(6, 4))
    settings, front = fluid.settings, pareto(fluid.settings)
    axes.scatter([s.edp for s in settings], [100 * s.accuracy for s in settings], s=14,
                 label="measured")  # fmt: skip
    axes.plot([s.edp for s in front], [100 * s.accuracy for s in front], marker="o",
              label="Pareto front")  # fmt: skip
    for one in front:
        axes.annotate(",".join(map(str, one.widths)), (one.edp, 100 * one.accuracy), fontsize=6)
    if picked is not None:
        axes.scatter([picked.edp], [100 * picked.accuracy], s=90, marker="*", label="picked")
    axes.set(xscale="log", xlabel="EDP per image [J s]", ylabel="accuracy [%]")
    axes.legend()
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    plot.close(figure)
    return text.getvalue()
