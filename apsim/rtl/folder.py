"""The exported folder: fixed SystemVerilog, and memories and parameters of one program.

The rule: only fixed text names things in the circuit, so no field or column of a user can
clash with a keyword; the same load gives the same bytes; the folder runs wherever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apsim.errors import InputError, shown
from apsim.files import write_text
from apsim.rtl.expected import Expected, Load, record, state_bits
from apsim.rtl.microcode import Microcode, assemble, segments_are_contiguous

__all__ = ["Export", "export", "is_export", "write"]

FIXED = ("ap.sv", "controller.sv", "tb.sv", "run")
MOST_ROWS = 4096
MOST_CLOCKS = 1_000_000
TITLE = "An associative processor and one program for it, exported by apsim rtl"


@dataclass(frozen=True)
class Export:
    """A load with its microcode and what is expected of it; a write takes `write_clocks`."""

    load: Load
    code: Microcode
    expected: Expected
    write_clocks: int = 1

    @property
    def clocks(self) -> int:
        """compares + reads + write_clocks * writes."""
        counts = self.expected.counts
        return counts.compare + counts.read + self.write_clocks * counts.write


def export(load: Load, write_clocks: int = 1, whole: bool = True) -> Export:
    """Assemble a load and run it on the definition; `whole` keeps the state of every clock.

    Raises `ProgramError` for what the hardware does not offer, `InputError` for more than
    4,096 rows or a million clocks.
    """
    counts = load.program.counts()
    if load.rows > MOST_ROWS or counts.total > MOST_CLOCKS:
        raise InputError(
            f"{shown(load.program.name)}: {load.rows} rows and {counts.total} operations are too "
            f"much for a circuit in a simulator: wanted at most {MOST_ROWS} rows and {MOST_CLOCKS} "
            "operations; --rows, --bits, or a smaller layer make it smaller"
        )
    code = assemble(load.program, load.columns)
    return Export(load, code, record(load, code.segments, whole), write_clocks)


def is_export(folder: Path) -> bool:
    """Whether a folder was written by `write`."""
    readme = folder / "README"
    return readme.is_file() and readme.read_text(errors="replace").startswith(TITLE)


def write(made: Export, folder: Path) -> None:
    """Write the folder, over an export that is there; raises `InputError` where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}") from error
    for name in FIXED:
        write_text(folder / name, files("apsim.rtl").joinpath("sv", name).read_text())
    (folder / "run").chmod(0o755)
    for name, text in _generated(made).items():
        write_text(folder / name, text)


def _generated(made: Export) -> dict[str, str]:
    load, code, expected = made.load, made.code, made.expected
    line = max(load.rows, load.columns)
    state = state_bits(load.rows, load.columns, code.segments)
    return {
        "params.svh": "".join(f"`define {k} {v}\n" for k, v in _parameters(made).items()),
        "microcode.hex": _numbers(code.words, _word_bits(made)),
        "loops.hex": _numbers(code.loops, 160),
        "rows.hex": _numbers(code.rows, 32),
        "masks.hex": _numbers(code.masks, load.rows),
        "cells.hex": _lines(tuple(load.cells.T), load.rows),
        "data.hex": _lines(expected.inputs, line),
        "expected_out.hex": _lines(expected.outputs, line),
        "expected_trace.hex": _lines(expected.trace, state),
        "README": _readme(made),
    }


def _parameters(made: Export) -> dict[str, int]:
    load, code, expected = made.load, made.code, made.expected
    return {
        "ROWS": load.rows, "COLUMNS": load.columns, "SEGMENTS": code.segments,
        "VERTICAL": int(code.vertical), "CHAIN": int(code.chain), "WORDS": len(code.words),
        "LOOPS": len(code.loops), "TABLE": len(code.rows), "MASKS": len(code.masks),
        "LINES": code.lines, "SLOT": code.slot,
        "INPUTS": max(len(expected.inputs), 1), "OUTPUTS": max(len(expected.outputs), 1),
        "TAKEN": len(expected.inputs), "PUT": len(expected.outputs), "TRACE": len(expected.trace),
        "COMPARES": expected.counts.compare, "WRITES": expected.counts.write,
        "READS": expected.counts.read, "FLIPS": expected.flips, "WRITE_CLOCKS": made.write_clocks,
    }  # fmt: skip


def _word_bits(made: Export) -> int:
    columns = made.load.columns
    head = 10 + 2 * columns + (columns - 1).bit_length() + 2 + 2 * columns.bit_length()
    return head + made.code.lines * (2 + made.code.slot)


def _numbers(numbers: Sequence[int], bits: int) -> str:
    return "".join(f"{number:0{(bits + 3) // 4}x}\n" for number in numbers)


def _lines(lines: Sequence[NDArray[np.bool_]], bits: int) -> str:
    """A line of hexadecimal digits for each line of bits; one of zeros where there is none."""
    return "".join(_hex(line, bits) + "\n" for line in lines or [np.zeros(bits, bool)])


def _hex(line: NDArray[np.bool_], bits: int) -> str:
    full = np.zeros(bits, bool)
    full[: line.size] = line[:bits]
    digits = np.packbits(full, bitorder="little")[::-1].tobytes().hex()
    return digits[-((bits + 3) // 4) :]


def _readme(made: Export) -> str:
    load, expected, code = made.load, made.expected, made.code
    counts = expected.counts
    contiguous = "yes" if segments_are_contiguous(load.program) else "no"
    when = "after every clock" if expected.whole else "at the end only"
    listing = "\n".join(
        f"{pc:6d} {word.step.op.name.lower():10s} {shown(word.step)}"
        for pc, word in enumerate(code.listing)
    )
    return f"""{TITLE}

program   {shown(load.program.name or "program")}
array     {load.rows} rows x {load.columns} columns, at most {code.segments} segments at once
          segments contiguous: {contiguous}
microcode {len(code.words)} words of {_word_bits(made)} bits
counts    {counts}
clocks    {made.clocks} = compares + reads + {made.write_clocks} x writes
flips     {expected.flips} cells change in all
compared  cells and tags {when}

./run icarus        build and run with Icarus Verilog; prints PASS or FAIL
./run verilator     the same with Verilator
WAVES=1 ./run ...   writes ap.vcd too

ap.sv, controller.sv   the circuit            tb.sv               the comparison
microcode.hex          a word a line          loops, rows, masks  the rows that loops visit
cells.hex              cells at the start     data.hex            a line for each write of data
expected_out.hex       a line for each read   expected_trace.hex  cells and tags

Words by line of microcode.hex:
{listing}
"""
