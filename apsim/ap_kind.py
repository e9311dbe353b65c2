"""The kinds of AP that a program can be made for: those of the paper, and declared options.

The rule: a kind says what its hardware can do, and what it needs beyond a plain CAM; what a
function costs on it is for its own program and formulas to say.
"""

from __future__ import annotations

from enum import Enum

from apsim.errors import ProgramError

__all__ = ["ApKind"]


class ApKind(Enum):
    """The machines of Table I, and the declared option of a chain across column tags."""

    ONE_D = "1d"
    TWO_D = "2d"
    TWO_D_SEGMENTED = "2d-seg"
    TWO_D_CHAIN = "2d-tc"
    TWO_D_SEGMENTED_CHAIN = "2d-seg-tc"

    @classmethod
    def named(cls, name: str | ApKind) -> ApKind:
        """The kind of that name; raises `ProgramError` for an unknown one."""
        try:
            return cls(name)
        except ValueError:
            known = ", ".join(kind.value for kind in cls)
            raise ProgramError(f"unknown AP kind {name!r}: wanted one of {known}") from None

    @property
    def vertical(self) -> bool:
        """Whether rows can be keyed and columns tagged."""
        return self is not ApKind.ONE_D

    @property
    def segmented(self) -> bool:
        """Whether groups of rows operate as separate 2D APs, in parallel."""
        return self in (ApKind.TWO_D_SEGMENTED, ApKind.TWO_D_SEGMENTED_CHAIN)

    @property
    def chain(self) -> bool:
        """Whether a carry/prefix chain runs across the column tags."""
        return self in (ApKind.TWO_D_CHAIN, ApKind.TWO_D_SEGMENTED_CHAIN)

    @property
    def hardware(self) -> str:
        """What the kind needs beyond a plain CAM; stated in every report that uses it."""
        return _HARDWARE[self]


_HARDWARE = {
    ApKind.ONE_D: "as the paper: horizontal mode, word-sequential reads and writes",
    ApKind.TWO_D: "as the paper: horizontal and vertical mode",
    ApKind.TWO_D_SEGMENTED: "beyond the plain 2D AP: vertical peripherals per segment",
    ApKind.TWO_D_CHAIN: "beyond the paper: a carry/prefix chain across the column tags; "
    "its delay must fit the cycle",
    ApKind.TWO_D_SEGMENTED_CHAIN: "beyond the paper: vertical peripherals and a carry/prefix "
    "chain across the column tags per segment; its delay must fit the cycle",
}
