"""From a truth table, or a function over bits, to a proved LUT.

The rule: whatever comes out of here has been replayed against its truth table by
`check.prove`, like a LUT that was read from a file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from apsim.errors import LutError
from apsim.lut.check import prove, settle
from apsim.lut.minimal import Cube, shortest
from apsim.lut.model import Bits, Lut, Pass, State
from apsim.lut.order import Impossible, Move, Targets, order
from apsim.lut.parse import MAX_COLUMNS, WALKS

__all__ = ["MAX_MINIMAL_COLUMNS", "compile", "solve", "specify"]

MAX_MINIMAL_COLUMNS = 5

Truth = Callable[..., Any] | Mapping[State, Any]


def compile(
    truth: Truth,
    *,
    name: str,
    inputs: str | Sequence[str],
    outputs: str | Sequence[str],
    per_word: str | Sequence[str] = (),
    walk: str = "lsb-first",
    about: str = "",
    source: str = "",
    minimal: bool = False,
) -> Lut:
    """Order the passes of a new LUT and prove it; with `minimal`, as few as there can be.

    `truth` is called with the input bits, or looked up by their tuple.  It gives the
    bits of `outputs` (columns that are among `inputs`): one bit, a sequence, or a
    mapping by name; None for a bit means that any will do, None for all of them that
    the state is not possible.  At most 8 columns.  Raises `LutError` where the truth
    is incomplete, or cannot be carried out in place.

    >>> lut = compile(lambda a, b: a & b, name="and", inputs="A B", outputs="B")
    >>> [str(step) for step in lut.passes]
    ['A B = 0 1 -> B = 0']
    """
    spec = specify(
        truth,
        name=name,
        inputs=_split(inputs),
        outputs=_split(outputs),
        per_word=_split(per_word),
        walk=walk,
        about=about or f"{name}, compiled from its truth table.",
        source=source or "the user's truth table",
    )
    return solve(spec, _split(outputs), minimal=minimal)


def specify(
    truth: Truth,
    *,
    name: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    per_word: tuple[str, ...],
    walk: str,
    about: str,
    source: str,
) -> Lut:
    """The LUT without passes that `truth` describes; raises `LutError` naming the state."""
    _check_columns(name, inputs, outputs, per_word, walk)
    rows: dict[State, State | None] = {}
    free: set[tuple[State, str]] = set()
    for state in product((0, 1), repeat=len(inputs)):
        result = _result(truth, name, inputs, outputs, state)
        free.update((state, column) for column, bit in (result or {}).items() if bit is None)
        rows[state] = None if result is None else _merged(inputs, state, result)
    if not any(rows.values()):
        raise LutError(f"{name}: no state is possible, so there is nothing to compile")
    per_bit = tuple(column for column in inputs if column not in per_word)
    return Lut(
        name, about, source, inputs, per_bit, per_word, walk, (), rows, free=frozenset(free)
    )


def solve(spec: Lut, outputs: Sequence[str], *, minimal: bool = False) -> Lut:
    """Give the truth table of `spec` passes that write no column but `outputs`.

    Raises `LutError` where that cannot be done in place, with the reason and the
    scratch column that would help.
    """
    targets = _targets(spec)
    writable = [place for place, column in enumerate(spec.columns) if column in outputs]
    try:
        moves = order(targets, writable)
    except Impossible as impossible:
        raise LutError(_reason(spec, impossible, targets, writable)) from None
    passes, label = tuple(_move_pass(spec, move, writable) for move in moves), ""
    if minimal:
        passes, label = _fewest(spec, targets, writable, passes)
    numbered = tuple(replace(step, label=str(i)) for i, step in enumerate(passes, 1))
    lut = settle(replace(spec, passes=numbered, minimal=label, text=""))
    prove(lut)
    return lut


def _fewest(
    spec: Lut, targets: Targets, writable: list[int], known: tuple[Pass, ...]
) -> tuple[tuple[Pass, ...], str]:
    """Fewer passes than `known` where the search finds them, and what that proves."""
    if len(spec.columns) > MAX_MINIMAL_COLUMNS:
        return known, "not proved"
    found = shortest(targets, writable, limit=len(known) - 1)
    if found.passes is not None:
        return tuple(_cube_pass(spec, cube) for cube in found.passes), "proved"
    return known, "proved" if found.below >= len(known) else "not proved"


def _split(names: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(names.split()) if isinstance(names, str) else tuple(names)


def _check_columns(
    name: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    per_word: tuple[str, ...],
    walk: str,
) -> None:
    if not 1 <= len(inputs) <= MAX_COLUMNS:
        raise LutError(f"{name}: 1 to {MAX_COLUMNS} input columns are supported, got {len(inputs)}")
    if len(set(inputs)) < len(inputs):
        raise LutError(f"{name}: each input column must be named once, got {' '.join(inputs)}")
    if not outputs:
        raise LutError(f"{name}: expected at least one output column, got none")
    for column in outputs + per_word:
        if column not in inputs:
            raise LutError(
                f"{name}: column {column} is not among the inputs {' '.join(inputs)}; "
                "a column that starts clean is an input too (None where it is 1)"
            )
    if walk not in WALKS:
        raise LutError(f"{name}: walk must be {' or '.join(map(repr, WALKS))}, got {walk!r}")


def _result(
    truth: Truth, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], state: State
) -> dict[str, int | None] | None:
    where = f"{name}, state {' '.join(inputs)} = {' '.join(map(str, state))}"
    value = _ask(truth, state, where)
    if value is None:
        return None
    if isinstance(value, Mapping):
        bits = [value.get(column, "nothing") for column in outputs]
    else:
        bits = [value] if len(outputs) == 1 and not isinstance(value, Sequence) else value
    if not isinstance(bits, Sequence) or len(bits) != len(outputs):
        wanted = f"{len(outputs)} bits for {' '.join(outputs)}"
        raise LutError(f"{where}: expected {wanted}, got {value!r}")
    for column, bit in zip(outputs, bits, strict=True):
        if bit is not None and bit not in (0, 1):
            raise LutError(f"{where}: {column} must be 0, 1 or None (any), got {bit!r}")
    return {c: bit if bit is None else int(bit) for c, bit in zip(outputs, bits, strict=True)}


def _ask(truth: Truth, state: State, where: str) -> Any:
    if isinstance(truth, Mapping):
        if state not in truth:
            raise LutError(f"{where}: the truth table has no row; give None if not possible")
        return truth[state]
    try:
        inspect.signature(truth).bind(*state)
    except TypeError:
        raise LutError(f"{where}: the function must take {len(state)} bits") from None
    except ValueError:  # some built-in functions do not tell their signature
        pass
    return truth(*state)


def _merged(inputs: tuple[str, ...], state: State, result: Mapping[str, int | None]) -> State:
    pairs = zip(inputs, state, strict=True)
    return tuple(bit if (new := result.get(name)) is None else new for name, bit in pairs)


def _targets(spec: Lut) -> dict[State, tuple[int | None, ...]]:
    return {
        state: tuple(
            None if (state, column) in spec.free else bit
            for column, bit in zip(spec.columns, result, strict=True)
        )
        for state, result in spec.truth.items()
        if result is not None
    }


def _move_pass(spec: Lut, move: Move, writable: list[int]) -> Pass:
    """All columns compared, all outputs written: one row of the table."""
    before, after = move
    key = tuple(zip(spec.columns, before, strict=True))
    return Pass(key, tuple((spec.columns[i], after[i]) for i in writable))


def _cube_pass(spec: Lut, cube: Cube) -> Pass:
    key, write = (_bits(spec.columns, cells) for cells in cube)
    return Pass(key, write)


def _bits(columns: tuple[str, ...], cells: tuple[int | None, ...]) -> Bits:
    pairs = zip(columns, cells, strict=True)
    return tuple((column, bit) for column, bit in pairs if bit is not None)


def _reason(spec: Lut, impossible: Impossible, targets: Targets, writable: list[int]) -> str:
    """Why there are no passes, and what a scratch column would change."""
    written = " ".join(spec.columns[i] for i in writable)
    kept = [i for i in range(len(spec.columns)) if i not in writable]
    held = " ".join(f"{spec.columns[i]}={impossible.cycle[0][i]}" for i in kept)
    steps = [" ".join(str(state[i]) for i in writable) for state in impossible.cycle]
    extended = {(*state, 0): (*wanted, 0) for state, wanted in targets.items()}
    passes = len(order(extended, [*writable, len(spec.columns)]))
    scratch = next(letter for letter in "STUVWXYZQ" if letter not in spec.columns)
    return (
        f"{spec.name} cannot be done in place: {f'where {held}, ' if held else ''}"
        f"all {impossible.size} states of {written} occur and are permuted "
        f"({' -> '.join([*steps, steps[0]])}), but a pass can only merge states or move one "
        f"into a state that no row holds.\n    Add one scratch column, say {scratch}, to inputs "
        f"and outputs, clean on entry and exit (NP where it is 1): then {passes} passes will do."
    )
