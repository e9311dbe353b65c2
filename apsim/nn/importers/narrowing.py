"""A clip of integers that a graph writes behind their quantization: they are made narrower.

The rule: only what nobody else uses is narrowed, where it is made, through the layers that
move it; a tensor gets the name that the file gives to the clipped integers.
"""

from __future__ import annotations

from dataclasses import replace

from apsim.nn.importers.builder import ROUNDING, Builder
from apsim.nn.importers.pending import REORDERED
from apsim.nn.model.words import holding

__all__ = ["narrow"]


def narrow(build: Builder, name: str, lo: int, hi: int, wanted: str) -> bool:
    """Clip a tensor's integers to lo..hi where they are made, and call it `wanted`.

    False where they are not made here, or not for this clip alone.
    """
    chain = _made_for_one(build, name)
    if not chain:
        return False
    if chain[-1] in build.entries:
        _narrow_entry(build, chain[-1], lo, hi)
    else:
        _narrow_layer(build, chain[-1], lo, hi)
    for tensor in chain:
        _resize(build, tensor, lo, hi)
    _call(build, name, wanted)
    kept = {key: made for key, made in build.made.items() if made[1] not in chain}
    for key, (of, made) in build.made.items():
        if made in chain and isinstance(key, tuple) and key[0] == "sums":
            kept[key] = (of, wanted if made == name else made)  # its sums have not changed
    build.made = kept
    return True


def _made_for_one(build: Builder, name: str) -> list[str]:
    """A tensor that nobody uses yet and those it was moved from; none where others use them."""
    used = [given for layer in build.layers for given in layer.inputs]
    chain, uses = [name], 0
    while used.count(chain[-1]) == uses and chain[-1] not in build.shared:
        maker = next((layer for layer in build.layers if layer.output == chain[-1]), None)
        if chain[-1] in build.entries or (isinstance(maker, ROUNDING) and maker.requant):
            return chain
        if not isinstance(maker, REORDERED):
            return []
        chain.append(maker.inputs[0])
        uses = 1
        if chain[-1] in build.named:  # other nodes may ask for it later
            return []
    return []


def _narrow_entry(build: Builder, name: str, lo: int, hi: int) -> None:
    entry, tensor = build.entries[name], build.tensors[name]
    ends = (tensor.lo if entry.lo is None else entry.lo,
            tensor.hi if entry.hi is None else entry.hi)  # fmt: skip
    first, last = (min(max(end, lo), hi) for end in ends)
    build.entries[name] = replace(entry, lo=first, hi=last)


def _narrow_layer(build: Builder, name: str, lo: int, hi: int) -> None:
    index = next(i for i, layer in enumerate(build.layers) if layer.output == name)
    layer = build.layers[index]
    assert isinstance(layer, ROUNDING) and layer.requant is not None
    ends = [min(max(end, lo), hi) for end in (layer.requant.lo, layer.requant.hi)]
    build.layers[index] = replace(layer, requant=replace(layer.requant, lo=ends[0], hi=ends[1]))


def _resize(build: Builder, name: str, lo: int, hi: int) -> None:
    """Give a tensor the width that lo..hi and its zero point need."""
    tensor = build.tensors[name]
    words = holding(min(lo, tensor.zero_point), max(hi, tensor.zero_point))
    build.tensors[name] = replace(tensor, bits=words.bits, signed=words.signed)


def _call(build: Builder, name: str, wanted: str) -> None:
    """Give a tensor that nobody uses yet another name."""
    build.tensors[wanted] = build.tensors.pop(name)
    if name in build.entries:
        build.entries[wanted] = build.entries.pop(name)
        build.inputs[build.inputs.index(name)] = wanted
    build.layers = [
        replace(layer, output=wanted) if layer.output == name else layer for layer in build.layers
    ]
