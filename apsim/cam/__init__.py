"""Arrays that compare in place: the definition (`DenseCam`) and the fast one (`PackedCam`).

The rule: an engine changes speed and nothing else; cells, tags and counters agree.
"""

from collections.abc import Callable
from difflib import get_close_matches

from apsim.cam.base import Cam, Execution
from apsim.cam.dense import DenseCam
from apsim.cam.packed import FusedCam, PackedCam, prepare
from apsim.errors import ProgramError

__all__ = ["ENGINES", "Cam", "DenseCam", "Execution", "FusedCam", "PackedCam", "make", "prepare"]

ENGINES: dict[str, Callable[[int, int], Cam]] = {
    "dense": DenseCam, "strict": PackedCam, "fused": FusedCam,
}  # fmt: skip


def make(engine: str, rows: int, columns: int) -> Cam:
    """An array of zeros under the named engine; raises `ProgramError` for an unknown one."""
    if engine not in ENGINES:
        near = get_close_matches(engine, ENGINES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ProgramError(f"unknown engine {engine!r}: wanted one of {', '.join(ENGINES)}{hint}")
    return ENGINES[engine](rows, columns)
