"""Fields and layouts: where words lie, what they hold, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim.errors import InputError, LayoutError
from apsim.layout import Field, Layout


@st.composite
def fields_with_values(draw: st.DrawFn) -> tuple[Field, list[int]]:
    field = Field(
        "A", draw(st.integers(0, 9)), draw(st.integers(1, 63)), draw(st.sampled_from("uso"))
    )
    values = st.integers(field.lowest, field.highest)
    return field, draw(st.lists(values, max_size=8))


@given(fields_with_values())
def test_decoding_undoes_encoding(given_: tuple[Field, list[int]]) -> None:
    """decode(encode(x)) == x, for every kind and width"""
    field, values = given_
    patterns = field.encode(np.array(values, np.int64))
    assert field.decode(patterns).tolist() == values
    assert all(int(p) < 1 << field.width for p in patterns)


@given(fields_with_values())
def test_narrow_patterns_are_the_patterns(given_: tuple[Field, list[int]]) -> None:
    """encode_narrow(x) == encode(x), in a type of at most twice the bits, or of eight"""
    field, values = given_
    narrow = field.encode_narrow(np.array(values, np.int64))
    assert narrow.tolist() == field.encode(np.array(values, np.int64)).tolist()
    assert narrow.dtype.kind == "u"
    assert 8 * narrow.itemsize < max(2 * field.width, 9)


@given(fields_with_values())
def test_narrow_integers_are_the_integers(given_: tuple[Field, list[int]]) -> None:
    """narrow(x) == x == narrow(narrow(x)), which copies nothing"""
    field, values = given_
    narrow = field.narrow(np.array(values, np.int64))
    assert narrow.tolist() == values
    assert field.narrow(narrow) is narrow


@pytest.mark.parametrize("values", [[[0, 1, 2], [3, 4, 5]], 7, []])
def test_narrow_patterns_lie_in_memory_as_their_integers_do(values: object) -> None:
    turned = np.array(values, np.int64).T
    for patterns in (Field("A", 0, 4).encode_narrow(turned), Field("A", 0, 9).encode(turned)):
        assert np.shape(patterns) == turned.shape
        assert np.asarray(patterns).flags.f_contiguous


@pytest.mark.parametrize(
    ("kind", "type_", "value"), [("u", "i1", -1), ("u", "u1", 16), ("s", "u1", 8), ("o", "i2", 8)]
)
def test_narrow_types_are_looked_at_where_they_hold_more_than_a_field(
    kind: str, type_: str, value: int
) -> None:
    with pytest.raises(InputError, match="wanted values from"):
        Field("A", 0, 4, kind).encode_narrow(np.array([value], type_))


@pytest.mark.parametrize("kind", "uso")
def test_fields_of_64_columns_hold_64_bits(kind: str) -> None:
    field = Field("A", 0, 64, kind)
    values = np.array([field.lowest, field.highest], np.uint64 if kind == "u" else np.int64)
    np.testing.assert_array_equal(field.decode(field.encode(values)), values)


def test_offset_binary_is_the_value_plus_half_the_range() -> None:
    """pattern == value + 2**(width-1)"""
    assert Field("A", 0, 4, "o").encode([-8, -1, 0, 7]).tolist() == [0, 7, 8, 15]
    assert Field("A", 0, 4, "s").encode([-8, -1, 0, 7]).tolist() == [8, 15, 0, 7]


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("u", [0, 16], r"field 'A': wanted values from 0 to 15 \(4 bits, unsigned\), got 0 to 16"),
        ("u", [-1], r"wanted values from 0 to 15 \(4 bits, unsigned\), got -1 to -1"),
        ("s", [8], r"wanted values from -8 to 7 \(4 bits, signed\), got 8 to 8"),
        ("o", [-9], r"wanted values from -8 to 7 \(4 bits, signed\), got -9 to -9"),
        ("u", [0.5], "field 'A': wanted integers, got values of type float64"),
    ],
)
def test_values_that_a_field_does_not_hold_are_refused(
    kind: str, values: list[object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Field("A", 0, 4, kind).encode(values)


@pytest.mark.parametrize(
    ("column", "width", "kind", "message"),
    [
        (0, 0, "u", "field 'A': wanted a width of 1 to 64 columns, got 0"),
        (0, 65, "u", "field 'A': wanted a width of 1 to 64 columns, got 65"),
        (-1, 4, "u", "field 'A': wanted a column >= 0, got -1"),
        (0, 4, "x", "field 'A': wanted a kind u, s or o, got 'x'"),
    ],
)
def test_impossible_fields_are_refused(column: int, width: int, kind: str, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        Field("A", column, width, kind)


@pytest.mark.parametrize("width", ["", "s", "8s", "-1", "²", 1.5, None, True])
def test_widths_that_are_no_widths_are_refused(width: object) -> None:
    with pytest.raises(
        LayoutError, match="field 'A': wanted a width such as 8, 'u8', 's8' or 'o8'"
    ):
        Layout(A=width)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [0, 65, "s0", "o65"])
def test_widths_of_no_column_or_too_many_are_refused(width: object) -> None:
    with pytest.raises(LayoutError, match="wanted a width of 1 to 64 columns"):
        Layout(A=width)  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 64), min_size=1, max_size=6))
def test_fields_lie_one_after_another(widths: list[int]) -> None:
    """columns == sum of widths, and no column belongs to two fields"""
    layout = Layout(**{f"F{n}": width for n, width in enumerate(widths)})
    columns = [column for field in layout.values() for column in field.columns]
    assert columns == list(range(sum(widths)))
    assert layout.columns == sum(widths)


def test_names_are_looked_up_with_a_hint() -> None:
    layout = Layout(first=4, second=4)
    assert "first" in layout
    with pytest.raises(LayoutError, match=r"unknown field 'frist': .* did you mean 'first'"):
        layout["frist"]
    with pytest.raises(LayoutError, match="unknown field 'A': the layout has none"):
        Layout()["A"]


def test_a_name_stands_for_one_field() -> None:
    with pytest.raises(LayoutError, match="'A': the name is used twice"):
        Layout.of(Field("A", 0, 2), Field("A", 4, 2))


def test_layouts_print_themselves_and_are_rebuilt_from_their_repr() -> None:
    """eval(repr(layout)) == layout"""
    layout = Layout.of(Field("P", 0, 9), Field("X", 0, 8, "o"), Field("C", 9, 1), overlap=True)
    assert eval(repr(layout)) == layout
    assert hash(eval(repr(layout))) == hash(layout)
    assert str(layout) == "P[0:9] u9  X[0:8] o8  C[9:10] u1"
    assert "<td>offset binary</td>" in layout._repr_html_()


def test_a_part_of_a_field_is_some_of_its_columns() -> None:
    assert Field("P", 3, 9, "s").part(2, 4) == Field("P", 5, 4)
