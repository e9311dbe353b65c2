"""Networks and inputs by what a user types: a name or a file.

The rule: "digits" and "digits-vit" bring trained weights and real images, the networks of the
literature bring seeded random ones, a file brings its own and wants inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from apsim.errors import InputError
from apsim.files import suffix_of
from apsim.nn import exact
from apsim.nn.model import Integers, Model, store
from apsim.nn.rules import real
from apsim.nn.zoo import bundled, datasets, synthetic
from apsim.readers import read_arrays

if TYPE_CHECKING:
    from apsim.nn.importers import Options

__all__ = [
    "budget_widths", "file_inputs", "inputs", "model", "named_arrays", "parse_bits", "parse_shape",
]  # fmt: skip

BUDGET = "hawq"  # with what a published list of widths begins
Labels = npt.NDArray[np.integer[Any]]


def model(
    name: str, *, bits: str | None = None, rule: str | None = None, seed: int = 0,
    shape: Sequence[int] | None = None, options: Options | None = None,
) -> Model:  # fmt: skip
    """A bundled network, one of the literature, or a file, at the given widths and rule.

    `shape` is the input's, with the batch, where an ONNX file leaves axes open, `options`
    what else is asked of the import of one.

    Raises `ModelError` for a file that cannot be used and `InputError` for widths that do
    not fit.
    """
    _require_known(name)
    if seed < 0:
        raise InputError(f"--seed: wanted a number from 0 on, got {seed}")
    if shape is not None and suffix_of(name) != ".onnx":
        raise InputError(f"--shape: only ONNX files leave axes open, {name} has its own shape")
    _require_options(name, options)
    if bits is not None and bits.startswith(BUDGET):
        from apsim.nn.rules import scales

        widths = budget_widths(name, bits)
        found = scales.with_scales(synthetic.network(name, seed=seed)).at(widths)
        return _under(rule, found)
    given = None if bits is None else parse_bits(bits)
    if synthetic.is_name(name):
        found = synthetic.network(name, 8 if given is None else given, seed=seed)
        return _under(rule, found)
    if name in bundled.BUNDLED or suffix_of(name) not in bundled.SUFFIXES:
        found = bundled.load(name) if name in bundled.BUNDLED else store.load(name)
        found = _under(rule, found)
    else:
        from apsim.nn import importers

        found = importers.read(
            name, rule=rule, shape=shape, options=options or importers.PLAIN
        ).model
    return found if given is None else found.at(given)


def _require_options(name: str, options: Options | None) -> None:
    """Refuse what is asked of an import where there is none, or of a file that has it not."""
    if options is None or not options.asked:
        return
    suffix = suffix_of(name)
    if options.until and suffix != ".tflite":
        raise InputError(f"--until: only TFLite files are cut, {name} is none")
    if suffix == ".onnx" or (suffix == ".tflite" and not options.of_onnx):
        return
    raise InputError(
        f"--input-scale: only ONNX files take real numbers, {name} takes none"
        if options.input_scale is not None
        else f"--rule-softmax and --rule-norm: only ONNX files have them (TFLite files take "
        f"--rule-softmax ap), {name} has its own"
    )


def _require_known(name: str) -> None:
    """Refuse a name that is no network's and no file's, with the nearest one."""
    known = (*bundled.BUNDLED, *synthetic.network_names())
    if (
        name in known
        or synthetic.is_name(name)
        or Path(name).suffix
        or (name and Path(name).exists())
    ):
        return
    near = get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"unknown model {name!r}: wanted a file or one of {', '.join(known)}{hint}")


def _under(rule: str | None, found: Model) -> Model:
    """The same network under another rule, if one is named."""
    if rule is None:
        return found
    from apsim.nn.rules import precision

    return precision.with_rule(found, rule)


def budget_widths(name: str, budget: str) -> list[int]:
    """HAWQ-V3's widths of a network, a list by name, one for each layer with weights.

    Raises `InputError` where HAWQ-V3 has no such list.
    """
    from apsim.cost.network import network as cost_network
    from apsim.cost.precision import LISTS, assign

    if budget not in LISTS:
        near = get_close_matches(budget, LISTS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"--bits {budget}: wanted one of {', '.join(LISTS)}{hint}")
    network = cost_network(name) if name in synthetic.network_names() else None
    if network is None or all(layer.hawq_slot is None for layer in network.layers):
        raise InputError(f"--bits {budget}: HAWQ-V3's lists are for resnet18, not {name}")
    pairs = zip(network.layers, assign(network, budget), strict=True)
    return [width for layer, (width, _) in pairs if layer.gemm]


def parse_bits(text: str) -> int | list[int]:
    """One width for all layers, or one for each: "8" or "8,4,8"; raises `InputError`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() and len(part) < 10 for part in parts):
        raise InputError(
            f"--bits: wanted numbers such as 8 or 8,4,8, or a list such as hawq-low, got {text!r}"
        )
    widths = [int(part) for part in parts]
    return widths[0] if len(widths) == 1 else widths


def parse_shape(text: str | None) -> list[int] | None:
    """Sizes with the batch first: "1,3,224,224" or "1x3x224x224"; raises `InputError`."""
    if text is None:
        return None
    parts = [part.strip() for part in text.replace("x", ",").split(",")]
    if not all(
        part.isdecimal() and part.isascii() and len(part) < 10 and int(part) > 0 for part in parts
    ):
        raise InputError(f"--shape: wanted sizes such as 1,3,224,224, got {text!r}")
    return [int(part) for part in parts]


def inputs(
    network: Model, images: int | None = None, path: str | None = None, *, seed: int = 0
) -> tuple[dict[str, Integers], Labels | None]:
    """Quantized inputs by tensor name, and labels where there are any.

    Real values are quantized as the model says; integers are taken as they are.  `images`
    takes the first of them.  Raises `InputError` for what is not there or does not fit.
    """
    if path is not None:
        return _first(images, _from_file(path, network)), None
    if network.name in datasets.OWNERS:
        own, wanted = datasets.test(network.name), 16 if images is None else images
        _require_images(wanted, len(own))
        taken = real.quantize(network, own.images[:wanted])
        return {network.input: taken}, own.labels[:wanted]
    if synthetic.is_name(network.name):
        wanted = 1 if images is None else images
        _require_images(wanted)
        return {network.input: synthetic.inputs(network, wanted, seed=seed)}, None
    raise InputError(f"model {network.name!r} has no images of its own: give some with --input")


def _require_images(wanted: int, most: int | None = None) -> None:
    if wanted < 1 or (most is not None and wanted > most):
        span = "at least 1" if most is None else f"1 to {most}"
        raise InputError(f"--images: wanted {span}, got {wanted}")


def _first(images: int | None, arrays: dict[str, Integers]) -> dict[str, Integers]:
    """The first images of every input, all where no number is given."""
    if images is None:
        return arrays
    _require_images(images, min(len(values) for values in arrays.values()))
    return {name: values[:images] for name, values in arrays.items()}


def steps(network: Model, path: str | None, many: int | None = None) -> list[dict[str, Integers]]:
    """The inputs of each step of a streaming network: the first axis of the file is time.

    A step has the batch axis or not.  `many` takes the first of them.  Raises `InputError`.
    """
    if path is None:
        raise InputError(f"model {network.name!r} has no inputs of its own: give some with --input")
    given = _given(path, network)
    lengths = {len(values) if values.ndim else 0 for values in given.values()}
    if len(lengths) > 1 or not min(lengths, default=0):
        raise InputError(f"{path}: wanted as many steps of each input, got {sorted(lengths)}")
    most = min(lengths)
    if many is not None and not 1 <= many <= most:
        raise InputError(f"--steps: wanted 1 to {most}, got {many}")
    return [
        _entered(network, {name: _step(network, name, values[i]) for name, values in given.items()})
        for i in range(many or most)
    ]


def _step(network: Model, name: str, values: Any) -> Any:
    """One step, with a batch of one where it has none."""
    return values[None] if values.shape == network.tensors[name].shape else values


def file_inputs(network: Model, images: int | None, path: str) -> dict[str, Any]:
    """The first images of a file as they stand there, by the names it gives them."""
    names = list(dict.fromkeys(map(network.called, network.inputs)))
    return _first(images, named_arrays(path, names))


def _from_file(path: str, network: Model) -> dict[str, Integers]:
    return _entered(network, _given(path, network))


def _given(path: str, network: Model) -> dict[str, Any]:
    """Each input's numbers; the file has just them, under the model file's names or ours."""
    wanted = list(dict.fromkeys(map(network.called, network.inputs)))
    arrays = named_arrays(path, wanted)
    if len(arrays) == len(wanted) == 1 and is_made_up(wanted[0]):  # the file has no name for it
        arrays = {wanted[0]: next(iter(arrays.values()))}
    names = {name: name if name in arrays else network.called(name) for name in network.inputs}
    if set(names.values()) != set(arrays):
        raise InputError(
            f"{path}: wanted an array for each of {', '.join(wanted)} and no other, "
            f"found {', '.join(arrays) or 'none'}"
        )
    for name, values in arrays.items():
        if values.dtype.kind not in "fiub":
            raise InputError(f"{path}: input {name!r} must hold numbers, got {values.dtype}")
    return {name: arrays[source] for name, source in names.items()}


def _entered(network: Model, given: dict[str, Any]) -> dict[str, Integers]:
    """Numbers as the integers that they are or become, without states."""
    integers = {
        name: real.quantize(network, values, name) if values.dtype.kind == "f" else values
        for name, values in given.items()
    }
    checked = exact.checked_inputs(network, integers)
    return {name: checked[name] for name in network.inputs}


def is_made_up(name: str) -> bool:
    """Whether an importer named a tensor that its file does not name: t0, t1, ..."""
    return name[:1] == "t" and name[1:].isdigit()


def named_arrays(path: str, names: Sequence[str]) -> dict[str, Any]:
    """The arrays of an .npy or .npz file by name; raises `InputError` where it is no such file."""
    loaded = read_arrays(path, what="inputs from")
    if isinstance(loaded, dict):
        return loaded
    return {names[0]: loaded} if len(names) == 1 else {"(the one array)": loaded}
