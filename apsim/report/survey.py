"""A survey of model files in words, as JSON and as CSV.

The rule: one line for each file; what blocks most files stands first.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apsim.nn.importers.survey import Surveyed

__all__ = ["csv_of", "file_line", "json_of", "ranking_lines"]

SCHEMA = "apsim.survey/1"


def file_line(one: Surveyed) -> str:
    """The verdict on a file, and what blocks it."""
    if one.verdict == "imports":
        return f"{one.path}: imports ({one.layers} layers)"
    if one.verdict == "blocked":
        return f"{one.path}: blocked by {_listed(one)}"
    return f"{one.path}: {one.verdict}" + (f" ({one.reason})" if one.verdict == "not read" else "")


def _listed(one: Surveyed) -> str:
    return ", ".join(f"{op} x{many}" for op, many in one.blockers)


def ranking_lines(files: Sequence[Surveyed]) -> list[str]:
    """How many files import, and the obstacles in their order."""
    from apsim.nn.importers.survey import ranking

    verdicts = Counter(one.verdict for one in files)
    counted = ", ".join(f"{many} {verdict}" for verdict, many in verdicts.most_common())
    lines = [f"{len(files)} files: {counted}"]
    lines += [
        f"  {one.op}: blocks {one.files} file{'s' * (one.files != 1)}, {one.alone} alone "
        f"({one.operators} operators)"
        for one in ranking(files)
    ]
    return lines


def json_of(files: Sequence[Surveyed]) -> dict[str, Any]:
    """The survey under schema apsim.survey/1."""
    from apsim.nn.importers.survey import ranking

    return {
        "schema": SCHEMA,
        "files": [asdict(one) | {"blockers": dict(one.blockers)} for one in files],
        "ranking": [asdict(one) for one in ranking(files)],
    }


def csv_of(files: Sequence[Surveyed]) -> str:
    """A line for each file: its path, the verdict, layers, blockers, the whole reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "verdict", "layers", "blockers", "reason"))
    for one in files:
        writer.writerow((one.path, one.verdict, one.layers or "", _listed(one), one.reason))
    return text.getvalue()
