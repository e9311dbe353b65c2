"""The paper's closed forms (Eqs. 1-15), and what an execution really takes.

`add`, `multiply`, ... are the printed equations; `realisable.add`, ... are the counts
that a correct execution reaches, and `terms` names every difference between the two.
"""

from apsim.closed_form import realisable, smaller_luts
from apsim.closed_form.cnn import average_pool, max_pool, relu
from apsim.closed_form.differences import terms
from apsim.closed_form.kinds import AP_KINDS
from apsim.closed_form.macro import dot, matmul
from apsim.closed_form.micro import add, multiply, reduce
from apsim.closed_form.weight_plan import WeightPlan, latency, spread
from apsim.closed_form.weights import signed_digits, split, weights

__all__ = [
    "AP_KINDS",
    "WeightPlan",
    "add",
    "average_pool",
    "dot",
    "latency",
    "matmul",
    "max_pool",
    "multiply",
    "realisable",
    "reduce",
    "relu",
    "signed_digits",
    "smaller_luts",
    "split",
    "spread",
    "terms",
    "weights",
]
