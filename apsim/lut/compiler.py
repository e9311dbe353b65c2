"""From a truth table, or a function over bits, to a proved LUT.

The rule: whatever comes out of here has been replayed against its truth table by
`check.prove`, like a LUT that was read from a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from apsim.errors import LutError
from apsim.lut.check import Unsound, filled, prove
from apsim.lut.minimal import Cube, shortest
from apsim.lut.model import Bits, Lut, Pass, State
from apsim.lut.order import Impossible, Move, Targets, order
from apsim.lut.specify import Truth, specify

__all__ = ["MAX_MINIMAL_COLUMNS", "compile", "prove_minimal", "solve"]

MAX_MINIMAL_COLUMNS = 5


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
    lut = filled(replace(spec, passes=numbered, minimal=label, text=""))
    prove(lut)
    return lut


def prove_minimal(lut: Lut) -> None:
    """Raise `Unsound` where `lut` says that its passes are proved the fewest, and others are.

    The search writes the same columns as `lut` does; where it is stopped, the claim fails.
    """
    if lut.minimal != "proved":
        return
    writable = [place for place, column in enumerate(lut.columns) if column in lut.outputs]
    found = shortest(_targets(lut), writable, limit=len(lut.passes) - 1)
    if found.passes is not None:
        steps = "; ".join(str(_cube_pass(lut, cube)) for cube in found.passes)
        raise Unsound(
            f"{lut.origin or lut.name}: expected the fewest passes (minimal = 'proved'), "
            f"got {len(lut.passes)}, but {len(found.passes)} will do: {steps}"
        )
    if found.below < len(lut.passes):
        raise Unsound(
            f"{lut.origin or lut.name}: minimal = 'proved' cannot be confirmed: only all lists "
            f"of fewer than {found.below} passes could be tried"
        )


def _fewest(
    spec: Lut, targets: Targets, writable: list[int], known: tuple[Pass, ...]
) -> tuple[tuple[Pass, ...], str]:
    """Fewer passes than `known` where the search finds them, and what that proves."""
    if len(spec.columns) > MAX_MINIMAL_COLUMNS:
        return known, "not proved"
    found = shortest(targets, writable, limit=len(known) - 1)
    best = known
    if found.passes is not None:
        best = tuple(_cube_pass(spec, cube) for cube in found.passes)
    return best, "proved" if found.below >= len(best) else "not proved"


def _split(names: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(names.split()) if isinstance(names, str) else tuple(names)


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
    """Why there are no passes, and what would help: a scratch column, or a kept one."""
    written = " ".join(spec.columns[i] for i in writable)
    kept = [i for i in range(len(spec.columns)) if i not in writable]
    held = " ".join(f"{spec.columns[i]}={impossible.cycle[0][i]}" for i in kept)
    steps = [" ".join(str(state[i]) for i in writable) for state in impossible.cycle]
    scratch = next(letter for letter in "STUVWXYZQ" if letter not in spec.columns)
    return (
        f"{spec.name} cannot be done in place: {f'where {held}, ' if held else ''}"
        f"all {impossible.size} states of {written} occur and are permuted "
        f"({' -> '.join([*steps, steps[0]])}), but a pass can only merge states or move one "
        f"into a state that no row holds.\n    Add one scratch column, say {scratch}, to inputs "
        "and outputs, clean on entry and exit (NP where it is 1): then "
        f"{_with_scratch(targets, writable)} passes will do."
        f"{_with_kept(spec, targets, kept)}"
    )


def _with_scratch(targets: Targets, writable: list[int]) -> int:
    extended = {(*state, 0): (*wanted, 0) for state, wanted in targets.items()}
    return len(order(extended, [*writable, len(next(iter(targets)))]))


def _with_kept(spec: Lut, targets: Targets, kept: list[int]) -> str:
    """A kept column that is written on the way, and restored, can serve as scratch."""
    try:
        passes = len(order(targets, range(len(spec.columns))))
    except Impossible:
        return ""
    names = " ".join(spec.columns[i] for i in kept)
    return (
        f" Or list {names} among the outputs too: written on the way and restored, "
        f"{passes} passes will do."
    )
