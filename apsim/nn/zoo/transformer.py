"""Vision transformers from their integers: patches, blocks of attention and MLP, a classifier.

The rule: every width can be another in every head, so that a head has layers of its own;
softmax and norms are those of the AP (`rules.normalize`), the residual stream has one scale,
and gamma and beta of a norm are in the weights that follow it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from apsim.nn import rules
from apsim.nn.model import (
    Add,
    Concat,
    Integers,
    Layer,
    Linear,
    MatMul,
    Model,
    Normalize,
    Rearrange,
    Requant,
    Softmax,
    Sum,
    Table,
    Tensor,
)
from apsim.nn.model.check import verify
from apsim.nn.rules.normalize import exponential

__all__ = ["NORM_UNIT", "PROBABILITY_UNIT", "Size", "random_transformer", "vision_transformer"]

RULE = "onnx-exact"
NORM_UNIT, PROBABILITY_UNIT = 1 / 32, 1 / 256
Parts = Mapping[str, Any]


@dataclass(frozen=True)
class Size:
    """Images in a `grid` (rows, columns) of patches of `patch` x `patch`, each a token of
    `width` words; `heads` and `hidden` words of an MLP in each of `blocks`."""

    grid: tuple[int, int]
    patch: int
    width: int
    heads: int
    hidden: int
    blocks: int
    classes: int

    @property
    def tokens(self) -> int:
        """Patches of an image."""
        return self.grid[0] * self.grid[1]

    @property
    def image(self) -> tuple[int, int, int]:
        """Shape of an image."""
        return 1, self.grid[0] * self.patch, self.grid[1] * self.patch

    @property
    def head(self) -> int:
        """Words of a token in one head."""
        return self.width // self.heads


def vision_transformer(name: str, size: Size, parts: Parts, scales: Mapping[str, float]) -> Model:
    """The network of `parts`: weights w_, biases b_ and factors s_ of each product.

    Keys are w_e, b_e, s_e (embedding, a bias for each token), w_c, b_c (classifier), and for
    block i w_i_q, w_i_k, w_i_v (all heads), w_i_o, w_i_a, w_i_b (MLP), with their b_ and s_;
    s_score_i and s_ctx_i (the two products of activations), exp_i and gelu_i (tables).
    `scales` are those of the tensors: image, h (the residual stream), qi, ki, vi, scorei
    (less the root of the head's width), ctxi, ai and gi (before and after GELU) and the
    integer zeroi, GELU's zero point, and logits.  Raises `ModelError` where they do not fit.
    """
    builder = _Builder(size, parts, scales)
    builder.embed()
    for block in range(size.blocks):
        builder.attention(block)
        builder.mlp(block)
    builder.classify()
    model = Model(
        name, RULE, ("image",), ("logits",), builder.tensors, tuple(builder.layers),
        labels=tuple(map(str, range(size.classes))),
        ranges={"image": tuple(_covered(bits) * scales["image"] for bits in range(17))},
    )  # fmt: skip
    return verify(model)


def random_transformer(tokens: int, width: int, seed: int = 0) -> Model:
    """One block of one head with seeded random integers: `tokens` tokens of `width` words.

    Factors are such that words of every tensor fill its range and few are clipped.
    """
    size = Size((1, tokens), 2, width, 1, 2 * width, 1, 10)
    draw, parts = np.random.default_rng(seed), dict[str, Any]()
    unit, spread = 0.0625, 30.0  # of words, and about how far they lie apart
    given = {"e": (4, 148.0), "c": (width, 32.0), "0_q": (width, 32.0), "0_k": (width, 32.0),
             "0_v": (width, 32.0), "0_a": (width, 32.0), "0_o": (width, spread),
             "0_b": (2 * width, spread)}  # fmt: skip
    for key, (length, power) in given.items():
        outputs = {"c": size.classes, "0_a": size.hidden}.get(key, width)
        parts[f"w_{key}"] = draw.integers(-64, 65, (outputs, length))
        places = (tokens, outputs) if key == "e" else (outputs,)
        parts[f"b_{key}"] = draw.integers(-1000, 1001, places)
        parts[f"s_{key}"] = np.full(outputs, spread / (37 * power * math.sqrt(length)), np.float32)
    del parts["s_c"]
    parts["s_score_0"] = np.float32(1 / (spread * math.sqrt(width)))
    parts["s_ctx_0"] = np.float32(1 / 128)
    parts["exp_0"] = exponential(unit, 8)
    parts["gelu_0"] = _gelu(unit)
    names = ("image", "h", "q0", "k0", "v0", "score0", "ctx0", "a0", "g0", "logits")
    scales = dict.fromkeys(names, unit) | {"zero0": 0.0}
    model = vision_transformer(f"vit:{tokens},{width}", size, parts, scales)
    return model.replace(about="seeded random weights: no accuracy is meant")


def _gelu(unit: float) -> Integers:
    """GELU of signed 8-bit words in a unit, in the same unit."""
    x = unit * np.arange(-128, 128)
    y = [0.5 * each * (1 + math.erf(each / math.sqrt(2))) for each in x]
    return np.rint(np.array(y) / unit).astype(np.int8)


def _covered(bits: int) -> float:
    """The greatest pixel that `bits` bits should cover: 16 where they cannot hold it singly."""
    return float(max((1 << bits) - 1, 16))


@dataclass
class _Builder:
    size: Size
    parts: Parts
    scales: Mapping[str, float]
    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def embed(self) -> None:
        """Patches in row-major order, their pixels too; then a product, a bias a token."""
        size = self.size
        self.tensors["image"] = Tensor(size.image, 8, False, self.scales["image"])
        self._add(
            Rearrange(name="patches", inputs=("image",), output="patches",
                      index=_patches(size), what="patches"),
            Tensor((size.tokens, size.patch**2), 8, False, self.scales["image"]),
        )  # fmt: skip
        self._linear("embed", "patches", "stream0", "e", self._signed(size.width, "h"))

    def attention(self, block: int) -> None:
        """Norm, heads, their outputs side by side, a product, and the residual sum."""
        size, place = self.size, f"block{block + 1}"
        self._norm(f"{place}.norm1", f"stream{2 * block}")
        heads = [self._head(block, head, f"{place}.head{head + 1}") for head in range(size.heads)]
        self._add(
            Concat(name=f"{place}.heads", inputs=tuple(heads), output=f"{place}.heads", axis=1),
            self._signed(size.width, f"ctx{block}"),
        )
        self._linear(f"{place}.out", f"{place}.heads", f"{place}.out", f"{block}_o",
                     self._signed(size.width, "h"))  # fmt: skip
        self._residual(f"{place}.add1", 2 * block, f"{place}.out")

    def _head(self, block: int, head: int, place: str) -> str:
        size, parts = self.size, self.parts
        rows = slice(head * size.head, (head + 1) * size.head)
        before = f"block{block + 1}.norm1"
        for which in "qkv":
            tensor = self._signed(size.head, f"{which}{block}")
            self._linear(f"{place}.{which}", before, f"{place}.{which}", f"{block}_{which}",
                         tensor, rows)  # fmt: skip
        self._add(
            MatMul(name=f"{place}.scores", inputs=(f"{place}.q", f"{place}.k"), transposed=True,
                   output=f"{place}.scores", requant=_requant(parts[f"s_score_{block}"])),
            self._signed(size.tokens, f"score{block}", math.sqrt(size.head)),
        )  # fmt: skip
        self._add(
            Softmax(name=f"{place}.softmax", inputs=(f"{place}.scores",), rule="ap",
                    output=f"{place}.softmax", factor=float(self.scales[f"score{block}"]),
                    table=parts[f"exp_{block}"]),
            Tensor((size.tokens, size.tokens), 8, False, PROBABILITY_UNIT),
        )  # fmt: skip
        self._add(
            MatMul(name=f"{place}.context", inputs=(f"{place}.softmax", f"{place}.v"),
                   output=f"{place}.context", requant=_requant(parts[f"s_ctx_{block}"])),
            self._signed(size.head, f"ctx{block}"),
        )  # fmt: skip
        return f"{place}.context"

    def mlp(self, block: int) -> None:
        """Norm, a product, GELU, a product back, and the residual sum."""
        size, place = self.size, f"block{block + 1}"
        self._norm(f"{place}.norm2", f"stream{2 * block + 1}")
        self._linear(f"{place}.up", f"{place}.norm2", f"{place}.up", f"{block}_a",
                     self._signed(size.hidden, f"a{block}"))  # fmt: skip
        by_word = np.asarray(self.parts[f"gelu_{block}"])[None]
        self._add(
            Table(name=f"{place}.gelu", inputs=(f"{place}.up",), output=f"{place}.gelu",
                  values=by_word, function="Gelu"),
            Tensor((size.tokens, size.hidden), 8, True, float(self.scales[f"g{block}"]),
                   int(self.scales[f"zero{block}"])),
        )  # fmt: skip
        self._linear(f"{place}.down", f"{place}.gelu", f"{place}.down", f"{block}_b",
                     self._signed(size.width, "h"))  # fmt: skip
        self._residual(f"{place}.add2", 2 * block + 1, f"{place}.down")

    def classify(self) -> None:
        """A last norm, the mean over tokens rounded half up, and sums for each class."""
        size = self.size
        self._norm("norm", f"stream{2 * size.blocks}")
        mean = rules.requant(RULE, 1 / size.tokens, lo=-128, hi=127, rounding="half-up")
        self._add(
            Sum(name="mean", inputs=("norm",), output="mean", axes=(0,), mean=True, requant=mean),
            Tensor((size.width,), 8, True, NORM_UNIT),
        )
        logits = Tensor((size.classes,), 32, True, float(self.scales["logits"]))
        self._linear("classifier", "mean", "logits", "c", logits)

    def _signed(self, last: int, scale: str, times: float = 1.0) -> Tensor:
        """A tensor of signed words, a token in each row."""
        real = float(np.float32(self.scales[scale] * times))
        return Tensor((self.size.tokens, last), 8, True, real)

    def _linear(
        self, name: str, given: str, output: str, key: str, tensor: Tensor,
        rows: slice = slice(None),
    ) -> None:  # fmt: skip
        """A product with the weights of a key, or with some rows of them."""
        factor = self.parts.get(f"s_{key}")
        unit = rules.one_scale(tensor) / rules.one_scale(self.tensors[given])
        factors = np.ones(1) if factor is None else np.asarray(factor, np.float64)[rows]
        self._add(
            Linear(
                name=name, inputs=(given,), output=output,
                weight_bits=8, weight_scale=factors * unit,
                weights=np.asarray(self.parts[f"w_{key}"], np.int8)[rows],
                bias=np.asarray(self.parts[f"b_{key}"], np.int64)[..., rows],
                requant=None if factor is None else _requant(np.asarray(factor)[rows]),
            ),
            tensor,
        )  # fmt: skip

    def _norm(self, name: str, given: str) -> None:
        unit = Tensor((self.size.tokens, self.size.width), 8, True, NORM_UNIT)
        self._add(Normalize(name=name, inputs=(given,), output=name), unit)

    def _residual(self, name: str, stream: int, other: str) -> None:
        tensor = self._signed(self.size.width, "h")
        self._add(
            Add(name=name, inputs=(f"stream{stream}", other), output=f"stream{stream + 1}",
                requant=_requant(1.0)),
            tensor,
        )  # fmt: skip

    def _add(self, layer: Layer, tensor: Tensor) -> None:
        self.layers.append(layer)
        self.tensors[layer.output] = tensor


def _patches(size: Size) -> Integers:
    """Which pixel stands at each place of each token."""
    rows, columns = size.grid
    pixels = np.arange(math.prod(size.image))
    tiles = pixels.reshape(rows, size.patch, columns, size.patch).swapaxes(1, 2)
    return tiles.reshape(size.tokens, size.patch**2)


def _requant(factor: Any) -> Requant:
    """Signed 8 bits by a factor, or by one for each output."""
    return rules.requant(RULE, factor, lo=-128, hi=127)
