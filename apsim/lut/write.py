"""From a `Lut` to the text of its file.

The rule: reading back what is written gives an equal LUT.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from apsim.lut.draw import inlined, pass_rows, table_lines, truth_rows
from apsim.lut.model import Lut

__all__ = ["to_toml"]


def to_toml(lut: Lut) -> str:
    """The LUT file of `lut`: passes in the table where they are rows of it, else listed.

    `parse(to_toml(lut)) == lut`.
    """
    return "\n".join(_lines(lut)) + "\n"


def _lines(lut: Lut) -> Iterator[str]:
    yield f"name     = {_text(lut.name)}"
    yield f"about    = {_text(lut.about)}"
    yield f"source   = {_text(lut.source)}"
    if lut.minimal:
        yield f"minimal  = {_text(lut.minimal)}"
    yield f"per_bit  = {_list(lut.per_bit)}"
    if lut.per_word:
        yield f"per_word = {_list(lut.per_word)}"
    yield f"walk     = {_text(lut.walk)}"
    yield from ('table = """', *table_lines(truth_rows(lut)), '"""')
    if not inlined(lut):
        yield from ('passes = """', *table_lines(pass_rows(lut)), '"""')


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(names: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, names))}]"
