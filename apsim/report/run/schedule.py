"""A stream of batches under budgets, as a table and as JSON.

The rule: what a batch took stands beside what it was allowed, kept or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from apsim.nn.model import Model
from apsim.nn.schedule import Batch, Took
from apsim.report.run.fluid import widths_text

__all__ = ["DROPPED", "schedule_json", "schedule_lines", "schedule_table"]

SCHEMA = "apsim.schedule/1"
DROPPED = ("switch [ms]", "images", "correct", "budget")  # in this order, where there is no room


def schedule_table(model: Model, took: Sequence[Took]) -> Table:
    """A row for each batch; latency and energy per image."""
    table = Table(title=f"{model.name}: {len(took)} batches, per image", title_justify="left")
    heads = ("batch", "images", "budget", "widths", "latency [s]", "energy [J]", "kept",
             "correct", "switch [ms]")  # fmt: skip
    for name in heads:
        table.add_column(name, justify="left" if name in ("budget", "widths") else "right")
    for k, one in enumerate(took, 1):
        correct = "-" if one.correct is None else f"{one.correct} of {one.batch.images}"
        table.add_row(
            str(k), str(one.batch.images), _budget(one.batch), widths_text(one.chosen.bits),
            f"{one.latency:.3g}", f"{one.energy:.3g}", "yes" if one.kept else "NO", correct,
            f"{1e3 * one.switch_seconds:.1f}",
        )  # fmt: skip
    return table


def schedule_lines(took: Sequence[Took]) -> list[str]:
    """How many batches kept to their budgets, and the verdict of the checks."""
    kept = sum(one.kept for one in took)
    passed = all(one.passed for one in took)
    verdict = "PASS: bit-exact, counted == predicted" if passed else "FAIL"
    return [f"{kept} of {len(took)} batches kept to their budget", f"{verdict}, every batch"]


def _budget(batch: Batch) -> str:
    limits = {"latency": (batch.latency, "s"), "energy": (batch.energy, "J")}
    said = [f"{name} {value:.3g} {unit}" for name, (value, unit) in limits.items() if value]
    return ", ".join(said) or "none"


def schedule_json(model: Model, took: Sequence[Took]) -> dict[str, Any]:
    """The stream for programs: latency in s, energy in J, per image."""
    return {
        "schema": SCHEMA,
        "model": model.name,
        "batches": [
            {
                "images": one.batch.images,
                "budget": {"latency": one.batch.latency, "energy": one.batch.energy},
                "bits": list(one.chosen.bits), "expected_latency": one.chosen.latency,
                "expected_energy": one.chosen.energy, "latency": one.latency,
                "energy": one.energy, "kept": one.kept, "correct": one.correct,
                "passed": one.passed, "switch_seconds": one.switch_seconds,
            }
            for one in took
        ],
    }  # fmt: skip
