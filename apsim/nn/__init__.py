"""Quantized networks: their data, their exact twins, and their execution on APs."""

from typing import TYPE_CHECKING, Any

from apsim.nn import exact, rules
from apsim.nn.model import Model, Tensor
from apsim.nn.model.store import save
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layers import Conv2d, Linear
from apsim.nn.rules import real
from apsim.nn.runtime import run
from apsim.nn.zoo import datasets
from apsim.nn.zoo.bundled import load

if TYPE_CHECKING:
    from apsim.nn.importers import from_onnx, from_tflite

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
    "real",
    "rules",
    "run",
    "save",
]


def __getattr__(name: str) -> Any:
    """What reads the files of other tools is imported when somebody wants it."""
    if name not in ("from_onnx", "from_tflite"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from apsim.nn import importers

    return getattr(importers, name)
