"""What each function takes when executed with correct results, by direct formula.

The rule: every formula counts the program that runs, and never starts from the
printed equation; `terms` explains the difference, and a test adds the two up.

Schemes.  Kind 1d moves rows and adds horizontally.  Kind 2d adds rows carry-save
into one carry row, which is aligned by a read and a shifted write, and resolves the
carries once, horizontally, for all groups.  Kind 2d-seg runs a carry-save tree with
one segment for each group.  The -tc kinds have a tag chain: a carry chain across the
column tags, extra hardware that completes a vertical addition or maximum in place.
Maxima on the 2d kinds take row moves or a parallel prefix over the flag rows.
"""

from __future__ import annotations

from apsim.closed_form.differences import REASONS, terms
from apsim.closed_form.kinds import ceil_log2, positive, require_kind, rows_of, unpaired_levels
from apsim.closed_form.requantize import requantize
from apsim.counts import Counts
from apsim.errors import InputError

__all__ = [
    "REASONS",
    "SCHEMES",
    "add",
    "average_pool",
    "division",
    "dot",
    "matmul",
    "max_pool",
    "maximum",
    "merge",
    "minimum",
    "multiply",
    "reduce",
    "relu",
    "requantize",
    "subtract",
    "table",
    "terms",
]

SCHEMES = ("moves", "prefix")
PASS = Counts(compare=1, write=1)
MOVE = Counts(write=1, read=1)


def add(bits: int) -> Counts:
    """B <- A + B: four passes a bit, the carry column clean on entry."""
    positive(bits=bits)
    return Counts(write=2 * bits, read=bits + 1) + PASS * (4 * bits)


def subtract(bits: int) -> Counts:
    """B <- B - A: the sweep of `add` with another LUT; the borrow is the sign."""
    return add(bits)


def table(passes: int, bits: int, outputs: int) -> Counts:
    """B <- f(A): a preset in one write, then the passes of the function's list."""
    positive(bits=bits, outputs=outputs)
    return Counts(write=bits + 1, read=outputs) + PASS * passes


def multiply(bits: int, bits_b: int | None = None) -> Counts:
    """P <- A * B out of place: four passes a bit pair, the carry inside P."""
    bits_b = bits if bits_b is None else bits_b
    positive(bits=bits, bits_b=bits_b)
    return Counts(write=bits + bits_b, read=bits + bits_b) + PASS * (4 * bits * bits_b)


def relu(bits: int) -> Counts:
    """A <- max(A, 0): the sign read into a flag and cleared, then one pass a bit."""
    positive(bits=bits)
    return Counts(write=bits + 2, read=bits + 1) + PASS * (bits - 1)


def maximum(bits: int) -> Counts:
    """B <- max(A, B): Table IV on each column pair, then the two flags reset."""
    positive(bits=bits)
    return Counts(write=2 * bits, read=bits) + _horizontal_max(bits)


def minimum(bits: int) -> Counts:
    """B <- min(A, B): the sweep of `maximum` with another LUT."""
    return maximum(bits)


def reduce(bits: int, words: int, ap: str) -> Counts:
    """The sum of `words` words, two in each row; a missing last word is populated as 0."""
    positive(bits=bits, words=words)
    paired = Counts(write=2 * bits, read=1) + PASS * (4 * bits)
    return paired + _accumulate(1, rows_of(words), bits + 1, bits + ceil_log2(words), ap)


def matmul(
    bits: int, i: int, j: int, u: int, ap: str, bits_b: int | None = None, partial: bool = False
) -> Counts:
    """An i x j times a j x u matrix: i*u groups of j products, one product in each row.

    `partial` sums are read as words, one for each group, to be moved.
    """
    bits_b = bits if bits_b is None else bits_b
    positive(bits=bits, bits_b=bits_b, i=i, j=j, u=u)
    product = bits + bits_b
    width = product + ceil_log2(j)
    read = i * u if partial else width
    multiplied = Counts(write=product, read=read) + PASS * (4 * bits * bits_b)
    return multiplied + _accumulate(i * u, j, product, width, ap)


def merge(groups: int, count: int, bits: int, width: int, ap: str) -> Counts:
    """Partial sums of a sum longer than a CAP: `count` words a group, written as words.

    The words have `bits` bits; the sums are read bit by bit, in the `width` bits that
    they are known to have.
    """
    positive(groups=groups, count=count, bits=bits, width=width)
    written = Counts(write=groups * count, read=width)
    return written + _accumulate(groups, count, bits, bits + ceil_log2(count), ap)


def dot(bits: int, j: int, ap: str, bits_b: int | None = None) -> Counts:
    """The dot product of two vectors of j words: `matmul` with i = u = 1."""
    return matmul(bits, 1, j, 1, ap, bits_b)


def average_pool(
    bits: int, window: int, windows: int, ap: str, full_sum: bool | None = None
) -> Counts:
    """The sums of `windows` windows, read without the bits that the division drops.

    With `full_sum` every bit of the sum is read, so that the divisor can go into a
    later requantization; by default so where `window` is no power of two.
    """
    positive(bits=bits, window=window, windows=windows)
    width = bits + ceil_log2(window)
    if full_sum is None:
        full_sum = window & (window - 1) != 0
    paired = Counts(write=2 * bits, read=width if full_sum else bits) + PASS * (4 * bits)
    return paired + _accumulate(windows, rows_of(window), bits + 1, width, ap)


def division(width: int, factor: int) -> Counts:
    """The floor of a `width`-bit sum over a window, by shifted additions of a constant."""
    positive(width=width, factor=factor)
    return PASS * (4 * width * factor.bit_count())


def max_pool(bits: int, window: int, windows: int, ap: str, scheme: str = "moves") -> Counts:
    """The maxima of `windows` windows; `scheme` says how rows meet on 2d and 2d-seg.

    A tag chain needs no scheme, and kind 1d knows only "moves".
    """
    positive(bits=bits, window=window, windows=windows)
    if scheme not in SCHEMES:
        raise InputError(f"scheme {scheme!r} is unknown; it is one of {', '.join(SCHEMES)}")
    paired = Counts(write=2 * bits, read=bits) + _horizontal_max(bits)
    pairs, levels = windows * (rows_of(window) - 1), ceil_log2(rows_of(window))
    match require_kind(ap), scheme:
        case ("2d-tc", _):
            return paired + _vertical_max() * pairs
        case ("2d-seg-tc", _):
            return paired + _vertical_max() * levels
        case ("2d", "prefix"):
            return paired + (_vertical_max() + _prefix(bits)) * pairs
        case ("2d-seg", "prefix"):
            return paired + (_vertical_max() + _prefix(bits)) * levels
        case ("2d-seg", _):
            return paired + (_horizontal_max(bits) + MOVE) * levels
        case _:
            return paired + _horizontal_max(bits) * levels + MOVE * pairs


def _accumulate(groups: int, rows: int, bits: int, width: int, ap: str) -> Counts:
    """Add up `rows` words of `bits` bits in each of `groups` groups; sums of `width` bits."""
    levels, pairs = ceil_log2(rows), groups * (rows - 1)
    match require_kind(ap):
        case _ if rows == 1:
            return Counts()
        case "1d":
            return _row_tree(rows, bits) + MOVE * pairs
        case "2d":
            # First row of a group: carry row cleared, half adder; later rows: full adder.
            first = Counts(write=1) + PASS * 2
            return first * groups + PASS * 3 * (pairs - groups) + MOVE * pairs + _resolve(width)
        case "2d-seg":
            return _carry_save_tree(rows) + _resolve(width)
        case "2d-tc":
            return PASS * (4 * pairs)
        case _:
            return PASS * (4 * levels)


def _row_tree(rows: int, bits: int) -> Counts:
    """Horizontal additions of a 1d reduction, and a clear for each level with a lone row."""
    added = sum((PASS * 4 * (bits + q) for q in range(ceil_log2(rows))), Counts())
    return added + Counts(write=unpaired_levels(rows))


def _carry_save_tree(rows: int) -> Counts:
    """Levels of compressors with an aligned carry: a half adder, then two full adders each."""
    levels, full_adder = ceil_log2(rows), PASS * 3 + MOVE
    compressors = 2 * (levels - 1)
    if rows > 2 and rows == 2 ** (levels - 1) + 1:
        compressors -= 1  # the last level adds a lone row, which brings no carry row
    return PASS * 2 + MOVE + full_adder * compressors


def _resolve(width: int) -> Counts:
    """One horizontal addition of carry words to sum words: bit 0 has no carry to add."""
    return PASS * (4 * (width - 1))


def _horizontal_max(bits: int) -> Counts:
    return PASS * (4 * bits) + Counts(write=2)


def _vertical_max() -> Counts:
    """Table IV between two rows, all columns at once, then the two flag rows reset."""
    return PASS * 4 + Counts(write=2)


def _prefix(bits: int) -> Counts:
    """Flags spread from the MSB down: both flag rows moved, then two passes, a step."""
    return (MOVE * 2 + PASS * 2) * ceil_log2(bits)
