"""Networks of the literature with seeded random integer weights.

The rule: shapes come from the layer tables of `apsim.cost`; weights are drawn, so that
values, counts and speed mean something and accuracy means nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from apsim.cost.network import network_names
from apsim.errors import InputError
from apsim.nn import rules
from apsim.nn.model import (
    Add,
    AvgPool,
    Conv2d,
    Flatten,
    Integers,
    Layer,
    Linear,
    MaxPool,
    Model,
    Requant,
    Requantize,
    Tensor,
)

__all__ = ["inputs", "is_name", "network", "network_names"]

RULE = "onnx-exact"
TRANSFORMER, MOST_TOKENS, MOST_WORDS = "vit:", 4096, 1024
Row = dict[str, str]
# About the mean square of integers as a part of 4**bits: uniform, a quarter-range Gaussian,
# its positive half, the largest of nine, and a mean of many.
POWER = {"input": 1 / 3, "signed": 1 / 16, "max_pool": 1 / 8, "average_pool": 1 / 100}


def network(name: str, bits: int | Sequence[int] = 8, *, seed: int = 0) -> Model:
    """A network by the name of its layer table, weights and activations of `bits` bits.

    `bits` is one width, or one for each convolution and matrix product: its inputs and
    weights have it.  "vit:T,d" is a transformer of one block and one head, T tokens of d words.
    Raises `InputError` for an unknown name or a wrong number of widths.
    """
    if name.startswith(TRANSFORMER):
        from apsim.nn.zoo.transformer import random_transformer

        found = random_transformer(*_tokens_and_words(name), seed)
        return found if bits == 8 else found.at(bits)
    rows = _rows(name)
    weighted = [row for row in rows if row["type"] in ("conv", "fc")]
    widths = [bits] * len(weighted) if isinstance(bits, int) else list(bits)
    if len(widths) != len(weighted):
        raise InputError(
            f"{name}: wanted one width or {len(weighted)}, one for each convolution and matrix "
            f"product, got {len(widths)}"
        )
    if not all(1 <= width <= 16 for width in widths):
        raise InputError(f"{name}: wanted widths of 1 to 16 bits, got {widths}")
    builder = _Builder(
        name, {row["name"]: w for row, w in zip(weighted, widths, strict=True)}, seed
    )
    return builder.model(rows)


def is_name(name: str) -> bool:
    """Whether a name is one of these networks'."""
    return name in network_names() or name.startswith(TRANSFORMER)


def _tokens_and_words(name: str) -> tuple[int, int]:
    parts = name.removeprefix(TRANSFORMER).split(",")
    if len(parts) == 2 and all(part.isascii() and part.isdecimal() for part in parts):
        tokens, words = (int(part[:9]) for part in parts)
        if 1 <= tokens <= MOST_TOKENS and 2 <= words <= MOST_WORDS:
            return tokens, words
    raise InputError(
        f"network {name!r}: wanted vit:T,d with 1 to {MOST_TOKENS:,} tokens and 2 to "
        f"{MOST_WORDS:,} words of a token, such as vit:16,32"
    )


def inputs(model: Model, images: int, *, seed: int = 0) -> Integers:
    """Seeded random images [N, ...] of the model's input width."""
    tensor = model.tensors[model.input]
    drawn = np.random.default_rng(seed).integers(tensor.lo, tensor.hi + 1, (images, *tensor.shape))
    return drawn.astype(np.int64)


def _rows(name: str) -> list[Row]:
    if name not in network_names():
        raise InputError(f"unknown network {name!r}: wanted one of {', '.join(network_names())}")
    text = files("apsim.cost").joinpath("networks", f"{name}.csv").read_text()
    return list(csv.DictReader(io.StringIO(text)))


class _Builder:
    """Tensors and layers as they are added, and the drawing of weights."""

    def __init__(self, name: str, widths: dict[str, int], seed: int) -> None:
        self.name, self.widths = name, widths
        self.draw = np.random.default_rng(seed)
        self.tensors: dict[str, Tensor] = {}
        self.power: dict[str, float] = {}  # about the mean square of a tensor's integers
        self.layers: list[Layer] = []

    def model(self, rows: list[Row]) -> Model:
        """The whole network."""
        first = rows[0]
        shape = (int(first["in_c"]), int(first["in_h"]), int(first["in_w"]))
        self.tensors["input"] = Tensor(shape, self.widths[first["name"]], False)
        self.power["input"] = POWER["input"] * 4.0 ** self.tensors["input"].bits
        wanted = _consumers(rows, self.widths)
        for row in rows:
            sources = [self._narrowed(source, row) for source in row["input_from"].split("+")]
            width = max(wanted.get(row["name"], []), default=0)
            self._add(row, sources, width or self.tensors[sources[0]].bits)
        return Model(
            self.name, RULE, ("input",), (rows[-1]["name"],), self.tensors, tuple(self.layers),
            about="seeded random weights: no accuracy is meant",
        )  # fmt: skip

    def _narrowed(self, source: str, row: Row) -> str:
        """The input at the width of the layer that takes it, requantized where it is wider."""
        tensor, width = self.tensors[source], self.widths.get(row["name"], 0)
        if row["type"] == "fc" and len(tensor.shape) > 1:
            source = self._flat(source, tensor)
        if not width or tensor.bits == width:
            return source
        narrow = f"{source}@{width}"
        if narrow not in self.tensors:
            kind = Tensor(self.tensors[source].shape, width, tensor.signed)
            self._append(
                Requantize(
                    name=f"{source} to {width} bits", inputs=(source,), output=narrow,
                    requant=_requant(2.0 ** (width - tensor.bits), kind),
                ),
                kind,
            )  # fmt: skip
        return narrow

    def _flat(self, source: str, tensor: Tensor) -> str:
        flat = f"{source} flat"
        kind = Tensor((int(np.prod(tensor.shape)),), tensor.bits, tensor.signed)
        self._append(Flatten(name=flat, inputs=(source,), output=flat), kind)
        return flat

    def _add(self, row: Row, sources: list[str], width: int) -> None:
        shape = (int(row["out_c"]), int(row["out_h"]), int(row["out_w"]))
        signed = row["type"] in ("conv", "fc") and not int(row["relu"])
        if row["type"] in ("maxpool", "avgpool"):
            width, signed = self.tensors[sources[0]].bits, self.tensors[sources[0]].signed
        out = Tensor(shape[:1] if row["type"] == "fc" else shape, width, signed)
        build = {
            "conv": self._conv, "fc": self._linear, "maxpool": self._max_pool,
            "avgpool": self._average_pool, "add": self._residual,
        }[row["type"]]  # fmt: skip
        self._append(build(row, tuple(sources), out), out)

    def _append(self, layer: Layer, out: Tensor) -> None:
        self.tensors[layer.output] = out
        kind = "signed" if out.signed else layer.op
        self.power[layer.output] = POWER.get(kind, 1 / 32) * 4.0**out.bits
        self.layers.append(layer)

    def _conv(self, row: Row, sources: tuple[str, ...], out: Tensor) -> Layer:
        kernel, groups = int(row["kernel"]), int(row["groups"])
        weights = self._weights(row, (out.shape[0], int(row["in_c"]) // groups, kernel, kernel))
        return Conv2d(
            name=row["name"], inputs=sources, output=row["name"], weights=weights,
            bias=np.zeros(len(weights), np.int64), weight_bits=self.widths[row["name"]],
            relu=bool(int(row["relu"])), requant=self._scaled(row, weights, sources[0], out),
            stride=(int(row["stride"]),) * 2, padding=(int(row["pad"]),) * 4, groups=groups,
        )  # fmt: skip

    def _linear(self, row: Row, sources: tuple[str, ...], out: Tensor) -> Layer:
        weights = self._weights(row, (out.shape[0], int(row["in_c"])))
        return Linear(
            name=row["name"], inputs=sources, output=row["name"], weights=weights,
            bias=np.zeros(len(weights), np.int64), weight_bits=self.widths[row["name"]],
            relu=bool(int(row["relu"])), requant=self._scaled(row, weights, sources[0], out),
        )  # fmt: skip

    def _weights(self, row: Row, shape: tuple[int, ...]) -> Integers:
        top = 1 << (self.widths[row["name"]] - 1)
        kind = np.int8 if top <= 128 else np.int16
        return self.draw.integers(min(1 - top, -1), top, shape, kind)

    def _scaled(self, row: Row, weights: Integers, source: str, out: Tensor) -> Requant:
        """A factor that brings sums of independent terms to about a quarter of the range."""
        square = float((weights[:64].astype(np.float64) ** 2).mean())
        length = int(np.prod(weights.shape[1:]))
        spread = np.sqrt(length * square * self.power[source])
        return _requant(2.0**out.bits / (4 * spread), out)

    def _max_pool(self, row: Row, sources: tuple[str, ...], out: Tensor) -> Layer:
        return MaxPool(
            name=row["name"], inputs=sources, output=row["name"], kernel=(int(row["kernel"]),) * 2,
            stride=(int(row["stride"]),) * 2, padding=(int(row["pad"]),) * 4,
        )  # fmt: skip

    def _average_pool(self, row: Row, sources: tuple[str, ...], out: Tensor) -> Layer:
        return AvgPool(
            name=row["name"], inputs=sources, output=row["name"], kernel=(int(row["kernel"]),) * 2,
            stride=(int(row["stride"]),) * 2, padding=(int(row["pad"]),) * 4,
            requant=_requant(1.0, out),
        )  # fmt: skip

    def _residual(self, row: Row, sources: tuple[str, ...], out: Tensor) -> Layer:
        return Add(
            name=row["name"], inputs=sources, output=row["name"], relu=bool(int(row["relu"])),
            requant=_requant(0.75, out),
        )  # fmt: skip


def _requant(factor: float, out: Tensor) -> Requant:
    return rules.requant(RULE, factor, lo=out.lo, hi=out.hi)


def _consumers(rows: list[Row], widths: dict[str, int]) -> dict[str, list[int]]:
    """Widths that layers want of each tensor, looking through pools and additions."""
    wanted: dict[str, list[int]] = {}
    for row in reversed(rows):
        own = [widths[row["name"]]] if row["name"] in widths else wanted.get(row["name"], [])
        for source in row["input_from"].split("+"):
            wanted.setdefault(source, []).extend(own)
    return wanted
