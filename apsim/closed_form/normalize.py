"""What softmax, layer norm and RMS norm take; the paper has no equation for them.

The rule: every formula counts the program that runs, from its sizes alone.  Sums and maxima
of a group are row trees on every kind, with moves one after another, or a level's at once
where groups are segments.  A broadcast is a hardware option: `broadcast_rows` is what the
plain array takes more.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from apsim.closed_form.kinds import ceil_log2, positive, require_kind, unpaired_levels
from apsim.counts import Counts
from apsim.errors import InputError

__all__ = ["BROADCASTS", "Normalized", "ita_softmax", "layer_norm", "rms_norm", "softmax"]

PASS = Counts(compare=1, write=1)
WRITE = Counts(write=1)
BROADCASTS = ("group", "rows")
EXPONENTIAL = 8  # bits of an exponential
RESULT = 8  # bits that are read
HALVES = 64  # a norm's y is the quotient of 64 |c| by R, halved


@dataclass(frozen=True)
class Normalized:
    """What a function takes: passes and the like, words moved together, and broadcasts."""

    rest: Counts
    moves: Counts
    broadcast: Counts

    @property
    def whole(self) -> Counts:
        """All of it."""
        return self.rest + self.moves + self.broadcast


@dataclass(frozen=True)
class _Groups:
    """`count` groups of `size` rows on a kind, and how a word is broadcast."""

    size: int
    count: int
    ap: str
    broadcast: str

    def __post_init__(self) -> None:
        require_kind(self.ap)
        positive(size=self.size, groups=self.count)
        if self.broadcast not in BROADCASTS:
            raise InputError(
                f"broadcast: wanted one of {', '.join(BROADCASTS)}, got {self.broadcast!r}"
            )

    @property
    def segmented(self) -> bool:
        return self.ap.startswith("2d-seg")

    def moves(self, trees: int) -> Counts:
        """Each word but one to its partner in each tree, or a level's at once."""
        times = ceil_log2(self.size) if self.segmented else self.count * (self.size - 1)
        return Counts(write=1, read=1) * (times * trees)

    def sums(self, bits: int) -> Counts:
        """A row tree from words of `bits` bits; a lone word's stale neighbour is cleared."""
        added = sum(bits + level for level in range(ceil_log2(self.size)))
        return PASS * (4 * added) + WRITE * unpaired_levels(self.size)

    def maxima(self, bits: int) -> Counts:
        """A row tree of maxima: Table IV and two flags reset, a level."""
        return (PASS * (4 * bits) + WRITE * 2) * ceil_log2(self.size)

    def broadcasts(self, words: int) -> Counts:
        """A word of each group to all of its rows."""
        written = 1 if self.broadcast == "group" else self.size
        times = 1 if self.segmented else self.count
        return Counts(write=written, read=1) * (times * words)


def softmax(
    bits: int, size: int, groups: int, passes: int, ap: str, broadcast: str = "group",
    masked: bool = False,
) -> Normalized:  # fmt: skip
    """Softmax of `groups` groups of `size` scores of `bits` bits, by a table of `passes` passes.

    A mask is a column written, and a pass that clears its words and one their exponentials.
    """
    positive(bits=bits)
    positive(0, passes=passes)  # none, for a table of one value
    of, width = _Groups(size, groups, ap, broadcast), EXPONENTIAL + ceil_log2(size)
    rest = (
        (WRITE + PASS * 2) * masked
        + _differences(of, bits)
        + WRITE
        + PASS * passes
        + PASS * EXPONENTIAL
        + of.sums(EXPONENTIAL)
        + PASS * EXPONENTIAL
        + _divided(width, RESULT + 2)
        + _rounded(RESULT + 2, RESULT)
    )
    return Normalized(rest + Counts(read=RESULT), of.moves(2), of.broadcasts(2))


def ita_softmax(
    bits: int, size: int, groups: int, passes: int, ap: str, broadcast: str = "group"
) -> Normalized:
    """ITA's softmax, likewise: one dividend for all, and a quotient shifted by flags."""
    positive(bits=bits)
    positive(0, passes=passes)  # none, for a table of one value
    of, power = _Groups(size, groups, ap, broadcast), EXPONENTIAL + 1
    rest = (
        _differences(of, bits)
        + WRITE
        + PASS * passes
        + PASS * power
        + of.sums(power)
        + WRITE
        + _divided(power + ceil_log2(size), RESULT)
        + PASS * (RESULT * (RESULT + 1) // 2)
    )
    return Normalized(rest + Counts(read=RESULT), of.moves(2), of.broadcasts(2))


def _differences(of: _Groups, bits: int) -> Counts:
    """Words, their copies and the largest of these, its field cleared; and what they differ by."""
    return WRITE * bits + PASS * bits + of.maxima(bits) + WRITE + PASS * (4 * bits)


def layer_norm(
    bits: int, size: int, groups: int, ap: str, broadcast: str = "group"
) -> Normalized:  # fmt: skip
    """Layer norm of `groups` groups of `size` words of `bits` bits."""
    positive(bits=bits)
    of, b = _Groups(size, groups, ap, broadcast), ceil_log2(size)
    wide, root, quotient = bits + b, bits + b - 1, _quotient_bits(size - 1)
    summed = PASS * bits + of.sums(bits)
    variance = _times(size, 2 * bits + b, 2 * wide) + PASS * (8 * root) + WRITE
    centred = _times(size, bits, wide) + PASS * (4 * wide) + PASS * (3 * wide) + WRITE
    rest = (
        WRITE * bits
        + summed
        + _squared(bits)
        + of.sums(2 * bits)
        + WRITE
        + _squared(wide)
        + variance
        + _rooted(root)
        + centred
        + PASS * wide
        + _divided(root, quotient)
        + _rounded(quotient, RESULT - 1)
    )
    return Normalized(rest + Counts(read=RESULT), of.moves(2), of.broadcasts(2))


def rms_norm(bits: int, size: int, groups: int, ap: str, broadcast: str = "group") -> Normalized:
    """RMS norm, likewise: no sum, and a root one bit wider."""
    positive(bits=bits)
    of, b = _Groups(size, groups, ap, broadcast), ceil_log2(size)
    root, quotient = bits + b, _quotient_bits(size)
    rest = (
        WRITE * bits
        + PASS * (1 + 3 * bits)
        + WRITE
        + _squared(bits)
        + of.sums(2 * bits)
        + _times(size, 2 * bits + b, 2 * root)
        + _rooted(root)
        + _times(size, bits, root)
        + _divided(root, quotient)
        + _rounded(quotient, RESULT - 1)
    )
    return Normalized(rest + Counts(read=RESULT), of.moves(1), of.broadcasts(1))


def _times(constant: int, bits: int, width: int) -> Counts:
    """`width` bits <- constant times `bits`: the highest digit of the non-adjacent form copied, of
    each other 2 passes on the first bit, 4 on the next ones, 2 on those that the carry runs to."""
    digits = (3 * constant ^ constant) >> 1
    lower = [place for place in range(digits.bit_length() - 1) if digits >> place & 1]
    added = sum(2 + 4 * (bits - 1) + 2 * (width - place - bits) for place in lower)
    return PASS * (bits + added)


def _squared(bits: int) -> Counts:
    """Four passes a bit pair, two where both are one column."""
    return PASS * (4 * bits * bits - 2 * bits)


def _rooted(bits: int) -> Counts:
    """Sum over digits k of 2k+1 to compare and 4k+1 to subtract, less 2; and R = 0 -> 1."""
    return WRITE + PASS * (3 * bits * bits + 5 * bits - 2) + PASS


def _divided(width: int, quotient: int) -> Counts:
    return WRITE + PASS * (quotient * (6 * width + 2))


def _rounded(quotient: int, bits: int) -> Counts:
    """The lowest bit added to the others, and a pass for each bit above those that are read."""
    return PASS * (2 * (quotient - 1)) + PASS * (quotient - 1 - bits)


def _quotient_bits(factor: int) -> int:
    """The least bits, 9 or more, above 64 sqrt(factor) (R + 1) / R with R = floor sqrt(factor)."""
    root, bits = max(isqrt(factor), 1), RESULT + 1
    while (root << bits) ** 2 <= factor * (HALVES * (root + 1)) ** 2:
        bits += 1
    return bits
