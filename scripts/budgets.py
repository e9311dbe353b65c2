"""Lines of each room of `apsim` beside its budget (`budgets.toml`); exit code 1 above one.

The rule: every line of a `.py` file counts, for each has to be read; data files do not.
Standard library only.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(package: Path = ROOT / "apsim") -> int:
    budgets = tomllib.loads((ROOT / "scripts" / "budgets.toml").read_text())
    rooms = rooms_of(package)
    over = [*over_lines(rooms, budgets), *over_length(rooms, budgets["longest"]["module"])]
    total = sum(lines(files) for files in rooms.values())
    print(f"{'all':<12} {total:>6} of {sum(budgets['lines'].values()):>6} lines")
    for problem in over:
        print(problem)
    return 1 if over else 0


def rooms_of(package: Path) -> dict[str, list[Path]]:
    """The modules of each room; those beside the rooms under "."."""
    rooms: dict[str, list[Path]] = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).parts
        rooms.setdefault(parts[0] if len(parts) > 1 else ".", []).append(path)
    return rooms


def lines(files: list[Path]) -> int:
    return sum(len(path.read_text().splitlines()) for path in files)


def over_lines(
    rooms: dict[str, list[Path]], budgets: dict[str, dict[str, int]]
) -> Iterator[str]:  # fmt: skip
    """Print each room; give what is above its budget."""
    for room, files in rooms.items():
        there, most = lines(files), budgets["lines"].get(room, 0)
        allowed = budgets["modules"].get(room, len(files))
        modules = f"{len(files):>3}" + (f" of {allowed}" if room in budgets["modules"] else "")
        print(f"{room:<12} {there:>6} of {most:>6} lines, {modules} modules")
        if there > most:
            yield f"{room}: {there} lines, {there - most} above its budget"
        if len(files) > allowed:
            yield f"{room}: {len(files)} modules, wanted {allowed} at most"


def over_length(rooms: dict[str, list[Path]], most: int) -> Iterator[str]:
    for path in (path for files in rooms.values() for path in files):
        long = sum(bool(line.strip()) for line in path.read_text().splitlines())
        if long > most:
            yield f"{path.relative_to(ROOT)}: {long} lines without blank ones, wanted {most}"


if __name__ == "__main__":
    sys.exit(main())
