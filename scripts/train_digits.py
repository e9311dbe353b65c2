"""Train the bundled network: handwritten digits, one set of weights for every width.

    python -m venv train-venv && train-venv/bin/pip install torch scikit-learn numpy
    PYTHONPATH=. train-venv/bin/python scripts/train_digits.py apsim/nn/zoo/data

Writes digits.npz (the model), digits_test.npz (360 test images with their labels) and
digits_calibration.npz (360 of the images it was trained on, to choose widths on).
Each step trains the widest setting and a random one (2 to 8 bits, layer by layer), with
rounding passed straight through, so that one set of weights serves all widths.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from apsim.nn import exact, rules
from apsim.nn import model as records
from apsim.nn.model import Model, store
from apsim.nn.rules import precision, real

CHANNELS, WIDEST = 16, 8
WIDTHS = (8, 8, 4, 8)  # conv1, conv2, conv3, classifier, as shipped
EPOCHS, BATCH, SEED = 240, 64, 7
CALIBRATION = 360  # training images that are shipped, to choose widths on
ATTRIBUTION = (
    "Images: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, "
    "UCI Machine Learning Repository (1998), https://doi.org/10.24432/C50P49, CC BY 4.0, "
    "as distributed by scikit-learn (load_digits); 8x8 pixels of 0..16, unchanged."
)


def through(rounded: Tensor, value: Tensor) -> Tensor:
    """`rounded` going forward, the gradient of `value` going back."""
    return value + (rounded - value).detach()


def rounded_weights(w: Tensor, bits: int, per_channel: bool = True) -> Tensor:
    """The grid of `precision.weight_scale`, as torch sees it."""
    scale = precision.weight_scale(w.detach().numpy(), bits, per_channel)
    step = torch.tensor(scale, dtype=torch.float32).reshape(-1, *[1] * (w.dim() - 1))
    top = 2 ** (bits - 1) - 1
    near = torch.clamp(w / step, -top - 1, top)
    return through(torch.round(near), near) * step


def rounded_activations(x: Tensor, bits: int, reach: Tensor, signed: bool = False) -> Tensor:
    """`bits` unsigned bits up to `reach`, or one more where the values have a sign."""
    top = 2**bits - 1
    near = x * (top / reach)
    near = torch.clamp(near, -top - 1 if signed else 0, top)
    return through(torch.round(near), near) * (reach / top)


class Digits(nn.Module):
    """conv - pool - [conv - conv + add] - average pool - classifier, any width."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, CHANNELS, 3, padding=1)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv3 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.classifier = nn.Linear(4 * CHANNELS, 10)
        names = ("pool1", "relu2", "sum", "mean")
        starts = {name: torch.full((WIDEST + 1,), math.log(4.0)) for name in names}
        self.reach = nn.ParameterDict({n: nn.Parameter(v) for n, v in starts.items()})

    def to_grid(self, x: Tensor, name: str, bits: int, signed: bool = False) -> Tensor:
        return rounded_activations(x, bits, self.reach[name][bits].exp(), signed)

    def conv(self, layer: nn.Conv2d, x: Tensor, bits: int) -> Tensor:
        return F.conv2d(x, rounded_weights(layer.weight, bits), layer.bias, padding=1)

    def forward(self, x: Tensor, widths: tuple[int, ...]) -> Tensor:
        b1, b2, b3, b4 = widths
        x = rounded_activations(x, b1, torch.tensor(16.0))
        x = F.max_pool2d(self.to_grid(F.relu(self.conv(self.conv1, x, b1)), "pool1", b2), 2)
        y = self.to_grid(F.relu(self.conv(self.conv2, x, b2)), "relu2", b3)
        y = self.to_grid(self.conv(self.conv3, y, b3), "pool1", b2, signed=True)
        x = self.to_grid(F.relu(x + y), "sum", b4)
        x = self.to_grid(F.avg_pool2d(x, 3, stride=1), "mean", b4).flatten(1)
        return F.linear(x, rounded_weights(self.classifier.weight, b4, False), self.classifier.bias)


def shifted(images: Tensor, generator: np.random.Generator) -> Tensor:
    """Each image moved by up to one pixel each way: eight times more to learn from."""
    padded = F.pad(images, (1, 1, 1, 1))
    down, right = generator.integers(0, 3, 2)
    return padded[:, :, down : down + 8, right : right + 8]


def train(images: Tensor, labels: Tensor) -> Digits:
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    generator = np.random.default_rng(SEED)
    net = Digits()
    with torch.no_grad():
        net.conv1.weight /= 8  # pixels reach 16
    steps = EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        chosen = torch.tensor(generator.choice(len(images), BATCH, replace=False))
        batch = shifted(images[chosen], generator)
        narrow = tuple(int(b) for b in generator.integers(2, WIDEST + 1, 4))
        loss = sum(F.cross_entropy(net(batch, w), labels[chosen]) for w in ((8,) * 4, narrow))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step} of {steps}: loss {float(loss.detach()):.4f}", flush=True)
    return net


def ranges(net: Digits) -> dict[str, tuple[float, ...]]:
    """The real value that each width of each tensor reaches, for widths 0 to 16."""
    table = {"image": (16.0,) * 17}
    for name, logs in net.reach.items():
        values = logs.exp().tolist()
        table[name] = tuple(values[min(max(bits, 2), WIDEST)] for bits in range(17))
    table["relu1"] = table["pool1"]
    return table


def tensors() -> dict[str, records.Tensor]:
    plane, wide = (CHANNELS, 4, 4), (CHANNELS, 8, 8)
    unsigned = {
        "image": (1, 8, 8), "relu1": wide, "pool1": plane, "relu2": plane, "sum": plane,
        "mean": (CHANNELS, 2, 2), "features": (4 * CHANNELS,),
    }  # fmt: skip
    known = {name: records.Tensor(shape, 8, False, 1.0) for name, shape in unsigned.items()}
    known["conv3"] = records.Tensor(plane, 9, True, 1.0)
    known["logits"] = records.Tensor((10,), 32, True, 1.0)
    return known


def weights_of(layer: nn.Module, per_channel: bool = True) -> dict[str, object]:
    real_weights = layer.weight.detach().numpy()
    scale = precision.weight_scale(real_weights, 8, per_channel)
    return {
        "weights": precision.quantize_weights(real_weights, 8, scale),
        "bias": np.zeros(len(real_weights), np.int64),
        "weight_bits": 8,
        "weight_scale": scale,
        "real_weights": real_weights,
        "real_bias": layer.bias.detach().numpy(),
    }


def network(net: Digits) -> Model:
    """The trained network as integers, at the widths it ships with."""
    some = rules.requant("onnx-exact", 1.0, lo=0, hi=255)  # made anew by `at`
    signed = rules.requant("onnx-exact", 1.0, lo=-256, hi=255)
    conv = {"padding": (1, 1, 1, 1)}
    layers = (
        records.Conv2d(name="conv1", inputs=("image",), output="relu1", relu=True,
                       requant=some, **conv, **weights_of(net.conv1)),
        records.MaxPool(name="pool1", inputs=("relu1",), output="pool1", kernel=(2, 2),
                        stride=(2, 2)),
        records.Conv2d(name="conv2", inputs=("pool1",), output="relu2", relu=True,
                       requant=some, **conv, **weights_of(net.conv2)),
        records.Conv2d(name="conv3", inputs=("relu2",), output="conv3", requant=signed,
                       **conv, **weights_of(net.conv3)),
        records.Add(name="add", inputs=("conv3", "pool1"), output="sum", relu=True,
                    requant=some),
        records.AvgPool(name="average", inputs=("sum",), output="mean", kernel=(3, 3),
                        stride=(1, 1), requant=some),
        records.Flatten(name="flatten", inputs=("mean",), output="features"),
        records.Linear(name="classifier", inputs=("features",), output="logits",
                       **weights_of(net.classifier, per_channel=False)),
    )  # fmt: skip
    return Model(
        "digits", "onnx-exact", ("image",), ("logits",), tensors(), layers,
        about="Residual CNN for 8x8 handwritten digits, any width of 2 to 8 bits per layer.",
        licence="Apache-2.0", attribution=ATTRIBUTION, labels=tuple("0123456789"),
        ranges=ranges(net),
    ).at(WIDTHS)  # fmt: skip


def accuracy(model: Model, images: np.ndarray, labels: np.ndarray) -> float:
    answers = exact.run(model, real.quantize(model, images))[model.output].argmax(axis=1)
    return float((answers == labels).mean())


def main(folder: Path) -> None:
    pixels, labels = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 1, 8, 8).astype(np.float32)
    learn, test, learn_labels, test_labels = train_test_split(
        images, labels, test_size=360, random_state=SEED, stratify=labels
    )
    net = train(torch.tensor(learn), torch.tensor(learn_labels))
    model = network(net)
    for widths in ((8,) * 4, WIDTHS, (4,) * 4, (3,) * 4, (2,) * 4):
        print(f"{widths}: {accuracy(model.at(widths), test, test_labels):.2%} of 360")
    store.save(model, folder / "digits.npz")
    save_images(folder / "digits_test.npz", test, test_labels)
    save_images(folder / "digits_calibration.npz", learn[:CALIBRATION], learn_labels[:CALIBRATION])


def save_images(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    np.savez_compressed(
        path,
        images=images.astype(np.uint8),
        labels=labels.astype(np.uint8),
        attribution=np.array(ATTRIBUTION),
        licence=np.array("CC BY 4.0"),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "apsim/nn/zoo/data"))
