"""Networks as tables: the published sizes, and contradictions refused with their line."""

import pytest

from apsim import cost
from apsim.cost import precision
from apsim.cost.network import parse_network
from apsim.errors import InputError, ModelError

# conv and fc multiply-accumulates and weights (biases apart), as the layer shapes give them
SIZES = {
    "alexnet": (724406816, 60954656),
    "vgg16": (15470264320, 138344128),
    "resnet18": (1814073344, 11678912),
    "resnet50": (4089184256, 25502912),
    "resnet50_v1": (3857973248, 25502912),
}
HEADER = "name,type,in_c,in_h,in_w,kernel,stride,pad,groups,out_c,out_h,out_w,macs,input_from\n"
CONV = "c1,conv,3,8,8,3,1,1,1,4,8,8,6912,input\n"


@pytest.mark.parametrize("name", SIZES)
def test_a_bundled_network_has_its_known_size(name: str) -> None:
    found = cost.network(name)
    assert found.macs == SIZES[name][0]
    assert found.weights == SIZES[name][1]


def test_known_parameter_counts_follow_with_the_biases() -> None:
    """weights + biases: AlexNet 60,965,224 and VGG16 138,357,544"""
    assert cost.network("alexnet").weights + 10568 == 60965224
    assert cost.network("vgg16").weights + 13416 == 138357544


def test_a_table_needs_only_its_shapes() -> None:
    """macs == k^2 C_in C_out H_out W_out"""
    layer = parse_network(HEADER + CONV, "small").layers[0]
    assert (layer.i, layer.j, layer.u) == (4, 27, 64)
    assert layer.macs == 9 * 3 * 4 * 64


WRONG = {
    "name,type\nc1,conv\n": "column 'in_c' is missing",
    HEADER: "the table has no layers",
    HEADER + CONV.replace("6912", "6911"): "line 2: macs is 6911, but the shapes give 6912",
    HEADER + CONV.replace(",4,8,8,", ",4,7,8,"): "line 2: out_h is 7, but kernel, stride and pad",
    HEADER + CONV.replace("conv", "cnv"): "line 2: type 'cnv' is not one of conv, fc",
    HEADER + CONV.replace("c1,conv,3", "c1,conv,x"): "line 2: in_c must be a whole number",
    HEADER + CONV.replace("c1,conv,3", "c1,conv,0"): "line 2: in_c must be at least 1, got 0",
    HEADER + CONV.replace("3,1,1,1,4", "3,1,1,2,4"): "line 2: in_c 3 is no multiple of groups 2",
    HEADER.replace("macs", "paper_slot") + CONV.replace("6912", "first"): (
        "line 2: paper_slot must be a whole number or empty, got 'first'"
    ),
    HEADER + CONV.replace("input", "c0"): "line 2: input_from names 'c0', which is no earlier",
    HEADER + CONV + "c2,conv,5,8,8,1,1,0,1,1,8,8,,c1\n": "line 3: the input is 5x8x8, but c1 gives",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_table_that_contradicts_itself_is_refused(text: str) -> None:
    with pytest.raises(ModelError) as refusal:
        parse_network(text, "mine.csv")
    assert WRONG[text] in str(refusal.value)


def test_an_unknown_network_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'resnet50'"):
        cost.network("resnet5O")
    with pytest.raises(InputError, match=r"cannot read nowhere\.csv"):
        cost.network("nowhere.csv")


@pytest.mark.parametrize(("budget", "mean"), [("high", 7.16), ("medium", 6.53), ("low", 5.05)])
def test_hawq_lists_have_the_printed_average(budget: str, mean: float) -> None:
    assert round(sum(precision.HAWQ[budget]) / 19, 2) == mean


def test_slots_say_which_layer_takes_which_width() -> None:
    net = cost.network("resnet18")
    paper = precision.assign(net, "hawq-medium")
    hawq = precision.assign(net, "hawq-medium", slots="hawq")
    names = [layer.name for layer in net.layers]
    assert paper[names.index("layer1.0.conv1")] == (8, 8)
    assert [n for n, p, h in zip(names, paper, hawq, strict=True) if p != h]
    assert paper[names.index("fc")] == hawq[names.index("fc")] == (8, 8)


def test_a_list_of_widths_goes_to_conv_and_fc_layers_in_order() -> None:
    net = cost.network("alexnet")
    widths = precision.assign(net, "8,7,6,5,4,3,2,1")
    assert [w for layer, w in zip(net.layers, widths, strict=True) if layer.gemm] == [
        (b, b) for b in range(8, 0, -1)
    ]
    assert widths[1] == (8, 8)  # the pool after the first conv
    assert precision.average(net, widths) == 4.5


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ("0", "a width must be 1 to 16 bits, got 0"),
        ("17", "got 17"),
        ("8,8", "alexnet has 8 conv and fc layers; bits has 2 widths"),
        ("wide", "bits 'wide': wanted a width"),
        ("8/0", "got 0"),
    ],
)
def test_wrong_widths_are_refused(bits: str, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        precision.assign(cost.network("alexnet"), bits)
    assert message in str(refusal.value)


def test_activations_and_weights_may_differ() -> None:
    assert set(precision.assign(cost.network("alexnet"), "8/4")) == {(8, 4)}
