"""A file, the network made of it, and a judge: all of it in one call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.nn import exact
from apsim.nn.importers import Imported
from apsim.nn.judges import against, cases
from apsim.nn.judges.against import Verdict

__all__ = ["judged"]


def judged(
    path: Path, imported: Imported, x: NDArray[Any], judge: str,
    ours: Mapping[str, NDArray[Any]] | None = None,
) -> Verdict:  # fmt: skip
    """How the network, or the tensors `ours` of a run, compares on integers x."""
    model = imported.model
    case = cases.given(model, {model.input: np.asarray(x, np.int64)})
    tensors = exact.run(model, x) if ours is None else ours
    return against.compared(against.ask(judge, path, case), model, imported.origins, tensors)
