"""What tables and files of costs share: units for people, CSV and constants for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from apsim.cost import Chip, Energy, Technology

__all__ = ["SCHEMA", "as_csv", "energy_columns", "layer_table", "parameters", "scaled"]

SCHEMA = "apsim.cost/1"
WORDS = ("layer", "kind", "operation", "a/w")
PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def scaled(value: float, unit: str) -> str:
    """A number with the prefix that leaves one to three digits before the point.

    >>> scaled(0.0946, "J"), scaled(2.4e-16, "J"), scaled(0.0, "s")
    ('94.6 mJ', '0.24 fJ', '0 s')
    """
    if not value:
        return f"0 {unit}"
    factor, prefix = next((p for p in PREFIXES if abs(value) >= p[0]), PREFIXES[-1])
    return f"{value / factor:.3g} {prefix}{unit}"


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each row; columns that a row lacks are empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def energy_columns(energy: Energy) -> dict[str, float]:
    """Joules by part and in total, by the names that JSON and CSV share."""
    parts = {f"energy_{name}_j": joules for name, joules in energy.as_dict().items()}
    return {**parts, "energy_j": energy.total}


def parameters(chip: Chip, technology: Technology) -> dict[str, Any]:
    """Every parameter of the chip and every constant of the technology, defaults included."""
    return {
        "chip": chip.as_dict(),
        "technology": {
            "name": technology.name,
            "writes_charge": {
                "value": technology.writes_charge,
                "source": technology.charge_source,
            },
            "constants": {name: asdict(q) for name, q in technology.constants.items()},
        },
    }


def layer_table(
    title: str, names: Sequence[str], rows: Sequence[Sequence[str]], dropped: Collection[str] = ()
) -> Table:
    """A line for each layer: words to the left, numbers to the right.

    Without the columns `dropped`, and then drawn without lines, for narrow terminals.
    """
    style = {"box": SIMPLE_HEAD, "padding": (0, 0)} if dropped else {}
    table = Table(title=title, title_justify="left", **style)  # type: ignore[arg-type]
    kept = [k for k, name in enumerate(names) if name not in dropped]
    for k in kept:
        table.add_column(names[k], justify="left" if names[k] in WORDS else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[k] for k in kept))
    return table
