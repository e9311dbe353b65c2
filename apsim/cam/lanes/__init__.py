"""Independent groups of rows side by side: the same program, rows as lanes."""

from apsim.cam.lanes.operands import Operands, planes_of, prepare, words_of
from apsim.cam.lanes.run import LaneProgram, Outcome, predicted

__all__ = ["LaneProgram", "Operands", "Outcome", "planes_of", "predicted", "prepare", "words_of"]
