"""The schemas of every JSON that apsim writes, and the check of what it reads back.

The rule: a document says its schema and version, as "apsim.run/1"; the file of that name
here is a JSON Schema (draft 2020-12) that any validator takes.  A version may gain entries and
never loses or changes one.  The check below knows the words that these schemas use, and the
tests hold it against a validator that knows all.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from apsim.errors import ApsimError, InputError

__all__ = ["check", "names", "schema"]

KINDS: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and _is_finite(v),
}
Schema = Mapping[str, Any]


def names() -> tuple[str, ...]:
    """Names of all schemas, sorted, as documents state them: "apsim.run/1"."""
    found = (item.name for item in files("apsim.schemas").iterdir())
    return tuple(sorted(_name(name) for name in found if name.endswith(".json")))


def _name(file: str) -> str:
    return "/".join(file.removesuffix(".json").rsplit("-", 1))


@cache
def schema(name: str) -> Schema:
    """The JSON Schema of a name and version."""
    file = files("apsim.schemas").joinpath(f"{name.replace('/', '-')}.json")
    return dict(json.loads(file.read_text("utf-8")))


def check(
    document: Any, name: str, where: str, error: type[ApsimError] = InputError
) -> dict[str, Any]:
    """The document, where it is of schema `name`; raises `error` with the place of a difference."""
    stated = document.get("schema") if isinstance(document, dict) else None
    if stated != name:
        raise error(f"{where}: wanted schema {name!r}, got {_short(stated)}")
    root = schema(name)
    wrong = _difference(document, root, root, "$")
    if wrong:
        raise error(f"{where}: {wrong}")
    return dict(document)


def _difference(value: Any, wanted: Schema, root: Schema, at: str) -> str:
    """The first difference in words; nothing where there is none."""
    if "$ref" in wanted:
        return _difference(value, root["$defs"][wanted["$ref"].rpartition("/")[2]], root, at)
    if "anyOf" in wanted:
        each = [_difference(value, one, root, at) for one in wanted["anyOf"]]
        return "" if "" in each else each[0]
    kinds = wanted.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(KINDS[kind](value) for kind in kinds):
        return f"wanted {' or '.join(kinds)}, got {_short(value)} - at {at}"
    if "enum" in wanted and not any(
        type(value) is type(one) and value == one for one in wanted["enum"]
    ):
        return f"wanted one of {', '.join(map(str, wanted['enum']))}, got {_short(value)} - at {at}"
    if isinstance(value, dict):
        return _object_difference(value, wanted, root, at)
    if isinstance(value, list):
        return _array_difference(value, wanted, root, at)
    if isinstance(value, str):
        fits = re.search(wanted.get("pattern", ""), value)
        return "" if fits else f"wanted {wanted['pattern']}, got {_short(value)} - at {at}"
    return _number_difference(value, wanted, at)


def _object_difference(value: dict[str, Any], wanted: Schema, root: Schema, at: str) -> str:
    for name in wanted.get("required", ()):
        if name not in value:
            return f"wanted an entry {name!r}, got none - at {at}"
    known, others = wanted.get("properties", {}), wanted.get("additionalProperties", True)
    for name, item in value.items():
        of = known.get(name, others)
        if of is False:
            return f"wanted one of the entries {', '.join(known)}, got {_short(name)} - at {at}"
        if of is not True and (wrong := _difference(item, of, root, f"{at}.{name}")):
            return wrong
    return ""


def _array_difference(value: list[Any], wanted: Schema, root: Schema, at: str) -> str:
    least, most = wanted.get("minItems", 0), wanted.get("maxItems", math.inf)
    if not least <= len(value) <= most:
        return f"wanted {least} to {most} items, got {len(value)} - at {at}"
    first = wanted.get("prefixItems", [])
    for number, item in enumerate(value):
        of = first[number] if number < len(first) else wanted.get("items", {})
        if wrong := _difference(item, of, root, f"{at}[{number}]"):
            return wrong
    return ""


def _number_difference(value: Any, wanted: Schema, at: str) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    least, most = wanted.get("minimum", -math.inf), wanted.get("maximum", math.inf)
    return (
        "" if least <= value <= most else f"wanted {least} to {most}, got {_short(value)} - at {at}"
    )


def _is_finite(value: int | float) -> bool:
    return isinstance(value, int) or math.isfinite(value)


def _short(value: Any) -> str:
    text = (
        repr(value)
        if not isinstance(value, dict | list)
        else f"{type(value).__name__} of {len(value)}"
    )
    return text if len(text) <= 60 else f"{text[:57]}..."
