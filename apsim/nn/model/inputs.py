"""What may enter an integer network: every input, of its shape, within its width.

The rule: names in messages are those of the model's own file.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from apsim.errors import InputError
from apsim.nn.model import Integers, Model, Tensor

__all__ = ["checked_inputs"]


def checked_inputs(
    model: Model, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]
) -> dict[str, Integers]:
    """Give the input tensors [N, ...] by name, in int64, and the states' where they start.

    An input without its batch axis is the same for all images (one at least must have it);
    a state that `x` names begins with what is given.  Raises `InputError` where an input is
    missing, a shape or a value does not fit its tensor, or the batches differ.
    """
    given = dict(x) if isinstance(x, Mapping) else {model.input: x}
    for state in model.states:
        given.setdefault(state.read, state.start)
    names = (*model.inputs, *(state.read for state in model.states))
    checked = {
        name: _checked(model.called(name), name, given, model.tensors[name]) for name in names
    }
    sizes = {model.called(name): len(values) for name, values in checked.items()}
    whole = {
        name for name in names if np.ndim(given[name]) == len(model.tensors[name].shape)
    }  # those without a batch axis
    if whole.issuperset(model.inputs):
        first = model.inputs[0]
        wanted = ", ".join(["N", *map(str, model.tensors[first].shape)])
        shape = list(np.shape(given[first]))
        raise InputError(f"input {model.called(first)!r} must have shape [{wanted}], got {shape}")
    most = max(sizes.values())
    if any(
        len(values) not in (1 if name in whole else most, most) for name, values in checked.items()
    ):
        raise InputError(f"inputs must hold equally many, got {sizes}")
    return {
        name: np.broadcast_to(values, (most, *values.shape[1:])) if name in whole else values
        for name, values in checked.items()
    }


def _checked(
    called: str, name: str, given: Mapping[str, npt.ArrayLike], tensor: Tensor
) -> Integers:
    if name not in given:
        raise InputError(f"input {called!r} is missing; given: {', '.join(given)}")
    values = np.asarray(given[name])
    if values.dtype.kind not in "iub":
        raise InputError(f"input {called!r} must hold integers, got {values.dtype}")
    if values.shape == tensor.shape:
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
