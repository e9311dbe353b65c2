"""Arrays that compare in place: the definition (`DenseCam`) and the fast one (`PackedCam`).

The rule: an engine changes speed and nothing else; cells, tags and counters agree.
"""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from apsim.cam.base import Cam, Execution
from apsim.cam.dense import DenseCam
from apsim.cam.packed import FusedCam, PackedCam, prepare
from apsim.errors import ProgramError

__all__ = [
    "ENGINES", "SOURCES", "Cam", "DenseCam", "Execution", "FusedCam", "PackedCam", "make",
    "prepare", "sources",
]  # fmt: skip

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


def sources() -> list[tuple[str, int, int]]:
    """What compiled kernels depend on: files, when each was changed, and their sizes."""
    here = Path(__file__).parent
    found = [*sorted(here.rglob("*.py")), here.parent / "encoding.py", here.parent / "step.py"]
    return [(str(path), (now := path.stat()).st_mtime_ns, now.st_size) for path in found]


SOURCES = sources()
"""The same as they were when this process imported them."""
