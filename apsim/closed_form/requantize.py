"""What requantization on the AP takes; the paper has no equation for it and counts nothing.

The rule: every formula counts the program that runs, from its numbers alone.
"""

from __future__ import annotations

from apsim.closed_form.kinds import positive
from apsim.counts import Counts
from apsim.errors import InputError

__all__ = ["requantize"]

PASS = Counts(compare=1, write=1)
# Counts beside the two passes a bit of the increment.
ROUNDING = {
    "floor": Counts(),
    "half-up": Counts(),
    **dict.fromkeys(("half-even", "half-down", "half-away", "half-zero"), PASS),
    "ceil": Counts(write=1) + PASS,
    **dict.fromkeys(("toward-zero", "away-from-zero"), PASS * 2),
}
CARRIES = ("ceil", "toward-zero", "away-from-zero")


def requantize(
    bits: int,
    width: int,
    lo: int,
    hi: int,
    *,
    signed: bool = True,
    bias: int | None = 0,
    multiplier: int | None = 1,
    multiplier_bits: int = 0,
    offsets: bool = False,
    constant: int = 0,
    dropped: int = 0,
    shift: int = 0,
    mode: str = "floor",
    signs: tuple[int, int] | None = None,
) -> Counts:
    """One load: words of `bits` bits to lo..hi, through a `width`-bit signed q.

    None stands for a constant populated in each row (a bias, or a multiplier of
    `multiplier_bits` bits), `offsets` for one added to the product; `bias`, `multiplier` and
    `constant` known to the controller cost passes for their bits only.  `dropped` bits go
    without and `shift` bits with rounding by `mode`.  `signs` are two constants that q's sign
    chooses between, in place of bounds.  Scratch is clean on entry.
    """
    positive(bits=bits, width=width)
    if mode not in ROUNDING:
        raise InputError(f"rounding {mode!r} is unknown; it is one of {', '.join(ROUNDING)}")
    top = dropped + shift + width
    extended = signed and multiplier in (None, 1) and top > bits + multiplier_bits
    carries = (bias != 0) + offsets + (constant % 2**top != 0) + (shift > 0 and mode in CARRIES)
    return (
        Counts(write=bits)
        + _added(bits, bias)
        + _multiplied(bits, multiplier, multiplier_bits)
        + PASS * extended
        + (_added(top, None) if offsets else Counts())
        + _added(top, constant)
        + (PASS * (2 * width) + ROUNDING[mode] if shift else Counts())
        + Counts(write=max(carries - 1, 0))
        + (Counts(write=1) + PASS if signs else PASS * (_zeros(hi, width) + _ones(lo, width)))
        + Counts(read=_result_bits(lo, hi))
    )


def _added(bits: int, constant: int | None) -> Counts:
    """A field populated and added, or a known constant, from its lowest 1 on."""
    if constant is None:
        return Counts(write=bits) + PASS * (4 * bits)
    value = constant % 2**bits
    return PASS * (2 * (bits - _trailing_zeros(value))) if value else Counts()


def _multiplied(bits: int, multiplier: int | None, multiplier_bits: int) -> Counts:
    """Four passes a bit pair; or of a known multiplier above 1, one a bit of the word for its
    lowest 1 (a copy) and four for each other 1."""
    if multiplier is None:
        return Counts(write=multiplier_bits) + PASS * (4 * bits * multiplier_bits)
    return PASS * (bits * (4 * multiplier.bit_count() - 3) * (multiplier > 1))


def _trailing_zeros(value: int) -> int:
    return (value & -value).bit_length() - 1


def _ones(value: int, width: int) -> int:
    """Ones of a signed number with its sign bit inverted: where a lesser word can differ first."""
    return (value + (1 << (width - 1))).bit_count()


def _zeros(value: int, width: int) -> int:
    """Zeros likewise: where a greater word can differ first."""
    return width - _ones(value, width)


def _result_bits(lo: int, hi: int) -> int:
    if lo >= 0:
        return max(hi.bit_length(), 1)
    return 1 + max(max(hi, 0).bit_length(), (-lo - 1).bit_length())
