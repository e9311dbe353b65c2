"""Verdicts remembered: by the file, by the network that was made of it, and by the version.

The rule: a file that cannot be read or is not what was written is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from apsim import cache
from apsim.errors import ApsimError
from apsim.files import write_json
from apsim.nn.model import Model, Origin, codec

__all__ = ["find", "keep", "place"]

FOLDER = "imports"
JUDGES = ("apsim", "onnx", "onnxruntime", "ai-edge-litert")


def place(path: str | os.PathLike[str], model: Model, origins: Sequence[Origin]) -> Path | None:
    """Where the verdict over this import lies or would lie; None where nothing can be kept."""
    folder = cache.folder(FOLDER)
    if folder is None:
        return None
    text = hashlib.sha256(json.dumps([_version(name) for name in JUDGES]).encode())
    try:
        text.update(hashlib.sha256(Path(path).read_bytes()).digest())
    except OSError:
        return None
    arrays: dict[str, Any] = {}
    text.update(json.dumps([codec.encode(model, arrays), [*map(repr, origins)]]).encode())
    for name in sorted(arrays):
        text.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        text.update(np.ascontiguousarray(arrays[name]).tobytes())
    return folder / f"{text.hexdigest()[:40]}.json"


def _version(name: str) -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return ""


def find(where: Path | None) -> dict[str, Any] | None:
    """The verdict kept there, if it is one."""
    if where is None:
        return None
    try:
        found = json.loads(where.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("by") and not found.get("first") else None


def keep(where: Path | None, verdict: Mapping[str, Any]) -> None:
    """Remember a verdict, if that is possible."""
    if where is not None:
        with suppress(OSError, ApsimError):
            write_json(where, dict(verdict))
