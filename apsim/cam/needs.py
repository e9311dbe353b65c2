"""What a program needs of an array, worked out once: the door behind which nobody checks.

The rule: kernels have no bounds checks, so everything they use as an index is
looked at here, for programs from `encode` and for codes made by hand alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

# isort: off
from apsim.encoding import (
    BODY, GATE, GROUPS, KEY, KEYS, MODE, OP, PASSES, PLACE, PORT, SLOTS, SPAN, TABLE, TARGET,
    WIDTH, WRITE, WRITES, Code,
)  # fmt: skip

# isort: on
from apsim.errors import ProgramError
from apsim.step import Gate, Mode, Op

__all__ = ["Needs", "Used", "needs", "of_loop", "on_rows", "used"]

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Used(NamedTuple):
    """Entries' lines and bits, whether they are written, and the steps that they belong to."""

    line: Numbers
    bit: Flags
    written: Flags
    step: Numbers  # counted from the first of the steps asked for
    place: Numbers  # which of its step's entries each is


_uses: WeakKeyDictionary[Code, Used] = WeakKeyDictionary()


def used(code: Code, start: int = 0, stop: int | None = None) -> Used:
    """What the steps from `start` up to, not including, `stop` compare and write."""
    known = _uses.get(code)
    if known is None:
        known = _uses[code] = _used(code)
    end = len(code) if stop is None else stop
    part = slice(*np.searchsorted(known.step, (start, end)))
    found = Used._make(numbers[part] for numbers in known)
    return found._replace(step=found.step - start)


def _used(code: Code) -> Used:
    sizes = code.steps[:, [KEYS, WRITES]].ravel()
    ends = np.cumsum(sizes)
    half = np.arange(len(sizes)).repeat(sizes)
    index = np.arange(len(half))
    entries = code.pool[(code.steps[:, [KEY, WRITE]].ravel() - ends + sizes)[half] + index]
    step = half // 2
    first = (ends - sizes)[::2]
    line, bit = np.ascontiguousarray(entries.T)
    return Used(line, bit != 0, half % 2 == 1, step, index - first[step])


@dataclass(frozen=True)
class Needs:
    """Sizes a program asks for; `row_words` tells whether ports serve all rows at once."""

    columns: int
    rows: int
    inputs: int
    outputs: int
    input_groups: int
    output_groups: int
    row_inputs: bool
    row_outputs: bool


_known: WeakKeyDictionary[Code, Needs] = WeakKeyDictionary()


def needs(code: Code) -> Needs:
    """What a program needs; raises `ProgramError` for a code that no program encodes to."""
    if code.whole is not None:
        return needs(code.whole)
    found = _known.get(code)
    if found is None:
        _check(code)
        found = _known[code] = _measure(code)
    return found


def on_rows(known: Needs, rows: Numbers) -> Needs:
    """The needs of a program that differs from one already looked at in its rows alone."""
    _check_rows(rows)
    return replace(known, rows=_most(rows))


def _measure(code: Code) -> Needs:
    steps = code.steps
    vertical = steps[:, MODE] == Mode.VERTICAL
    inward = steps[:, OP] == Op.WRITE_DATA
    outward = (steps[:, OP] == Op.READ) & (steps[:, PORT] >= 0)
    moving = vertical & np.isin(steps[:, OP], (Op.WRITE_TAG, Op.WRITE_DATA))
    bits = used(code)
    groups = of_loop(steps, GROUPS)
    return Needs(
        columns=max(
            _most(bits.line[~vertical[bits.step]]),
            _most((steps[:, TARGET] + steps[:, WIDTH] - 1)[moving]),
        ),
        rows=_most(code.rows),
        inputs=_most(steps[inward, PORT]),
        outputs=_most(steps[outward, PORT]),
        input_groups=_most(groups[inward & vertical] - 1),
        output_groups=_most(groups[outward & vertical] - 1),
        row_inputs=bool((inward & ~vertical).any()),
        row_outputs=bool((outward & ~vertical).any()),
    )


def _most(indices: Numbers) -> int:
    """How long something must be to have all these indices."""
    return int(indices.max(initial=-1)) + 1


def of_loop(steps: Numbers, what: int) -> Numbers:
    """A number of the loop that each step lies in, 0 outside loops."""
    found = np.zeros(len(steps), np.int64)
    for start in np.flatnonzero(steps[:, BODY]):
        found[start : start + steps[start, BODY]] = steps[start, what]
    return found


def _check(code: Code) -> None:
    steps = code.steps
    _want(steps.ndim == 2 and steps.shape[1] == SPAN, f"steps of {SPAN} numbers")
    _want(code.pool.ndim == 2 and code.pool.shape[1] == 2, "a pool of (line, bit) pairs")
    op, vertical = steps[:, OP], steps[:, MODE] == Mode.VERTICAL
    _want(np.isin(op, list(Op)), "known operations")
    _want(np.isin(steps[:, MODE], list(Mode)), "known modes")
    _want(np.isin(steps[:, GATE], list(Gate)), "known gates")
    _want(vertical | (steps[:, GATE] == Gate.NONE), "a tag chain only in vertical steps")
    _check_pool(code)
    _check_lut_steps(steps)
    _check_loops(code, vertical)
    _want((op != Op.WRITE_DATA) | (steps[:, PORT] >= 0), "a port for data from outside")
    _want(vertical | ((steps[:, PLACE] >= 0) & (steps[:, PLACE] < 64)), "a place of 0 to 63")
    _want((steps[:, [WIDTH, TARGET]] >> 62 == 0).all(axis=1), "widths and targets of 0 to 2^62 - 1")
    ported = vertical & (op == Op.READ) & (steps[:, PORT] >= 0)
    _want(~ported | (steps[:, WIDTH] <= 64), "at most 64 columns read into a word")


def _check_pool(code: Code) -> None:
    steps = code.steps
    for first, size in ((KEY, KEYS), (WRITE, WRITES)):
        ends = steps[:, first] + steps[:, size]
        inside = (steps[:, first] >= 0) & (steps[:, size] >= 0) & (ends <= len(code.pool))
        _want(inside, "keys and writes inside the pool")
    _want(code.pool[:, 0] >= 0, "lines >= 0")
    single = np.isin(steps[:, OP], (Op.WRITE_TAG, Op.WRITE_DATA))
    _want(~single | (steps[:, KEYS] > 0), "a line to write to")


def _check_lut_steps(steps: Numbers) -> None:
    """A LUT step is passes of one direction and one loop."""
    marked = np.flatnonzero(steps[:, PASSES])
    count, kind = steps[marked, PASSES], steps[:, OP] == Op.PASS
    _want((count > 0) & (marked + count <= len(steps)), "LUT steps inside the program")
    ends = np.cumsum(kind & (steps[:, BODY] == 0))
    inside = ends[marked + count - 1] - ends[marked] == count - 1
    same = steps[marked, MODE] == steps[marked + count - 1, MODE]
    _want(kind[marked] & inside & same, "LUT steps of passes")


def _check_loops(code: Code, vertical: Flags) -> None:
    steps = code.steps
    covered = np.zeros(len(steps), np.int64)
    for start in np.flatnonzero(steps[:, BODY]):
        body, groups, table, slots = steps[start, [BODY, GROUPS, TABLE, SLOTS]]
        inside = 0 < body <= len(steps) - start and groups > 0 and slots > 0 and table >= 0
        _want(inside and table + groups * slots <= len(code.rows), "loops inside the program")
        covered[start : start + body] += 1
    _want(covered == vertical, "every vertical step, and no other, in one loop")
    bits = used(code)
    slots = of_loop(steps, SLOTS)[bits.step]
    _want((slots == 0) | (bits.line < slots), "slots that the loop has")
    _check_rows(code.rows)


def _check_rows(rows: Numbers) -> None:
    _want(rows >= 0, "rows >= 0")


def _want(true: bool | Flags, what: str) -> None:
    if not np.all(true):
        where = "" if isinstance(true, bool) else f", not so at {int(np.argmin(true))}"
        raise ProgramError(f"an encoded program wants {what}{where}")
