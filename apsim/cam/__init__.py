"""Arrays that compare in place: the definition (`DenseCam`) and the fast one (`PackedCam`)."""

from apsim.cam.base import Cam, Execution
from apsim.cam.dense import DenseCam
from apsim.cam.engines import ENGINES, make
from apsim.cam.packed import FusedCam, PackedCam

__all__ = ["ENGINES", "Cam", "DenseCam", "Execution", "FusedCam", "PackedCam", "make"]
