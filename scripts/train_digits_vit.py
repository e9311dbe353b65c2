"""Train the bundled transformer: 16 patches of a digit, two blocks, integers only in the end.

    python -m venv train-venv && train-venv/bin/pip install . torch scikit-learn
    train-venv/bin/python scripts/train_digits_vit.py FOLDER
    train-venv/bin/python scripts/train_digits_vit.py FOLDER --from PARTS.npz

Writes digits-vit.npz (the model), digits-vit_test.npz (the last 360 digits of a fixed
permutation, with their labels) and digits-vit_calibration.npz (360 of the 1,437 that it was
trained on).  With `--from` nothing is trained: integers that such a training left are put into
the same network by the same function (`network`), which is how the shipped one was made.

The quantization: gamma and beta of a norm go into the product that follows it; ranges are those
of the float network on its training images; s8 throughout, one scale for the residual stream.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

from apsim.nn import exact
from apsim.nn.model import Model, store
from apsim.nn.rules import real
from apsim.nn.rules.normalize import exponential
from apsim.nn.zoo.transformer import NORM_UNIT, PROBABILITY_UNIT, Size, vision_transformer

SIZE = Size(grid=(4, 4), patch=2, width=32, heads=2, hidden=64, blocks=2, classes=10)
SEED, EPOCHS, BATCH, LEARNED, RATE = 0, 120, 64, 1437, 3e-3
LOWEST = -0.17  # that GELU reaches
ATTRIBUTION = (
    "Images: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, "
    "UCI Machine Learning Repository (1998), https://doi.org/10.24432/C50P49, CC BY 4.0, "
    "as distributed by scikit-learn (load_digits); 8x8 pixels of 0..16, unchanged."
)
Array = np.ndarray[Any, Any]
Parts = dict[str, Any]


def tokens(images: Array) -> Array:
    """Patches 2x2 of images [N, 8, 8], row by row, as tokens [N, 16, 4] of 0..1."""
    return images.reshape(-1, 4, 2, 4, 2).swapaxes(2, 3).reshape(-1, 16, 4).astype(np.float32) / 16


def train(images: Array, labels: Array, seed: int) -> Any:
    """The float network, in one thread: the same seed and library give the same bits."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            d = SIZE.width
            self.n1, self.qkv, self.o = nn.LayerNorm(d), nn.Linear(d, 3 * d), nn.Linear(d, d)
            self.n2, self.a = nn.LayerNorm(d), nn.Linear(d, SIZE.hidden)
            self.b = nn.Linear(SIZE.hidden, d)

        def forward(self, x: Any, seen: Parts, key: str) -> Any:
            heads = self.qkv(self.n1(x)).reshape(*x.shape[:2], 3, SIZE.heads, SIZE.head)
            q, k, v = heads.permute(2, 0, 3, 1, 4)
            scores = q @ k.transpose(-1, -2) / SIZE.head**0.5
            context = (scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape)
            middle = x + self.o(context)
            a = self.a(self.n2(middle))
            g = F.gelu(a)
            after = middle + self.b(g)
            seen |= {f"q{key}": q, f"k{key}": k, f"v{key}": v, f"score{key}": scores,
                     f"ctx{key}": context, f"a{key}": a, f"g{key}": g, f"h{key}": middle,
                     f"h{key}+": after}  # fmt: skip
            return after

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e = nn.Linear(SIZE.patch**2, SIZE.width)
            self.pos = nn.Parameter(0.1 * torch.randn(SIZE.tokens, SIZE.width))
            self.blocks = nn.ModuleList(Block() for _ in range(SIZE.blocks))
            self.nf, self.c = nn.LayerNorm(SIZE.width), nn.Linear(SIZE.width, SIZE.classes)

        def forward(self, x: Any, seen: Parts | None = None) -> Any:
            seen = {} if seen is None else seen
            x = seen["h"] = self.e(x) + self.pos
            for i, block in enumerate(self.blocks):
                x = block(x, seen, str(i))
            return self.c(self.nf(x).mean(1))

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    generator, net = np.random.default_rng(seed), Transformer()
    steps = EPOCHS * math.ceil(len(images) / BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps, pct_start=0.1
    )
    for epoch in range(EPOCHS):
        order = generator.permutation(len(images))
        for first in range(0, len(images), BATCH):
            chosen = order[first : first + BATCH]
            batch = np.stack([moved(image, generator) for image in images[chosen]])
            answers = net(torch.tensor(tokens(batch)))
            loss = F.cross_entropy(answers, torch.tensor(labels[chosen]), label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        if epoch % 20 == 0:
            print(f"epoch {epoch} of {EPOCHS}: loss {float(loss.detach()):.4f}", flush=True)
    return net


def moved(image: Array, generator: np.random.Generator) -> Array:
    """Half of the images, by up to one pixel each way."""
    if generator.random() >= 0.5:
        return image
    down, right = generator.integers(-1, 2, 2)
    return np.roll(image, (down, right), (0, 1))


def quantized(net: Any, images: Array) -> tuple[Parts, dict[str, float]]:
    """Integers of a trained network, and the scales of its tensors on the images."""
    import torch

    seen: Parts = {}
    with torch.no_grad():
        net(torch.tensor(tokens(images)), seen)
    reach = {key: float(values.abs().max()) for key, values in seen.items()}
    scales = {key: _f32(reach[key] / 127) for key in reach if key[0] != "h" and key[0] != "g"}
    scales |= {"image": 1.0, "h": _f32(max(reach[key] for key in reach if key[0] == "h") / 127)}
    state = {key: value.numpy().astype(np.float64) for key, value in net.state_dict().items()}
    parts: Parts = {}
    positions = state["e.bias"] + state["pos"]
    _product(parts, "e", state["e.weight"] / 16, positions, scales["image"], scales["h"])
    for i in range(SIZE.blocks):
        high = float(seen[f"g{i}"].max())
        scales[f"g{i}"] = _f32((high - LOWEST) / 255)
        scales[f"zero{i}"] = round(-128 - LOWEST / scales[f"g{i}"])
        _block(parts, i, state, scales)
    weights, bias = _folded(state, "nf", state["c.weight"], state["c.bias"])
    step = np.abs(weights).max() / 127  # one for all classes, whose sums are compared
    parts["w_c"] = np.rint(weights / step).astype(np.int8)
    scales["logits"] = _f32(NORM_UNIT * step)
    parts["b_c"] = np.rint(bias / scales["logits"]).astype(np.int64)
    return parts, scales


def _block(parts: Parts, i: int, state: dict[str, Array], scales: dict[str, float]) -> None:
    at, d = f"blocks.{i}", SIZE.width
    qkv = _folded(state, f"{at}.n1", state[f"{at}.qkv.weight"], state[f"{at}.qkv.bias"])
    for n, which in enumerate("qkv"):
        weights, bias = (part[n * d : (n + 1) * d] for part in qkv)
        _product(parts, f"{i}_{which}", weights, bias, NORM_UNIT, scales[f"{which}{i}"])
    up = _folded(state, f"{at}.n2", state[f"{at}.a.weight"], state[f"{at}.a.bias"])
    _product(parts, f"{i}_a", *up, NORM_UNIT, scales[f"a{i}"])
    _product(parts, f"{i}_o", state[f"{at}.o.weight"], state[f"{at}.o.bias"],
             scales[f"ctx{i}"], scales["h"])  # fmt: skip
    _product(parts, f"{i}_b", state[f"{at}.b.weight"], state[f"{at}.b.bias"],
             scales[f"g{i}"], scales["h"], int(scales[f"zero{i}"]))  # fmt: skip
    product = np.float32(scales[f"q{i}"]) * np.float32(scales[f"k{i}"])
    root = product / np.float32(math.sqrt(SIZE.head))
    parts[f"s_score_{i}"] = root / np.float32(scales[f"score{i}"])
    context = np.float32(PROBABILITY_UNIT) * np.float32(scales[f"v{i}"])
    parts[f"s_ctx_{i}"] = context / np.float32(scales[f"ctx{i}"])
    parts[f"exp_{i}"] = exponential(scales[f"score{i}"], 8)
    parts[f"gelu_{i}"] = gelu_table(scales[f"a{i}"], scales[f"g{i}"], int(scales[f"zero{i}"]))


def _folded(state: dict[str, Array], norm: str, weights: Array, bias: Array) -> tuple[Array, Array]:
    """Gamma and beta of a norm in the product that follows it."""
    gamma, beta = state[f"{norm}.weight"], state[f"{norm}.bias"]
    return weights * gamma, bias + weights @ beta


def _product(
    parts: Parts, key: str, weights: Array, bias: Array, sx: float, sy: float, zero: int = 0
) -> None:
    """Weights with a scale for each output, a bias in units of sx * sw, the factor in float32."""
    steps = (np.abs(weights).max(axis=1) / 127).astype(np.float32)
    integers = np.rint(weights / steps[:, None]).astype(np.int8)
    parts[f"w_{key}"] = integers
    own = np.rint(bias / (sx * steps.astype(np.float64))).astype(np.int64)
    parts[f"b_{key}"] = own - zero * integers.sum(axis=1, dtype=np.int64)
    parts[f"s_{key}"] = np.float32(sx) * steps / np.float32(sy)


def _f32(value: float) -> float:
    return float(np.float32(value))


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def gelu_table(sa: float, sg: float, zero: int) -> Array:
    """GELU (with the error function) of -128..127 in units of sa, in units of sg from `zero`."""
    y = [gelu(sa * word) for word in range(-128, 128)]
    return np.clip(np.rint(np.array(y) / sg) + zero, -128, 127).astype(np.int8)


def scales_of(parts: Parts, images: Array, labels: Array) -> dict[str, float]:
    """Scales of tensors that fit stored integers, where only factors between them are kept.

    The exponential gives that of the scores, GELU's table its two; the stream, q and v, which
    only their factors tie to anything, are given units of 1/16, and the logits the unit of the
    least loss on the training images.
    """
    scales = {"image": 1.0, "h": 1 / 16}
    for i in range(SIZE.blocks):
        score = _score_scale(np.asarray(parts[f"exp_{i}"], np.float64))
        both = float(parts[f"s_score_{i}"]) * score * math.sqrt(SIZE.head)
        a, g, zero = _gelu_scales(np.asarray(parts[f"gelu_{i}"]))
        scales |= {
            f"score{i}": score, f"q{i}": 1 / 16, f"k{i}": both * 16, f"v{i}": 1 / 16,
            f"ctx{i}": PROBABILITY_UNIT / 16 / float(parts[f"s_ctx_{i}"]),
            f"a{i}": a, f"g{i}": g, f"zero{i}": zero,
        }  # fmt: skip
    scales = {key: float(np.float32(value)) for key, value in scales.items()}
    model = network(parts, scales | {"logits": 1.0})
    logits = exact.run(model, real.quantize(model, images.reshape(-1, 1, 8, 8)))[model.output]
    units = np.geomspace(1e-6, 1e-2, 401)
    return scales | {"logits": _f32(min(units, key=lambda unit: _loss(logits * unit, labels)))}


def _loss(logits: Array, labels: Array) -> float:
    """Cross entropy with labels smoothed as in training."""
    less = logits - logits.max(axis=1, keepdims=True)
    logs = less - np.log(np.exp(less).sum(axis=1, keepdims=True))
    right = logs[np.arange(len(labels)), labels]
    return float(-(0.9 * right + 0.1 * logs.mean(axis=1)).mean())


def _score_scale(table: Array) -> float:
    """The middle of the scales whose exponential is the table."""
    d, e = np.arange(1, len(table)), table[1:]
    low = -np.log((e + 0.5) / 255) / d
    high = -np.log(np.maximum(e - 0.5, 1e-9) / 255) / d
    scale = float(low.max() + high.min()) / 2
    if not np.array_equal(exponential(scale, 8), table):
        raise SystemExit("the table is no exponential of one scale")
    return scale


def _gelu_scales(table: Array) -> tuple[float, float, int]:
    """Scales before and after GELU for which its table is the given one, and its zero point.

    Each entry bounds the second scale, given the first: the widest interval's middle is taken.
    """
    zero, steps = int(table[128]), table.astype(np.float64) - int(table[128])
    bounded = table < 127
    width, sa, sg = 0.0, 0.0, 0.0
    for tried in np.linspace(0.01, 0.1, 3601):
        y = np.array([gelu(tried * word) for word in range(-128, 128)])
        some = bounded & (np.abs(y) > 1e-6)
        ends = np.sort([(steps - 0.5)[some] / y[some], (steps + 0.5)[some] / y[some]], axis=0)
        low, high = ends[0].max(), ends[1].min()
        if high - low > width:
            width, sa, sg = high - low, float(tried), float(2 / (low + high))
    if not width or not np.array_equal(gelu_table(sa, sg, zero), table):
        raise SystemExit("the table is no GELU of two scales")
    return sa, sg, zero


def network(parts: Parts, scales: dict[str, float]) -> Model:
    """The network of integers that ships."""
    model = vision_transformer("digits-vit", SIZE, parts, scales)
    return model.replace(
        about="Vision transformer for 8x8 handwritten digits: 16 patches, 2 blocks of 2 heads.",
        licence="Apache-2.0", attribution=ATTRIBUTION,
    )  # fmt: skip


def accuracy(model: Model, images: Array, labels: Array) -> int:
    given = real.quantize(model, images.reshape(-1, 1, 8, 8))
    return int((exact.run(model, given)[model.output].argmax(axis=1) == labels).sum())


def save_images(path: Path, images: Array, labels: Array) -> None:
    np.savez_compressed(
        path, images=images.reshape(-1, 1, 8, 8).astype(np.uint8), labels=labels.astype(np.uint8),
        attribution=np.array(ATTRIBUTION), licence=np.array("CC BY 4.0"),
    )  # fmt: skip


def main(folder: Path, parts_file: Path | None, seed: int) -> None:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    images, labels = pixels.reshape(-1, 8, 8)[order], labels[order]
    learn, learn_labels = images[:LEARNED], labels[:LEARNED]
    if parts_file is None:
        parts, scales = quantized(train(learn, learn_labels, seed), learn)
    else:
        with np.load(parts_file) as archive:
            parts = dict(archive)
        scales = scales_of(parts, learn, learn_labels)
    model = network(parts, scales)
    right = accuracy(model, images[LEARNED:], labels[LEARNED:])
    print(f"integers: {right} of {len(labels) - LEARNED} ({right / (len(labels) - LEARNED):.2%})")
    store.save(model, folder / "digits-vit.npz")
    save_images(folder / "digits-vit_test.npz", images[LEARNED:], labels[LEARNED:])
    save_images(folder / "digits-vit_calibration.npz", learn[:360], learn_labels[:360])


if __name__ == "__main__":
    reader = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reader.add_argument("folder", type=Path, metavar="FOLDER")
    reader.add_argument("--from", dest="parts", type=Path, metavar="PARTS.npz")
    reader.add_argument("--seed", type=int, default=SEED)
    given = reader.parse_args()
    main(given.folder, given.parts, given.seed)
