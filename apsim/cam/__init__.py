"""Arrays that compare in place: the definition (`DenseCam`) and the fast one (`PackedCam`)."""

from apsim.cam.base import Cam, Execution
from apsim.cam.dense import DenseCam

__all__ = ["Cam", "DenseCam", "Execution"]
