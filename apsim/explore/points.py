"""What one point gives: metrics by name, or the reason why it has none.

The rule: plain data in, plain data out, so that a point may be evaluated in any process
on any machine; a point that cannot be is an answer and stops nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apsim.errors import ApsimError
from apsim.explore.contents import Known, version
from apsim.explore.searched import OF_RUNS
from apsim.explore.spec import Point, identity
from apsim.explore.values import METRICS

__all__ = ["SCHEMA", "evaluate", "evaluate_all"]

SCHEMA = "apsim.sweep/1"
_CHIP_AXES = ("ap", "vertical_add", "columns_per_step", "mult_latency", "cell_writes")


def evaluate_all(kind: str, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Evaluate points one after another: the piece of work that a worker gets.

    Contents are read before and after: a file that changes meanwhile is an error.
    """
    before: Known = {}
    results = [evaluate(kind, point, before) for point in points]
    after: Known = {}
    for point, result in zip(points, results, strict=True):
        if identity(point, after) != result["id"]:
            result["error"] = "a file of this point changed while it was measured"
    return results


def evaluate(kind: str, point: Point, known: Known | None = None) -> dict[str, Any]:
    """The point with its identity and metrics, or with "error" where it cannot be."""
    name = identity(point, known)
    try:
        found = _cost(point) if kind == "cost" else _run(point)
    except ApsimError as error:
        found = {"error": str(error)}
    return {"schema": SCHEMA, "id": name, "version": version(), **point, **found}


def _cost(point: Point) -> dict[str, Any]:
    from dataclasses import replace

    from apsim import cost
    from apsim.cost import chip as load_chip
    from apsim.functions.table import EQUATIONS
    from apsim.report.cost.inference_tables import totals
    from apsim.report.cost.named import OWN, network_of
    from apsim.report.paper.cell_writes import CELL_WRITES

    changes: dict[str, Any] = {name: point[name] for name in _CHIP_AXES if point[name] is not None}
    technology = cost.technology(point["technology"])
    if point["write_voltage"] is not None:
        technology = technology.at_write_voltage(point["write_voltage"])
    network, own = network_of(point["network"])
    found = cost.infer(
        network,
        replace(load_chip(point["chip"]), **changes),
        technology,
        EQUATIONS,
        bits=own or 8 if point["bits"] == OWN else point["bits"],
        batch=point["batch"],
        cell_writes=CELL_WRITES,
    )
    everything = totals(found)
    return {name: everything[name] for name in METRICS}


def _run(point: Point) -> dict[str, Any]:
    from apsim import cost, nn
    from apsim.nn.zoo import sources
    from apsim.report.run.tables import run_json

    bits = _widths(point)
    text = ",".join(map(str, bits)) if isinstance(bits, list) else bits and str(bits)
    model = sources.model(point["model"], bits=text)
    images, labels = sources.inputs(model, point["first"] + point["images"], point["input"])
    some = slice(point["first"], point["first"] + point["images"])
    made = {name: point[name] for name in OF_RUNS}
    chip = nn.Chip.preset(point["chip"], ap=point["ap"], engine="fused", **made)
    taken = {name: values[some] for name, values in images.items()}
    done = nn.run(
        model, taken, chip, labels=None if labels is None else labels[some], keep="outputs"
    )
    result = run_json(done)
    spent = cost.estimate(
        done.chip.counts, done.chip.activity, cost.technology(point["technology"])
    )
    kept = ("correct", "bit_exact", "counts_match")
    return {name: result[name] for name in kept} | {
        "widths": [layer["bits_w"] for layer in result["layers"] if layer["bits_w"]],
        "energy_j": spent.energy.total,
        "cycles_on_one_cap": spent.cycles,
        "counts": result["totals"]["counts"],
        "activity": done.chip.activity.as_dict(),
        **_blocks(result["totals"]["blocks"]),
    }


def _blocks(blocks: dict[str, Any]) -> dict[str, Any]:
    """Cycles of each operation of a transformer, and how many of them move words in groups."""
    if not {"softmax", "normalize"} & set(blocks):
        return {}
    cycles = {
        name: sum(block[kind] for kind in ("compare", "write", "read"))
        for name, block in blocks.items()
    }
    moved = {name: block["moved"] for name, block in blocks.items() if block["moved"]}
    return {"cycles_by_operation": cycles, "moved_by_operation": moved}


def _widths(point: Point) -> Any:
    """The point's widths: as they are, or those that a search finds under its budget."""
    from apsim.explore.contents import contents
    from apsim.explore.searched import SEARCH, widths

    bits = point["bits"]
    searched = isinstance(bits, str) and bits.startswith(SEARCH)
    return widths(point, contents(point, {})) if searched else bits
