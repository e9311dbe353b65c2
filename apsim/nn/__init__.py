"""Quantized networks: their data, their exact twins, and their execution on APs."""

from apsim.nn import datasets, exact, rules
from apsim.nn.bundled import load
from apsim.nn.model import Model, Tensor
from apsim.nn.store import save

__all__ = ["Model", "Tensor", "datasets", "exact", "load", "rules", "save"]
