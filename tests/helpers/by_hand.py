"""A transformer in Python's integers, list by list: what a reader of the definitions would write.

Shares no code with `apsim.nn.exact`: no numpy, every rounding a `Fraction`.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor, isqrt
from typing import Any

from apsim.nn.model import Model, Requant

__all__ = ["transformer"]

Words = list[int]
Rows = list[Words]


def transformer(model: Model, image: Words) -> dict[str, Rows]:
    """Every tensor of one image (its pixels in row-major order) as rows of words."""
    rows: dict[str, Rows] = {model.input: [image]}
    for layer in model.layers:
        given = [rows[name] for name in layer.inputs]
        rows[layer.output] = _LAYERS[layer.op](model, layer, *given)
    return rows


def _rounded(requant: Requant | None, total: int, channel: int) -> int:
    """total * M / 2**e to the nearest integer: ties to the even one, or upwards."""
    if requant is None:
        return total
    one = channel if requant.mantissa.size > 1 else 0
    exact = Fraction(total * int(requant.mantissa[one])) / 2 ** int(requant.exponent[one])
    q = floor(exact + Fraction(1, 2)) if requant.rounding == "half-up" else round(exact)
    return int(min(max(q, requant.lo), requant.hi))


def _linear(model: Model, layer: Any, x: Rows) -> Rows:
    weights, bias = layer.weights.tolist(), layer.bias.tolist()
    own = bias if isinstance(bias[0], list) else [bias] * len(x)
    return [
        [
            _rounded(layer.requant, sum(map(int.__mul__, row, w)) + b, o)
            for o, (w, b) in enumerate(zip(weights, biases, strict=True))
        ]
        for row, biases in zip(x, own, strict=True)
    ]


def _matmul(model: Model, layer: Any, a: Rows, b: Rows) -> Rows:
    columns = b if layer.transposed else [list(column) for column in zip(*b, strict=True)]
    return [
        [_rounded(layer.requant, sum(map(int.__mul__, row, column)), 0) for column in columns]
        for row in a
    ]


def _softmax(model: Model, layer: Any, x: Rows) -> Rows:
    table, found = layer.table.tolist(), []
    for row in x:
        e = [table[max(row) - s] for s in row]
        found.append([min(floor(Fraction(256 * k, sum(e)) + Fraction(1, 2)), 255) for k in e])
    return found


def _normalize(model: Model, layer: Any, x: Rows) -> Rows:
    found = []
    for row in x:
        d, total = len(row), sum(row)
        root = max(isqrt(d * sum(k * k for k in row) - total * total), 1)
        c = [d * k - total for k in row]
        sizes = [min(floor(Fraction(32 * abs(k), root) + Fraction(1, 2)), 127) for k in c]
        found.append([size if k > 0 else -size for k, size in zip(c, sizes, strict=True)])
    return found


def _add(model: Model, layer: Any, a: Rows, b: Rows) -> Rows:
    return [[min(max(i + j, -128), 127) for i, j in zip(*pair, strict=True)]
            for pair in zip(a, b, strict=True)]  # fmt: skip


def _table(model: Model, layer: Any, x: Rows) -> Rows:
    values = layer.values[0].tolist()
    return [[values[word + 128] for word in row] for row in x]


def _sum(model: Model, layer: Any, x: Rows) -> Rows:
    return [[_rounded(layer.requant, sum(column), 0) for column in zip(*x, strict=True)]]


def _rearrange(model: Model, layer: Any, x: Rows) -> Rows:
    return [[x[0][place] for place in row] for row in layer.index.tolist()]


def _concat(model: Model, layer: Any, *parts: Rows) -> Rows:
    return [[word for row in rows for word in row] for rows in zip(*parts, strict=True)]


_LAYERS: dict[str, Any] = {
    "linear": _linear, "matmul": _matmul, "softmax": _softmax, "normalize": _normalize,
    "add": _add, "table": _table, "sum": _sum, "rearrange": _rearrange, "concat": _concat,
}  # fmt: skip
