"""Which tensors of a model's own file hold the integers of the network made of it.

The rule: importers say it, judges read it; a claim that is wrong convicts.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Origin"]


@dataclass(frozen=True)
class Origin:
    """A tensor of the file that holds exactly the integers of the network's `tensor`.

    `name` is what the file calls it, `index` its number where names may be missing or met
    twice (TFLite), else -1.  The network's tensor is the file's with its axes in the order
    `axes` (batch not counted; as they are where empty), plus `offset`.  Where the file
    holds real numbers, they are those of the tensor's own scale and zero point.
    """

    tensor: str
    name: str
    index: int = -1
    axes: tuple[int, ...] = ()
    offset: int = 0
