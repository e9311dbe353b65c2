"""Where words lie in a row: fields by name, each a run of columns.

The rule: a field's bit 0 (least significant) is its first column.  Fields do not
overlap unless the layout says so, as microprograms do that reuse dead columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apsim.errors import InputError, LayoutError

__all__ = ["WIDEST", "Field", "Layout", "array_of"]

WIDEST = 64
KINDS = {"u": "unsigned", "s": "two's complement", "o": "offset binary"}


@dataclass(frozen=True)
class Field:
    """A word's place in a row: `width` columns from `column` on.

    `kind` says how words are coded: "u" unsigned, "s" two's complement, "o" offset
    binary (the value plus 2**(width-1); loading and reading it flips one bit, free).
    """

    name: str
    column: int
    width: int
    kind: str = "u"

    def __post_init__(self) -> None:
        if not self.name.isprintable():
            raise LayoutError(f"wanted a name that can be printed, got {self.name!r}")
        if self.kind not in KINDS:
            raise LayoutError(f"field {self.name!r}: wanted a kind u, s or o, got {self.kind!r}")
        if not 1 <= self.width <= WIDEST:
            raise LayoutError(
                f"field {self.name!r}: wanted a width of 1 to {WIDEST} columns, got {self.width}"
            )
        if self.column < 0:
            raise LayoutError(f"field {self.name!r}: wanted a column >= 0, got {self.column}")

    @property
    def columns(self) -> range:
        """The columns of the field, least significant bit first."""
        return range(self.column, self.column + self.width)

    def __getitem__(self, bit: int) -> int:
        """Column of one bit; negative bits count from the most significant."""
        return self.columns[bit]

    def part(self, first: int, width: int) -> Field:
        """Some bits of the field as an unsigned field of the same name."""
        return Field(self.name, self.columns[first], width)

    @property
    def signed(self) -> bool:
        """Whether the field holds negative values."""
        return self.kind != "u"

    @property
    def lowest(self) -> int:
        """Smallest value the field holds."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """Largest value the field holds."""
        return (1 << (self.width - self.signed)) - 1

    def encode(self, values: ArrayLike) -> NDArray[np.uint64]:
        """Turn integers into the field's bit patterns; raises `InputError` out of range."""
        return self.encode_narrow(values).astype(np.uint64, copy=False)

    def encode_narrow(self, values: ArrayLike) -> NDArray[np.unsignedinteger[Any]]:
        """The same bit patterns in the narrowest type that holds them; memory order is kept."""
        words = self.narrow(values)
        patterns = words.view(words.dtype.str.replace("i", "u"))
        if self.signed and self.width < 8 * words.itemsize:
            patterns = patterns & patterns.dtype.type((1 << self.width) - 1)
        return patterns ^ patterns.dtype.type(self._flip) if self._flip else patterns

    def narrow(self, values: ArrayLike) -> NDArray[np.integer[Any]]:
        """The same integers in the narrowest type that holds all of the field's; see `encode`.

        An array that is as narrow already is given back as it is.
        """
        words = self._checked(values)
        size = next(size for size in (8, 16, 32, 64) if self.width <= size)
        return words.astype(f"{'int' if self.signed else 'uint'}{size}", copy=False)

    def _checked(self, values: ArrayLike) -> NDArray[np.integer[Any]]:
        """Integers within the field's range; a type within it needs no look at the values."""
        words = array_of(self.name, values)
        if words.dtype.kind not in "iub" and words.size and not _are_whole(words):
            raise InputError(
                f"field {self.name!r}: wanted integers, got values of type {words.dtype}"
            )
        if words.dtype.kind in "iu":
            kind = np.iinfo(words.dtype)
            if self.lowest <= kind.min and kind.max <= self.highest:
                return words
        if words.size and (int(words.min()) < self.lowest or int(words.max()) > self.highest):
            raise InputError(
                f"field {self.name!r}: wanted values from {self.lowest} to {self.highest} "
                f"({self.width} bits, {'signed' if self.signed else 'unsigned'}), "
                f"got {int(words.min())} to {int(words.max())}"
            )
        return words

    def decode(self, patterns: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Turn bit patterns back into integers (unsigned 64-bit values stay `uint64`)."""
        if not self.signed:
            return patterns if self.width == WIDEST else patterns.astype(np.int64)  # type: ignore[return-value]
        unused = np.int64(WIDEST - self.width)
        flipped = patterns ^ self._flip if self._flip else patterns
        values = flipped.view(np.int64) << unused
        values >>= unused
        return values

    @property
    def _flip(self) -> np.uint64:
        return np.uint64(1 << (self.width - 1) if self.kind == "o" else 0)

    @property
    def values(self) -> range:
        """All values that the field holds, from the lowest on."""
        return range(self.lowest, self.highest + 1)

    def __str__(self) -> str:
        return f"{self.name}[{self.column}:{self.column + self.width}] {self.kind}{self.width}"


class Layout(Mapping[str, Field]):
    """Fields of a row by name, placed one after another.

    >>> layout = Layout(A=8, B="s8", C=1)
    >>> layout["B"]
    Field(name='B', column=8, width=8, kind='s')
    >>> layout.columns
    17

    Each width is a number of bits, or kind and bits: "u8", "s8", "o8".
    `Layout.of(Field(...), ...)` places fields freely; with `overlap=True` they may share
    columns.  Raises `LayoutError`.
    """

    def __init__(self, /, **widths: int | str) -> None:
        fields, column = [], 0
        for name, wanted in widths.items():
            width, kind = _width(name, wanted)
            fields.append(Field(name, column, width, kind))
            column += width
        self._fields = {field.name: field for field in fields}

    @classmethod
    def of(cls, *fields: Field, overlap: bool = False) -> Layout:
        """A layout of fields that say themselves where they lie."""
        layout = cls()
        for field in fields:
            if field.name in layout._fields:
                raise LayoutError(f"field {field.name!r}: the name is used twice")
            if not overlap:
                _refuse_overlap(field, layout._fields.values())
            layout._fields[field.name] = field
        return layout

    def __getitem__(self, name: str) -> Field:
        if name not in self._fields:
            near = get_close_matches(str(name), self._fields, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise LayoutError(
                f"unknown field {name!r}: the layout has {', '.join(self._fields) or 'none'}{hint}"
            )
        return self._fields[name]

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(tuple(self._fields.values()))

    @property
    def columns(self) -> int:
        """Columns that the fields span."""
        return max((field.column + field.width for field in self.values()), default=0)

    def __repr__(self) -> str:
        return f"Layout.of({', '.join(map(repr, self.values()))}, overlap=True)"

    def __str__(self) -> str:
        return "  ".join(str(field) for field in sorted(self.values(), key=lambda f: f.column))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(f.name)}</td><td>{f.column}–{f.column + f.width - 1}</td>"
            f"<td>{f.width}</td><td>{KINDS[f.kind]}</td></tr>"
            for f in self.values()
        )
        head = "<tr><th>field</th><th>columns</th><th>bits</th><th>words</th></tr>"
        return f"<table>{head}{rows}</table>"


def array_of(name: str, values: ArrayLike) -> NDArray[Any]:
    """The values as an array; numpy makes real numbers of some lists of whole ones of 64 bits.

    Raises `InputError` for lists of unequal lengths, and for an array that hides some values.
    """
    hidden = getattr(values, "mask", None)
    if isinstance(hidden, np.ndarray) and hidden.any():
        raise InputError(f"{name}: wanted values all of which are there, got a masked array")
    try:
        words = np.asarray(values)
    except ValueError:
        raise InputError(f"{name}: wanted an array, got lists of unequal lengths") from None
    if words.dtype.kind not in "fO" or isinstance(values, np.ndarray | np.generic):
        return words
    exact = np.array(values, object)
    if not (exact.size and _are_whole(exact)):
        return words
    fits = exact.min() >= 0 and exact.max() < 1 << WIDEST
    return exact.astype(np.uint64) if fits else exact


def _are_whole(words: NDArray[Any]) -> bool:
    return words.dtype.kind == "O" and all(isinstance(n, int | np.integer) for n in words.flat)


def _width(name: str, wanted: int | str) -> tuple[int, str]:
    text = str(wanted)
    kind, digits = (text[0], text[1:]) if text[:1] in tuple(KINDS) else ("u", text)
    if isinstance(wanted, bool) or not digits.isdecimal():
        raise LayoutError(
            f"field {name!r}: wanted a width such as 8, 'u8', 's8' or 'o8', got {wanted!r}"
        )
    return int(digits), kind


def _refuse_overlap(field: Field, others: object) -> None:
    for other in others:  # type: ignore[attr-defined]
        shared = set(field.columns) & set(other.columns)
        if shared:
            raise LayoutError(
                f"fields {other.name!r} and {field.name!r} overlap in column {min(shared)}: "
                f"{other} and {field}"
            )
