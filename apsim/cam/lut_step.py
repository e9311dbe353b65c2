"""LUT steps as Python that numba compiles: the passes on the same few lines, in one loop over rows.

The rule: the text is made from the passes alone, in their order, and every tag is made and
counted.  What is spared is the way of the cells to memory and back between two passes; and
where `at_once` tells all tags from the cells as they were before the first pass, all of them
are found, and then the writes follow.
"""

from __future__ import annotations

import linecache
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from string import ascii_lowercase as NAMES
from typing import Any

from apsim.background import is_made
from apsim.cam import jit
from apsim.cam.at_once import AtOnce, Key, Pass, at_once
from apsim.cam.step import COUNTED, KNOWN

__all__ = ["NAMES", "Generated", "LutStep", "Pass", "made_of", "source", "worth"]

_lock = threading.RLock()
_operations: dict[Generated, jit.Operation] = {}
_done: dict[Generated, float] = {}

MOST_LINES = 10  # of a LUT step with code of its own; beyond, registers run out
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
        return int(operation_of(self).address)


def operation_of(one: Generated) -> jit.Operation:
    """The one operation of passes that have code of their own: it lives as long as its code."""
    with _lock:
        if one not in _operations:
            text = one.text
            name = f"<{type(one).__name__} {abs(hash(text)):x}>"
            linecache.cache[name] = len(text), None, text.splitlines(True), name
            scope: dict[str, Any] = {"__name__": __name__}
            exec(compile(text, name, "exec"), scope)
            _operations[one] = jit.Operation(scope["operation"], text)
        return _operations[one]


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


def worth(one: Generated, vectors: int) -> bool:
    """Whether a LUT step that comes on so many vectors more runs as code of its own.

    It does from where `step` would have taken as long for it, in this process, as it takes to
    make that code; less where the code is kept on disk.  A call that would not by itself take
    as long does not wait for it: the code is made in the background, and `step` goes on.
    """
    if one.lines > MOST_LINES:
        return False
    more = vectors * len(one.passes) / SPEED
    with _lock:
        done = _done[one] = _done.get(one, 0.0) + more
    if more > COMPILING or (done > LOADING and operation_of(one).is_kept):
        return True
    return done > COMPILING and is_made(one, partial(getattr, one, "address"))


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
    found = at_once(one.passes, one.lines)
    yield from _at_once(one, found, names, alive) if found else _in_turn(one, names, alive)
    if one.keep:
        yield f"            store(tags, v, t{len(one.passes) - 1})"
    for line in sorted({line for _, writes in one.passes for line, *_ in writes}):
        yield f"            store(at_{names[line]}, v, {names[line]})"


def _in_turn(one: LutStep, names: str, alive: bool) -> Iterator[str]:
    """Each tag, and what is written where it matched."""
    for k, (key, writes) in enumerate(one.passes):
        yield from _compare(k, key, names, ["living"] * alive)
        for j, write in enumerate(writes):
            yield from _write(k, j, names, write)


def _at_once(one: LutStep, found: AtOnce, names: str, alive: bool) -> Iterator[str]:
    """All tags, then all writes; a line that flips in each pass does so where one matches."""
    among, lines = ["living"] * alive, set[int]()
    if found.differ:
        differ = " ^ ".join(names[line] for line in found.differ)
        held = [f"({differ})", *_held(found.shared, names), *among]
        yield f"            hit = {' & '.join(held)}"
        flips = ({line for line, _, how in w if how == KNOWN} for _, w in one.passes)
        among, lines = ["hit"], set.intersection(*flips)
    for k, key in enumerate(found.keys):
        yield from _compare(k, key, names, among)
    yield from (f"            {names[line]} = {names[line]} ^ hit" for line in sorted(lines))
    for k, (_, writes) in enumerate(one.passes):
        for j, write in enumerate(writes):
            yield from _write(k, j, names, write) if write[0] not in lines else ()


def _compare(k: int, key: Key, names: str, among: list[str]) -> Iterator[str]:
    yield f"            t{k} = {' & '.join([*_held(key, names), *among] or ['splat(-1)'])}"
    yield f"            n{k} += ones(t{k})"


def _held(key: Key, names: str) -> list[str]:
    return [f"{'' if bit else '~'}{names[line]}" for line, bit in key]


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
