"""Arguments of public builders, held against what their signatures say before any work.

The rule: a value of another kind is refused by the name of its parameter; what an annotation
cannot say (ranges, widths, names that there are) is looked at where it matters.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from inspect import Parameter, signature
from math import isfinite
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

from apsim.errors import InputError, shown

__all__ = ["checked"]

P = ParamSpec("P")
Result = TypeVar("Result")
PLAIN: dict[Any, tuple[Callable[[Any], bool], str]] = {
    int: (lambda value: isinstance(value, Integral), "a whole number"),
    float: (lambda value: isinstance(value, Real) and isfinite(value), "a finite number"),
    str: (lambda value: isinstance(value, str), "a text"),
    bool: (lambda value: isinstance(value, bool), "True or False"),
    type(None): (lambda value: value is None, "None"),
}


def checked(build: Callable[P, Result]) -> Callable[P, Result]:
    """The same function, which raises `InputError` for arguments of another kind than it names.

    Missing and unknown arguments remain a `TypeError`, as in any function.
    """
    takes = signature(build)

    @wraps(build)
    def built(*args: P.args, **options: P.kwargs) -> Result:
        given = takes.bind(*args, **options).arguments
        wanted = _wanted(build)
        for name, value in given.items():
            for one in _each(takes.parameters[name].kind, value):
                if name in wanted and not any(fits(one) for fits, _ in wanted[name]):
                    kinds = " or ".join(dict.fromkeys(text for _, text in wanted[name]))
                    got = shown(repr(one))[:60]
                    raise InputError(f"{build.__name__}: {name}: wanted {kinds}, got {got}")
        return build(*args, **options)

    return built


def _each(kind: Any, value: Any) -> Iterable[Any]:
    """A parameter's values: those of *args and **options one by one."""
    if kind is Parameter.VAR_POSITIONAL:
        return tuple(value)
    return tuple(value.values()) if kind is Parameter.VAR_KEYWORD else (value,)


Kinds = tuple[tuple[Callable[[Any], bool], str], ...]


@cache
def _wanted(build: Callable[..., Any]) -> dict[str, Kinds]:
    """What each parameter takes, of those whose annotation can be looked at."""
    hints = typing.get_type_hints(build)
    found = {name: _kinds(hint) for name, hint in hints.items()}
    return {name: kinds for name, kinds in found.items() if kinds is not None}


def _kinds(hint: Any) -> Kinds | None:
    """Tests of an annotation with their names; None where one of it cannot be looked at."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        parts = [_kinds(part) for part in typing.get_args(hint)]
        return None if None in parts else sum((part for part in parts if part), ())
    if hint in PLAIN:
        return (PLAIN[hint],)
    if origin is Callable:
        return ((callable, "a function"),)
    if origin is not None and issubclass(origin, Mapping):
        return ((lambda value: isinstance(value, Mapping), "a mapping"),)
    if origin is not None and issubclass(origin, Sequence):
        return (_listed(*typing.get_args(hint)),)
    if origin is not None and issubclass(origin, Iterable):  # which may be read once only
        return ((_is_many, "a sequence"),)
    if isinstance(hint, type) and not getattr(hint, "_is_protocol", False):
        return ((lambda value: isinstance(value, hint), f"a {hint.__name__}"),)
    return None


def _is_many(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _listed(*parts: Any) -> tuple[Callable[[Any], bool], str]:
    """A sequence of so many parts, or of any number of one kind."""
    fits_one, text = PLAIN.get(parts[0], (lambda value: True, ""))
    many = len(parts) if len(parts) > 1 and parts[-1] is not ... else 0

    def fits(value: Any) -> bool:
        found = list(value) if _is_many(value) else []
        right = not many or len(found) == many
        return _is_many(value) and right and all(map(fits_one, found))

    return fits, "a sequence" + f" of {many}" * bool(many) + f", each {text}" * bool(text)
