"""What may enter an integer network: every input, of its shape, within its width; what leaves it.

The rule: names in messages are those of the model's own file.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from apsim.errors import InputError
from apsim.nn.model import Entry, Integers, Model, Tensor

__all__ = ["checked_inputs", "in_file"]


def checked_inputs(
    model: Model, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]
) -> dict[str, Integers]:
    """Give the input tensors [N, ...] by name, in int64, and the states' where they start.

    An input that has no batch in its own file is the same for all; a state that `x` names
    begins with what is given.  Raises `InputError` where an input is missing, a shape or a
    value does not fit its tensor, or the batches differ.
    """
    given = dict(x) if isinstance(x, Mapping) else {model.input: x}
    for state in model.states:
        given.setdefault(state.read, state.start)
    whole = {state.read for state in model.states} | {
        name for name in model.inputs if not model.entries.get(name, Entry()).batched
    }
    names = (*model.inputs, *(state.read for state in model.states))
    checked = {
        name: _checked(model.called(name), name, given, model.tensors[name], name in whole)
        for name in names
    }
    sizes = {model.called(name): len(values) for name, values in checked.items()}
    most = max(sizes.values())
    alike = [
        len(values) == most or (len(values) == 1 and name in whole)
        for name, values in checked.items()
    ]
    if not all(alike):
        raise InputError(f"inputs must hold equally many, got {sizes}")
    return {
        name: np.broadcast_to(values, (most, *values.shape[1:])) if name in whole else values
        for name, values in checked.items()
    }


def in_file(model: Model, name: str, values: Integers) -> Integers:
    """An output [N, ...] as the model's own file gives it.

    That is without a batch axis, of one image, where the file has none.
    """
    return values[0] if name in model.unbatched and len(values) == 1 else values


def _checked(
    called: str, name: str, given: Mapping[str, npt.ArrayLike], tensor: Tensor, whole: bool
) -> Integers:
    if name not in given:
        raise InputError(f"input {called!r} is missing; given: {', '.join(given)}")
    values = np.asarray(given[name])
    if values.dtype.kind not in "iub":
        raise InputError(f"input {called!r} must hold integers, got {values.dtype}")
    if whole and values.shape == tensor.shape:
        values = values[None]
    if values.ndim == 0 or values.shape[1:] != tensor.shape:
        wanted = ", ".join(["N", *map(str, tensor.shape)])
        raise InputError(f"input {called!r} must have shape [{wanted}], got {list(values.shape)}")
    if not len(values):
        raise InputError(f"input {called!r} must hold at least one, got shape {list(values.shape)}")
    if values.min() < tensor.lo or values.max() > tensor.hi:
        raise InputError(
            f"input {called!r} must lie in {tensor.lo}..{tensor.hi}, "
            f"got {values.min()}..{values.max()}"
        )
    return values.astype(np.int64)
