"""What a new LUT is to do: the user's function or mapping becomes a complete truth table.

The rule: every state is asked for, and an answer that is missing or is not bits is named.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from apsim.errors import LutError
from apsim.lut.model import Lut, State
from apsim.lut.reader import MAX_COLUMNS, WALKS, check_name

__all__ = ["Truth", "specify"]

Truth = Callable[..., Any] | Mapping[State, Any]


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
    return Lut(name, about, source, inputs, per_bit, per_word, walk, (), rows, free=frozenset(free))


def _check_columns(
    name: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    per_word: tuple[str, ...],
    walk: str,
) -> None:
    check_name(name)
    if not 1 <= len(inputs) <= MAX_COLUMNS:
        raise LutError(f"{name}: 1 to {MAX_COLUMNS} input columns are supported, got {len(inputs)}")
    if len(set(inputs)) < len(inputs):
        raise LutError(f"{name}: each input column must be named once, got {' '.join(inputs)}")
    for column in inputs:
        if not column.isidentifier():
            raise LutError(f"{name}: expected a column name, got {column!r}")
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
