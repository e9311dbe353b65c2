"""The networks and data sets that come with apsim, and models from files.

The rule: the one place that knows where the package keeps its data.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from apsim.files import suffix_of
from apsim.nn.model import Model, store

__all__ = ["BUNDLED", "SUFFIXES", "data_file", "load"]

BUNDLED = ("digits", "digits-vit")

SUFFIXES = (".onnx", ".tflite")
"""Of the files that `importers` reads, which is not imported for others."""


def data_file(name: str) -> Path:
    """Give the path of a file in the package's own data folder."""
    return Path(str(resources.files("apsim.nn.zoo") / "data" / name))


def load(name: str | os.PathLike[str]) -> Model:
    """Load a bundled model by name (of `BUNDLED`), a saved one, or a file by its path.

    Raises `ModelError` where the file is missing, damaged or inconsistent.
    """
    if name in BUNDLED:
        return store.load(data_file(f"{name}.npz"))
    if suffix_of(name) in SUFFIXES:
        from apsim.nn import importers

        return importers.read(name).model
    return store.load(name)
