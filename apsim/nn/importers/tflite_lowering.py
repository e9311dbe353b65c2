"""The integer network of a TFLite file under construction, its planes turned to [C, H, W].

The rule: where a tensor stands (and in which layout) is known here; `tflite` and the tables
beside it say what each operator means.

The batch is the first axis that all computed tensors share; a file that was made for one
image (the usual case) has it wherever the first axis is 1, so that a reshape may take it
away or put it back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from apsim.errors import ModelError
from apsim.nn import rules
from apsim.nn.importers import tflite_versions
from apsim.nn.importers.blockers import NO_FORM, Blocked, Blocker
from apsim.nn.importers.graph import Array, Fate
from apsim.nn.importers.onnx import Imported
from apsim.nn.importers.options import PLAIN, Options
from apsim.nn.importers.tflite_file import Operator, TfliteGraph
from apsim.nn.importers.tflite_layouts import (
    IN_REALS,
    INTEGERS,
    TO_PLANES,
    Layouts,
    Padding,
    require_quantization,
)
from apsim.nn.model import (
    Entry,
    Layer,
    Model,
    Origin,
    Requant,
    State,
    Tensor,
    Weighted,
)
from apsim.nn.model.check import verify
from apsim.nn.rules import factors, litert, ranges

__all__ = ["PLACEHOLDER", "Handler", "Lowering", "Spaced", "activation", "batches_of"]

PLACEHOLDER: Requant = rules.requant("onnx-exact", 1.0, lo=0, hi=1)  # made anew by `refill`
NEAREST = {  # of operators that have no form here
    "RNN": "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN":
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "LSTM": "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "UNIDIRECTIONAL_SEQUENCE_LSTM", "WHILE": "a network unrolled",
    "IF": "one branch", "DIV": "MUL by the inverse", "CONV_3D": "CONV_2D",
    "L2_POOL_2D": "AVERAGE_POOL_2D",
    "CUSTOM": "built-in operators",
}  # fmt: skip
WORDS = ("int8", "uint8", "int16")
SAME_SCALE = 1e-6  # of a scale, which is nothing but how float32 was printed
Handler = Callable[["Lowering", Operator], None]


@dataclass
class Variable:
    """A variable of the file: how it begins, its first reading, and the tensor it now holds."""

    start: Array | None = None
    read: int | None = None
    now: int | None = None


@dataclass(frozen=True)
class Spaced:
    """A plane that a file cuts into a batch of every n-th row and column: a dilation.

    `source` is the plane, `block` (rows, columns) what it is cut by, `padding` what stands
    around it; once a convolution has taken it, `source` is its output, laid together again.
    """

    source: int
    block: tuple[int, int]
    padding: Padding = (0, 0, 0, 0)
    whole: str = ""


class Lowering(Layouts):
    """One import: operators in their order, what became of each, and what blocks it."""

    def __init__(
        self, file: TfliteGraph, rule: str, batch: int, options: Options = PLAIN
    ) -> None:  # fmt: skip
        super().__init__(file, rule, batch)
        self.options = options
        self.inputs: list[str] = []
        self.entries: dict[str, Entry] = {}
        self.spaced: dict[int, Spaced] = {}  # planes cut into a batch, and what came of them
        self.left: dict[int, tuple[int, ...]] = {}  # reals the host computes of these, at the end
        self.indices: set[int] = set()  # what ARG_MAX gave, and what came of it
        self.curves: dict[int, Any] = {}  # reals that are functions of single words
        self.stood: dict[int, int] = {}  # reals, and the integers that DEQUANTIZE took
        self.entering: set[int] = set()  # reals that are not yet quantized
        self.variables: dict[int, tuple[str, str]] = {}  # handles
        self.kept: dict[tuple[str, str], Variable] = {}
        self.states: list[State] = []  # of operators that keep one by themselves
        self.became: dict[int, str] = {}
        self.blockers: list[Blocker] = []
        self.lost: set[int] = set()

    def run(
        self,
        handlers: Mapping[str, Handler],
        left: Callable[[Lowering, Operator], bool],
        states: Callable[[Lowering], tuple[State, ...]],
    ) -> Imported:
        """Lower every operator in order; raises `Blocked` with all that cannot be.

        `left` says which operators are the host's after all, `states` what variables became.
        """
        self._declare_inputs()
        for operator in self.file.operators:
            self._lower(operator, handlers.get(operator.op), left)
        if self.blockers:
            raise Blocked(self.blockers)
        ends = self._ends()
        outputs = [self.as_file(index) for index in ends]
        whole = [
            name for index, name in zip(ends, outputs, strict=True)
            if not self.batched(self.file.tensors[index].shape)
        ]  # fmt: skip
        kept = states(self)
        if not self.layers:
            raise ModelError(f"no operator of the file computes an integer tensor: {self._ops()}")
        model = Model(
            self.file.name, self.rule, tuple(self.inputs), tuple(dict.fromkeys(outputs)),
            self.tensors, tuple(self.layers), entries=self.entries, states=kept,
            unbatched=tuple(dict.fromkeys(whole)),
        )  # fmt: skip
        fates = tuple(self._fate(one) for one in self.file.operators)
        return Imported(verify(model), fates, self._origins())

    def _origins(self) -> tuple[Origin, ...]:
        """Where the file holds the network's integers, or real numbers that they stand for."""
        found = [Origin(made, self.name(i), i, TO_PLANES) for i, made in self.planes.items()]
        found += [Origin(made, self.name(i), i) for i, made in self.flat.items()]
        return tuple(one for one in found if one.tensor in self.tensors)

    def _declare_inputs(self) -> None:
        for index in self.file.inputs:
            file = self.file.tensors[index]
            meant = self.means.get(index, file)
            if meant.real or index in self.flat:
                continue  # what takes it says why it cannot be
            entry = None if meant is file else Entry(file.name, rounding="half-away")
            self.entering.update([index] if entry else [])
            if not self.batched(file.shape):
                rounding = entry.rounding if entry else "none"
                entry = Entry(file.name, rounding=rounding, batched=False)
            self.flat[index] = self.add_input(index, file.name, entry)

    def add_input(self, index: int, name: str, entry: Entry | None = None) -> str:
        """Declare an input tensor in the file's layout."""
        self.tensors[name] = self.kind(index, self.shape(index))
        self.inputs.append(name)
        if entry is not None:
            self.entries[name] = entry
        return name

    def _lower(
        self,
        operator: Operator,
        handler: Handler | None,
        left: Callable[[Lowering, Operator], bool],
    ) -> None:
        try:
            tflite_versions.require(operator)
            if left(self, operator):
                return
            if handler is None:
                near = NEAREST.get(operator.op.split()[0])
                hint = f"; nearest supported form: {near}" if near else ""
                hint += self._cut_before(operator) if operator.op.startswith("CUSTOM") else ""
                raise ModelError(self._in_reals(operator) or NO_FORM + hint)
            self._require_sound(operator)
            if not self.lost.intersection(operator.inputs):
                handler(self, operator)
        except ModelError as error:
            self._blocked(operator, str(error))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._blocked(operator, f"its inputs and options do not go together ({reason})")

    def _cut_before(self, operator: Operator) -> str:
        """How the network ends before an operator, in the command line's words."""
        made = {i for one in self.file.operators for i in one.outputs}
        ends = " ".join(f"--until {self.name(i)!r}" for i in operator.inputs if i in made)
        return f", or {ends}" if ends else ""

    def _in_reals(self, operator: Operator) -> str:
        reals = any(
            self.file.tensors[i].real for i in (*operator.inputs, *operator.outputs) if i >= 0
        )
        return IN_REALS if reals else ""

    def _blocked(self, operator: Operator, why: str) -> None:
        """Note what blocks, and go on as if the operator had given its outputs."""
        self.blockers.append(Blocker(operator.op, self.place(operator), why))
        for index in operator.outputs:
            try:
                self.tensors[self.name(index)] = self.kind(index, self.shape(index))
                self.flat[index] = self.name(index)
            except ModelError:
                self.lost.add(index)

    def place(self, operator: Operator) -> str:
        """Where a person finds an operator."""
        named = [self.name(i) for i in operator.outputs]
        return f"operator {operator.index}" + (f" {named[0]!r}" if named else "")

    def _require_sound(self, operator: Operator) -> None:
        """Everything that an operator takes must be there, and mean something."""
        for index in (i for i in (*operator.inputs, *operator.outputs) if i >= 0):
            tensor = self.file.tensors[index]
            if tensor.wanting:
                raise ModelError(f"tensor {tensor.name!r}: {tensor.wanting}")
            if tensor.type in INTEGERS and tensor.scale.size:
                require_quantization(tensor)
        for index in (i for i in operator.inputs if i >= 0):
            there = (self.constants, self.flat, self.planes, self.padded, self.left,
                     self.variables, self.spaced)  # fmt: skip
            if index in self.lost or any(index in some for some in there):
                continue
            tensor = self.file.tensors[index]
            if tensor.variable:
                continue
            if tensor.real:
                raise ModelError(IN_REALS)
            raise ModelError(f"tensor {tensor.name!r} is neither computed nor constant: its data "
                             "is missing")  # fmt: skip

    def _fate(self, operator: Operator) -> Fate:
        became = self.became.get(operator.index)
        if became is None:
            kinds = {layer.output: layer.op for layer in self.layers}
            made = [self.planes.get(i, self.flat.get(i, "")) for i in operator.outputs]
            named = [
                f"{self.layer_name(i)!r}" + (f" ({kinds[name]})" if name in kinds else "")
                for i, name in zip(operator.outputs, made, strict=True)
            ]
            became = f"layer {', '.join(named)}" if named else "nothing to do"
        return Fate(f"operator {operator.index} {operator.op}", became)

    def _ends(self) -> list[int]:
        """The file's outputs; the integers before them where the host computes what is left."""
        ends = [i for index in self.file.outputs for i in self.left.get(index, (index,))]
        return [self.stood.get(index, index) for index in ends]

    def _ops(self) -> str:
        """The operators of a file that the host computes as a whole, with their counts."""
        counts = Counter(one.op for one in self.file.operators)
        listed = ", ".join(f"{op} x{count}" for op, count in counts.items())
        return f"all are left to the host ({listed})" if listed else "it has none"

    def variable(self, key: tuple[str, str]) -> Variable:
        """A variable of the file by its name."""
        return self.kept.setdefault(key, Variable())

    def finish(
        self, operator: Operator, layer: Layer, planes: bool, shape: Sequence[int] | None = None
    ) -> None:
        """Requantize a layer to the operator's output and add it.

        `shape` is what the layer gives where that is not the output's own.
        """
        index = operator.outputs[0]
        own = self.shape(index)
        if planes:
            own = (own[2], own[0], own[1])
        tensor = self.kind(index, own if shape is None else shape)
        clip, relu = activation(operator, tensor)
        name = f"{self.name(index)} (unshaped)" if tensor.shape != own else self.made(index, planes)
        layer = replace(layer, name=self.layer_name(index), output=name)
        if hasattr(layer, "relu"):
            layer = replace(layer, relu=relu)  # type: ignore[call-arg]
        elif relu:
            clip = replace(clip, lo=max(clip.lo, tensor.zero_point))
        self.tensors[name] = tensor
        if isinstance(layer, Weighted) or getattr(layer, "requant", None) is not None:
            layer = self.refilled(replace(layer, requant=PLACEHOLDER), clip)  # type: ignore[call-arg]
        self.emit(layer, tensor)
        if tensor.shape != own:
            name = self.reshaped(name, own, self.made(index, planes))
        self.stands(index, name, planes)

    def settled(self, index: int, layer: Layer, tensor: Tensor, planes: bool) -> None:
        """Add a layer that is finished as it is and makes a tensor of the file."""
        self.emit(layer, tensor)
        self.stands(index, layer.output, planes)

    def settled_as(self, index: int, name: str, shape: Sequence[int]) -> None:
        """A tensor of the file stands as another one's integers in the file's shape."""
        self.stands(index, self.reshaped(name, shape, self.made(index, False)), False)

    def require_words(self, operator: Operator, *indices: int) -> None:
        """Activations of one type, and 16-bit ones without a zero point, as the kernels want."""
        kinds = [self.quantized(i, *WORDS) for i in indices]
        if len({(kind.bits, kind.signed) for kind in kinds}) > 1:
            raise operator.refuse("inputs and outputs of different types")
        if kinds[0].bits == 16 and any(kind.zero_point for kind in kinds):
            raise operator.refuse("a zero point of 16-bit words", "zero point 0")

    def require_shape(self, operator: Operator, comes: Sequence[int]) -> None:
        """The output's shape in the file must be the one that comes out."""
        shape = self.file.tensors[operator.outputs[0]].shape
        if tuple(comes) != shape:
            raise operator.refuse(f"an output of shape {list(shape)} where {list(comes)} comes out")

    def require_alike(self, operator: Operator, inputs: Sequence[int]) -> None:
        """What is moved keeps its integers, so the scale must be the same on both sides.

        Scales that part in their last bits alone are: the integers keep them as LiteRT does.
        """
        kinds = [self.kind(i, ()) for i in (*inputs, *operator.outputs)]
        words = {(kind.zero_point, kind.bits, kind.signed, kind.scale is None) for kind in kinds}
        scales = [rules.one_scale(kind) for kind in kinds if kind.scale is not None]
        if len(words) > 1 or (scales and max(scales) - min(scales) > SAME_SCALE * min(scales)):
            raise operator.refuse("an output of another scale or type than its input",
                                  "equal scales")  # fmt: skip

    def refilled(self, layer: Layer, clip: factors.Clip) -> Layer:
        """The layer with its requantization under the network's rule."""
        model = Model("import", self.rule, (), (), self.tensors, (layer,))
        filled = factors.refill(model, layer, self.rule, clip)
        self.require_32_bits(filled)
        return filled

    def require_32_bits(self, layer: Layer) -> None:
        """Raise `ModelError` where sums are scaled up until TFLite's kernels leave 32 bits.

        They shift left before they round ("tflite"), or round to 32 bits ("tflite-16x8").
        """
        requant = getattr(layer, "requant", None)
        if requant is None or requant.rule not in ("tflite", "tflite-16x8"):
            return
        up = np.exp2(np.maximum(np.ceil(np.log2(requant.scale)), 0))
        if not isinstance(layer, ranges.Summing) or not (up > 1).any():
            return
        up = requant.scale if requant.rule == "tflite-16x8" else up
        model = Model("import", self.rule, (), (), self.tensors, (layer,))
        reach = ranges.of_layer(model, layer).shifted(np.asarray(getattr(layer, "bias", 0)))
        most = np.maximum(np.abs(reach.low), np.abs(reach.high)).astype(float)
        if (most * up > litert.TOP).any():
            raise ModelError(f"sums of up to {most.max():,.0f} scaled up by "
                             f"{requant.scale.max():.3g}, for which TFLite's kernels leave 32 "
                             "bits")  # fmt: skip


def batches_of(file: TfliteGraph) -> tuple[int, ...]:
    """What the batch of a file may be, 0 where no axis is one: the likeliest first."""
    firsts = {file.tensors[i].shape[0] for i in file.inputs if len(file.tensors[i].shape) > 1}
    if not firsts or 1 in firsts:
        return (1,)
    made = [i for one in file.operators for i in one.outputs]
    shapes = [file.tensors[i].shape[:1] for i in (*file.inputs, *made)]
    size = min(firsts)
    return (size, 0) if all(shape == (size,) for shape in shapes) else (0,)


def activation(operator: Operator, y: Tensor) -> tuple[factors.Clip, bool]:
    """The output's bounds and whether a ReLU is fused; TFLite rounds bounds half away."""
    fused = operator.option("FusedActivationFunction")
    if fused not in range(4):
        raise operator.refuse(f"fused activation {fused}", "RELU, RELU6 or RELU_N1_TO_1")
    if fused < 2:
        return factors.Clip(y.lo, y.hi), fused == 1
    assert isinstance(y.scale, float)
    if fused == 3:  # RELU6
        return factors.Clip(y.lo, min(y.hi, y.zero_point + _away(6.0 / y.scale))), True
    one = _away(1.0 / y.scale)
    return factors.Clip(max(y.lo, y.zero_point - one), min(y.hi, y.zero_point + one)), False


def _away(value: float) -> int:
    return int(np.floor(value + 0.5))
