"""A search over widths as a table, as JSON, as CSV, and as a plot.

The rule: every number is one that the search measured; an accuracy never stands without
its binomial standard error.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from apsim.nn.search.measure import Images, Score
from apsim.nn.search.outcome import Outcome
from apsim.nn.search.settings import Candidate, Setting, pareto
from apsim.report.cost.assumed import ONE_CAP

__all__ = ["fluid_csv", "fluid_json", "fluid_lines", "fluid_plot", "fluid_table", "widths_text"]

SCHEMA = "apsim.fluid/2"
FEW = 8  # layers that are listed by name
MANY = 24  # layers whose widths are no longer listed in a table


def fluid_table(found: Outcome) -> Table:
    """The settings that were executed: the front or what was picked, and uniform widths."""
    names = ", ".join(found.space.layers) if _few(found) else f"{len(found.space.layers)} layers"
    scored = f"; accuracy of {len(found.test)} test images, each setting scored once"
    table = Table(
        title=f"{found.model.name}: {len(found.settings)} settings executed, {found.tried} tried "
        f"({found.search}); widths of {names}; per image{scored if _labels(found) else ''}",
        title_justify="left",
    )
    heads = ("", "widths", f"{found.loss} summed", *([] if _blind(found) else ["measured"]),
             *(["accuracy"] if _labels(found) else []), "cycles", "latency [s]", "energy [J]",
             "EDP [J s]")  # fmt: skip
    for name in heads:
        table.add_column(name, justify="left" if name in ("", "widths") else "right", no_wrap=True)
    for one in sorted(found.settings, key=lambda s: _cost(found, s)):
        table.add_row(*_cells(found, one))
    return table


def _cells(found: Outcome, one: Setting) -> tuple[str, ...]:
    done, candidate = one.executed, one.candidate
    measured = [] if candidate.measured is None else [f"{candidate.measured.loss:.5f}"]
    return (
        _kind(found, one), widths_text(candidate.widths), f"{candidate.predicted:.5f}", *measured,
        *([_accuracy(one.test)] if _labels(found) else []), f"{done.cycles:,.0f}",
        f"{done.seconds:.3g}", f"{done.joules:.3g}", f"{done.edp:.3g}",
    )  # fmt: skip


def widths_text(widths: Sequence[int]) -> str:
    """Widths of a few layers with commas, of many as HAWQ prints them (a digit each), or their
    mean where those would fill the screen."""
    if len(widths) > MANY:
        one = len(set(widths)) == 1
        return f"{widths[0]} bits" if one else f"{sum(widths) / len(widths):.2f} bits, mean"
    return (",", "")[len(widths) > FEW].join(map(str, widths))


def _kind(found: Outcome, one: Setting) -> str:
    if one is found.picked:
        return "picked"
    return "uniform" if len(set(one.candidate.widths)) == 1 else "front"


def _accuracy(score: Score | None) -> str:
    if score is None or score.accuracy is None or score.se is None:
        return "-"
    return f"{score.accuracy:.2%} ± {score.se:.2%}"


def fluid_lines(found: Outcome) -> Iterator[str]:
    """How the search chose, what each layer loses alone, and what was picked."""
    chosen_on = found.calibration
    if chosen_on is not None:
        yield f"chosen on {len(chosen_on)} calibration images, none of them a test image"
    if found.note:
        yield f"losses: {found.note}"
    others = len(found.space.model_layers) - len(found.space.layers)
    if others:
        yield f"{others} layers without losses stay at {found.space.fixed} bits"
    if _few(found):
        yield f"{found.loss} lost when one layer alone is narrowed:"
        for layer, lost in found.space.losses.items():
            listed = "  ".join(f"{width} bits {loss:+.1e}" for width, loss in sorted(lost.items()))
            yield f"  {layer}: {listed}"
    yield f"latency: {ONE_CAP}"
    if found.flat:
        yield (
            f"note: all settings lie within 2 % in {found.space.kind}: a budget in it decides "
            "little; --cost energy, or an AP kind whose sums are cheap (--ap 2d-seg), tells more"
        )
    if found.picked is not None:
        yield _picked(found.picked, found)


def _picked(one: Setting, found: Outcome) -> str:
    widths = ",".join(map(str, found.space.whole(one.candidate.widths)))
    score = "" if one.test is None else f" accuracy {_accuracy(one.test)},"
    done = one.executed
    return (
        f"picked: --bits {widths}:{score} {done.seconds:.3g} s, {done.joules:.3g} J, "
        f"EDP {done.edp:.3g} J s per image"
    )


def fluid_json(found: Outcome) -> dict[str, Any]:
    """The search for programs; cycles, latency in s and energy in J per image."""
    space = found.space
    cost = {
        name: {
            str(width): {"cycles": space.costs.cycles[name][width], "joules": joules}
            for width, joules in row.items() if width in space.losses[name]
        }
        for name, row in space.costs.joules.items()
    }  # fmt: skip
    front = set(pareto([one.candidate for one in found.settings], space.kind))
    return {
        "schema": SCHEMA,
        "assumes": {"latency": ONE_CAP},
        "model": found.model.name,
        "rule": found.model.rule,
        "layers": list(space.layers),
        "search": found.search,
        "measure": found.measure,
        "cost_kind": space.kind,
        "tried": found.tried,
        "executed_images": found.batch,
        "calibration": _images(found.calibration),
        "test": _images(found.test),
        "sensitivity": {k: {str(b): v for b, v in d.items()} for k, d in space.losses.items()},
        "cost": cost,
        "front": [_record(found, one) for one in found.settings if one.candidate in front],
        "settings": [_record(found, one) for one in found.settings],
        "picked": None if found.picked is None else _record(found, found.picked),
    }


def _images(images: Images | None) -> dict[str, Any] | None:
    from apsim.nn.zoo.calibration import digest

    return None if images is None else {"images": len(images), "sha256": digest(images)}


def _record(found: Outcome, one: Setting) -> dict[str, Any]:
    measured, done = one.candidate.measured, one.executed
    return {
        "widths": list(one.candidate.widths), "bits": list(done.widths),
        "kind": _kind(found, one), "predicted": one.candidate.predicted,
        "measured": None if measured is None else measured.loss,
        "calibration_accuracy": None if measured is None else measured.accuracy,
        "accuracy": None if one.test is None else one.test.accuracy,
        "se": None if one.test is None else one.test.se,
        "cycles": done.cycles, "latency": done.seconds, "joules": done.joules, "edp": done.edp,
    }  # fmt: skip


def fluid_csv(found: Outcome) -> str:
    """The settings that were executed, a line each."""
    text = io.StringIO()
    records = [_record(found, one) for one in found.settings]
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        lists = {key: " ".join(map(str, record[key])) for key in ("widths", "bits")}
        writer.writerow({**record, **lists})
    return text.getvalue()


def fluid_plot(found: Outcome) -> str:
    """Loss over cost: the front, uniform widths and what was picked, as SVG."""
    from apsim.report.paper.plots import svg_pyplot

    plot = svg_pyplot()
    figure, axes = plot.subplots(figsize=(6.4, 4.2))
    uniform = [one for one in found.settings if len(set(one.candidate.widths)) == 1]
    front = pareto([one.candidate for one in found.settings], found.space.kind)
    _draw(axes, found, list(front), label="front", marker="o")
    _draw(axes, found, [one.candidate for one in uniform], label="uniform widths", marker="s")
    if found.picked is not None:
        _draw(axes, found, [found.picked.candidate], label="picked", marker="*", markersize=14)
    unit = "energy per image [J]" if found.space.kind == "energy" else "cycles per image"
    axes.set(
        xlabel=unit, ylabel=found.loss if _blind(found) else f"{found.loss} on calibration images"
    )
    axes.set_yscale("symlog", linthresh=1e-4)
    axes.legend()
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    plot.close(figure)
    return text.getvalue()


def _draw(axes: Any, found: Outcome, points: list[Candidate], **style: Any) -> None:
    energy = found.space.kind == "energy"
    points = sorted(points, key=lambda one: one.joules)
    across = [one.joules if energy else one.cycles for one in points]
    axes.plot(across, [one.loss for one in points], linewidth=1, **style)
    for x, one in zip(across, points, strict=True):
        if len(one.widths) <= FEW:
            name = ",".join(map(str, one.widths))
            axes.annotate(name, (x, one.loss), (6, 4), textcoords="offset points", fontsize=7)


def _cost(found: Outcome, one: Setting) -> float:
    return one.executed.joules if found.space.kind == "energy" else one.executed.cycles


def _few(found: Outcome) -> bool:
    return len(found.space.layers) <= FEW


def _blind(found: Outcome) -> bool:
    return found.calibration is None


def _labels(found: Outcome) -> bool:
    return found.test.labels is not None
