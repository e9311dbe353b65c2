"""Arguments of another kind than a signature names are an `InputError`, in every public builder."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest

import apsim
from apsim import functions, ops
from apsim.arguments import checked
from apsim.errors import ApsimError, InputError

FUNCTIONS: Any = functions  # whose types these calls do not heed
OPS: Any = ops
LAYOUT = apsim.Layout(A=4, B=4, C=1, P=8, X=4, Y=4)
WRONG = ["8", "", 3.5, -1, 0, 10**30, [1], {"a": 1}, ("A",), object(), b"A", float("nan")]


def builders() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function of `apsim.functions` and `apsim.ops`."""
    for room in (functions, ops):
        for name in room.__all__:
            made = getattr(room, name)
            if callable(made) and not inspect.isclass(made):
                yield f"{room.__name__}.{name}", made


def plain(parameter: inspect.Parameter) -> Any:
    """A value of the parameter's kind."""
    said = str(parameter.annotation)
    return "A" if "str" in said and "Sequence" not in said else [1] if "Sequence" in said else 2


@pytest.mark.parametrize(("name", "build"), list(builders()))
def test_what_is_of_another_kind_is_refused(name: str, build: Callable[..., Any]) -> None:
    """One wrong argument after the other: whatever comes of it, only an `ApsimError` is raised"""
    takes = inspect.signature(build).parameters.values()
    named = [p for p in takes if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    needed = {p.name: plain(p) for p in named if p.default is p.empty}
    refused = 0
    for parameter in named:
        for wrong in WRONG:
            try:
                made = build(**needed | {parameter.name: wrong})
                if isinstance(made, apsim.Operation):
                    made.on(LAYOUT)
            except ApsimError:
                refused += 1
    assert refused or not named, name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FUNCTIONS.add("8", 4), "add: bits: wanted a whole number, got '8'"),
        (lambda: FUNCTIONS.add(8, 4, kind=2), "add: kind: wanted a ApKind or a text, got 2"),
        (lambda: FUNCTIONS.add(8, 0), "add: rows: wanted 1 to 1,073,741,824, got 0"),
        (lambda: OPS.add("A", ["B"], carry="C"), r"add: b: wanted a text, got \['B'\]"),
        (lambda: OPS.apply("add", A=1), "apply: fields: wanted a text, got 1"),
        (lambda: FUNCTIONS.max_pool(8, 4, 2, scheme="best"), "wanted a scheme of moves, prefix"),
        (
            lambda: OPS.maximum("A", "B", flags=("C",)),
            r"maximum: flags: wanted a sequence of 2, each a text, got \('C',\)",
        ),
    ],
)
def test_messages_say_what_was_wanted(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ApsimError, match=message):
        call()


@checked
def sample(
    size: int, *names: str, share: float = 0.5, of: Mapping[str, int] | None = None,
    values: Sequence[int] = (), pair: tuple[int, int] = (1, 2),
    told: Callable[[], int] | None = None,
) -> int:  # fmt: skip
    return size


def test_numbers_of_numpy_are_numbers() -> None:
    values, numbers = np.arange(3), cast(Any, sample)
    assert numbers(np.int64(3), "a", share=np.float64(1), values=values, told=lambda: 1) == 3


@pytest.mark.parametrize(
    "wrong",
    [{"share": "1"}, {"share": float("inf")}, {"of": [1]}, {"values": "12"}, {"values": [1, "2"]},
     {"pair": (1,)}, {"told": 3}],
)  # fmt: skip
def test_each_annotation_is_looked_at(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"sample: {min(wrong)}: wanted"):
        sample(3, **wrong)
    with pytest.raises(InputError, match="sample: names: wanted a text, got 3"):
        sample(3, "a", 3)  # type: ignore[arg-type]


def test_a_missing_or_unknown_argument_is_python_s_own_matter() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'size'"):
        sample()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword"):
        sample(3, sze=3)  # type: ignore[call-arg]
