"""Networks made by other tools, as the project's own integer layer list."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from apsim.errors import InputError
from apsim.nn.importers.onnx import Imported, from_onnx, read_onnx
from apsim.nn.importers.tflite import from_tflite, read_tflite

__all__ = ["Imported", "from_onnx", "from_tflite", "read", "read_onnx", "read_tflite"]


def read(
    path: str | os.PathLike[str],
    *,
    rule: str | None = None,
    shape: Sequence[int] | None = None,
    input_scale: float | None = None,
) -> Imported:
    """Import an ONNX or TFLite file by its suffix; `rule` overrides the format's own."""
    if Path(path).suffix == ".tflite":
        if shape is not None:
            raise InputError(f"--shape: TFLite files leave no axes open, {path} has its own shape")
        if input_scale is not None:
            raise InputError(f"--input-scale: TFLite files have their own, so has {path}")
        return read_tflite(path, rule=rule or "tflite")
    return read_onnx(path, rule=rule or "onnx-exact", shape=shape, input_scale=input_scale)
