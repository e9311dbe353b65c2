"""What can be debugged or traced by name: operations, LUTs, layers of networks, saved sessions.

The rule: a target becomes a fresh session at its first step, with real data in its
ports; the program is the one that an ordinary run executes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim import functions, lut, ops
from apsim.debug import storage
from apsim.debug.session import Session
from apsim.errors import InputError
from apsim.files import suffix_of
from apsim.functions import Function, micro
from apsim.layout import WIDEST, Field, Layout
from apsim.lut.curves import Curve, tabulated
from apsim.machine import Machine
from apsim.ops.states import reachable_words

__all__ = ["OPERATIONS", "Wanted", "open_target"]

LIMITS = {"rows": (1, 1 << 20), "bits": (1, WIDEST), "seed": (0, 2**63)}
ROWS = 4  # where neither operands nor --rows say how many


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for; `given` maps fields to integers."""

    name: str
    given: Mapping[str, Sequence[int]] = field(default_factory=dict)
    bits: int = 8
    rows: int | None = None
    ap: str = "2d"
    seed: int = 0
    engine: str = "strict"
    model: str | None = None
    layer: str | None = None
    cap: int = 0
    load: int = 0
    caps: int = 1
    mapping: str = "im2col"
    cost: str = "energy"
    requant: str = "host"
    broadcast: str = "group"


@dataclass(frozen=True)
class Known:
    """An operation by name: its operands, a builder from (bits, words, AP kind), their shape."""

    operands: tuple[str, ...]
    build: Callable[[int, int, str], Function]
    shape: Callable[[int], tuple[int, ...]] = lambda count: (count,)


def _known(build: Callable[..., Function], *operands: str) -> Known:
    return Known(operands, lambda bits, count, ap: build(bits, count, kind=ap))


def _window(build: Callable[..., Function]) -> Known:
    """A pooling function: its words are one window."""
    return Known(
        ("A",), lambda bits, count, ap: build(bits, count, 1, kind=ap), lambda count: (1, count)
    )


def _softmax(bits: int, words: int, groups: int, *, kind: str) -> Function:
    """Softmax of scores that reach -4 to 4."""
    table = functions.exponential(2.0 ** (3 - bits), bits)
    return functions.softmax(table, bits, words, groups, kind=kind)


def _ita(bits: int, words: int, groups: int, *, kind: str) -> Function:
    """ITA's softmax of scores that reach -4 ln 2 to 4 ln 2."""
    return functions.ita_softmax(bits, words, groups, kind=kind, shift=max(bits - 3, 0))


OPERATIONS: dict[str, Known] = {
    "add": _known(functions.add, "A", "B"),
    "subtract": _known(functions.subtract, "A", "B"),
    "multiply": _known(functions.multiply, "A", "B"),
    "maximum": _known(functions.maximum, "A", "B"),
    "minimum": _known(functions.minimum, "A", "B"),
    "relu": _known(functions.relu, "A"),
    "reduce": _known(functions.reduce, "A"),
    "dot": replace(_known(functions.dot, "A", "B"), shape=lambda count: (1, count)),
    "max-pool": _window(functions.max_pool),
    "average-pool": _window(functions.average_pool),
    "softmax": _window(_softmax),
    "ita-softmax": _window(_ita),
    "layer-norm": _window(functions.layer_norm),
    "rms-norm": _window(functions.rms_norm),
}
TABLE = "table-"
ALIASES = {"max": "maximum", "min": "minimum", "sub": "subtract", "mul": "multiply"}


def _is_network(name: str) -> bool:
    from apsim.nn.zoo.bundled import BUNDLED, SUFFIXES

    return name in BUNDLED or suffix_of(name) in (".npz", *SUFFIXES)


def open_target(wanted: Wanted) -> Session:
    """A session on what is wanted; raises `ApsimError` with what can be had."""
    if wanted.model is not None:
        return _layer(wanted)
    name = ALIASES.get(wanted.name, wanted.name)
    if name in OPERATIONS:
        return _operation(OPERATIONS[name], wanted)
    if name.startswith(TABLE):
        return _operation(_table(name.removeprefix(TABLE)), wanted)
    if name.endswith(".json"):
        return storage.from_record(storage.read(name), name, wanted.engine)
    if name.endswith(".toml") or name in lut.names():
        return _look_up(name, wanted)
    if _is_network(name):
        raise InputError(f"{name!r} is a network: wanted one of its layers, as {name}:LAYER")
    near = [*get_close_matches(name, OPERATIONS, 1), *get_close_matches(name, lut.names(), 1, 0.5)]
    hint = f"did you mean {near[0]!r}?" if near else f"operations are {', '.join(OPERATIONS)}"
    raise InputError(
        f"nothing is called {name!r}; {hint} (or a LUT, a .toml file, table-FUNCTION, "
        "a saved .json session)"
    )


def _table(name: str) -> Known:
    """A function of signed words that reach -4 to 4, into words of the same scale."""

    def build(bits: int, count: int, ap: str) -> Function:
        layout, scale = Layout(A=f"s{bits}", B=f"s{bits}"), 2.0 ** (3 - bits)
        what = Curve(name, scale, out_scale=scale)
        words = layout["A"].values
        values = tabulated(what, words, words[0], words[-1])
        return micro.table(values, bits, bits, count, kind=ap, words="s", words_out="s")

    return Known(("A",), build)


def _operation(known: Known, wanted: Wanted) -> Session:
    count = _row_count(wanted)
    function = known.build(wanted.bits, count, wanted.ap)
    _refuse_unknown(wanted.given, known.operands)
    operands = [
        _words(wanted, function.layout[name], index, count).reshape(known.shape(count))
        for index, name in enumerate(known.operands)
    ]
    return on_function(function, function.words(*operands), wanted.engine)


def on_function(function: Function, data: NDArray[np.uint64], engine: str = "strict") -> Session:
    """A session on a function whose words from outside are uint64[ports, rows]."""
    machine = Machine(function.rows, function.layout, engine=engine)
    words = max(machine.rows, data.shape[1])
    padded = np.zeros((len(data), words), np.uint64)
    padded[:, : data.shape[1]] = data
    out = np.zeros((function.ports, words), np.uint64)
    return Session(machine, function.operation, data=padded, out=out)


def _look_up(name: str, wanted: Wanted) -> Session:
    table = lut.find(name)
    _refuse_unknown(wanted.given, table.columns)
    rows = _row_count(wanted, ROWS if wanted.given else len(table.reachable))
    widths: dict[str, Any] = {n: wanted.bits if n in table.per_bit else 1 for n in table.columns}
    layout = Layout(**widths)
    given = {n: layout[n].encode(_words(wanted, layout[n], 0, rows)) for n in wanted.given}
    machine = Machine(rows, layout, engine=wanted.engine)
    whole = ops.populate(*table.columns) + ops.apply(table)
    return Session(
        machine, whole, data=reachable_words(table, wanted.bits, rows, given, wanted.seed)
    )


def _words(wanted: Wanted, place: Field, index: int, count: int) -> NDArray[Any]:
    """The words given for a field; where none are, seeded random ones."""
    values = wanted.given.get(place.name)
    kind = np.int64 if place.highest < 1 << 63 else np.uint64
    if values is None:
        generator = np.random.default_rng([wanted.seed, index])
        return generator.integers(place.lowest, place.highest, count, kind, endpoint=True)
    if len(values) not in (1, count):
        raise InputError(f"--set {place.name}: wanted 1 or {count} words, got {len(values)}")
    return np.resize(np.array(values, dtype=object), count)


def _row_count(wanted: Wanted, usual: int = ROWS) -> int:
    longest = max((len(values) for values in wanted.given.values()), default=1)
    rows = (longest if longest > 1 else usual) if wanted.rows is None else wanted.rows
    given = {"rows": rows, "bits": wanted.bits, "seed": wanted.seed}
    for name, (least, most) in LIMITS.items():
        if not least <= given[name] <= most:
            raise InputError(f"--{name}: wanted {least} to {most}, got {given[name]}")
    return rows


def _refuse_unknown(given: Mapping[str, Sequence[int]], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1, 0.4)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"--set {name}: operands are {', '.join(known)}{hint}")


def _layer(wanted: Wanted) -> Session:
    from apsim.debug.layer_load import find_load

    load = find_load(
        wanted.model or "", wanted.layer, wanted.ap,
        cap=wanted.cap, number=wanted.load, caps=wanted.caps, mapping=wanted.mapping,
        cost_of=wanted.cost, requant=wanted.requant, broadcast=wanted.broadcast,
    )  # fmt: skip
    return on_function(load.function, load.data, wanted.engine)
