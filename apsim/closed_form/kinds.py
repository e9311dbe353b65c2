"""AP kinds, and the few integer helpers that every closed form uses.

The rule: a kind is checked here, once, at the door of each equation.
"""

from __future__ import annotations

from apsim.errors import InputError

__all__ = [
    "AP_KINDS",
    "ceil_log2",
    "paper_kind",
    "positive",
    "require_kind",
    "rows_of",
    "unpaired_levels",
]

AP_KINDS = ("1d", "2d", "2d-seg", "2d-tc", "2d-seg-tc")
_PAPER_KIND = {
    "1d": "1d",
    "2d": "2d",
    "2d-tc": "2d",
    "2d-seg": "2d-seg",
    "2d-seg-tc": "2d-seg",
}


def require_kind(ap: str) -> str:
    """Return `ap` where it names an AP kind; raises `InputError` otherwise."""
    if ap not in _PAPER_KIND:
        raise InputError(f"AP kind {ap!r} is unknown; it is one of {', '.join(AP_KINDS)}")
    return ap


def paper_kind(ap: str) -> str:
    """The column of Table I that prices `ap`: the paper knows no tag chain."""
    return _PAPER_KIND[require_kind(ap)]


def positive(least: int = 1, **values: int) -> None:
    """Raise `InputError` where one of `values` is below `least`, naming it."""
    for name, value in values.items():
        if value < least:
            raise InputError(f"{name} must be at least {least}, got {value}")


def ceil_log2(number: int) -> int:
    """The least q with 2**q >= number.

    >>> [ceil_log2(n) for n in (1, 2, 3, 4, 9)]
    [0, 1, 2, 2, 4]
    """
    return (number - 1).bit_length()


def rows_of(words: int) -> int:
    """Rows that hold `words` words, two in each row; the last may hold one."""
    return -(-words // 2)


def unpaired_levels(rows: int) -> int:
    """Levels of the row tree with an odd number of nodes above one.

    >>> [unpaired_levels(n) for n in (1, 2, 3, 4, 5, 6, 7, 9)]
    [0, 0, 1, 0, 2, 1, 1, 3]
    """
    count = 0
    while rows > 1:
        count += rows % 2
        rows = (rows + 1) // 2
    return count
