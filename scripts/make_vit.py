"""Make a quantized vision transformer as a file: DeiT's graph, int8 QDQ by onnxruntime's tool.

Its weights are random and seeded, not trained: what it answers means nothing.  It is there so
that a transformer as exporters and quantizers write it can be imported, held and run.

    python scripts/make_vit.py vit.onnx --dim 64 --depth 2 --heads 2 --image 32 --patch 8

Needs the packages onnx and onnxruntime (extra oracle).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save, shape_inference
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

OPSET = 17
CLASSES = 10


class Drawing:
    """A graph under construction, its weights drawn from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def const(self, name: str, value: Any) -> str:
        """A constant; gives its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weights(self, name: str, *shape: int) -> str:
        """Normal weights of a variance that keeps that of what they multiply."""
        width = float(np.prod(shape[:-1])) ** -0.5 if len(shape) == 2 else 0.05
        return self.const(name, self.rng.normal(0, width, shape).astype(np.float32))

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A node with one output; gives the output's name."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"/{output}", **attributes))
        return output

    def linear(self, x: str, name: str, rows: int, columns: int) -> str:
        """MatMul and Add, as exporters write a linear layer of tokens."""
        made = self.node("MatMul", [x, self.weights(f"{name}.w", rows, columns)], f"{name}.product")
        bias = self.rng.normal(0, 0.02, columns).astype(np.float32)
        return self.node("Add", [self.const(f"{name}.b", bias), made], name)

    def norm(self, x: str, name: str, dim: int) -> str:
        """A layer norm with gamma and beta."""
        gamma = self.rng.uniform(0.7, 1.3, dim).astype(np.float32)
        beta = self.rng.normal(0, 0.1, dim).astype(np.float32)
        parts = [self.const(f"{name}.gamma", gamma), self.const(f"{name}.beta", beta)]
        return self.node("LayerNormalization", [x, *parts], name, axis=-1, epsilon=1e-6)

    def heads(self, x: str, name: str, shape: list[int], perm: list[int]) -> str:
        """Tokens [N, T, D] as [N, heads, T, d], or in another order."""
        wanted = self.const(f"{name}.shape", np.array(shape, np.int64))
        parted = self.node("Reshape", [x, wanted], f"{name}.parted")
        return self.node("Transpose", [parted], name, perm=perm)

    def gelu(self, x: str, name: str) -> str:
        """GELU in the five operators that exporters make of it."""
        inner = self.node("Div", [x, self.const(f"{name}.root", np.float32(2**0.5))], f"{name}.d")
        curve = self.node("Erf", [inner], f"{name}.erf")
        more = self.node("Add", [curve, self.const(f"{name}.one", np.float32(1))], f"{name}.a")
        twice = self.node("Mul", [x, more], f"{name}.m")
        return self.node("Mul", [twice, self.const(f"{name}.half", np.float32(0.5))], name)


def block(g: Drawing, x: str, name: str, tokens: int, dim: int, heads: int) -> str:
    """A transformer block: norm, attention, +, norm, MLP, +."""
    inner = dim // heads
    n = g.norm(x, f"{name}.norm1", dim)
    orders = {"q": [0, 2, 1, 3], "k": [0, 2, 3, 1], "v": [0, 2, 1, 3]}
    q, k, v = (
        g.heads(g.linear(n, f"{name}.{part}", dim, dim), f"{name}.{part}h",
                [-1, tokens, heads, inner], perm)
        for part, perm in orders.items()
    )  # fmt: skip
    scores = g.node("MatMul", [q, k], f"{name}.scores")
    root = g.const(f"{name}.scale", np.float32(inner**-0.5))
    scaled = g.node("Mul", [scores, root], f"{name}.scaled")
    chances = g.node("Softmax", [scaled], f"{name}.softmax", axis=-1)
    context = g.node("MatMul", [chances, v], f"{name}.context")
    back = g.node("Transpose", [context], f"{name}.back", perm=[0, 2, 1, 3])
    wanted = g.const(f"{name}.flat", np.array([-1, tokens, dim], np.int64))
    flat = g.node("Reshape", [back, wanted], f"{name}.joined")
    x = g.node("Add", [x, g.linear(flat, f"{name}.out", dim, dim)], f"{name}.plus1")
    n = g.norm(x, f"{name}.norm2", dim)
    hidden = g.gelu(g.linear(n, f"{name}.mlp1", dim, 4 * dim), f"{name}.gelu")
    return g.node("Add", [x, g.linear(hidden, f"{name}.mlp2", 4 * dim, dim)], f"{name}.plus2")


def vit(image: int, patch: int, dim: int, depth: int, heads: int, seed: int) -> Any:
    """The float network: patches, class token, positions, blocks, the head of the token."""
    g, tokens = Drawing(seed), (image // patch) ** 2
    kernel = {"kernel_shape": [patch, patch], "strides": [patch, patch]}
    given = ["x", g.weights("embed.w", dim, 3, patch, patch), g.weights("embed.b", dim)]
    x = g.node("Conv", given, "embed", **kernel)
    wanted = g.const("embed.shape", np.array([0, dim, -1], np.int64))
    x = g.node("Transpose", [g.node("Reshape", [x, wanted], "embed.flat")], "rows", perm=[0, 2, 1])
    first = g.const("class", g.rng.normal(0, 1, (1, 1, dim)).astype(np.float32))
    x = g.node("Concat", [first, x], "tokens", axis=1)
    place = g.const("position", g.rng.normal(0, 0.3, (1, tokens + 1, dim)).astype(np.float32))
    x = g.node("Add", [x, place], "placed")
    for number in range(depth):
        x = block(g, x, f"block{number}", tokens + 1, dim, heads)
    x = g.norm(x, "norm", dim)
    x = g.node("Gather", [x, g.const("which", np.array(0, np.int64))], "token", axis=1)
    bias = g.const("head.b", np.zeros(CLASSES, np.float32))
    g.node("Gemm", [x, g.weights("head.w", dim, CLASSES), bias], "logits")
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, image, image]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])]  # fmt: skip
    graph = helper.make_graph(g.nodes, "vit", ends[:1], ends[1:], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    return shape_inference.infer_shapes(model)


class Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Smooth random pictures, to find the range of each tensor."""

    def __init__(self, image: int, count: int, seed: int) -> None:
        self.rest = iter(pictures(image, count, seed))

    def get_next(self) -> dict[str, Any] | None:
        """The next picture, as onnxruntime's tool asks for it."""
        found = next(self.rest, None)
        return None if found is None else {"x": found[None]}


def pictures(image: int, count: int, seed: int) -> Any:
    """[count, 3, image, image]: sums of a few waves."""
    rng = np.random.default_rng(seed)
    lines, total = np.linspace(0, 2 * np.pi, image), np.zeros((count, 3, image, image))
    for _ in range(2):
        many, more = rng.integers(1, 4, (2, count, 3, 1, 1))
        total += np.sin(many * lines[:, None] + rng.uniform(0, 6, (count, 3, 1, 1)))
        total += np.cos(more * lines[None, :])
    return (total / 2).astype(np.float32)


def quantized(
    model: Any, path: str | Path, image: int, *, per_channel: bool = True, seed: int = 1
) -> None:  # fmt: skip
    """Write a float network as int8 QDQ, calibrated on eight pictures."""
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "float.onnx"
        save(model, before)
        quantize_static(
            before, path, Pictures(image, 8, seed), quant_format=QuantFormat.QDQ,
            per_channel=per_channel, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip


def main() -> None:
    """Make the file that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", metavar="FILE")
    for name, usual in (("image", 32), ("patch", 8), ("dim", 64), ("depth", 2), ("heads", 2)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.image % args.patch or args.dim % args.heads:
        parser.error("--patch divides --image, and --heads divides --dim")
    made = vit(args.image, args.patch, args.dim, args.depth, args.heads, args.seed)
    quantized(made, args.output, args.image)
    print(f"wrote {args.output}: {(args.image // args.patch) ** 2 + 1} tokens of {args.dim}, "
          "weights random, not trained")  # fmt: skip


if __name__ == "__main__":
    main()
