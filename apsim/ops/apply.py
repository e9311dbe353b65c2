"""A LUT of the user's own, swept over fields.

The rule: nothing is known about the LUT but what its file says; per-bit columns walk
along their fields in the LUT's direction, per-word columns stay.
"""

from __future__ import annotations

from collections.abc import Iterator

from apsim.errors import ProgramError
from apsim.layout import Layout
from apsim.lut.model import Lut
from apsim.ops.steps import look_up, passes
from apsim.program import Item, Operation, by_value

__all__ = ["apply"]


@by_value
def apply(table: Lut | str, **fields: str) -> Operation:
    """Sweep a LUT (by name, file or value) over fields: `apply("add", A="X", B="Y", C="carry")`.

    Each column of the LUT stands on the field given for it, or on the field of its own
    name.  Per-bit columns must be equally wide, per-word columns one column wide.
    """
    found = look_up(table) if isinstance(table, str) else table
    unknown = set(fields) - set(found.columns)
    if unknown:
        raise ProgramError(
            f"LUT {found.name!r} has columns {', '.join(found.columns)}, no {min(unknown)!r}"
        )

    def build(layout: Layout) -> Iterator[Item]:
        words = {name: layout[fields.get(name, name)] for name in found.columns}
        width = _width(found, {name: word.width for name, word in words.items()})
        for k in reversed(range(width)) if found.walk == "msb-first" else range(width):
            lines = {n: w[k] if n in found.per_bit else w[0] for n, w in words.items()}
            yield from passes(found, lines, bit=k)

    return Operation(f"apply {found.name}", lambda layout: list(build(layout)))


def _width(table: Lut, widths: dict[str, int]) -> int:
    per_bit = {widths[name] for name in table.per_bit} or {1}
    odd = [name for name in table.columns if name not in table.per_bit and widths[name] != 1]
    if len(per_bit) > 1 or odd:
        found = ", ".join(f"{name}: {width}" for name, width in widths.items())
        raise ProgramError(
            f"LUT {table.name!r} wants {', '.join(table.per_bit)} equally wide "
            f"and one column for each other, got {found}"
        )
    return per_bit.pop()
