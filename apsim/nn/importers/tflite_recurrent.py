"""TFLite's integer LSTM, unrolled into products, sums and tables of 16-bit words.

The rule: the 8x8-to-16 kernel's own roundings; gates are Q3.12, their functions those of
gemmlowp.  The state begins at zero for each input, as after a reset of the interpreter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from apsim.errors import ModelError
from apsim.nn import rules
from apsim.nn.importers.graph import Array
from apsim.nn.importers.tflite_file import Operator, TfliteTensor
from apsim.nn.importers.tflite_lowering import Handler, Lowering
from apsim.nn.model import (
    Add,
    Layer,
    Linear,
    Multiply,
    Rearrange,
    Requant,
    Reshape,
    Table,
    Tensor,
)
from apsim.nn.rules import fixed_point

__all__ = ["HANDLERS"]

GATES, WIDE = ("input", "forget", "cell", "output"), (-32768, 32767)
NOT_TAKEN = {
    (9, 10, 11): "peepholes", (16, 17): "a projection", (20, 21, 22, 23): "layer normalization"
}  # fmt: skip


@dataclass
class _Cell:
    """One LSTM under construction: its words, factors and names."""

    low: Lowering
    name: str
    units: int
    cell_bits: int  # the cell's scale is 2 ** -cell_bits
    state: Tensor
    own: Tensor  # what the kernel makes of the state, before it takes it as the state's words
    hidden: float

    def emit(self, what: str, layer: Layer, tensor: Tensor) -> str:
        name = f"{self.name} ({what})"
        return self.low.emit(replace(layer, name=name, output=name), tensor)

    def wide(self, *shape: int, bits: int = 12) -> Tensor:
        """Words of 16 bits in steps of 2 ** -bits."""
        return Tensor(shape, 16, True, 2.0**-bits)

    def taken(self, what: str, names: tuple[str, ...], index: Array, tensor: Tensor) -> str:
        """Words of some tensors as one of their own."""
        layer = Rearrange(name="", inputs=names, output="", index=index, what="LSTM steps")
        return self.emit(what, layer, tensor)

    def added(self, what: str, a: str, b: str, lo: int, hi: int, bits: int) -> str:
        """A saturating sum."""
        clip = rules.requant("dyadic(1,floor)", 1.0, lo=lo, hi=hi)
        layer = Add(name="", inputs=(a, b), output="", requant=clip)
        return self.emit(what, layer, self.wide(*self.low.tensors[a].shape, bits=bits))

    def multiplied(self, what: str, a: str, b: str, right: int) -> str:
        """A product, shifted right and rounded half away."""
        requant = rules.requant("dyadic(1,half-away)", 2.0**-right, lo=WIDE[0], hi=WIDE[1])
        layer = Multiply(name="", inputs=(a, b), output="", requant=requant)
        return self.emit(what, layer, self.wide(self.units, bits=self.cell_bits))


def _lstm(low: Lowering, operator: Operator) -> None:
    _require_plain(low, operator)
    tensors = [low.file.tensors[i] if i >= 0 else None for i in operator.inputs]
    x, state = low.quantized(operator.inputs[0], "int8"), low.quantized(operator.inputs[18], "int8")
    low.quantized(operator.outputs[0], "int8")
    cell = _cell(low, operator, state)
    name = low.as_file(operator.inputs[0])
    shape = low.tensors[name].shape
    if operator.option("TimeMajor"):
        if len(shape) != 3 or shape[1] != 1:
            raise operator.refuse("a batch of sequences with time first", "a batch of one")
        name, shape = low.reshaped(name, (shape[0], shape[2]), f"{cell.name} (steps)"), shape[::2]
    if len(shape) != 2:
        raise operator.refuse(f"an input of shape {list(shape)}", "[batch, time, features]")
    given = _gates(low, cell, tensors, 1, x, name, biased=True)
    every = cell.emit("gates of the input", given, cell.wide(shape[0], 4 * cell.units))
    units = np.arange(cell.units)
    last = cell.taken("no state yet", (name,), np.full(cell.units, -1, np.int32),
                      replace(state, shape=(cell.units,)))  # fmt: skip
    memory = cell.taken("no memory yet", (name,), np.full(cell.units, -1, np.int32),
                        cell.wide(cell.units, bits=cell.cell_bits))  # fmt: skip
    steps = []
    for step in range(shape[0]):
        gates = cell.taken(f"input, step {step}", (every,),
                           np.arange(4 * cell.units) + step * 4 * cell.units,
                           cell.wide(4 * cell.units))  # fmt: skip
        last, memory = _step(cell, operator, tensors, step, gates, last, memory)
        steps.append(last)
    y = operator.outputs[0]
    index = (np.arange(shape[0])[:, None] * cell.units + units).reshape(low.shape(y))
    output = low.made(y, False)
    low.emit(Rearrange(name=cell.name, inputs=tuple(steps), output=output, index=index,
                       what="LSTM steps"), low.kind(y, low.shape(y)))  # fmt: skip
    low.stands(y, output, False)
    low.became[operator.index] = f"{shape[0]} steps from a state of zero, products on the AP"


def _require_plain(low: Lowering, operator: Operator) -> None:
    """What this form of the kernel does not have is refused by name."""
    for places, what in NOT_TAKEN.items():
        if any(place < len(operator.inputs) and operator.inputs[place] >= 0 for place in places):
            raise operator.refuse(what, "a plain LSTM")
    if operator.inputs[1] < 0 or operator.inputs[5] < 0:
        raise operator.refuse("coupled input and forget gates", "a plain LSTM")
    if operator.option("FusedActivationFunction") != 4:
        raise operator.refuse("another activation than TANH", "TANH")
    if operator.option("DiagonalRecurrentTensors") or low.rule != "tflite":
        raise operator.refuse("diagonal weights, or a rule of another format", "rule tflite")


def _cell(low: Lowering, operator: Operator, state: Tensor) -> _Cell:
    cell = low.quantized(operator.inputs[19], "int16")
    power = float(np.log2(rules.one_scale(cell)))
    if power % 1 or not -15 <= power <= -9:
        raise operator.refuse(
            f"a cell scale of {cell.scale}", "a power of two from 2**-15 to 2**-9"
        )
    inner = low.file.tensors[operator.intermediates[4]] if len(operator.intermediates) > 4 else None
    if inner is None or inner.scale.size != 1:
        raise operator.refuse("no scale of the hidden state", "an intermediate with one")
    own = replace(state, scale=float(inner.scale[0]), zero_point=int(inner.zero[0]))
    unit = np.float32(2.0**-15) / np.float32(inner.scale[0])
    hidden = float(np.float32(unit * np.float32(2.0**-15)))
    return _Cell(low, low.layer_name(operator.outputs[0]), low.shape(operator.inputs[18])[-1],
                 -int(power), state, own, hidden)  # fmt: skip


def _gates(
    low: Lowering, cell: _Cell, tensors: list[TfliteTensor | None], first: int, x: Tensor,
    name: str, biased: bool,
) -> Linear:  # fmt: skip
    """The four gates' products with the input, or with the state: one layer, Q3.12."""
    weights: list[Array] = []
    scales: list[float] = []
    biases: list[Array] = []
    for gate in range(4):
        own = tensors[first + gate]
        if own is None or own.data is None or own.type != "int8" or own.zero.any():
            raise ModelError(f"{GATES[gate]} weights that are not symmetric int8 constants")
        if own.scale.size != 1:
            raise ModelError("weights with several scales; nearest supported form: one scale")
        weights.append(own.data)
        scales.append(float(np.float32(np.float32(own.scale[0]) * np.float32(rules.one_scale(x)))))
        bias = tensors[12 + gate]
        if bias is None or bias.data is None or bias.type != "int32":
            raise ModelError(f"a {GATES[gate]} bias that is no constant of type int32")
        biases.append(bias.data if biased else np.zeros(cell.units, np.int64))
    stacked = np.concatenate(weights)
    factor = np.repeat(scales, cell.units) * 2.0**12
    sums = stacked.sum(axis=1, dtype=np.int64)
    return Linear(
        name="", inputs=(name,), output="", weights=stacked, weight_bits=8, sum_bits=32,
        bias=np.concatenate(biases).astype(np.int64) - x.zero_point * sums,
        weight_scale=np.repeat(scales, cell.units) / rules.one_scale(x),
        requant=rules.requant("tflite", factor, lo=WIDE[0], hi=WIDE[1]),
    )  # fmt: skip


def _step(
    cell: _Cell, operator: Operator, tensors: list[TfliteTensor | None], step: int, given: str,
    last: str, memory: str,
) -> tuple[str, str]:  # fmt: skip
    """One step: the new state and the new memory of the cell."""
    low, units, at = cell.low, cell.units, f"step {step}"
    again = _gates(low, cell, tensors, 5, cell.state, last, biased=False)
    past = cell.emit(f"gates of the state, {at}", again, cell.wide(4 * units))
    total = cell.added(f"gates, {at}", given, past, *WIDE, bits=12)
    which = np.repeat([0, 0, 1, 0], units).astype(np.int32)
    values = np.stack([fixed_point.sigmoid(3), fixed_point.tanh(3)])
    layer = Table(name="", inputs=(total,), output="", values=values, which=which,
                  function="sigmoid and tanh")  # fmt: skip
    opened = cell.emit(f"gates opened, {at}", layer, cell.wide(4 * units, bits=15))
    i, f, g, o = (
        cell.taken(f"{gate} gate, {at}", (opened,), np.arange(units) + n * units,
                   cell.wide(units, bits=15))
        for n, gate in enumerate(GATES)
    )  # fmt: skip
    kept = cell.multiplied(f"kept, {at}", f, memory, 15)
    new = cell.multiplied(f"new, {at}", i, g, 30 - cell.cell_bits)
    most = _most(cell, operator)
    memory = cell.added(f"cell, {at}", kept, new, max(-most, -32768), most, bits=cell.cell_bits)
    table = fixed_point.tanh(15 - cell.cell_bits)[None]
    squashed = cell.emit(
        f"cell squashed, {at}",
        Table(name="", inputs=(memory,), output="", values=table, function="tanh"),
        cell.wide(units, bits=15),
    )
    return _hidden(cell, f"state, {at}", o, squashed), memory


def _most(cell: _Cell, operator: Operator) -> int:
    """Where the memory is clipped, 32768 where it is only saturated."""
    clip = float(operator.options.get("CellClip", 0.0))
    if clip <= 0:
        return 32767
    steps = int(min(float(np.float32(clip) / np.float32(2.0**-cell.cell_bits)), 32767.0))
    return steps or 32767  # a bound below one step is none to the kernel


def _hidden(cell: _Cell, what: str, a: str, b: str) -> str:
    """The new state: the cell behind its output gate, its integers taken as the state's."""
    made, state = (replace(one, shape=(cell.units,)) for one in (cell.own, cell.state))
    requant: Requant = rules.requant(
        "tflite", cell.hidden, zero_point=made.zero_point, lo=made.lo, hi=made.hi
    )
    layer = Multiply(name="", inputs=(a, b), output="", requant=requant)
    if made == state:
        return cell.emit(what, layer, state)
    own = cell.emit(f"{what}, its own scale", layer, made)
    return cell.emit(what, Reshape(name="", inputs=(own,), output=""), state)


HANDLERS: dict[str, Handler] = {"UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm}
