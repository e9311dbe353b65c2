"""Networks made by other tools, as the project's own integer layer list."""

from apsim.nn.importers.onnx import Imported, from_onnx, read_onnx

__all__ = ["Imported", "from_onnx", "read_onnx"]
