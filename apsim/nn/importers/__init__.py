"""Networks made by other tools, as the project's own integer layer list."""

from __future__ import annotations

import os
from collections.abc import Sequence

from apsim.errors import InputError
from apsim.files import suffix_of
from apsim.nn.importers.onnx import Imported, from_onnx, read_onnx
from apsim.nn.importers.options import PLAIN, Options
from apsim.nn.importers.tflite import from_tflite, read_tflite

__all__ = [
    "PLAIN",
    "Imported",
    "Options",
    "from_onnx",
    "from_tflite",
    "read",
    "read_onnx",
    "read_tflite",
]


def read(
    path: str | os.PathLike[str],
    *,
    rule: str | None = None,
    shape: Sequence[int] | None = None,
    options: Options = PLAIN,
) -> Imported:
    """Import an ONNX or TFLite file by its suffix; `rule` overrides the format's own."""
    if suffix_of(path) == ".tflite":
        if shape is not None:
            raise InputError(f"--shape: TFLite files leave no axes open, {path} has its own shape")
        if options.of_onnx:
            raise InputError(f"--input-scale, --rule-norm, --rule-softmax real: TFLite files have "
                             f"scales and rules of their own, so has {path}")  # fmt: skip
        return read_tflite(path, rule=rule or "tflite", options=options)
    if options.until:
        raise InputError(f"--until: only TFLite files are cut, {path} is none")
    return read_onnx(path, rule=rule or "onnx-exact", shape=shape, options=options)
