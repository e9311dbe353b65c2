"""Quantized networks: their data, their exact twins, and their execution on APs."""

import importlib
from typing import TYPE_CHECKING, Any

from apsim.nn import exact, rules
from apsim.nn.model import Model, Tensor
from apsim.nn.model.store import save
from apsim.nn.on_ap.chip import Chip
from apsim.nn.rules import real
from apsim.nn.runtime import run
from apsim.nn.zoo import datasets
from apsim.nn.zoo.bundled import load

if TYPE_CHECKING:
    from apsim.nn.importers import from_onnx, from_tflite
    from apsim.nn.on_ap.layers import Conv2d, Linear

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


_LATE = {
    "Conv2d": "on_ap.layers", "Linear": "on_ap.layers", "from_onnx": "importers",
    "from_tflite": "importers",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """What reads the files of other tools, and layers by hand, are imported when wanted."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
