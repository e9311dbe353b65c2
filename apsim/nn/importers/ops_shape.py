"""Operators that move values without changing them: reshape, transpose, join, pass on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from apsim.nn.importers.constants import Const, ConstReal
from apsim.nn.importers.graph import Array, Node
from apsim.nn.importers.ops_real import name_of, pool_mean
from apsim.nn.importers.pending import Chained, Joint, Missing, Pending, Source, Value
from apsim.nn.importers.walk import ANY, Handler, Walk, handles
from apsim.nn.model import ArgMax, AvgPool, Flatten, Layer, MaxPool, Reshape, Tensor, Transpose
from apsim.nn.model.words import holding

__all__ = ["HANDLERS", "joined", "left_to_the_host"]

FLOAT, DOUBLE = 1, 11  # ONNX's codes of the types that hold every real value here
INTEGERS = {code: (-(1 << bits - 1), (1 << bits - 1) - 1) for code, bits in
            {3: 8, 5: 16, 6: 32, 7: 64}.items()}  # fmt: skip
INTEGERS |= {code: (0, (1 << bits) - 1) for code, bits in {2: 8, 4: 16, 12: 32, 13: 64}.items()}
KEEPS_BATCH = "a shape that keeps the batch axis first"


def _move(node: Node, value: Value, kind: type[Layer], shape: Sequence[int], **more: Any) -> Value:
    """A value after a layer that only moves it; nothing where the shape stays."""
    assert isinstance(value, Pending | Source)
    if tuple(shape) == value.shape and kind is not Transpose:
        return value
    layer = kind(name=name_of(node), inputs=(), output="", **more)
    if isinstance(value, Source):
        step = Chained(layer, value.shape, tuple(shape))
        return replace(value, shape=step.shape, chain=(*value.chain, step))
    return value.then(layer, shape, node.index)


def _moved(walk: Walk, node: Node, move: Callable[[Array], Array]) -> ConstReal | None:
    """A dequantized constant moved now; None for a tensor, which a layer moves."""
    value = walk.value(node, 0)
    if isinstance(value, ConstReal):
        walk.build.fate(node, "constant: weights or biases of the layer that uses it")
        return value.moved(move)
    return None


def _given(walk: Walk, node: Node) -> Pending | Source:
    value = walk.value(node, 0)
    if not isinstance(value, Pending | Source):
        raise node.refuse("a constant where a tensor was expected")
    return value


def _flatten(walk: Walk, node: Node) -> Value:
    axis = int(node.attribute("axis", 1))
    constant = _moved(
        walk, node, lambda a: a.reshape(math.prod(a.shape[: axis % (a.ndim + 1)]), -1)
    )
    if constant is not None:
        return constant
    value = _given(walk, node)
    if axis % (1 + len(value.shape)) != 1 and axis != 1:
        raise node.refuse(f"axis {axis}", "Flatten with axis = 1")
    return _move(node, value, Flatten, (math.prod(value.shape),))


def _reshape(walk: Walk, node: Node) -> Value:
    wanted, batch = _wanted(walk, node)
    constant = _moved(walk, node, lambda a: a.reshape(_with_kept(wanted, a.shape)))
    if constant is not None:
        return constant
    value = _given(walk, node)
    if isinstance(value, Pending) and value.rows:
        return _of_images(walk, node, value, wanted)
    if 0 in wanted and node.attribute("allowzero", 0):
        raise node.refuse(f"shape {wanted} with allowzero = 1", "sizes of at least 1")
    refused = node.refuse(
        f"shape {wanted} for [N, {', '.join(map(str, value.shape))}]", KEEPS_BATCH
    )
    if not wanted or not _keeps_batch(walk, wanted, batch, value.shape):
        if isinstance(value, Pending) and _gives_rows(walk, wanted, value.shape):
            count = math.prod(value.shape) // math.prod(wanted[1:])
            merged = _move(node, value, Reshape, (count, *wanted[1:]))
            assert isinstance(merged, Pending)
            return replace(merged, rows=True)
        raise refused
    shape = list(_with_kept(wanted, (0, *value.shape))[1:])
    whole = math.prod(value.shape)
    if shape.count(-1) == 1:
        rest = -math.prod(shape)
        shape[shape.index(-1)] = whole // rest if rest and whole % rest == 0 else 0
    if math.prod(shape) != whole or any(size < 1 for size in shape):
        raise refused
    return _move(node, value, Flatten if len(shape) == 1 else Reshape, shape)


def _gives_rows(walk: Walk, wanted: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a shape [N * rows, ...] cuts each image into whole rows."""
    rest, whole = math.prod(wanted[1:]), math.prod(shape)
    if len(wanted) < 2 or min(wanted[1:]) < 1 or whole % rest:
        return False
    return wanted[0] == -1 or (walk.batch is not None and wanted[0] == walk.batch * whole // rest)


def _of_images(walk: Walk, node: Node, value: Pending, wanted: list[int]) -> Value:
    """Rows of which the batch is a part as images again, [N, ...], or as other rows."""
    whole, rest = math.prod(value.shape), list(wanted[1:])
    if wanted[:1] == [0] and rest and math.prod(rest) == math.prod(value.shape[1:]):
        return _move(node, value, Reshape, (value.shape[0], *rest))
    known = wanted[0] == -1 or (walk.batch is not None and wanted[0] == walk.batch)
    if wanted[0] != -1 and rest.count(-1) == 1 and whole % max(-math.prod(rest), 1) == 0:
        rest[rest.index(-1)] = whole // -math.prod(rest)
    if known and math.prod(rest) == whole and min(rest, default=0) > 0:
        moved = _move(node, value, Flatten if len(rest) == 1 else Reshape, rest)
        assert isinstance(moved, Pending)
        return replace(moved, rows=False)
    if not _gives_rows(walk, wanted, value.shape):
        raise node.refuse(f"shape {wanted} for [N * {value.shape[0]}, ...]", "[N, ...]")
    return _move(node, value, Reshape, (whole // math.prod(rest), *rest))


def _wanted(walk: Walk, node: Node) -> tuple[list[int], bool]:
    """A shape, and whether it begins with the number of inputs."""
    value = walk.value(node, 1) if walk.has(node, 1) else None
    if isinstance(value, Const) and value.batch:
        return [int(size) for size in np.ravel(value.array)], True
    given = node.attribute("shape", ())  # before opset 5
    return [int(n) for n in (np.ravel(walk.whole(node, 1)) if value is not None else given)], False


def _with_kept(wanted: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """The wanted sizes, those of 0 kept from `shape`."""
    return tuple(
        shape[i] if size == 0 and i < len(shape) else size for i, size in enumerate(wanted)
    )


def _keeps_batch(walk: Walk, wanted: list[int], batch: bool, shape: Sequence[int]) -> bool:
    """Whether the first size is the number of inputs, however many there are."""
    rest = _with_kept(wanted, (0, *shape))[1:]
    if wanted[0] == 0 or (batch and wanted[0] == -1):
        return True
    if wanted[0] == -1 or -1 not in rest:
        return -1 not in rest and math.prod(rest) == math.prod(shape)
    return walk.batch is not None and wanted[0] == walk.batch


def _transpose(walk: Walk, node: Node) -> Value:
    written = node.attribute("perm", None)
    constant = _moved(walk, node, lambda a: a.transpose(written))
    if constant is not None:
        return constant
    value = _given(walk, node)
    rows = isinstance(value, Pending) and value.rows
    rank = 1 + len(value.shape) - rows
    order = list(range(rank))[::-1] if written is None else [int(axis) for axis in written]
    if sorted(order) != list(range(rank)):
        raise node.refuse(f"order {order} of {rank} axes", "each axis once")
    if order[0] != 0:
        raise node.refuse(f"order {order}", "an order that keeps the batch axis first")
    axes = (*range(rows), *(axis - 1 + rows for axis in order[1:]))
    if axes == tuple(range(len(axes))):
        return value
    return _move(node, value, Transpose, [value.shape[axis] for axis in axes], axes=axes)


def _squeeze(walk: Walk, node: Node) -> Value:
    constant = _moved(walk, node, lambda a: np.squeeze(a, tuple(_axes(walk, node, a.ndim)) or None))
    if constant is not None:
        return constant
    value = _given(walk, node)
    whole = [walk.batch or 1, *value.shape]
    if walk.has(node, 1) and not walk.constant(node, 1).size:
        raise node.refuse("no axes among those given, on which onnxruntime and onnx differ",
                          "axes of size 1, or no second input")  # fmt: skip
    axes = _axes(walk, node, len(whole)) or [i for i, size in enumerate(whole) if size == 1]
    if 0 in axes:
        raise node.refuse("the batch axis squeezed away", "axes from 1 on")
    if any(whole[axis] != 1 for axis in axes):
        raise node.refuse(f"axes {axes} of [N, {', '.join(map(str, value.shape))}], not of size 1")
    shape = [size for i, size in enumerate(whole) if i not in axes]
    return _move(node, value, Reshape, shape[1:])


def _unsqueeze(walk: Walk, node: Node) -> Value:
    def rank(given: int) -> list[int]:
        count = len(_axes(walk, node, 1))
        return sorted(_axes(walk, node, given + count))

    constant = _moved(walk, node, lambda a: np.expand_dims(a, tuple(rank(a.ndim))))
    if constant is not None:
        return constant
    value = _given(walk, node)
    shape, axes = [0, *value.shape], rank(1 + len(value.shape))
    if len(set(axes)) != len(axes):
        raise node.refuse(f"axes {axes}, one of them twice")
    for axis in axes:
        if axis == 0:
            raise node.refuse("an axis before the batch axis", "axes from 1 on")
        shape.insert(axis, 1)
    return _move(node, value, Reshape, shape[1:])


def _axes(walk: Walk, node: Node, rank: int) -> list[int]:
    """Axes given as an attribute (before opset 13) or as an input, counted from the front."""
    given = node.attribute("axes", None)
    if walk.has(node, 1):
        given = np.ravel(walk.whole(node, 1))
    axes = [int(axis) for axis in (() if given is None else given)]
    if rank > 1 and any(not -rank <= axis < rank for axis in axes):
        raise node.refuse(f"axes {axes} of {rank} axes", f"axes from {-rank} to {rank - 1}")
    return [axis % rank for axis in axes]


def _concat(walk: Walk, node: Node) -> Value:
    values = [walk.value(node, i) for i in range(len(node.inputs))]
    axis = int(node.attribute("axis", 1))
    if any(isinstance(value, Const | ConstReal) for value in values):
        return with_constants(walk, node, values, axis)
    parts = tuple(walk.pending(node, i) for i in range(len(node.inputs)))
    return joined(node, parts, axis)


def with_constants(walk: Walk, node: Node, values: Sequence[Value], axis: int) -> Pending:
    """Tensors and numbers side by side, a class token before tokens: the numbers are words."""
    parts, places, fills, ahead = [], [], [], 0
    for one in values:
        if isinstance(one, Pending):
            if one.integer:
                raise node.refuse("integers beside constants", "DequantizeLinear before it")
            parts.append(one)
            places.append(np.arange(math.prod(one.shape)).reshape(one.shape) + ahead)
            fills.append(np.zeros(one.shape))
            ahead += math.prod(one.shape)
            continue
        if not isinstance(one, Const | ConstReal):
            raise node.refuse("a real input beside constants", "a quantization before it")
        real = np.asarray(one.array if isinstance(one, Const) else one.real, np.float64)
        if not real.ndim or len(real) != (walk.batch or 1) or (real != real[:1]).any():
            raise node.refuse(f"a constant {list(real.shape)} that is not the same for every input",
                              "a first axis of the batch's size")  # fmt: skip
        places.append(np.full(real.shape[1:], -1))
        fills.append(real[0])
    ranks = {place.ndim for place in places}
    if len(ranks) > 1 or axis % (1 + max(ranks)) == 0:
        raise node.refuse(f"axis {axis} of shapes {[list(place.shape) for place in places]}")
    along = axis % (1 + max(ranks)) - 1
    index, fill = np.concatenate(places, along), np.concatenate(fills, along)
    joint = Joint("pick", index=index.astype(np.int64), fill=fill)
    return Pending(index.shape, parts=tuple(parts), joint=joint, nodes=(node.index,))


def joined(node: Node, parts: tuple[Pending, ...], axis: int) -> Pending:
    """Values side by side along an axis that is not the batch."""
    rank = 1 + len(parts[0].shape)
    if any(1 + len(part.shape) != rank for part in parts) or not -rank <= axis < rank:
        raise node.refuse(f"axis {axis} of shapes {[list(part.shape) for part in parts]}")
    axis = axis % rank
    if axis == 0:
        raise node.refuse("tensors joined along the batch", "axis from 1 on")
    if len({part.integer for part in parts}) > 1:
        raise node.refuse("integers joined with real values")
    shape = list(parts[0].shape)
    shape[axis - 1] = sum(part.shape[axis - 1] for part in parts)
    return Pending(tuple(shape), parts=parts, joint=Joint(axis=axis - 1), nodes=(node.index,),
                   integer=parts[0].integer)  # fmt: skip


def _same(walk: Walk, node: Node) -> Value:
    return walk.value(node, 0)


def _dropout(walk: Walk, node: Node) -> Value:
    if walk.has(node, 2) and np.any(walk.constant(node, 2)):
        raise node.refuse("dropout that drops values", "training_mode = 0")
    return walk.value(node, 0)


def _cast(walk: Walk, node: Node) -> Value:
    """Only the name of the type changes: accumulators as real numbers, say."""
    value, code = walk.value(node, 0), int(node.attribute("to", FLOAT))
    if isinstance(value, Source) or (isinstance(value, Pending) and not value.integer):
        if code not in (FLOAT, DOUBLE):
            what = "rounds" if code in (10, 16) else "truncates"
            raise node.refuse(f"a cast of real values to type {code}, which {what} them",
                              "a cast to float or double")  # fmt: skip
        if isinstance(value, Source):
            return replace(value, bits=32 if code == FLOAT else 64)
        return value
    if not isinstance(value, Pending):
        raise node.refuse("a constant where a tensor was expected")
    if code in INTEGERS:
        return _as_integers(walk, node, value)
    if code not in (FLOAT, DOUBLE):
        raise node.refuse(f"a cast to type {code}, which may not hold the integers", "float")
    walk.build.fate(node, "no work: the same integers")
    return walk.real(value, node.inputs[0])


def _as_integers(walk: Walk, node: Node, value: Pending) -> Value:
    """Integers of another type: the same ones, where that type holds them all."""
    lo, hi = INTEGERS.get(node.attribute("to", 0), (0, -1))
    tensor = walk.build.tensors.get(value.source)
    if value.layer is not None and lo <= -(1 << 31) and hi >= (1 << 31) - 1:
        return value
    if tensor is None or not lo <= tensor.lo <= tensor.hi <= hi:
        raise node.refuse("a cast to a type that may not hold the integers", "QuantizeLinear")
    return value


def _shape(walk: Walk, node: Node) -> Value:
    """A shape, with -1 for the batch."""
    value = walk.value(node, 0)
    if isinstance(value, ConstReal):
        return Const(np.array(value.integers.shape, np.int64))
    whole = [-1, *_given(walk, node).shape]
    start, end = int(node.attribute("start", 0)), node.attribute("end", None)
    part = whole[start : None if end is None else int(end)]
    return Const(np.array(part, np.int64), batch=-1 in part)


def _reduced(walk: Walk, node: Node) -> Value:
    """The mean or the sum over axes: an average pool over a line of what is added."""
    x = walk.tensor(node, 0)
    shape = walk.build.tensors[x].shape
    axes = _reduced_axes(walk, node, 1 + len(shape))
    kept = [axis - 1 for axis in range(1, 1 + len(shape)) if axis not in axes]
    gone = [axis - 1 for axis in axes]
    plain = replace(node, attributes={}, defaults={})
    if [*kept, *gone] != list(range(len(shape))):
        x = walk.build.transposed(x, (*kept, *gone))
    outer, words = (math.prod(shape[axis] for axis in part) for part in (kept, gone))
    if len(shape) == 3 and axes == [2, 3]:
        value = pool_mean(walk, plain, x)
    else:
        value = pool_mean(walk, plain, walk.build.reshaped(x, (outer, 1, words)))
    if node.op == "ReduceSum":
        assert isinstance(value.layer, AvgPool)
        value = replace(value, layer=replace(value.layer, gain=float(words)))
    keep = node.attribute("keepdims", 1)
    result = [1 if axis + 1 in axes else shape[axis] for axis in range(len(shape))]
    result = result if keep else [shape[axis] for axis in kept]
    return _move(node, value, Flatten if len(result) == 1 else Reshape, result)


def _reduced_to_greatest(walk: Walk, node: Node) -> Value:
    """The greatest over axes: a max pool over a line of what is compared; it keeps the scale."""
    value = walk.pending(node, 0)
    shape = value.shape
    axes = _reduced_axes(walk, node, 1 + len(shape))
    kept = [axis - 1 for axis in range(1, 1 + len(shape)) if axis not in axes]
    order = (*kept, *(axis - 1 for axis in axes))
    turned: Value = value
    if order != tuple(range(len(shape))):
        turned = _move(node, value, Transpose, [shape[axis] for axis in order], axes=order)
    outer = math.prod(shape[axis] for axis in kept)
    line = _move(node, turned, Reshape, (outer, 1, math.prod(shape) // outer))
    assert isinstance(line, Pending)
    words = (1, line.shape[2])
    most = MaxPool(name=name_of(node), inputs=(), output="", kernel=words, stride=words)
    result = [1 if axis + 1 in axes else size for axis, size in enumerate(shape)]
    result = result if node.attribute("keepdims", 1) else [shape[axis] for axis in kept]
    made = line.then(most, (outer, 1, 1), node.index)
    return _move(node, made, Flatten if len(result) == 1 else Reshape, result)


def _reduced_axes(walk: Walk, node: Node, rank: int) -> list[int]:
    axes = sorted(_axes(walk, node, rank))
    if not axes and not node.attribute("noop_with_empty_axes", 0):
        axes = list(range(rank))
    if not axes or 0 in axes or len(set(axes)) != len(axes):
        raise node.refuse(f"a mean or sum over axes {axes}", "axes from 1 on")
    return axes


def left_to_the_host(walk: Walk, node: Node) -> list[Value]:
    """Softmax and the like at the very end: it does not change which class wins."""
    walk.build.fate(node, "left to the host: the model ends with this node's input")
    walk.left[node.outputs[0]] = node.inputs[0]
    return [walk.value(node, 0)] * len(node.outputs)


def _arg_max(walk: Walk, node: Node) -> Value:
    """Where the greatest value of an axis stands, the first of equal ones."""
    if node.attribute("select_last_index", 0):
        raise node.refuse("the last of equal values", "select_last_index = 0")
    axis, keep = int(node.attribute("axis", 0)), bool(node.attribute("keepdims", 1))
    return _place(walk, node, axis, keep, node.op == "ArgMin", node.outputs[0])


def _top_k(walk: Walk, node: Node) -> Sequence[Value]:
    """The place of the greatest value; the value itself is left out."""
    count = walk.whole(node, 1).ravel() if walk.has(node, 1) else [node.attribute("k", 0)]
    if [int(n) for n in count] != [1] or not node.attribute("largest", 1):
        raise node.refuse(f"the {[int(n) for n in count]} greatest or least values", "the greatest")
    if len(node.outputs) < 2 or walk.uses.get(node.outputs[0]):
        raise node.refuse("the greatest value", "its place alone, the second output")
    axis = int(node.attribute("axis", -1))
    return [Missing(), _place(walk, node, axis, True, False, node.outputs[1])]


def _place(
    walk: Walk, node: Node, axis: int, keep: bool, least: bool, output: str
) -> Pending:  # fmt: skip
    value = walk.pending(node, 0)
    rank = 1 + len(value.shape)
    if axis % rank == 0 or not -rank <= axis < rank:
        raise node.refuse(f"axis {axis} of {rank} axes", "an axis from 1 on")
    x = walk.build.settle(value, node.inputs[0])
    tensor, along = walk.build.tensors[x], axis % rank - 1
    if isinstance(tensor.scale, tuple) or isinstance(tensor.shift, tuple):
        raise node.refuse("channels of unequal scales compared", "one scale")
    sizes = [1 if i == along else n for i, n in enumerate(value.shape) if keep or i != along]
    words = holding(0, value.shape[along] - 1)
    layer = ArgMax(name=name_of(node), inputs=(x,), output=output, axis=along, least=least)
    made = walk.build.emit(layer, Tensor(tuple(sizes), words.bits, False), [node.index])
    return Pending(tuple(sizes), source=made, integer=True, nodes=(node.index,))


HANDLERS: dict[tuple[str, str], Handler] = {
    ("", "Flatten"): handles(_flatten, "axis"),
    ("", "Reshape"): handles(_reshape, "allowzero shape", 2, rows=True),
    ("", "Transpose"): handles(_transpose, "perm", rows=True),
    ("", "Squeeze"): handles(_squeeze, "axes", 2),
    ("", "Unsqueeze"): handles(_unsqueeze, "axes", 2),
    ("", "Concat"): handles(_concat, "axis", ANY),
    ("", "Identity"): handles(_same, rows=True),
    ("", "Dropout"): handles(_dropout, "ratio seed", 3, rows=True),
    ("", "Cast"): handles(_cast, "to", rows=True),
    ("", "Shape"): handles(_shape, "end start"),
    ("", "ReduceMean"): handles(_reduced, "axes keepdims", 2),
    ("", "ReduceSum"): handles(_reduced, "axes keepdims", 2),
    ("", "ReduceMax"): handles(_reduced_to_greatest, "axes keepdims", 2),
    ("", "ArgMax"): handles(_arg_max, "axis keepdims select_last_index"),
    ("", "ArgMin"): handles(_arg_max, "axis keepdims select_last_index"),
    ("", "TopK"): handles(_top_k, "axis k largest sorted", 2, 2),
}
