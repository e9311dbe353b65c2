"""The project's own model file: one .npz whose entry `model.json` describes the rest.

The rule: nothing is ever unpickled, and nothing is believed: what is loaded has passed
`codec.decode` (the schema) and `check.verify` (shapes, widths, names).

An .npz is a zip of .npy arrays.  `model.json` is its JSON text as bytes; there, each
array stands as {"array": "<entry name>"}, and each record as {"type": "Conv2d", ...}.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.errors import ModelError
from apsim.files import replacing
from apsim.nn.model import Model
from apsim.nn.model.check import verify
from apsim.nn.model.codec import decode, encode
from apsim.readers import parse_json, read_arrays

__all__ = ["SCHEMA", "load", "save"]

SCHEMA = "apsim.model/1"
_TEXT = "model.json"
Array = npt.NDArray[Any]


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model; raises `InputError` where the file cannot be written."""
    arrays: dict[str, Array] = {}
    text = json.dumps({"schema": SCHEMA, "model": encode(model, arrays)}, indent=1)
    arrays[_TEXT] = np.frombuffer(text.encode(), np.uint8)
    with replacing(path) as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model; raises `ModelError` that names the file and the place in it."""
    where = Path(path)
    arrays = read_arrays(where, ModelError, "the model")
    if not isinstance(arrays, dict):
        raise ModelError(f"{where}: expected an .npz archive, got a single array")
    if _TEXT not in arrays or arrays[_TEXT].dtype != np.uint8:
        raise ModelError(f"{where}: not an apsim model, it has no entry {_TEXT!r} of bytes")
    text = arrays.pop(_TEXT).tobytes().decode(errors="replace")
    document = parse_json(text, f"{where}: entry {_TEXT!r}", ModelError)
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise ModelError(f"{where}: expected schema {SCHEMA!r}, got {schema!r}")
    try:
        model = decode(Model, document.get("model"), arrays)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
    return verify(model, str(where))
