"""The project's own model file: one .npz whose entry `model.json` describes the rest.

The rule: nothing is ever unpickled, and nothing is believed: what is loaded has passed
`codec.decode` (the schema) and `check.verify` (shapes, widths, names).

An .npz is a zip of .npy arrays.  `model.json` is its JSON text as bytes; there, each
array stands as {"array": "<entry name>"}, and each record as {"type": "Conv2d", ...}.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.errors import ModelError
from apsim.files import replacing
from apsim.nn.model import Model
from apsim.nn.model.check import verify
from apsim.nn.model.codec import decode, encode

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
    arrays = _arrays(where)
    try:
        document = json.loads(arrays[_TEXT].astype(np.uint8).tobytes())
    except KeyError:
        raise ModelError(f"{where}: not an apsim model, it has no entry {_TEXT!r}") from None
    except ValueError as error:
        raise ModelError(f"{where}: entry {_TEXT!r} is not JSON: {error}") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise ModelError(f"{where}: expected schema {SCHEMA!r}, got {schema!r}")
    try:
        model = decode(Model, document.get("model"), arrays)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
    return verify(model, str(where))


def _arrays(path: Path) -> Mapping[str, Array]:
    """Read every entry of an .npz, refusing pickled ones."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except TypeError:  # np.load gives a bare array for an .npy file
        raise ModelError(f"{path}: expected an .npz archive, got a single array") from None
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"{path}: not a whole .npz archive: {error}") from None
