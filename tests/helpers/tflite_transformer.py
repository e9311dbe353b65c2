"""A transformer block as TFLite converters write it: layer norm in operators, heads by moves."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.helpers.tflite_graphs import Graph
from tests.helpers.tflite_models import NONE, TensorSpec, TfliteCase, network
from tests.helpers.tflite_operators import Draw

__all__ = ["blocks"]

PLAIN = {"FusedActivationFunction": NONE}
SUMS = PLAIN | {"PotScaleInt16": False}


def _norm(g: Graph, x: int) -> int:
    """MEAN, SQUARED_DIFFERENCE, MEAN, ADD, RSQRT, MUL, MUL and SUB."""
    rows, keep = (*g.shape(x)[:-1], 1), {"KeepDims": True}
    step = g.specs[x].scale[0]
    last = g.constant([len(rows) - 1])

    def tensor(shape: tuple[int, ...], scale: float, zero: int | None = None) -> int:
        return g.new(shape, scale=float(np.float32(scale)), zero=zero)

    mean, square = tensor(rows, step * 0.5), tensor(g.shape(x), step * step * 60, -128)
    variance, more = tensor(rows, step * step * 40, -128), tensor(rows, step * step * 41, -128)
    least = TensorSpec(f"e{x}", (1,), "int8", [1e-5], [-128], np.full(1, -27, np.int8))
    root = tensor(rows, 1 / (step * 1800), -128)
    big, small, y = tensor(g.shape(x), 4 / 128), tensor(rows, 4 / 128), tensor(g.shape(x), 4 / 128)
    g.add("MEAN", [x, last], [mean], "ReducerOptions", keep)
    g.add("SQUARED_DIFFERENCE", [x, mean], [square])
    g.add("MEAN", [square, last], [variance], "ReducerOptions", keep)
    g.add("ADD", [variance, g.tensor(least)], [more], "AddOptions", SUMS)
    g.add("RSQRT", [more], [root])
    g.add("MUL", [x, root], [big], "MulOptions", PLAIN)
    g.add("MUL", [mean, root], [small], "MulOptions", PLAIN)
    g.add("SUB", [big, small], [y], "SubOptions", SUMS)
    return y


def _linear(g: Graph, x: int, outs: int, scale: float) -> int:
    d, ins = g.d, g.shape(x)[-1]
    values = d.rng.integers(-127, 128, (outs, ins)).astype(np.int8)
    step = float(np.float32(d.rng.uniform(0.5, 1) / 128))
    w = g.tensor(TensorSpec(f"w{len(g.specs)}", (outs, ins), "int8", [step], [0], values))
    unit = float(np.float32(step) * np.float32(g.specs[x].scale[0]))
    bias = d.rng.integers(-900, 900, outs).astype(np.int32)
    b = g.tensor(TensorSpec(f"b{len(g.specs)}", (outs,), "int32", [unit], [0], bias))
    y = g.new((*g.shape(x)[:-1], outs), scale=scale)
    options: dict[str, Any] = PLAIN | {"KeepNumDims": True}
    g.add("FULLY_CONNECTED", [x, w, b], [y], "FullyConnectedOptions", options, 5)
    return y


def _heads(g: Graph, x: int, heads: int) -> int:
    """[1, T, D] to [1, heads, T, D / heads]."""
    _, tokens, width = g.shape(x)
    split, turned = (1, tokens, heads, width // heads), (1, heads, tokens, width // heads)
    a, b = g.new(split, like=x), g.new(turned, like=x)
    g.add("RESHAPE", [x, g.constant(split)], [a], "ReshapeOptions", {}, 1)
    g.add("TRANSPOSE", [a, g.constant((0, 2, 1, 3))], [b], "TransposeOptions")
    return b


def _attention(g: Graph, x: int, heads: int) -> int:
    _, tokens, width = g.shape(x)
    q, k, v = (_heads(g, _linear(g, x, width, 6 / 128), heads) for _ in range(3))
    square = (1, heads, tokens, tokens)
    scores, p = g.new(square, scale=12 / 128), g.new(square, scale=2.0**-8, zero=-128)
    mixed = g.new(g.shape(v), scale=4 / 128)
    g.add("BATCH_MATMUL", [q, k], [scores], "BatchMatMulOptions", {"AdjX": False, "AdjY": True}, 3)
    g.add("SOFTMAX", [scores], [p], "SoftmaxOptions", {"Beta": 1.0})
    g.add("BATCH_MATMUL", [p, v], [mixed], "BatchMatMulOptions", {"AdjX": False, "AdjY": False}, 3)
    back, flat = (g.new(s, like=mixed) for s in (
        (1, tokens, heads, width // heads), (1, tokens, width)
    ))  # fmt: skip
    g.add("TRANSPOSE", [mixed, g.constant((0, 2, 1, 3))], [back], "TransposeOptions")
    g.add("RESHAPE", [back, g.constant((1, tokens, width))], [flat], "ReshapeOptions", {}, 1)
    return _linear(g, flat, width, 6 / 128)


def _added(g: Graph, a: int, b: int) -> int:
    y = g.new(g.shape(a), scale=8 / 128)
    g.add("ADD", [a, b], [y], "AddOptions", SUMS)
    return y


@st.composite
def blocks(draw: st.DrawFn) -> TfliteCase:
    """x + attention(norm(x)), then + mlp(norm(.)) with a GELU; every tensor is an output."""
    g = Graph(Draw(draw, "int8"))
    heads = g.d.size(1, 2)
    tokens, width = g.d.size(3, 6), heads * g.d.size(3, 6)
    x = g.new((1, tokens, width), scale=8 / 128)
    first = _added(g, x, _attention(g, _norm(g, x), heads))
    hidden = _linear(g, _norm(g, first), 2 * width, 6 / 128)
    bent = g.new(g.shape(hidden), scale=4 / 128)
    g.add("GELU", [hidden], [bent], "GeluOptions", {"Approximate": False})
    _added(g, first, _linear(g, bent, width, 6 / 128))
    content = network(g.specs, g.operators, outputs=g.ends)
    return TfliteCase("block", content, [g.d.values(g.shape(x))])
