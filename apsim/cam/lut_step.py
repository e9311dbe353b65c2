"""Passes as Python that numba compiles: a LUT step, or vertical steps that one visit can do.

The rule: the text is made from the passes alone, in their order, and every tag is made and
counted.  What is spared is the way of the cells to memory and back between two passes: a LUT
step is one loop over vectors; vertical steps are all carried out on one column before the next
one up, so what a step wants of another column must come from below it (the carries of the tag
chain, the cells of a row that is read and written back one column further up).
"""

from __future__ import annotations

import linecache
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from string import ascii_lowercase as NAMES
from typing import Any, NamedTuple

from apsim.background import is_made
from apsim.cam import jit
from apsim.cam.step import COUNTED, KNOWN
from apsim.step import Gate

__all__ = [
    "NAMES", "LutStep", "Pass", "cells", "generated", "made_of", "source", "together", "worth",
]  # fmt: skip

MOST_LINES = 10  # of what has code of its own; beyond, registers run out
COMPILING, LOADING = 0.1, 0.005
"""Seconds that it takes to compile a LUT step, and to load one that is kept on disk."""

SPEED = 4e8
"""Vectors of 512 rows that `step` brings through a pass in a second, about."""


class Pass(NamedTuple):
    """A compare of (line, bit) pairs and the (line, bit, how it flips) written where it matched.

    Or, where it `moves`, a row read, and its tags written back to it one column further up.
    """

    key: tuple[tuple[int, int], ...]
    write: tuple[tuple[int, int, int], ...] = ()
    gate: Gate = Gate.NONE
    moves: bool = False

    @property
    def lines(self) -> list[int]:
        """The lines that it names, in order."""
        return [line for line, *_ in (*self.key, *self.write)]

    @property
    def written(self) -> set[int]:
        """Those that it writes."""
        return {line for line, *_ in (self.key if self.moves else self.write)}

    @property
    def counts_flips(self) -> bool:
        """Whether flips are counted cell by cell."""
        return self.moves or any(how == COUNTED for *_, how in self.write)

    def on(self, place: Callable[[int], int]) -> Pass:
        """The same on other lines."""
        key = tuple((place(line), bit) for line, bit in self.key)
        write = tuple((place(line), bit, how) for line, bit, how in self.write)
        return self._replace(key=key, write=write)


@dataclass(frozen=True)
class LutStep:
    """Passes on lines that are numbered as they come, and whether the last tag is kept.

    The operation: COUNT LUT steps on the lines of a row of TABLE, passes from INDEX on; X
    columns move.
    """

    passes: tuple[Pass, ...]
    keep: bool = False

    @cached_property
    def lines(self) -> int:
        """How many lines the passes use."""
        return 1 + max(line for one in self.passes for line in one.lines)

    @property
    def by_column(self) -> bool:
        """Whether one column comes after another."""
        return any(one.gate or one.moves for one in self.passes)

    @property
    def address(self) -> int:
        """Where the operation's machine code begins; made, or loaded, the first time."""
        return int(operation_of(self).address)


_lock = threading.RLock()
_operations: dict[LutStep, jit.Operation] = {}
_done: dict[LutStep, float] = {}


def operation_of(one: LutStep) -> jit.Operation:
    """The one operation of passes that have code of their own: it lives as long as its code."""
    with _lock:
        if one not in _operations:
            _operations[one] = generated(source(one))
        return _operations[one]


def generated(text: str) -> jit.Operation:
    """The `operation` that a text defines; tracebacks show its lines."""
    name = f"<passes {abs(hash(text)):x}>"
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    scope: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, name, "exec"), scope)
    return jit.Operation(scope["operation"], text)


def made_of(passes: Sequence[Pass], keep: bool = False) -> tuple[LutStep, tuple[int, ...]]:
    """A LUT step from passes on lines of an array or on slots, and those lines in its order."""
    number: dict[int, int] = {}
    named = tuple(one.on(lambda line: number.setdefault(line, len(number))) for one in passes)
    return LutStep(named, keep), tuple(number)


def worth(one: LutStep, vectors: int) -> bool:
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
    base, line, table, index = frame[BASE] + row[AT], frame[LINE], pointer(row[TABLE]), row[INDEX]
    alive, weight, tags = frame[ALIVE], frame[WEIGHT], frame[TAGS] + row[AT]
    times = offset(pointer(frame[TIMES]), index)
    compared = offset(pointer(frame[COMPARED]), index)
    matched = offset(pointer(frame[MATCHED]), index)
    written = offset(pointer(frame[WRITTEN]), index)
    flipped = offset(pointer(frame[FLIPPED]), index)
"""
BY_VECTOR = "    full, vectors, live = frame[FULL], frame[VECTORS], frame[LIVE]\n"
BY_COLUMN = """\
    full, vectors, live = frame[LANES_FULL], frame[LANES], frame[LANES_LIVE]
    column, columns, width = frame[COLUMN], frame[COLUMNS], row[X]
    moved = width * frame[LANES_ALIVE]
"""


def source(one: LutStep) -> str:
    """The Python that numba compiles for a LUT step, or for vertical steps."""
    head = HEAD + (BY_COLUMN if one.by_column else BY_VECTOR)
    return head + "    for turn in range(row[COUNT]):\n" + "\n".join(_turn(one)) + "\n"


def _turn(one: LutStep) -> Iterator[str]:
    names = NAMES[: one.lines]
    for k, name in enumerate(names):
        yield f"        at_{name} = base + line * table[{len(names)} * turn + {k}]"
    for k, some in enumerate(one.passes):
        yield f"        n{k} = {f'f{k} = ' * some.counts_flips}nothing()"
    for which, alive in (("full", False), ("full, vectors", True)):
        yield f"        for v in range({which}):"
        body = _columns(one, alive) if one.by_column else cells(one, "", alive, False)
        yield from _indented(12, body)
    yield from _indented(8, _counts(one))


def _columns(one: LutStep, alive: bool) -> Iterator[str]:
    """All columns of one vector; from `width` on none moves."""
    for k, some in enumerate(one.passes):
        if some.gate or some.moves:
            yield f"below{k} = nothing()"
    moves = any(some.moves for some in one.passes)
    for which in ("width", "width, columns") if moves else ("columns",):
        yield f"for k in range({which}):"
        yield from _indented(4, cells(one, " + k * column", alive, which == "width"))


def cells(one: LutStep, at: str, alive: bool, moving: bool) -> Iterator[str]:
    """The passes on one vector: each line loaded once, and stored where it was written."""
    yield from (f"{name} = load(at_{name}{at}, v)" for name in NAMES[: one.lines])
    if alive:
        yield "living = load(live, v)"
    for first, last in together(one.passes):
        some = range(first, last)
        for k in some:
            yield from (_move if one.passes[k].moves else _compare)(one.passes[k], k, alive, moving)
        for k in some:
            yield from _writes(one.passes[k], k)
    if one.keep:
        yield f"store(tags, v, t{len(one.passes) - 1})"
    for line in sorted(set[int]().union(*(some.written for some in one.passes))):
        yield f"store(at_{NAMES[line]}{at}, v, {NAMES[line]})"


def together(passes: Sequence[Pass]) -> Iterator[tuple[int, int]]:
    """Passes, from and to, of which no row matches two: all tags are found before any writes."""
    first = 0
    for k, one in enumerate(passes):
        if not all(_is_apart(before, one) for before in passes[first:k]):
            yield first, k
            first = k
    yield first, len(passes)


def _is_apart(one: Pass, later: Pass) -> bool:
    """Whether what a pass matches differs from what a later one does, and so what it leaves."""
    found = dict(one.key)
    left = found | {line: bit for line, bit, _ in one.write}
    alone = one.gate or one.moves or later.gate or later.moves
    return not alone and all(
        any(cells.get(line, bit) != bit for line, bit in later.key) for cells in (found, left)
    )


def _compare(one: Pass, k: int, alive: bool, _: bool) -> Iterator[str]:
    held = [f"{'' if bit else '~'}{NAMES[line]}" for line, bit in one.key] + ["living"] * alive
    yield f"t{k} = {' & '.join(held or ['splat(-1)'])}"
    if one.gate == Gate.LOAD_G:
        yield f"generate = t{k}"
    elif one.gate:
        if one.gate == Gate.LOAD_K:
            yield f"kill = t{k}"
        yield f"t{k}, below{k} = t{k} & below{k}, generate | (below{k} & ~kill)"
    yield f"n{k} += ones(t{k})"


def _move(one: Pass, k: int, _: bool, moving: bool) -> Iterator[str]:
    name = NAMES[one.key[0][0]]
    yield f"n{k} += ones({name})"
    if moving:
        yield f"f{k} += ones({name} ^ below{k})"
        yield f"{name}, below{k} = below{k}, {name}"


def _writes(one: Pass, k: int) -> Iterator[str]:
    """Where the key says what the line holds, it flips, or holds that already."""
    for line, bit, how in one.write:
        name = NAMES[line]
        if how == COUNTED:
            yield f"f{k} += ones(t{k} & {'~' if bit else ''}{name})"
            yield f"{name} = {name} | t{k}" if bit else f"{name} = {name} & ~t{k}"
        elif how == KNOWN:
            yield f"{name} = {name} ^ t{k}"
        else:
            yield f"# where t{k}, {name} holds {bit} already"


def _counts(one: LutStep) -> Iterator[str]:
    """What the passes did, added to the numbers of the program's steps; a move is two of them.

    A gated pass is a compare, the tag chain and a write (see `base.parts_of`).
    """
    steps = len(one.passes) + sum(some.moves for some in one.passes)
    at = 0
    for k, some in enumerate(one.passes):
        sure = sum(how == KNOWN for *_, how in some.write)
        yield f"m, s = total(n{k}), {steps} * turn + {at}"
        yield f"times[s] += {3 if some.gate else 1} * weight"
        yield "compared[s] += alive"
        yield "matched[s] += m"
        if some.moves:
            yield "s += 1"
            yield "times[s] += weight"
        yield f"written[s] += {'moved' if some.moves else f'm * {len(some.write)}'}"
        yield f"flipped[s] += m * {sure}{f' + total(f{k})' * some.counts_flips}"
        at += 1 + some.moves


def _indented(by: int, lines: Iterable[str]) -> Iterator[str]:
    yield from (" " * by + line for line in lines)
