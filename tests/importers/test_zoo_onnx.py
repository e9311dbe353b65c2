"""ONNX networks of the zoo: each imports and gives the integers of its oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from apsim.nn import exact, importers
from apsim.nn.importers import Options
from apsim.nn.rules import real

COMPARED = {  # values of the oracle, intermediates with names and outputs
    "finn_tfc_multithreshold": 977,
    "own_attention_qdq": 1_488,
    "own_conv1d_qdq": 1_680,
    "own_qonnx_channels_last": 736,
    "qonnx_eltwise_chanlast": 394_272,
}
ASKED = {"qonnx_eltwise_chanlast": Options(input_scale=2.0**-15, input_bits=16)}  # a real input


@pytest.mark.parametrize("name", COMPARED)
def test_a_network_gives_its_oracle_s_values(models_dir: Path, name: str) -> None:
    path = models_dir / "zoo" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"no zoo at {models_dir}")
    imported = importers.read(path, options=ASKED.get(name, importers.PLAIN))
    model, given, wanted = imported.model, arrays(path, "in"), arrays(path, "mid")
    feeds = {one: real.quantize(model, given[model.called(one)], one) for one in model.inputs}
    mine = exact.run(model, feeds)
    held = {origin.name: origin.tensor for origin in imported.origins}
    compared = 0
    for tensor, values in (wanted | arrays(path, "out")).items():
        ours = held.get(tensor.removesuffix(" (no optimisation)"))
        assert ours is not None, tensor
        got = mine[ours]
        if values.dtype.kind == "f":
            got = real.dequantize(model.tensors[ours], got)
        assert np.array_equal(got, values), tensor
        compared += values.size
    assert compared == COMPARED[name]


def arrays(path: Path, kind: str) -> dict[str, Any]:
    if not Path(f"{path}.{kind}.npz").is_file():
        return {}
    with np.load(f"{path}.{kind}.npz") as file:
        return {name: file[name] for name in file.files}
