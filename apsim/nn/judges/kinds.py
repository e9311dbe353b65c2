"""The judges by name, each imported when it is asked for.

The rule: what a judge cannot run it says itself, in one line; a package that is not
installed is named with its extra.
"""

from __future__ import annotations

import os
from typing import Protocol

from apsim.errors import ApsimError, InputError, MissingExtra
from apsim.files import suffix_of
from apsim.nn.judges.reading import Feeds, Reading

__all__ = ["JUDGES", "TITLES", "Judge", "cannot", "judge", "readers", "require"]

JUDGES = ("onnxruntime", "onnxruntime-plain", "reference", "litert")
TITLES = {
    "onnxruntime": "onnxruntime",
    "onnxruntime-plain": "onnxruntime without optimisation",
    "reference": "onnx's reference evaluator",
    "litert": "LiteRT's reference kernels",
}
EXTRAS = {"onnx": "onnx"}  # of packages; others come with the extra oracle


class Judge(Protocol):
    """A file opened by a judge, whose name is `title`; `batch` is None where any will do."""

    batch: int | None
    title: str

    def read(self, feeds: Feeds, deadline: float = ...) -> Reading:
        """One run, by the file's own input names."""


def readers(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The judges that an import is held against, in the order in which they are tried."""
    suffix = suffix_of(path)
    found = {".tflite": ("litert",), ".onnx": ("reference", "onnxruntime-plain")}
    return found.get(suffix, ())


def judge(name: str, path: str | os.PathLike[str]) -> Judge:
    """Open a file in a judge.

    Raises `InputError` as `require` does, and where the judge refuses the file;
    `MissingExtra` where its package is not installed.
    """
    require(name, path)
    try:
        return _opened(name, path)
    except ImportError as error:
        package = (error.name or "").split(".")[0]
        raise MissingExtra(package, EXTRAS.get(package, "oracle")) from None
    except ApsimError:
        raise
    except Exception as error:  # each has many kinds of its own, most without a common base
        raise cannot(name, path, error) from error


def require(name: str, path: str | os.PathLike[str]) -> None:
    """Raise `InputError` for an unknown judge, and for a file of a kind that it does not read."""
    if name not in JUDGES:
        raise InputError(f"unknown judge {name!r}; known: {', '.join(JUDGES)}")
    wanted = ".tflite" if name == "litert" else ".onnx"
    if suffix_of(path) != wanted:
        kind = "TFLite" if name == "litert" else "ONNX"
        raise InputError(f"--against {name} judges {kind} files, {path} is none")


def _opened(name: str, path: str | os.PathLike[str]) -> Judge:
    if name == "litert":
        from apsim.nn.judges import litert

        return litert.Kernels(path)
    if name == "reference":
        from apsim.nn.judges import reference

        return reference.Reference(reference.load(path))
    from apsim.nn.judges import ort

    return ort.Session(path, plain=name == "onnxruntime-plain")


def cannot(name: str, path: str | os.PathLike[str], error: Exception) -> InputError:
    """The judge's own reason for not running a file, in one line."""
    deepest: BaseException = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    reason = " ".join(str(deepest).split())[:200] or type(deepest).__name__
    return InputError(f"{TITLES[name]} cannot run {path}: {reason}")
