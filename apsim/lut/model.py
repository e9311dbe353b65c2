"""What a look-up table is: a truth table, and passes that carry it out in place.

The rule: only data here; `reader` reads it, `check` proves it, `catalog` finds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["WIDEST_INPUT", "Bits", "Lut", "Pass", "State"]

WIDEST_INPUT = 12  # bits of a word that has a table of all its values (`word_table`)

Bits = tuple[tuple[str, int], ...]
State = tuple[int, ...]


@dataclass(frozen=True)
class Pass:
    """One compare and one tagged write: columns by name, with the bit each must hold.

    A column that is in neither `key` nor `write` is masked.
    """

    key: Bits
    write: Bits
    label: str = ""

    def __str__(self) -> str:
        return f"{_draw(self.key)} -> {_draw(self.write)}"


def _draw(bits: Bits) -> str:
    return " ".join(name for name, _ in bits) + " = " + " ".join(str(bit) for _, bit in bits)


@dataclass(frozen=True, repr=False)
class Lut:
    """A LUT by column names; `passes` in the order in which they run, once per bit.

    `columns` are the inputs in the order of the table; `per_bit` columns move along
    the word, `per_word` columns stay.  `walk` is "lsb-first" or "msb-first".
    `truth` maps each listed state (bits in `columns` order) to the state that must
    result, or None where the table says NP (not possible).  `free` holds the
    (state, column) cells that the table marks `x`: any bit will do there, and
    `truth` says which one the passes leave.  `minimal` is "proved" where no shorter list
    of passes exists, "not proved" where not all could be tried, "" where none was sought.
    `origin` and `lines` say where the table, and each of its states, was read.
    """

    name: str
    about: str
    source: str
    columns: tuple[str, ...]
    per_bit: tuple[str, ...]
    per_word: tuple[str, ...]
    walk: str
    passes: tuple[Pass, ...]
    truth: dict[State, State | None] = field(hash=False)
    text: str = field(default="", compare=False)
    free: frozenset[tuple[State, str]] = frozenset()
    minimal: str = ""
    origin: str = field(default="", compare=False)
    lines: dict[State, int] = field(default_factory=dict, compare=False)

    @property
    def reachable(self) -> tuple[State, ...]:
        """The states that can occur (not NP), in the order of the table."""
        return tuple(state for state, result in self.truth.items() if result is not None)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The columns that some pass writes, in the order of the table."""
        written = {column for step in self.passes for column, _ in step.write}
        return tuple(column for column in self.columns if column in written)

    def __str__(self) -> str:
        from apsim.lut.draw import as_text

        return as_text(self)

    def __repr__(self) -> str:
        passes = "pass" if len(self.passes) == 1 else "passes"
        return f"<Lut {self.name}: {' '.join(self.columns)}, {len(self.passes)} {passes}>"

    def _repr_html_(self) -> str:
        from apsim.lut.draw import as_html

        return as_html(self)
