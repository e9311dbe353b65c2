"""Quantized networks: their data, their exact twins, and their execution on APs."""

from apsim.nn import datasets, exact, rules
from apsim.nn.bundled import load
from apsim.nn.chip import Chip
from apsim.nn.importers import from_onnx, from_tflite
from apsim.nn.layers import Conv2d, Linear
from apsim.nn.model import Model, Tensor
from apsim.nn.runtime import run
from apsim.nn.store import save

__all__ = [
    "Chip",
    "Conv2d",
    "Linear",
    "Model",
    "Tensor",
    "datasets",
    "exact",
    "from_onnx",
    "from_tflite",
    "load",
    "rules",
    "run",
    "save",
]
