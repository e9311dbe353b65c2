"""An ONNX file as a `Graph`: read, checked, its constants as numpy arrays.

The rule: the only module that calls the `onnx` package, which is an optional extra.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from apsim.errors import InputError, MissingExtra, ModelError
from apsim.nn.importers.graph import Array, Const, Graph, Input, Node

__all__ = ["evaluate", "graph_of", "read"]

NARROW = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}


def _onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "onnx") from None
    return onnx


def read(path: str | os.PathLike[str], shape: Sequence[int] | None = None) -> Graph:
    """Read an ONNX file.

    `shape` (with the batch) replaces the shape of the input, which a model with dynamic
    axes needs.  Raises `ModelError` for a file that is not a whole ONNX model or whose
    external data is missing or outside its folder, `InputError` for a dynamic shape.
    """
    onnx = _onnx()
    where = Path(path)
    model = _load(onnx, where)
    _external_data(onnx, model, where)
    _import_domains(onnx, model)
    for output in model.graph.output:
        output.type.tensor_type.shape.SetInParent()  # exporters leave it out, nothing here asks
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else "empty model"
        raise ModelError(f"{where}: not a valid ONNX model: {first}") from None
    return graph_of(model, where.stem, shape)


def _import_domains(onnx: Any, model: Any) -> None:
    """Add the domains that nodes use without an opset, as older QONNX exporters leave them."""
    declared = {opset.domain for opset in model.opset_import}
    for domain in sorted({node.domain for node in model.graph.node} - declared - {"ai.onnx"}):
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))


def _load(onnx: Any, where: Path) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(where, load_external_data=False)
    except FileNotFoundError:
        raise ModelError(f"{where}: no such file") from None
    except OSError as error:
        raise ModelError(f"{where}: cannot be read: {error.strerror or error}") from None
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{where}: truncated or not an ONNX file: {error}") from None
    if not model.graph.node:
        raise ModelError(f"{where}: truncated or not an ONNX file: it has no nodes")
    return model


def _external_data(onnx: Any, model: Any, where: Path) -> None:
    """Load tensors kept in files of their own, which must lie in the model's folder."""
    folder = where.resolve().parent
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        named = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        target = (folder / named).resolve()
        if not target.is_relative_to(folder):
            raise ModelError(f"{where}: external data {named!r} lies outside the model's folder")
        if not target.is_file():
            raise ModelError(f"{where}: external data file {named!r} is missing")
    try:
        onnx.load_external_data_for_model(model, str(folder))
    except Exception as error:  # the package raises several kinds, some of its own
        raise ModelError(f"{where}: external data cannot be read: {error}") from None


def graph_of(model: Any, name: str, shape: Sequence[int] | None = None) -> Graph:
    """The records of an ONNX model that is already in memory."""
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=21)
    _all_text(model)
    _each_once(model)
    constants = {t.name: _constant(t) for t in model.graph.initializer}
    nodes = tuple(_node(index, proto, opset) for index, proto in enumerate(model.graph.node))
    own = {(one.domain, one.name) for one in model.functions}
    for node in nodes:
        if (node.domain, node.op) in own:
            raise node.refuse("a function of the file's own", "its operators in the graph itself")
    inputs = tuple(
        _input(value, shape) for value in model.graph.input if value.name not in constants
    )
    outputs = tuple(value.name for value in model.graph.output)
    made = {output for node in nodes for output in node.outputs}
    for output in outputs:
        if output not in made and output not in {one.name for one in inputs}:
            raise ModelError(f"output {output!r} is made by no node")
    return Graph(name, nodes, constants, inputs, outputs, model.doc_string, opset)


def _all_text(model: Any) -> None:
    """Refuse names that are no text: protobuf gives those as bytes."""
    graph = model.graph
    named = [*graph.input, *graph.output, *graph.initializer, *graph.node]
    names = [one.name for one in named] + [node.op_type for node in graph.node]
    names += [name for node in graph.node for name in (*node.input, *node.output, node.domain)]
    for name in names:
        if not isinstance(name, str):
            raise ModelError(f"a name that is not UTF-8: {name!r}")


def _each_once(model: Any) -> None:
    """Refuse a file that gives one name to two values."""
    names = [t.name for t in model.graph.initializer]
    names += [name for node in model.graph.node for name in node.output if name]
    inputs = [value.name for value in model.graph.input]
    for group in (names, inputs):
        twice = sorted({name for name in group if group.count(name) > 1}) if len(
            set(group)) < len(group) else []  # fmt: skip
        if twice:
            raise ModelError(f"two values have the name {twice[0]!r}")


def _constant(tensor: Any) -> Const:
    onnx = _onnx()
    sizes = [int(size) for size in tensor.dims]
    if any(size < 0 for size in sizes):
        raise ModelError(f"constant {tensor.name!r} has shape {sizes}")
    try:
        return _plain(onnx.numpy_helper.to_array(tensor))
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"constant {tensor.name!r} of shape {sizes}: {reason}") from None


def _plain(array: Array) -> Const:
    """Numpy's own types only: 4- and 2-bit integers keep their range beside them."""
    if str(array.dtype) in NARROW:
        return Const(array.astype(np.int8), *NARROW[str(array.dtype)])
    return Const(array)


def _node(index: int, proto: Any, opset: int) -> Node:
    onnx = _onnx()
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    node = Node(index, proto.op_type, domain, proto.name, tuple(proto.input), tuple(proto.output))
    graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    if any(a.type in graphs for a in proto.attribute):
        return replace(node, attributes={"subgraph": True})  # that no handler honours
    attributes = {a.name: _value(onnx.helper.get_attribute_value(a)) for a in proto.attribute}
    if domain == "" and isinstance(attributes.get("value"), onnx.TensorProto):
        attributes["value"] = _constant(attributes["value"])
    return replace(node, attributes=attributes, defaults=_defaults(proto.op_type, domain, opset))


@cache
def _defaults(op: str, domain: str, opset: int) -> Mapping[str, Any]:
    """What an operator's own schema gives the attributes that are not written."""
    onnx = _onnx()
    if not onnx.defs.has(op, domain):
        return {}
    newest = onnx.defs.onnx_opset_version()
    try:
        schema = onnx.defs.get_schema(op, min(opset, newest), domain)
    except onnx.defs.SchemaError:
        return {}
    return {
        name: _value(onnx.helper.get_attribute_value(attribute.default_value))
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type
    }


def _value(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _input(value: Any, shape: Sequence[int] | None) -> Input:
    onnx = _onnx()
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise ModelError(f"input {value.name!r} is not a tensor")
    sizes = [int(d.dim_value) or None for d in kind.shape.dim]
    if any(size.HasField("dim_value") and size.dim_value == 0 for size in kind.shape.dim):
        raise ModelError(f"input {value.name!r} has an axis of size 0, so that it holds nothing")
    given = sizes if shape is None else _filled(value.name, sizes, shape)
    dynamic = [i for i, size in enumerate(given[1:], 1) if not size]
    if dynamic:
        raise InputError(
            f"input {value.name!r} has dynamic axes {dynamic}; give its shape: "
            "--shape N,C,H,W of apsim run and apsim import, or shape= in Python"
        )
    bits = 8 * onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
    return Input(value.name, tuple(given), _range(onnx, value.name, kind.elem_type), bits)


def _filled(name: str, sizes: list[int | None], shape: Sequence[int]) -> list[int | None]:
    """The given shape, which must have the sizes that the file fixes (the batch is free)."""
    pairs = list(zip(sizes, shape, strict=False))[1:]
    if len(shape) != len(sizes) or any(size not in (None, wanted) for size, wanted in pairs):
        fixed = ", ".join("any" if size is None else str(size) for size in ["N", *sizes[1:]])
        raise InputError(f"input {name!r} has shape [{fixed}], the given shape is {list(shape)}")
    return list(shape)


def _range(onnx: Any, name: str, code: int) -> tuple[int, int] | None:
    """The integers of an element type, None for real numbers."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(code)
    if str(dtype) in NARROW:
        return NARROW[str(dtype)]
    if str(dtype) in ("float16", "float32", "float64"):
        return None
    if dtype.kind not in "iu":
        raise ModelError(f"input {name!r} holds {dtype}; integers or float16, 32, 64 are known")
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def evaluate(node: Node, inputs: Mapping[str, Array], opset: int = 21) -> list[Const]:
    """The results of a node whose inputs are all constants, by ONNX's reference evaluator."""
    onnx = _onnx()
    from onnx.reference import ReferenceEvaluator

    kinds = {name: onnx.helper.np_dtype_to_tensor_dtype(a.dtype) for name, a in inputs.items()}
    attributes = {
        key: onnx.numpy_helper.from_array(value.array) if isinstance(value, Const) else value
        for key, value in node.attributes.items()
    }
    proto = onnx.helper.make_node(node.op, node.inputs, node.outputs, **attributes)
    graph = onnx.helper.make_graph(
        [proto],
        "constant",
        [onnx.helper.make_tensor_value_info(n, k, inputs[n].shape) for n, k in kinds.items()],
        [onnx.helper.make_empty_tensor_value_info(name) for name in node.outputs],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    results = ReferenceEvaluator(model).run(None, dict(inputs))
    return [_plain(np.asarray(result)) for result in results]
