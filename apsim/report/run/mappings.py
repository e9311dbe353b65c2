"""How the products of each layer were laid over CAPs: lines for people, entries for programs.

The rule: both show what the run's plans hold; no figure is made here.  The energy of bringing
the instruction stream to the CAPs is in no figure: nobody has measured it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apsim.nn.on_ap.layer_run import Choice, Facts, LayerRun

__all__ = ["NOT_MODELLED", "mapping_json", "mapping_lines"]

NOT_MODELLED = "the energy of its broadcast to the CAPs is not modelled"


def mapping_json(choice: Choice) -> dict[str, Any]:
    """The mapping of a layer, why, and how its weights stand in the program."""
    facts = choice.facts and asdict(choice.facts) | {"utilization": choice.facts.utilization}
    return {
        "name": choice.mapping,
        "why": choice.why,
        "forecast": dict(choice.costs),
        "program": facts,
    }


def mapping_lines(layers: Sequence[LayerRun]) -> list[str]:
    """A line for each layer whose mapping was chosen, or whose weights are in the program."""
    there = [(layer.name, layer.choice) for layer in layers if layer.choice is not None]
    if all(choice.mapping == "im2col" and not choice.costs for _, choice in there):
        return []
    return ["mapping of each layer:", *(line for name, c in there for line in _lines(name, c))]


def _lines(name: str, choice: Choice) -> Iterator[str]:
    yield f"  {name}: {choice.mapping} ({choice.why})"
    if choice.facts is not None:
        yield f"    {_program(choice.facts)}"


def _program(facts: Facts) -> str:
    levels = f"chunks of {facts.chunk} words" if facts.chunk else "one word at a time"
    parts = f"; words of a sum in {facts.split} parts" * (facts.split > 1)
    return (
        f"{facts.digits:,} digits, {facts.bytes:,} bytes of program; {levels}, {facts.together} "
        f"accumulators of {facts.width} bits, {facts.columns} columns{parts}; "
        f"{facts.pixels:,} of {facts.rows:,} rows ({facts.utilization:.1%})"
        f"{'; bias in the presets' * facts.bias}"
    )
