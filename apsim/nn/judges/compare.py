"""The integers of a network against those that a judge's reading of its file holds.

The rule: each layer is run on the judge's own integers, so that one difference does not
hide the next; integers are compared with `==`, real numbers in steps of the tensor's own
scale, where they must lie on its grid.  Nothing is rounded before it is compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from apsim.nn import exact
from apsim.nn.judges import before, ties
from apsim.nn.judges.reading import Array, Exact, Reading
from apsim.nn.model import Floats, Integers, Layer, Model, Origin, Tensor

__all__ = ["Agreement", "agreed", "compare", "merged", "origins_of"]

OFF_GRID = 1 / 8  # of a step, beside what float32 itself cannot hold
Tensors = Mapping[str, Integers]


@dataclass(frozen=True)
class Agreement:
    """How many integers of a tensor differ from the judge's, of `total`.

    `forced` counts them with the judge's inputs, of which `ties` lie exactly half-way and
    `float32` so near to it (or, in real outputs, so far beyond float32) that the judge's
    float32 decided.  `whole` counts differences from end to end.  `first` is the first
    that nothing explains: its index and both values; `problem` says what no number can.
    `parted` counts values that are not the file's before they are rounded, with `before`
    the first of them.
    """

    layer: str
    tensor: str
    name: str
    total: int
    forced: int = 0
    ties: int = 0
    float32: int = 0
    whole: int = 0
    first: str = ""
    problem: str = ""
    parted: int = 0
    before: str = ""

    @property
    def place(self) -> str:
        """The layer, and the file's tensor where it is called otherwise; escapes are shown."""
        named = "" if self.layer == self.name else f" (tensor {self.name!r} of the file)"
        signs = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in self.layer)
        return "".join(signs) + named

    @property
    def unexplained(self) -> int:
        """Differences that are none of float32's."""
        return self.forced - self.ties - self.float32

    @property
    def equal(self) -> bool:
        """Whether nothing differs but what float32 decided."""
        return not self.unexplained and not self.problem and not self.parted


def agreed(judged: Sequence[Agreement]) -> bool:
    """Whether all agree; from end to end a difference may only follow an explained one."""
    followed = any(one.ties or one.float32 for one in judged)
    return all(one.equal for one in judged) and (followed or not any(o.whole for o in judged))


def origins_of(model: Model, origins: Sequence[Origin]) -> dict[str, list[Origin]]:
    """Each tensor's places in the file: those claimed, else the file's tensor of its name."""
    claimed: dict[str, list[Origin]] = {name: [] for name in model.tensors}
    for one in dict.fromkeys(origins):
        claimed.get(one.tensor, []).append(one)
    taken = {one.name for one in origins}
    for name, places in claimed.items():
        if not places and name not in taken:
            places.append(Origin(name, name))
    return claimed


def compare(
    model: Model,
    origins: Sequence[Origin],
    x: Tensors,
    reading: Reading,
    ours: Tensors | None = None,
    deadline: float = math.inf,
    unrounded: bool = False,
) -> list[Agreement]:
    """Judge every tensor that the reading gives, in running order.

    `x` holds the network's inputs, `ours` its tensors from end to end (not counted where
    None).  Layers that the time does not suffice for are left out.  With `unrounded` what
    each layer rounds is held against the file's own in float64, too: a bias that is one
    off shows there in every value, in the integers only in a few.
    """
    places = origins_of(model, origins)
    judge = _Judge(model, places, frozenset(origins), reading, dict(ours or {}))
    for name in model.inputs:
        judge.take(f"input {model.called(name)!r}", None, name, np.asarray(x[name], np.int64))
    for layer in model.layers:
        if time.perf_counter() > deadline:
            break
        made = exact.layer_output(model, layer, judge.tensors)
        judge.take(layer.name, layer, layer.output, made)
    if unrounded and time.perf_counter() < deadline:
        return _before_rounding(judge, deadline)
    return judge.judged


def _before_rounding(judge: _Judge, deadline: float) -> list[Agreement]:
    """The same with what each layer rounds held against what the file rounds.

    The first tensor that a rounding of the file gives is the one; a clip of its integers,
    in a layer of its own, rounds nothing more.
    """
    judged, taken = [], set[int]()
    for one in judge.judged:
        rounding = judge.exact[one.name].rounding if one.name in judge.exact else None
        late = time.perf_counter() > deadline
        if rounding is not None and id(rounding.steps) not in taken and not late:
            taken.add(id(rounding.steps))
            found = before.parted(judge.model, one.tensor, judge.tensors, rounding)
            if found is not None and found[1].any():
                steps, wrong = found
                first = _first(steps, np.asarray(rounding.steps), wrong)
                one = replace(one, parted=int(wrong.sum()), before=first)
        judged.append(one)
    return judged


def merged(runs: Sequence[Sequence[Agreement]]) -> list[Agreement]:
    """The same tensors of several runs as one."""
    found: dict[tuple[str, str], Agreement] = {}
    for one in (one for run in runs for one in run):
        key = one.layer, one.name
        had = found.get(key)
        found[key] = one if had is None else replace(
            had,
            **{name: getattr(had, name) + getattr(one, name)
               for name in ("total", "forced", "ties", "float32", "whole", "parted")},
            first=had.first or one.first, problem=had.problem or one.problem,
            before=had.before or one.before,
        )  # fmt: skip
    return list(found.values())


@dataclass
class _Judge:
    """A comparison under way: the tensors so far are the judge's wherever it gave them."""

    model: Model
    places: Mapping[str, list[Origin]]
    claimed: frozenset[Origin]
    reading: Reading
    ours: dict[str, Integers]

    def __post_init__(self) -> None:
        self.tensors: dict[str, Integers] = {}
        for state in getattr(self.model, "states", ()):
            self.tensors[state.read] = state.start[None]
        self.judged: list[Agreement] = []

    @cached_property
    def exact(self) -> Mapping[str, Exact]:
        """What the file says in float64; nothing where it cannot be worked out so."""
        try:
            return self.reading.exact()
        except Exception:  # a kernel that takes no float64
            return {}

    def take(self, what: str, layer: Layer | None, name: str, made: Integers) -> None:
        """Judge one tensor in each of its places; what follows goes on with the judge's."""
        self.tensors[name] = made
        counted = 0
        for place in self.places[name]:
            value = self.reading.find(place)
            if value is None or self._fed(name, place):
                continue
            if value.shape == made.shape[1:] and len(made) == 1 and not place.axes:
                value = value[None]  # a file of one image need not have a batch axis
            given = _in_steps(self.model.tensors[name], place, value)
            total = made.size if not counted else 0
            base = Agreement(what, name, place.name, total)
            if isinstance(given, str) and place not in self.claimed:
                continue  # of the same name, but in real numbers that the network knows no scale of
            if isinstance(given, str) or given.shape != made.shape:
                shape = given if isinstance(given, str) else f"shape {list(given.shape)}"
                problem = f"shape {list(made.shape)}, the judge has {shape}"
                self.judged.append(replace(base, forced=made.size, problem=problem))
                continue
            self.judged.append(self._judge(base, layer, place, made, given))
            if not counted:
                self.tensors[name] = _integers(given)
            counted += 1

    def _fed(self, name: str, place: Origin) -> bool:
        """Whether a place is what the user gave: nothing was made of it yet."""
        return name in self.model.inputs and place.name == self.model.called(name)

    def _judge(
        self, base: Agreement, layer: Layer | None, place: Origin, made: Integers, given: Array
    ) -> Agreement:
        wrong = _differ(made, given)
        whole = 0
        if base.tensor in self.ours and base.total:
            whole = int(_differ(self.ours[base.tensor], given).sum())
        if not wrong.any():
            return replace(base, whole=whole)
        explained = self._explained(layer, place, made, given) & wrong
        half = np.zeros(wrong.shape, bool)
        if layer is not None and explained.any():
            half = explained & ties.half_way(self.model, layer, self.tensors, explained)
        return replace(
            base, forced=int(wrong.sum()), whole=whole, ties=int(half.sum()),
            float32=int((explained & ~half).sum()), first=_first(made, given, wrong & ~explained),
        )  # fmt: skip

    def _explained(self, layer: Layer | None, place: Origin, made: Integers, given: Array) -> Array:
        """Where the file's exact value says ours and float32 may have said theirs."""
        nowhere = np.zeros(made.shape, bool)
        found = None if layer is None else self.exact.get(place.name)
        if layer is None or found is None or place.axes:
            return nowhere
        reach = ties.reach(self.model, layer.output, self.tensors)
        if found.rounding is not None:
            zero = self.model.tensors[layer.output].zero_point
            own = ties.allowed(self.model, layer, reach)
            whole = _integers(given)
            explained = ties.explained(made, whole, found.rounding, reach, own, zero)
            return explained & ~_differ(whole, given)
        if getattr(layer, "requant", None) is None and found.value.shape == made.shape:
            steps = _steps(self.model.tensors[layer.output], found.value)
            return ties.real_explained(made, steps, np.asarray(given, np.float64), reach)
        return nowhere


def _in_steps(tensor: Tensor, place: Origin, value: Array) -> Array | str:
    """The judge's numbers as the network has them: integers, or real numbers in steps."""
    if place.axes:
        if value.ndim != len(place.axes) + 1:
            return f"shape {list(value.shape)}"
        value = value.transpose(0, *(axis + 1 for axis in place.axes))
    if value.dtype.kind == "f" or "float" in str(value.dtype):
        if tensor.scale is None:
            return f"{value.dtype}"
        return _steps(tensor, value)
    return value.astype(np.int64) + place.offset


def _steps(tensor: Tensor, value: Array) -> Floats:
    scale, shift = np.asarray(tensor.scale, np.float64), np.asarray(tensor.shift, np.float64)
    if value.ndim == 4:
        scale, shift = (part.reshape(-1, 1, 1) for part in (scale, shift))
    with np.errstate(all="ignore"):
        steps = (np.asarray(value, np.float64) - shift) / scale + tensor.zero_point
    return np.asarray(steps, np.float64)


def _differ(made: Integers, given: Array) -> Array:
    if given.dtype.kind != "f":
        return np.asarray(made != given)
    grid = OFF_GRID + np.abs(made) * 2.0**-22
    return ~(np.abs(given - made) <= grid)  # NaN differs


def _integers(given: Array) -> Integers:
    if given.dtype.kind != "f":
        return given
    whole: Integers = np.rint(np.nan_to_num(given)).astype(np.int64)
    return whole


def _first(made: Array, given: Array, where: Array) -> str:
    places: Iterator[Any] = iter(np.argwhere(where))
    at = next(places, None)
    if at is None:
        return ""
    index = tuple(int(i) for i in at)
    return f"{list(index)}: {_shown(made[index])}, the judge has {_shown(given[index])}"


def _shown(number: Any) -> str:
    return f"{number:.9g}" if isinstance(number, np.floating) else str(number)
