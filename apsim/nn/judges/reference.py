"""An ONNX file in ONNX's own reference evaluator, node by node; QONNX as its custom operators.

The rule: the graph is the file's, untouched; what is added is kernels that the evaluator
lacks: QuantizeLinear and DequantizeLinear of opsets before 19 use its newest ones, and
QuantizeLinear saturates beyond 32 bits, where the evaluator's cast wraps around, and
MaxPool's auto_pad SAME_LOWER is padded as the specification says, less at the end; where
the evaluator departs from the specification, `onnx_ops` has its words.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops import op_dequantize_linear, op_max_pool, op_quantize_linear
from onnx.reference.ops._quant_utils import reshape_input

from apsim.nn.judges import exactly, onnx_ops, ort_ops, qonnx_ops
from apsim.nn.judges.reading import Array, Exact, Feeds, Reading

__all__ = ["NAME", "Reference", "batch_of", "feed_types", "load"]

NAME = "onnx's reference evaluator"
LARGE = 1 << 30  # steps, beyond any range that is quantized to
OLD = 19  # from this opset on the evaluator has both kernels


def load(path: str | os.PathLike[str]) -> Any:
    """The model, with the domains declared that its nodes use."""
    proto = onnx.load(os.fspath(path))
    for node in proto.graph.node:
        node.domain = "" if node.domain == "ai.onnx" else node.domain
    declared = {"" if o.domain == "ai.onnx" else o.domain for o in proto.opset_import}
    for domain in sorted({node.domain for node in proto.graph.node} - declared):
        proto.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    return proto


def feed_types(proto: Any) -> dict[str, np.dtype[Any]]:
    """The element type of each input that is no constant."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    return {
        one.name: onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)
        for one in proto.graph.input
        if one.name not in constants
    }


def batch_of(proto: Any) -> int | None:
    """The batch that the file fixes, None where any number goes."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    for one in proto.graph.input:
        sizes = one.type.tensor_type.shape.dim
        if one.name not in constants and len(sizes) and sizes[0].dim_value:
            return int(sizes[0].dim_value)
    return None


class Reference:
    """The evaluator of one file."""

    title = NAME

    def __init__(self, proto: Any) -> None:
        self.proto = proto
        versions = [o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")]
        self.evaluator = ReferenceEvaluator(proto, new_ops=list(_kernels(max(versions, default=1))))
        self.batch, self.types = batch_of(proto), feed_types(proto)

    def read(self, feeds: Feeds, deadline: float = float("inf")) -> Reading:
        """All values of a run; those that were had when the time ran out."""
        typed = {name: values.astype(self.types[name]) for name, values in feeds.items()}
        values: dict[Any, Any] = dict(typed)
        for node, inputs, known in _walk(self.evaluator, typed):
            made = dict(zip(node.output, _run(node, inputs, known), strict=False))
            known.update(made)
            values.update(made)
            if time.perf_counter() > deadline:
                break
        return Reading(values, lambda: self.exact(typed, values))

    def exact(self, feeds: Feeds, judged: Mapping[Any, Array]) -> Mapping[str, Exact]:
        """What the file says in float64, with the judge's integers at every rounding."""
        found: dict[str, Exact] = {}
        wide = {name: exactly.widened(values) for name, values in feeds.items()}
        for node, given, known in _walk(self.evaluator, wide):
            inputs = [exactly.widened(one) for one in given]
            rounding = exactly.rounding(node.onnx_node, inputs)
            if node.op_type == "DequantizeLinear":
                outputs = [exactly.dequantized(node.onnx_node, inputs)]
            else:
                outputs = [exactly.widened(one) for one in _run(node, inputs, known)]
            for name, value in zip(node.output, outputs, strict=False):
                forced = rounding is not None and name in judged
                known[name] = exactly.widened(judged[name]) if forced else value
                found[name] = exactly.following(node.onnx_node, inputs, rounding, found, value)
        return found


def _walk(
    evaluator: ReferenceEvaluator, feeds: Mapping[str, Array]
) -> Iterator[tuple[Any, list[Any], dict[str, Any]]]:
    """Each node with its inputs and all that is known; whoever walks adds what it gives."""
    known: dict[str, Any] = {"": None, **evaluator.rt_inits_, **feeds}
    for node in evaluator.rt_nodes_:
        yield node, [known[name] for name in node.input], known


def _run(node: Any, inputs: list[Any], known: Mapping[str, Any]) -> tuple[Any, ...]:
    context = {"context": known} if node.need_context() else {}
    with np.errstate(all="ignore"):
        return tuple(node.run(*inputs, **context))


def _kernels(opset: int) -> Iterator[type[OpRun]]:
    """Kernels that the evaluator lacks, as classes of their operators' names."""
    for name, operator in qonnx_ops.OPERATORS.items():
        for domain in qonnx_ops.GENERAL:
            yield _kernel(domain, name, operator)
    for name in ("Conv", "MaxPool"):
        yield _kernel(qonnx_ops.CHANNELS_LAST, name, _channels_last(name))
    for name, operator in ort_ops.OPERATORS.items():
        yield _kernel(ort_ops.DOMAIN, name, operator)
    yield _kernel(ort_ops.DOMAIN, "QLinearAveragePool", _average_pool)
    for name, module in (
        ("QuantizeLinear", op_quantize_linear),
        ("DequantizeLinear", op_dequantize_linear),
    ):
        newest = _newest(module, name)
        own = {"_run": _saturating(newest)} if name == "QuantizeLinear" else {}
        yield type(name, (newest,), {"op_domain": ort_ops.DOMAIN, **own})
        if opset < OLD or own:
            yield type(name, (newest,), {"op_domain": "", **own})
    yield type("MaxPool", (op_max_pool.MaxPool,), {"op_domain": "", "_run": _max_pool})
    coerced = onnx_ops.COERCED if opset < 13 else {}
    for name, operator in {**onnx_ops.OPERATORS, **coerced}.items():
        yield _kernel("", name, operator)
    if opset < 14:
        yield _kernel("", "BatchNormalization", _batch_normalization)


def _saturating(kernel: Any) -> Callable[..., Any]:
    """QuantizeLinear of what 32 bits do not hold, too: the evaluator's own cast wraps around."""

    def run(self: OpRun, x: Array, scale: Array, *zero: Array, **attributes: Any) -> Any:
        axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
        most = np.float64(LARGE) * reshape_input(scale, x.shape, axis, block)
        return kernel._run(
            self, np.clip(x, -most, most).astype(x.dtype), scale, *zero, **attributes
        )

    return run


def _max_pool(self: OpRun, x: Array, auto_pad: str | None = None, **attributes: Any) -> Any:
    """SAME_LOWER as pads: with strides the evaluator drops a window of it and pads the end."""
    if auto_pad == "SAME_LOWER":
        sizes, kernel = x.shape[2:], attributes["kernel_shape"]
        ones = [1] * len(sizes)
        ways = zip(
            sizes, kernel, attributes["strides"] or ones, attributes["dilations"] or ones,
            strict=True,
        )  # fmt: skip
        spare = [max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) for n, k, s, d in ways]
        attributes["pads"] = [n - n // 2 for n in spare] + [n // 2 for n in spare]
        auto_pad = "NOTSET"
    pool: Any = op_max_pool.MaxPool
    return pool._run(self, x, auto_pad=auto_pad, **attributes)


def _newest(module: Any, name: str) -> type[OpRun]:
    versions = [int(found.split("_")[1]) for found in vars(module) if found.startswith(f"{name}_")]
    kernel: type[OpRun] = getattr(module, f"{name}_{max(versions)}")
    return kernel


def _kernel(domain: str, name: str, operator: Callable[..., Array]) -> type[OpRun]:
    def run(self: OpRun, *inputs: Any, **attributes: Any) -> tuple[Array]:
        return (operator(*inputs, **attributes),)

    return type(name, (OpRun,), {"op_domain": domain, "_run": run})


def _batch_normalization(
    x: Array, scale: Array, bias: Array, mean: Array, var: Array, epsilon: float = 1e-5,
    training_mode: int = 0, **_: Any,
) -> Array:  # fmt: skip
    """Opsets 7 to 13 with one output: inference, which the evaluator takes for training."""
    if training_mode:
        raise ValueError("BatchNormalization with training_mode before opset 14")
    lay = [1, -1, *[1] * (x.ndim - 2)]
    scale, bias, mean, var = (part.reshape(lay) for part in (scale, bias, mean, var))
    return np.asarray(scale * (x - mean) / np.sqrt(var + epsilon) + bias, x.dtype)


def standard(name: str, *inputs: Array, **attributes: Any) -> Array:
    """One standard operator on its own, opset 21."""
    names = [f"i{number}" for number in range(len(inputs))]
    node = onnx.helper.make_node(name, names, ["y"], **attributes)
    kinds = [onnx.helper.np_dtype_to_tensor_dtype(one.dtype) for one in inputs]
    graph = onnx.helper.make_graph(
        [node], name,
        [onnx.helper.make_tensor_value_info(n, k, None) for n, k in zip(names, kinds, strict=True)],
        [onnx.helper.make_empty_tensor_value_info("y")],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)])
    feeds: dict[str, Any] = dict(zip(names, inputs, strict=True))
    results: Any = ReferenceEvaluator(model).run(None, feeds)
    return np.asarray(results[0])


def _channels_last(name: str) -> Callable[..., Array]:
    """The standard operator with channels in the last place, those of Conv's weights, too."""

    def operator(x: Array, *more: Array, **attributes: Any) -> Array:
        weights = [qonnx_ops.first(one) if one.ndim == x.ndim else one for one in more]
        return qonnx_ops.last(standard(name, qonnx_ops.first(x), *weights, **attributes))

    return operator


def _average_pool(*inputs: Any, channels_last: int = 0, **attributes: Any) -> Array:
    def pool(planes: Array) -> Array:
        return standard("AveragePool", planes, **attributes)

    given = ort_ops.average_pool(*inputs, pool=pool, channels_last=channels_last)
    return given.finish(given.steps)
