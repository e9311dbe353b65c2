"""Programs for an AP: the microprogram that steps and loops make, and operations that build it.

The rule: what a program should cost is the sum over the steps that it lists; what a run
did cost is counted by the array that carried them out, and the two are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, wraps
from typing import Any, ParamSpec, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from apsim.arguments import checked
from apsim.counts import Counts, Phase
from apsim.encoding import Code, encode
from apsim.layout import Layout
from apsim.repeats import Repeat, repeats_of
from apsim.step import COUNTS, Gate, Loop, Mode, Op, Step

__all__ = ["Gate", "Loop", "Microprogram", "Mode", "Op", "Operation", "Step", "by_value"]

Item = Step | Loop

_PHASE = {phase: number for number, phase in enumerate(Phase)}


@dataclass(frozen=True)
class Microprogram:
    """A listable, printable program; `counts()` is known before it runs."""

    items: tuple[Item, ...]
    name: str = ""

    def __add__(self, other: Microprogram) -> Microprogram:
        name = " + ".join(filter(None, (self.name, other.name)))
        return Microprogram(self.items + other.items, name)

    @cached_property
    def code(self) -> Code:
        """The program as integers, for an array to execute (see `apsim.encoding`)."""
        return encode(self.items)

    def counts(self) -> Counts:
        """Compares, writes and reads of one run: the sum over the steps that run."""
        return sum(self._by_phase.values(), Counts())

    def counts_by_phase(self) -> dict[Phase, Counts]:
        """The same, for each phase that occurs."""
        return dict(self._by_phase)

    @cached_property
    def _by_phase(self) -> dict[Phase, Counts]:
        times_of = Counter[tuple[Phase, Op]]()
        for item in self.items:
            for step, times in item.weighted() if isinstance(item, Loop) else [(item, 1)]:
                times_of[step.phase, step.op] += times
        by_phase: dict[Phase, Counts] = {}
        for (phase, op), times in times_of.items():
            by_phase[phase] = by_phase.get(phase, Counts()) + COUNTS[op] * times
        return by_phase

    @cached_property
    def phases(self) -> NDArray[np.int64]:
        """For each row of the code, which of `Phase` the step belongs to, by number."""
        found: list[int] = []
        for item in self.items:
            for repeat in repeats_of(item.body) if isinstance(item, Loop) else [Repeat((item,))]:
                found += [_PHASE[step.phase] for step in repeat.steps] * repeat.times
        return np.array(found, np.int64)

    def weighted(self) -> Iterator[tuple[Step, int]]:
        """Each step with how often the hardware carries it out."""
        for item in self.items:
            if isinstance(item, Loop):
                yield from ((step, item.times) for step in item.body)
            else:
                yield item, 1

    def __len__(self) -> int:
        """Steps that run, in the order of the hardware."""
        loops = [item for item in self.items if isinstance(item, Loop)]
        return len(self.items) + sum(len(loop.body) * loop.times - 1 for loop in loops)

    def single_steps(self) -> Iterator[tuple[Item, int]]:
        """Every step that runs, one at a time, with the group of its loop that it belongs to.

        Vertical steps come as loops over their own rows: one group, or all in parallel.
        """
        for item in self.items:
            if not isinstance(item, Loop):
                yield item, 0
                continue
            groups = [item.rows] if item.parallel else [row[None] for row in item.rows]
            for group, rows in enumerate(groups):
                for step in item.body:
                    yield replace(item, body=(step,), rows=rows), group

    def __str__(self) -> str:
        head = f"{self.name or 'program'}: {len(self)} steps, {self.counts()}"
        return "\n".join([head, *_listing(self.items)])

    def __repr__(self) -> str:
        return f"<Microprogram {self.name!r}: {len(self)} steps, {self.counts()}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre style='font-family: monospace'>{escape(str(self))}</pre>"


def _listing(items: Sequence[Item]) -> Iterator[str]:
    number = 0
    for item in items:
        if isinstance(item, Loop):
            how = "in parallel" if item.parallel else "one after another"
            yield f"      for {len(item.rows)} groups of rows, {how}:"
        for step in item.body if isinstance(item, Loop) else (item,):
            indent = "  " if isinstance(item, Loop) else ""
            yield f"{number:5d} {indent}{step}"
            number += 1


@dataclass(frozen=True, eq=False)  # an operation is itself: hashable, for programs that are kept
class Operation:
    """What to do, by field names; `.on(layout)` gives the program for given columns.

    `parts` are the operations that a sum was made of, in order.  The last programs that were
    made are kept, by operation and layout.
    """

    name: str
    build: Callable[[Layout], Sequence[Item]] = field(repr=False)
    parts: tuple[Operation, ...] = field(default=(), repr=False)
    made: tuple[Any, ...] = field(default=(), repr=False)

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """How a pickle makes it again: by the call that made it, where that goes by a name."""
        return (_made, self.made) if self.made else super().__reduce_ex__(protocol)

    def on(self, layout: Layout) -> Microprogram:
        """The program on this layout; raises `LayoutError` or `ProgramError`."""
        return _program(self, layout)

    def __add__(self, other: Operation) -> Operation:
        return _sum(self, other)

    def __str__(self) -> str:
        return self.name


KEPT = 256  # operations, and programs of operations

Arguments = ParamSpec("Arguments")


def by_value(make: Callable[Arguments, Operation]) -> Callable[Arguments, Operation]:
    """Of equal arguments make one operation, so that its programs are made once as well.

    Arguments of another kind than `make` names are refused: `InputError`.
    """
    make = checked(make)
    known = lru_cache(KEPT, typed=True)(make)

    @wraps(make)
    def found(*args: Arguments.args, **named: Arguments.kwargs) -> Operation:
        try:
            hash((args, tuple(named.values())))
        except TypeError:
            operation = make(*args, **named)
        else:
            operation = known(*args, **named)  # type: ignore[arg-type]
        object.__setattr__(operation, "made", (found, args, named))
        return operation

    return found


def _made(make: Callable[..., Operation], args: Any, named: Any) -> Operation:
    return make(*args, **named)


@by_value
def _sum(one: Operation, other: Operation) -> Operation:
    return Operation(
        f"{one.name} + {other.name}",
        lambda layout: (*one.build(layout), *other.build(layout)),
        (*(one.parts or (one,)), *(other.parts or (other,))),
    )


@lru_cache(KEPT)
def _program(operation: Operation, layout: Layout) -> Microprogram:
    return Microprogram(tuple(operation.build(layout)), operation.name)
