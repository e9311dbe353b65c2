"""The TOML keys of a LUT file: which there are, what each may hold, on which line it is.

The rule: no key is ignored; one that is not known is refused with the nearest that is.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

from apsim.errors import LutError
from apsim.lut.tables import Place
from apsim.readers import parse_toml

__all__ = ["REQUIRED", "WALKS", "check_name", "place_of", "read_keys", "text_place"]

WALKS = ("lsb-first", "msb-first")
REQUIRED = ("name", "about", "source", "per_bit", "walk", "table")
OPTIONAL = ("per_word", "passes", "minimal")
CHOICES = {"walk": WALKS, "minimal": ("proved", "not proved")}


def read_keys(text: str, origin: str, required: tuple[str, ...] = REQUIRED) -> dict[str, Any]:
    """The keys of a LUT file, each known and of its kind; raises `LutError` with the line."""
    try:
        keys = parse_toml(text, "", LutError)
    except LutError as error:
        reason = str(error).removeprefix(": ")
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", reason)
        message, line = found.groups() if found else (reason, None)
        raise Place(origin, int(line or 0)).error(f": not valid TOML: {message}") from error
    for key in keys:
        if key not in REQUIRED + OPTIONAL:
            near = get_close_matches(key, REQUIRED + OPTIONAL, 1, 0.5)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            known = ", ".join(REQUIRED + OPTIONAL)
            raise place_of(text, origin, key).error(f": unknown key `{key}`{hint} (known: {known})")
    for key in required:
        if key not in keys:
            raise Place(origin).error(f": the key `{key}` is missing")
    for key, value in keys.items():
        _check_value(key, value, place_of(text, origin, key))
    return keys


def check_name(value: str, where: str = "") -> None:
    """Raise `LutError` where a LUT may not have this name."""
    if re.fullmatch(r"[a-z][a-z0-9_]*", value) is None:
        raise LutError(f"{where}a LUT's name is small letters, digits and _, got {value!r}")


def place_of(text: str, origin: str, key: str) -> Place:
    """The line on which `key` is set, as far as it can be told from the text."""
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(rf"\s*\"?{re.escape(key)}\"?\s*(=|\])", line.lstrip("[ ")):
            return Place(origin, number)
    return Place(origin)


def _check_value(key: str, value: object, place: Place) -> None:
    if key in ("per_bit", "per_word"):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise place.error(f": `{key}` must be a list of column names, got {value!r}")
    elif not isinstance(value, str):
        raise place.error(f": `{key}` must be text, got {value!r}")
    elif key in CHOICES and value not in CHOICES[key]:
        known = " or ".join(map(repr, CHOICES[key]))
        raise place.error(f": `{key}` must be {known}, got {value!r}")
    elif key == "name":
        check_name(value, f"{place}: ")


def text_place(text: str, origin: str, key: str) -> Place:
    """The line on which the text of `key` begins: after an opening `\"\"\"` it is the next."""
    place = place_of(text, origin, key)
    if not place.line:
        return place
    opening = text.split("\n")[place.line - 1].rstrip()
    return Place(origin, place.line + opening.endswith(('"""', "'''")))
