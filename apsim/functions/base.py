"""The paper's functions, end to end: populate, compute, read out, on an AP kind.

The rule: a function is a program for a layout, and how operands become words of rows
and rows become results; every operation that it needs is in the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, wraps
from inspect import signature
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apsim.ap_kind import ApKind
from apsim.arguments import checked
from apsim.counts import Activity, Counts, Phase
from apsim.errors import InputError, ProgramError
from apsim.layout import Field, Layout, array_of
from apsim.machine import Machine
from apsim.ops.steps import reset
from apsim.program import Item, Microprogram, Operation

__all__ = [
    "Function",
    "Patterns",
    "Result",
    "clear_scratch",
    "cleared",
    "expect_shape",
    "in_rows",
    "on_any_kind",
    "run",
    "signed_words",
]

Words = NDArray[np.uint64]
Patterns = NDArray[np.unsignedinteger[Any]]  # words, in no wider type than they need
P = ParamSpec("P")
SIZES = {"bits", "rows", "words", "groups", "length", "count", "i", "j", "u", "window", "windows"}
MOST = 1 << 30  # rows and the like that a function is built for


@dataclass(frozen=True)
class Result:
    """Values, and what it took: from the same passes."""

    values: NDArray[np.int64]
    counts: Counts
    activity: Activity
    counts_by_phase: dict[Phase, Counts]


@dataclass(frozen=True, eq=False)  # a function is itself: hashable, for plans kept by function
class Function:
    """A function on an AP: `arrange(*operands)` gives patterns [rows] for each input field.

    Results stand in words `places` of the output; `unbias` is what the reader subtracts
    from an offset-binary sum (for several ports [ports, 1]), `shape` the shape of the result.
    `elsewhere` gives the same function on another AP kind, or raises `ProgramError` where it
    is not offered there.  `ports` words of each row are put out.  `again` builds the same
    function once more: what pickles and copies of it are.
    """

    name: str
    kind: ApKind
    layout: Layout
    rows: int
    operation: Operation
    inputs: tuple[str, ...]
    output: Field
    places: NDArray[np.int64]
    arrange: Callable[..., Sequence[Patterns]] = field(repr=False)
    unbias: int | NDArray[np.int64] = 0
    shape: tuple[int, ...] | None = None
    elsewhere: Callable[[ApKind], Function] | None = field(default=None, repr=False)
    again: Callable[[], Function] | None = field(default=None, repr=False)
    ports: int = 1

    def __reduce__(self) -> Any:
        return super().__reduce__() if self.again is None else (self.again, ())

    @cached_property
    def program(self) -> Microprogram:
        """The whole program on the function's layout."""
        return self.operation.on(self.layout)

    @property
    def columns(self) -> int:
        """Columns that the program needs."""
        return self.layout.columns

    @cached_property
    def _in_order(self) -> bool:
        """Whether results stand in the first words, one after another."""
        return np.array_equal(self.places, np.arange(len(self.places)))

    def require(self, rows: int, columns: int, array: str = "the array") -> None:
        """Refuse an array that is too small: `ProgramError`, with the kinds that would fit."""
        if self.rows <= rows and self.columns <= columns:
            return
        others = ", ".join(kind.value for kind in self._kinds_within(rows, columns))
        raise ProgramError(
            f"{self.name} on the {self.kind.value} AP needs {self.rows} rows and {self.columns} "
            f"columns; {array} has {rows} rows and {columns} columns; "
            + (f"it would fit on {others}" if others else "no AP kind would fit")
        )

    def _kinds_within(self, rows: int, columns: int) -> Iterator[ApKind]:
        for kind in ApKind if self.elsewhere else ():
            with suppress(ProgramError):
                other = self.elsewhere(kind)  # type: ignore[misc]
                if other.rows <= rows and other.columns <= columns:
                    yield kind

    def words(self, *operands: ArrayLike) -> Words:
        """Operands as words [ports, rows]; raises `InputError` for wrong ones or too few."""
        try:
            signature(self.arrange).bind(*operands)
        except TypeError as error:
            raise InputError(f"{self.name}: {len(operands)} operands given: {error}") from None
        arranged = self.arrange(*operands)
        if not arranged:  # a program that takes nothing in
            return np.zeros((0, self.rows), np.uint64)
        return np.stack(arranged, dtype=np.uint64)

    def results(self, out: Words) -> NDArray[np.int64]:
        """Results from the words that the program put out."""
        here = slice(len(self.places)) if self._in_order else self.places
        values = self.output.decode(out[:, here] if self.ports > 1 else out[0, here])
        if np.any(self.unbias):
            wide = values.dtype == np.uint64
            values = (
                signed_words(values.view(np.uint64), self.unbias) if wide else values - self.unbias
            )
        return values if self.shape is None else values.reshape(self.shape)


def on_any_kind(build: Callable[P, Function]) -> Callable[P, Function]:
    """A builder whose functions know how they would be built on another AP kind."""

    takes, build = signature(build), checked(build)

    @wraps(build)
    def built(*args: P.args, **options: P.kwargs) -> Function:
        _require_sizes(build.__name__, takes.bind(*args, **options).arguments)

        def elsewhere(kind: ApKind) -> Function:
            return build(*args, **(options | {"kind": kind}))  # type: ignore[arg-type]

        again = partial(built, *args, **options)
        return replace(build(*args, **options), elsewhere=elsewhere, again=again)

    return built


def _require_sizes(name: str, given: Mapping[str, Any]) -> None:
    for size in SIZES & given.keys():
        least = int(size != "bits")  # of fields' widths layouts know more
        if isinstance(given[size], int) and not least <= given[size] <= MOST:
            raise InputError(f"{name}: {size}: wanted 1 to {MOST:,}, got {given[size]}")


@checked
def run(
    function: Function, *operands: ArrayLike, engine: str = "strict", machine: Machine | None = None
) -> Result:
    """Run a function on a machine of its size (fresh, or the given one, which may be dirty).

    Raises `InputError` for operands of a wrong shape or out of range, `ProgramError` where
    the machine is too small.
    """
    machine = machine or Machine(function.rows, function.layout, engine=engine)
    function.require(machine.rows, machine.cam.columns)
    counts, activity = machine.counts, machine.activity
    phases = dict(machine.counts_by_phase)
    data = function.words(*operands)
    if data.shape[1] < machine.rows:
        data = np.hstack([data, np.zeros((len(data), machine.rows - data.shape[1]), np.uint64)])
    out = np.zeros((function.ports, max(machine.rows, 1)), np.uint64)
    machine.run(function.program, data, out)
    return Result(
        function.results(out),
        machine.counts - counts,
        _since(machine.activity, activity),
        {p: c - phases.get(p, Counts()) for p, c in machine.counts_by_phase.items()},
    )


def _since(now: Activity, before: Activity) -> Activity:
    return Activity(*(a - b for a, b in zip(_numbers(now), _numbers(before), strict=True)))


def _numbers(activity: Activity) -> tuple[int, ...]:
    return tuple(activity.as_dict().values())


def clear_scratch(layout: Layout, inputs: Sequence[str], keep: int = -1) -> list[Item]:
    """Clear every column that no input fills, in one write, before the inputs are populated.

    Rows that hold flags or carries need no write of their own: their scratch columns are
    cleared with all others, their input columns populated with zeros.  Column `keep` is
    set to 1 instead (the preset of an offset-binary product).
    """
    filled = {column for name in inputs for column in layout[name].columns}
    columns = [c for c in range(layout.columns) if c not in filled]
    if not columns:
        return []
    bits = tuple((column, int(column == keep)) for column in columns)
    text = "scratch <- 0" if keep < 0 else "scratch <- 0, top 1"
    return [replace(reset(columns, text=text), write=bits)]


def signed_words(words: Words, unbias: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Words of 64 bits less `unbias`, of which the low 64 bits are the signed result's own."""
    less = unbias & ((1 << 64) - 1) if isinstance(unbias, int) else unbias.astype(np.uint64)
    return (words - np.asarray(less, np.uint64)).view(np.int64)


def cleared(function: Function) -> Function:
    """The same function, clearing its scratch columns first: one write, for used arrays."""
    clear = Operation("clear", lambda lay: clear_scratch(lay, function.inputs))
    again = partial(cleared, function)
    return replace(function, operation=clear + function.operation, again=again)


def in_rows(words: Patterns, rows: int) -> Patterns:
    """Words of the first rows, zeros in the rows after them."""
    filled = np.zeros(rows, words.dtype)
    filled[: words.size] = words.ravel()
    return filled


def expect_shape(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Integers of a shape; raises `InputError` with what came."""
    array = array_of(name, values)
    if array.shape != shape:
        raise InputError(f"{name}: wanted an array of shape {shape}, got {array.shape}")
    return array
