"""Frozen dataclasses to JSON and back, their arrays set aside.

The rule: the field annotations of the dataclasses are the schema; a document that
differs from them is refused with the path to the difference, like `$.layers[2].stride`.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.errors import ModelError
from apsim.nn.model import network as records

__all__ = ["decode", "encode"]

Array = npt.NDArray[Any]
_LATER: Mapping[str, Any] = {
    "states": (),
    "unbatched": (),
    "sum_bits": 0,
    "batched": True,
    "steps": (),
    "thresholds": (),
    "along": 0,
    "rule": "litert",  # of a softmax: no other rule is called so
    "table": None,
    "mask": None,
    "grid": (1024, 1024),
}  # fields that older files do not have


def encode(value: Any, arrays: dict[str, Array], path: str = "model") -> Any:
    """Give the JSON form of a record; its arrays go into `arrays` under their path."""
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"array": path}
    if dataclasses.is_dataclass(value):
        parts = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        for name, usual in _LATER.items():  # so that files without them stay as they were
            if type(parts.get(name, ...)) is type(usual) and parts[name] == usual:
                del parts[name]
        return {"type": type(value).__name__, **encode(parts, arrays, path)}
    if isinstance(value, Mapping):
        return {key: encode(item, arrays, f"{path}/{key}") for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item, arrays, f"{path}/{i}") for i, item in enumerate(value)]
    return value


def decode(wanted: Any, value: Any, arrays: Mapping[str, Array], path: str = "$") -> Any:
    """Give the value of annotation `wanted` that a JSON form stands for, or `ModelError`."""
    origin = typing.get_origin(wanted)
    if origin in (types.UnionType, typing.Union):
        return _union(typing.get_args(wanted), value, arrays, path)
    if origin in (np.ndarray, npt.NDArray):  # an alias of its own from numpy 2.5 on
        return _array(wanted, value, arrays, path)
    if origin is tuple:
        return _tuple(typing.get_args(wanted), value, arrays, path)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        _expect(isinstance(value, dict), "an object", value, path)
        kind = typing.get_args(wanted)[1]
        return {key: decode(kind, item, arrays, f"{path}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(wanted):
        return _record(wanted, value, arrays, path)
    return _plain(wanted, value, path)


def _expect(right: bool, wanted: str, value: Any, path: str) -> None:
    if not right:
        came = repr(value)
        came = came if len(came) <= 60 else f"{came[:57]}..."
        raise ModelError(f"expected {wanted}, got {came} - at {path}")


def _plain(wanted: Any, value: Any, path: str) -> Any:
    """bool, int, float, str or None, never one in place of another (an int may be a float)."""
    if wanted is float and type(value) is int:
        value = float(value)
    name = "null" if wanted in (None, type(None)) else wanted.__name__
    _expect(type(value) is (wanted or type(None)), name, value, path)
    _expect(not (wanted is float and math.isnan(value)), "a number", value, path)
    return value


def _union(kinds: tuple[Any, ...], value: Any, arrays: Mapping[str, Array], path: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    listed = [kind for kind in rest if typing.get_origin(kind) is tuple]
    chosen = listed if isinstance(value, list) and listed else rest
    return decode(chosen[0], value, arrays, path)


def _tuple(kinds: tuple[Any, ...], value: Any, arrays: Mapping[str, Array], path: str) -> Any:
    _expect(isinstance(value, list), "a list", value, path)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    _expect(len(value) == len(kinds), f"{len(kinds)} entries", value, path)
    return tuple(
        decode(kind, item, arrays, f"{path}[{i}]")
        for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _array(wanted: Any, value: Any, arrays: Mapping[str, Array], path: str) -> Array:
    named = isinstance(value, dict) and list(value) == ["array"]
    _expect(named, 'an array {"array": name}', value, path)
    name = value["array"]
    _expect(isinstance(name, str), "the name of an entry", name, path)
    _expect(name in arrays, f"an entry {name!r} of the archive", "none", path)
    array = arrays[name]
    element = typing.get_args(wanted)[-1]
    if typing.get_origin(wanted) is np.ndarray:
        element = typing.get_args(element)[0]
    kind = typing.get_origin(element) or element
    _expect(np.issubdtype(array.dtype, kind), f"an array of {kind.__name__}", array.dtype, path)
    return array


def _record(wanted: Any, value: Any, arrays: Mapping[str, Array], path: str) -> Any:
    _expect(isinstance(value, dict) and isinstance(value.get("type"), str), "a record",
            value, path)  # fmt: skip
    known = {one.__name__: one for one in _concrete(wanted)}
    _expect(value["type"] in known, f"one of {', '.join(known)}", value["type"], path)
    kind = known[value["type"]]
    hints = _hints(kind)
    given = {key: item for key, item in value.items() if key != "type"}
    known_fields = {f.name: _required(f) for f in dataclasses.fields(kind)}
    lacking = [name for name, needed in known_fields.items() if needed and name not in given]
    _expect(not lacking, f"the fields {', '.join(lacking)} of {kind.__name__}", "none", path)
    extra = sorted(set(given) - set(known_fields))
    _expect(not extra, f"only the fields of {kind.__name__}", extra, path)
    return kind(**{
        key: decode(hints[key], item, arrays, f"{path}.{key}") for key, item in given.items()
    })  # fmt: skip


def _required(field: dataclasses.Field[Any]) -> bool:
    """Whether a file must give a field: those added later have a default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, vars(records))


def _concrete(kind: Any) -> list[Any]:
    """Every record at or below `kind` that has no more special one."""
    below = [deep for sub in kind.__subclasses__() for deep in _concrete(sub)]
    return below or [kind]
