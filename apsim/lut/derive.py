"""LUTs made from other LUTs.

The rule: what is derived from a sound LUT is sound, because truth and passes are
changed alike.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from apsim.errors import LutError
from apsim.lut.model import Bits, Lut, Pass, State

__all__ = ["complemented"]


def complemented(lut: Lut, columns: Collection[str]) -> Lut:
    """The LUT that does to the complement of `columns` what `lut` does to them.

    Every literal of these columns is flipped, in keys, writes and truth, so the number
    of passes stays.  With A and B of `max` it is the minimum; in the sign column of
    two's complement words, where 1 is the smaller, it is the signed maximum.

    >>> from apsim.lut import find
    >>> str(complemented(find("relu"), ["A"]).passes[0])
    'A F = 0 1 -> A = 1'
    """
    for name in columns:
        if name not in lut.columns:
            raise LutError(
                f"LUT {lut.name} has no column {name!r} (its columns are {' '.join(lut.columns)})"
            )
    flips = tuple(int(name in columns) for name in lut.columns)
    return replace(
        lut,
        name=f"{lut.name}_c{''.join(name for name in lut.columns if name in columns).lower()}",
        about=f"{lut.about} Columns {' '.join(columns)} complemented.",
        passes=tuple(_pass(step, columns) for step in lut.passes),
        truth={
            _state(state, flips): result and _state(result, flips)
            for state, result in lut.truth.items()
        },
        free=frozenset((_state(state, flips), name) for state, name in lut.free),
        text="",
        lines={_state(state, flips): line for state, line in lut.lines.items()},
    )


def _pass(step: Pass, columns: Collection[str]) -> Pass:
    return Pass(_bits(step.key, columns), _bits(step.write, columns), step.label)


def _bits(bits: Bits, columns: Collection[str]) -> Bits:
    return tuple((name, bit ^ (name in columns)) for name, bit in bits)


def _state(state: State, flips: State) -> State:
    return tuple(bit ^ flip for bit, flip in zip(state, flips, strict=True))
