"""A folder of model files: which import, which do not, and what stands in their way.

The rule: a file is imported to be surveyed, so that a verdict is what `apsim import` would
say; one that cannot be read is a line like any other.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from apsim.errors import ApsimError, InputError, shown
from apsim.files import suffix_of
from apsim.nn import importers

__all__ = ["SUFFIXES", "Obstacle", "Surveyed", "ranking", "survey"]

SUFFIXES = (".onnx", ".tflite")
REALS = "in floating point"


@dataclass(frozen=True)
class Surveyed:
    """One file: `verdict` is "imports", "blocked", "not quantized" or "not read".

    `blockers` counts operators that stand in the way by kind; `reason` is the whole refusal.
    """

    path: str
    verdict: str
    layers: int = 0
    blockers: tuple[tuple[str, int], ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Obstacle:
    """A kind of operator: files that it blocks, those that it blocks alone, how often it occurs."""

    op: str
    files: int
    alone: int
    operators: int


def survey(folder: str | os.PathLike[str]) -> Iterator[Surveyed]:
    """Every model file below a folder, by name; raises `InputError` where there is none."""
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"--survey: {folder} is no folder")
    paths = sorted(
        path for path in root.rglob("*") if suffix_of(path) in SUFFIXES and _is_file(path)
    )
    if not paths:
        raise InputError(f"--survey: no {' or '.join(SUFFIXES)} file below {folder}")
    for path in paths:
        yield _surveyed(path, shown(str(path.relative_to(root))))


def _is_file(path: Path) -> bool:
    """Whether it is a file, or a link to what is not there."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def _surveyed(path: Path, name: str) -> Surveyed:
    try:
        model = importers.read(path).model
    except ApsimError as error:
        return _refused(error, name, str(error).removeprefix(f"{path}: "))
    except MemoryError:
        return Surveyed(name, "not read", reason="not enough memory")
    except Exception as error:  # a defect here costs one line, not the files after it
        reason = f"apsim failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return Surveyed(name, "not read", reason=reason)
    return Surveyed(name, "imports", len(model.layers))


def _refused(error: ApsimError, name: str, reason: str) -> Surveyed:
    blockers = getattr(error, "blockers", ())
    counted = tuple(Counter(one.op for one in blockers).most_common())
    reals = sum(REALS in one.why for one in blockers)
    if 2 * reals > len(blockers) or (not blockers and REALS in reason):
        return Surveyed(name, "not quantized", 0, counted, reason)
    return Surveyed(name, "blocked" if blockers else "not read", 0, counted, reason)


def ranking(files: Sequence[Surveyed]) -> list[Obstacle]:
    """What blocks most files, of those that are blocked; floating point is no obstacle."""
    blocked = [dict(one.blockers) for one in files if one.verdict == "blocked"]
    found = [
        Obstacle(
            op,
            sum(op in one for one in blocked),
            sum(set(one) == {op} for one in blocked),
            sum(one.get(op, 0) for one in blocked),
        )
        for op in {op for one in blocked for op in one}
    ]
    return sorted(found, key=lambda one: (-one.files, -one.alone, one.op))
