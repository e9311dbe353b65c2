"""Gates of the array by yosys: what keys on rows and column tags take, beside a 1D array.

The rule: generic gates of a generic synthesis; only ratios and growth are worth anything,
and the caveats stand beside every figure.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

from apsim.errors import InputError
from apsim.rtl import tools

__all__ = ["CAVEATS", "Area", "areas"]

CAVEATS = (
    "Flip-flops and gates of a generic synthesis, not CAM cells: use ratios and growth only.",
    "The array without its controller; each column is synthesised once and repeated.",
    "2D is vertical search and vertical write: the paper's second port is the search alone.",
)
KINDS = {"1d": (0, 0), "2d": (1, 0), "2d-tc": (1, 1)}
SYNTHESISE = (
    "read_verilog -sv {source}; hierarchy -top ap -chparam ROWS {rows} -chparam COLUMNS {columns} "
    "-chparam VERTICAL {vertical} -chparam CHAIN {chain}; synth -top ap; "
    "tee -q -o gates.json stat -json; abc -g cmos4; tee -q -o cmos4.json stat -json"
)


@dataclass(frozen=True)
class Area:
    """Generic gates, and gates of at most four inputs ("cmos4"), of one AP kind."""

    kind: str
    rows: int
    columns: int
    gates: int
    cmos4: int

    @property
    def bits(self) -> int:
        """Cells of the array."""
        return self.rows * self.columns


def areas(rows: int, columns: int) -> Iterator[Area]:
    """Synthesise an array as a 1D, a 2D and a 2D AP with chain.

    Raises `InputError` where yosys is missing or the array is larger than 64 x 64 cells
    by more than four times.
    """
    if not 0 < rows * columns <= 4 * 64 * 64:
        raise InputError(f"--area: wanted 1 to {4 * 64 * 64} cells, got {rows} x {columns}")
    tools.find("yosys")
    for kind, (vertical, chain) in KINDS.items():
        with TemporaryDirectory() as folder, as_file(files("apsim.rtl") / "sv" / "ap.sv") as source:
            script = SYNTHESISE.format(
                source=source, rows=rows, columns=columns, vertical=vertical, chain=chain
            )
            command = ["yosys", "-q", "-p", script]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                raise InputError(f"yosys gave up: {(done.stderr or done.stdout).strip()[-200:]}")
            gates, cmos4 = (_cells(Path(folder, f"{name}.json")) for name in ("gates", "cmos4"))
        yield Area(kind, rows, columns, gates, cmos4)


def _cells(path: Path) -> int:
    cells: int = json.loads(path.read_text())["design"]["num_cells"]
    return cells
