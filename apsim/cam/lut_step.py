"""LUT steps as Python that numba compiles: the passes on the same few lines, in one loop over rows.

The rule: the text is made from the passes alone, in their order, and every tag is made and
counted.  What is spared is the way of the cells to memory and back between two passes; and
where each tag is found by one key on the cells as they were before the first pass (which is
tried for every state), all tags are found at once, and the writes follow.
"""

from __future__ import annotations

import linecache
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from string import ascii_lowercase as NAMES
from typing import Any

from apsim.cam import jit
from apsim.cam.step import COUNTED, KNOWN

__all__ = ["NAMES", "Generated", "LutStep", "Pass", "made_of", "source", "worth"]

Key = tuple[tuple[int, int], ...]
Writes = tuple[tuple[int, int, int], ...]
Pass = tuple[Key, Writes]
"""Key (line, bit) pairs, and written (line, bit, how it flips) triples."""

MOST_LINES = 10  # of a LUT step with code of its own; beyond, registers run out
MOST_TRIED = 6  # lines whose states are all tried
COMPILING, LOADING = 0.1, 0.005
"""Seconds that it takes to compile a LUT step, and to load one that is kept on disk."""

SPEED = 4e8
"""Vectors of 512 rows that `step` brings through a pass in a second, about."""


class Generated(ABC):
    """Passes that may have code of their own: Python made from them, that numba compiles."""

    passes: tuple[Any, ...]

    @property
    @abstractmethod
    def lines(self) -> int:
        """How many lines the passes use."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The Python: one function of a frame and a row."""

    @property
    def address(self) -> int:
        """Where the operation's machine code begins; made, or loaded, the first time."""
        return operation_of(self).address


@cache
def operation_of(one: Generated) -> jit.Operation:
    """The operation of passes that have code of their own."""
    text = one.text
    name = f"<{type(one).__name__} {abs(hash(text)):x}>"
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    scope: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, name, "exec"), scope)
    return jit.Operation(scope["operation"], text)


@dataclass(frozen=True)
class LutStep(Generated):
    """Passes on lines that are numbered as they come, and whether the last tag is kept.

    The operation: COUNT steps on the lines of a row of TABLE, passes from INDEX on.
    """

    passes: tuple[Pass, ...]
    keep: bool = False

    @cached_property
    def lines(self) -> int:
        """How many lines the passes use."""
        return 1 + max(line for key, writes in self.passes for line, *_ in (*key, *writes))

    @property
    def text(self) -> str:
        """The Python that numba compiles."""
        return source(self)


def made_of(passes: Sequence[Pass], keep: bool = False) -> tuple[LutStep, tuple[int, ...]]:
    """A LUT step from passes on lines of an array or on slots, and those lines in its order."""
    number: dict[int, int] = {}
    named = tuple(
        (
            tuple((number.setdefault(line, len(number)), bit) for line, bit in key),
            tuple((number.setdefault(line, len(number)), bit, how) for line, bit, how in writes),
        )
        for key, writes in passes
    )
    return LutStep(named, keep), tuple(number)


_lock = threading.Lock()
_done: dict[Generated, float] = {}


def worth(one: Generated, vectors: int) -> bool:
    """Whether a LUT step that comes on so many vectors more runs as code of its own.

    It does from where `step` would have taken as long for it, in this process, as it takes to
    make that code; less where the code is kept on disk.
    """
    if one.lines > MOST_LINES:
        return False
    with _lock:
        done = _done[one] = _done.get(one, 0.0) + vectors * len(one.passes) / SPEED
    if done > COMPILING:
        return True
    return done > LOADING and operation_of(one).is_kept


HEAD = """\
from apsim.cam.frame import *
from apsim.cam.vector import load, nothing, offset, ones, pointer, splat, store, total


def operation(frame, row):
    base, line, full = frame[BASE] + row[AT], frame[LINE], frame[FULL]
    live, vectors, tags = frame[LIVE], frame[VECTORS], frame[TAGS] + row[AT]
    table, alive, weight = pointer(row[TABLE]), frame[ALIVE], frame[WEIGHT]
    times = offset(pointer(frame[TIMES]), row[INDEX])
    compared = offset(pointer(frame[COMPARED]), row[INDEX])
    matched = offset(pointer(frame[MATCHED]), row[INDEX])
    written = offset(pointer(frame[WRITTEN]), row[INDEX])
    flipped = offset(pointer(frame[FLIPPED]), row[INDEX])
"""


def source(one: LutStep) -> str:
    """The Python that numba compiles for a LUT step."""
    return HEAD + "\n".join(_body(one)) + "\n"


def _body(one: LutStep) -> Iterator[str]:
    names = NAMES[: one.lines]
    counted = [
        (k, j)
        for k, (_, writes) in enumerate(one.passes)
        for j, (*_, how) in enumerate(writes)
        if how == COUNTED
    ]
    yield "    for turn in range(row[COUNT]):"
    for k, name in enumerate(names):
        yield f"        at_{name} = base + line * table[{len(names)} * turn + {k}]"
    for k in range(len(one.passes)):
        yield f"        n{k} = nothing()"
    for k, j in counted:
        yield f"        f{k}_{j} = nothing()"
    yield "        for v in range(full):"
    yield from _vector(one, names, alive=False)
    yield "        for v in range(full, vectors):"
    yield from _vector(one, names, alive=True)
    yield from _counts(one, counted)


def _vector(one: LutStep, names: str, *, alive: bool) -> Iterator[str]:
    """The passes on one vector: each line loaded once, and stored where it was written."""
    for name in names:
        yield f"            {name} = load(at_{name}, v)"
    if alive:
        yield "            living = load(live, v)"
    products = tags_at_once(one.passes, one.lines)
    keys = products or [key for key, _ in one.passes]
    compares, writes = [
        list(lines) for lines in zip(*_passes(one, keys, names, alive), strict=True)
    ]
    if products is None:
        for compare, write in zip(compares, writes, strict=True):
            yield from (*compare, *write)
    else:
        yield from (line for part in (*compares, *writes) for line in part)
    if one.keep:
        yield f"            store(tags, v, t{len(one.passes) - 1})"
    for line in sorted({line for _, writes in one.passes for line, *_ in writes}):
        yield f"            store(at_{names[line]}, v, {names[line]})"


def _passes(
    one: LutStep, keys: Sequence[Key], names: str, alive: bool
) -> Iterator[tuple[list[str], list[str]]]:
    """The compare of each pass, and its writes."""
    for k, (key, (_, writes)) in enumerate(zip(keys, one.passes, strict=True)):
        factors = ["living"] * alive + [f"{'' if bit else '~'}{names[line]}" for line, bit in key]
        compare = [
            f"            t{k} = {' & '.join(factors or ['splat(-1)'])}",
            f"            n{k} += ones(t{k})",
        ]
        yield compare, [line for j, w in enumerate(writes) for line in _write(k, j, names, w)]


def _write(k: int, j: int, names: str, write: tuple[int, int, int]) -> Iterator[str]:
    """A write of a pass; where the key says what the line holds, it flips, or holds it already."""
    line, bit, how = write
    name = names[line]
    if how == COUNTED:
        yield f"            f{k}_{j} += ones(t{k} & {'~' if bit else ''}{name})"
        yield (
            f"            {name} = {name} | t{k}" if bit else f"            {name} = {name} & ~t{k}"
        )
    elif how == KNOWN:
        yield f"            {name} = {name} ^ t{k}"
    else:
        yield f"            # where t{k}, {name} holds {bit} already"


def tags_at_once(passes: tuple[Pass, ...], lines: int) -> list[Key] | None:
    """Keys on the cells as they were before the first pass, that match where the passes do.

    None where a pass matches what no single key finds.  Every state of the lines is tried.
    """
    if lines > MOST_TRIED:
        return None
    states = list(product((0, 1), repeat=lines))
    now = [list(state) for state in states]
    found: list[Key] = []
    for key, writes in passes:
        tagged = [k for k, cells in enumerate(now) if all(cells[line] == bit for line, bit in key)]
        for k in tagged:
            for line, bit, _ in writes:
                now[k][line] = bit
        same = [
            (line, states[tagged[0]][line])
            for line in range(lines)
            if tagged and len({states[k][line] for k in tagged}) == 1
        ]
        if len(tagged) != 1 << (lines - len(same)):
            return None
        found.append(tuple(same))
    return found


def _counts(one: LutStep, counted: list[tuple[int, int]]) -> Iterator[str]:
    """What the step's passes did, added to the numbers of the program's passes."""
    passes = range(len(one.passes))
    lines = [len(writes) for _, writes in one.passes]
    sure = [sum(how == KNOWN for *_, how in writes) for _, writes in one.passes]
    yield from (f"        ones{k} = total(n{k})" for k in passes)
    adds = {
        "TIMES": ["weight" for _ in passes],
        "COMPARED": ["alive" for _ in passes],
        "MATCHED": [f"ones{k}" for k in passes],
        "WRITTEN": [f"{lines[k]} * ones{k}" if lines[k] else "" for k in passes],
        "FLIPPED": [f"{sure[k]} * ones{k}" if sure[k] else "" for k in passes],
    }
    for k, j in counted:
        adds["FLIPPED"][k] += f"{' + ' if adds['FLIPPED'][k] else ''}total(f{k}_{j})"
    for name, added in adds.items():
        at = f"{name.lower()}[{len(passes)} * turn + "
        yield from (f"        {at}{k}] += {many}" for k, many in enumerate(added) if many)
