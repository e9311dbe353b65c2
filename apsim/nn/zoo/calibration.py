"""Images to choose widths on, and images to score them on: never the same.

The rule: a file brings an array for each input of the model, real or integer, and
`labels` where accuracy is to be counted.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.errors import InputError
from apsim.nn.model import Model
from apsim.nn.rules import real
from apsim.nn.search.measure import Images
from apsim.nn.zoo import datasets, sources, synthetic

__all__ = ["calibration_images", "digest", "require_disjoint", "test_images"]

LABELS = "labels"


def calibration_images(model: Model, given: str | None) -> Images | None:
    """The images to choose on: a file, so many of those that come with apsim, or None.

    A network with seeded random weights has none: nothing is to be measured on it.
    """
    if given is not None and not given.isdecimal():
        return _from_file(model, given)
    if model.name in datasets.OWNERS:
        return _some(datasets.calibration(model.name), model, given)
    if given is not None:
        raise InputError(f"--calibration {given}: {model.name} brings no images; name a file")
    if synthetic.is_name(model.name):
        return None
    raise InputError(f"model {model.name!r} brings no images: give some with --calibration FILE")


def test_images(model: Model, path: str | None) -> Images:
    """The images to score and execute on: a file, or those that come with apsim."""
    if path is not None:
        return _from_file(model, path)
    if model.name in datasets.OWNERS:
        return _some(datasets.test(model.name), model, None)
    if synthetic.is_name(model.name):
        drawn = synthetic.inputs(model, 1)
        return Images({model.input: _real(model, model.input, drawn)})
    raise InputError(f"model {model.name!r} brings no images: give some with --input FILE")


def require_disjoint(chosen_on: Images, scored_on: Images) -> None:
    """Refuse images that are in both; raises `InputError` that names the first."""
    scored = {each: k for k, each in enumerate(_each(scored_on))}
    for k, each in enumerate(_each(chosen_on)):
        if each in scored:
            raise InputError(
                f"calibration image {k} is test image {scored[each]}: what chooses widths must "
                "not score them"
            )


def digest(images: Images) -> str:
    """SHA-256 over all images, in order."""
    return hashlib.sha256(b"".join(_each(images))).hexdigest()


def _each(images: Images) -> list[bytes]:
    arrays = [np.ascontiguousarray(x, np.float32) for x in images.inputs.values()]
    return [hashlib.sha256(b"".join(x[k].tobytes() for x in arrays)).digest()
            for k in range(len(images))]  # fmt: skip


def _some(found: datasets.Dataset, model: Model, given: str | None) -> Images:
    wanted = len(found) if given is None else int(given)
    if not 1 <= wanted <= len(found):
        raise InputError(f"--calibration: wanted 1 to {len(found)} images, got {wanted}")
    return Images({model.input: found.images[:wanted]}, found.labels[:wanted])


def _from_file(model: Model, path: str) -> Images:
    called = {name: model.called(name) for name in model.inputs}
    arrays = sources.named_arrays(path, list(dict.fromkeys(called.values())))
    labels = None if LABELS in called.values() else arrays.pop(LABELS, None)
    if set(arrays) != set(called.values()):
        raise InputError(
            f"{path}: wanted an array for each of {', '.join(called.values())}, and {LABELS} "
            f"where there are any; found {', '.join(arrays) or 'none'}"
        )
    inputs = {name: _real(model, name, arrays[theirs]) for name, theirs in called.items()}
    if len({len(x) for x in inputs.values()}) > 1:
        raise InputError(f"{path}: the inputs have different numbers of images")
    if labels is not None and labels.dtype.kind not in "iu":
        raise InputError(f"{path}: {LABELS} must be integers, got {labels.dtype}")
    return Images(inputs, labels)


def _real(model: Model, name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.ndim == 0 or values.dtype.kind not in "fiu":
        raise InputError(f"input {name!r} must hold numbers [N, ...], got {values.dtype}")
    if values.dtype.kind == "f":
        return values
    return real.dequantize(model.tensors[name], values)
