"""CSV files to arrays: the mapping, its way to new rows, and files that are not as they should be."""

from __future__ import annotations

import io
import json
import math
import os
from pathlib import Path

import numpy
import pytest

import portanet
from portanet.data import DataLoader, Transformation, read_table

TEXT = """area,street,garden,rooms,price
50,Elm,yes,2,100
70,Oak,no,4,120
NA,Elm,Yes,,130
90,,NO,6,150
"""


def table(text: str = TEXT, **options):
    return read_table(io.StringIO(text), **options)


def test_numbers_labels_and_yes_no(backend):
    t = table(target="price")
    assert t.feature_names == ["area", "street=Elm", "street=Oak", "street=(missing)", "garden", "rooms"]
    assert type(t.features.array) is type(portanet.zeros(1).array)
    assert t.features.dtype == portanet.float32 and t.features.shape == (4, 6)
    area = math.sqrt(800 / 3)  # population deviation of 50, 70, 90
    rooms = math.sqrt(8 / 3)
    expected = [
        [-20 / area, 1, 0, 0, 1, -2 / rooms],
        [0, 0, 1, 0, 0, 0],
        [0, 1, 0, 0, 1, 0],
        [20 / area, 0, 0, 1, 0, 2 / rooms],
    ]
    assert numpy.allclose(t.features.numpy(), expected, atol=1e-6)
    assert t.target.tolist() == [[100], [120], [130], [150]] and t.target.dtype == portanet.float32
    assert t.classes is None and len(t) == 4


def test_the_report_says_what_was_filled():
    report = table(target="price").report
    assert "4 rows" in report
    assert "area: number, mean 70, standard deviation 16.3299; 1 missing filled with the mean" in report
    assert "street: 3 labels, onehot, 1 missing as a category of their own" in report
    assert "garden: yes/no" in report and "target price: number" in report


def test_new_rows_are_mapped_alike(backend):
    t = table(target="price")
    lines = TEXT.splitlines()
    again = t.transform(io.StringIO("\n".join([lines[0], *lines[3:]])))
    assert again.tolist() == t.features.tolist()[2:]
    rows = [{"garden": True, "street": "Oak", "area": 70.0, "rooms": None, "other": 1}]
    assert t.transform(rows).tolist() == [[0, 0, 1, 0, 1, 0]]
    row = {"garden": 0, "street": None, "area": math.nan, "rooms": numpy.int64(4)}
    assert t.transform(row).tolist() == [[0, 0, 0, 1, 0, 0]]
    assert t.transform_target(io.StringIO("price\n7\n")).tolist() == [[7]]


def test_an_unknown_label_is_an_error_or_all_zeros():
    t = table(target="price")
    row = {"area": 70, "street": "Fir", "garden": "yes", "rooms": 4}
    with pytest.raises(
        ValueError, match=r"row 0, column 'street': the label 'Fir' is not.*'Elm', 'Oak'.*unknown='zeros'"
    ):
        t.transform(row)
    assert t.transform(row, unknown="zeros").tolist() == [[0, 0, 0, 0, 1, 0]]
    with pytest.raises(ValueError, match=r"unknown="):
        t.transform(row, unknown="ignore")
    coded = table(target="price", labels="index")
    with pytest.raises(ValueError, match=r"'Fir'"):
        coded.transform(row, unknown="zeros")


def test_a_missing_label_where_none_was_missing_is_unknown():
    t = table("street\nElm\nOak\nAsh\n")
    with pytest.raises(ValueError, match=r"column 'street': the value is missing, and was never"):
        t.transform({"street": ""})


def test_labels_by_index_and_kinds_stated():
    t = table(labels="index", target="price", kinds={"rooms": "onehot", "garden": "skip"})
    assert t.feature_names == ["area", "street", "rooms=2", "rooms=4", "rooms=6", "rooms=(missing)"]
    assert [row[1] for row in t.features.tolist()] == [0, 1, 0, 2]
    assert [row[2:] for row in t.features.tolist()][2] == [0, 0, 0, 1]


def test_labels_that_are_numbers_are_in_their_order():
    assert table("k\n10\n9\n2\n", kinds={"k": "label"}).feature_names == ["k=2", "k=9", "k=10"]


def test_columns_are_chosen_and_ordered():
    assert table(columns=["rooms", "area"]).feature_names == ["rooms", "area"]
    assert table(columns=["rooms"], target="price").target.shape == (4, 1)


def test_missing_may_be_marked_or_refused():
    t = table(target="price", missing="indicator")
    streets = ["street=Elm", "street=Oak", "street=(missing)"]
    assert t.feature_names == ["area", "area missing", *streets, "garden", "rooms", "rooms missing"]
    assert [row[1] for row in t.features.tolist()] == [0, 0, 1, 0]
    assert [row[-1] for row in t.features.tolist()] == [0, 0, 1, 0]
    assert t.transform({"area": "", "street": "Elm", "garden": "n", "rooms": 4}).tolist() == [[0, 1, 1, 0, 0, 0, 0, 0]]
    with pytest.raises(ValueError, match=r"line 4, column 'area': the value is missing"):
        table(target="price", missing="error")


def test_a_missing_yes_or_no_becomes_the_share_of_yes():
    t = table("a,b\ny,1\ny,2\n,3\nn,4\ny,5\n")
    assert [row[0] for row in t.features.tolist()] == [1, 1, 0.75, 0, 1]
    assert "1 missing filled with the share of yes, 0.75" in t.report


@pytest.mark.parametrize(
    "words", [("yes", "no"), ("Y", "N"), ("TRUE", "False"), ("t", "f"), ("1", "0"), ("1.0", "0.0")]
)
def test_words_for_yes_and_no(words):
    yes, no = words
    assert table(f"x\n{yes}\n{no}\n{no}\n").features.tolist() == [[1], [0], [0]]


def test_words_of_two_pairs_are_labels():
    assert table("x\nN\nT\nN\n").feature_names == ["x=N", "x=T"]


def test_without_standardising():
    assert table("x\n5\n7\n", standardize=False).features.tolist() == [[5], [7]]


def test_a_constant_number_becomes_zero():
    assert table("x,y\n0.1,1\n0.1,2\n0.1,3\n").features[:, 0].tolist() == pytest.approx([0, 0, 0], abs=1e-12)


def test_a_standardised_target_comes_back_in_its_units(backend):
    t = table(target="price", standardize_target=True)
    assert float(portanet.mean(t.target)) == pytest.approx(0, abs=1e-6)
    assert portanet.mean(t.target * t.target).item() == pytest.approx(1, rel=1e-6)
    assert t.restore_target(t.target).numpy()[:, 0] == pytest.approx([100, 120, 130, 150], rel=1e-6)


def test_classes_have_names(backend):
    t = table(target="garden")
    assert t.classes == ("no", "yes")
    assert t.target.tolist() == [1, 0, 1, 0] and t.target.shape == (4,)
    assert portanet.isdtype(t.target.dtype, "integral")
    t = table("x,kind\n1,b\n2,a\n3,c\n4,b\n", target="kind")
    assert t.classes == ("a", "b", "c") and t.target.tolist() == [1, 0, 2, 1]
    t = table("x,digit\n1,7\n2,3\n3,7\n", target="digit", kinds={"digit": "label"})
    assert t.classes == ("3", "7") and t.target.tolist() == [1, 0, 1]
    assert t.transform_target([{"digit": 7}]).tolist() == [1]
    with pytest.raises(ValueError, match=r"classes"):
        t.restore_target(t.target)


def test_the_transformation_is_plain_json(tmp_path):
    t = table(target="price", missing="indicator", standardize_target=True)
    t.transformation.save(tmp_path / "t.json")
    again = Transformation.load(tmp_path / "t.json")
    assert again == t.transformation
    assert json.loads((tmp_path / "t.json").read_text())["columns"][0]["name"] == "area"
    assert again.transform(io.StringIO(TEXT)).tolist() == t.features.tolist()
    assert again.transform_target(io.StringIO(TEXT)).tolist() == t.target.tolist()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": "other"}', '{"format": "portanet.data.Transformation 1"}']
)
def test_foreign_json_is_refused_in_one_line(content, tmp_path):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ValueError, match=r"t.json: this JSON is no") as caught:
        Transformation.load(tmp_path / "t.json")
    assert "\n" not in str(caught.value)


def test_the_file_may_have_a_mark_quotes_blanks_and_empty_lines(tmp_path):
    path = tmp_path / "houses.csv"
    path.write_bytes('\ufeff"area", name\r\n1,"a, ""b"""\r\n\r\n 2,"c\nd"\r\n3, é\r\n'.encode())
    t = read_table(path)
    assert t.feature_names == ["area", 'name=a, "b"', "name=c\nd", "name=é"]
    assert t.transform(path).tolist() == t.features.tolist()
    with pytest.raises(ValueError, match=r"line 7, column 'area'"):
        path.write_bytes(path.read_bytes() + b"x,y\r\n")
        read_table(path)


def test_another_delimiter_and_encoding(tmp_path):
    path = tmp_path / "houses.csv"
    path.write_bytes("größe;art\n1;ä\n2;b\n".encode("latin-1"))
    t = read_table(path, delimiter=";", encoding="latin-1")
    assert t.feature_names == ["größe", "art=b", "art=ä"]
    assert t.transform(path).tolist() == t.features.tolist()
    with pytest.raises(ValueError, match=r"not text in utf-8-sig.*encoding="):
        read_table(path)
    path.write_text("a;b\n1;2\n")
    with pytest.raises(ValueError, match=r"no column 'b'.*delimiter="):
        read_table(path, target="b")


def test_own_words_for_missing():
    assert table("x\n1\n-99\n3\n", missing_words=["-99"], standardize=False).features.tolist() == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n5,6\n", "line 3: too few fields: 1, expected 2, from column 'b' on"),
        ("a,b\n1,2\n3,4,5\n", "line 3: too many fields: 3, expected 2"),
        ("a,b\n1,2\n3,4\n5,six\n", "line 4, column 'b': 'six' in a number column"),
        ("a,b\n1,2\n3,4\n5,1_000\n", "line 4, column 'b': '1_000'"),
        ("a,b\n1,2\n3,4\n5,inf\n", "line 4, column 'b': 'inf'"),
        ("a,b\n1,2\n3,4\n5,1e999\n", "line 4, column 'b': '1e999'"),
        ('a,b\n1,"2\n3,4\n', "line 2: .*quotation mark"),
        ('a,b\n1,"2\n3"\n4,5,6\n', "line 4: too many"),
        ("a,a\n1,2\n", "line 1: column 'a' is there twice"),
        ("", "empty"),
        ("a,b\n", "no rows"),
        ("a,b\n1,\n2,NA\n", "column 'b' is missing in every row.*skip"),
    ],
)
def test_a_broken_file_is_named_by_line_and_column(text, message):
    with pytest.raises(ValueError, match=message):
        table(text)


def test_a_stated_kind_is_held_to():
    with pytest.raises(ValueError, match=r"line 2, column 'garden': 'yes' in a number column"):
        table(kinds={"garden": "number"})
    with pytest.raises(ValueError, match=r"line 2, column 'area': '50' in a yes/no column"):
        table(kinds={"area": "yesno"})


def test_a_missing_target_is_named():
    with pytest.raises(ValueError, match=r"line 4, column 'rooms': the target is missing"):
        table(target="rooms")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "cost"}, "no column 'cost'; there are 'area', 'street'"),
        ({"columns": ["areas"]}, "no column 'areas'"),
        ({"columns": ["area", "area"]}, "twice"),
        ({"columns": ["price"], "target": "price"}, "includes the target"),
        ({"columns": []}, "no column is left"),
        ({"kinds": {"area": "float"}}, "'float'; it must be one of number"),
        ({"kinds": {"aera": "number"}}, "no column 'aera'"),
        ({"kinds": {"price": "skip"}, "target": "price"}, "cannot be skipped"),
        ({"labels": "codes"}, "labels="),
        ({"missing": "drop"}, "missing="),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        table(**options)


def test_rows_that_cannot_be_mapped():
    t = table(target="price")
    with pytest.raises(ValueError, match=r"the rows: no column 'street'"):
        t.transform({"area": 1})
    with pytest.raises(ValueError, match=r"row 1: its columns differ"):
        t.transform([{"area": 1}, {"rooms": 1}])
    for rows in ([], [[1, 2]], 3.5):
        with pytest.raises(TypeError, match=r"list of such dicts|not iterable"):
            t.transform(rows)
    with pytest.raises(ValueError, match=r"without target="):
        table().transform_target([{"price": 1}])


def test_a_table_goes_to_a_loader(backend):
    (batch,) = DataLoader(table(target="price").dataset(), batch_size=4)
    assert batch[0].shape == (4, 6) and batch[1].shape == (4, 1)
    ((features,),) = DataLoader(table().dataset(), batch_size=4)
    assert features.shape == (4, 7)


# ---------------------------------------------------------------------------------------------------------------------
# Real houses.


@pytest.fixture
def houses():
    folder = os.environ.get("PORTANET_DATA")
    path = Path(folder or "", "houses")
    if not folder or not path.exists():
        pytest.skip("the real tables are not here: PORTANET_DATA names no folder that holds houses/")
    return path


def test_the_houses_of_ames(houses):
    csv = houses / "AmesHousing.csv"
    columns = ["Gr Liv Area", "Neighborhood", "TotRms AbvGrd", "Central Air", "Lot Frontage", "Alley"]
    t = read_table(csv, target="SalePrice", columns=columns)
    assert t.features.shape == (2930, 1 + 28 + 1 + 1 + 1 + 3)
    features = t.features.numpy()
    assert numpy.isfinite(features).all()
    assert features[:, 0].mean() == pytest.approx(0, abs=1e-5) and features[:, 0].std() == pytest.approx(1, abs=1e-5)
    assert features[0, 0] == pytest.approx((1656 - 1499.690444) / 505.422560, abs=1e-5)
    assert (features[:, 1:29].sum(axis=1) == 1).all()
    air = t.feature_names.index("Central Air")
    assert set(features[:, air].tolist()) == {0.0, 1.0}
    assert "Lot Frontage: number" in t.report and "490 missing filled with the mean" in t.report
    assert features[:, t.feature_names.index("Alley=(missing)")].sum() == 2732
    assert t.target.shape == (2930, 1) and t.target[0, 0].item() == 215000
    assert t.target.numpy().mean() == pytest.approx(180796.06, rel=1e-6)
    assert (t.transform(csv).numpy() == features).all()


def test_every_column_of_ames_is_read(houses):
    kinds = {"Order": "skip", "PID": "skip", "MS SubClass": "label"}
    t = read_table(houses / "AmesHousing.csv", target="SalePrice", kinds=kinds)
    assert numpy.isfinite(t.features.numpy()).all() and t.features.shape[0] == 2930
    assert "MS SubClass=020" in t.feature_names and "Order" not in t.feature_names


def test_the_houses_of_king_county(houses):
    t = read_table(houses / "kc_house_data.csv", target="price", kinds={"zipcode": "label"})
    assert t.features.shape == (21613, 17 + 70)
    assert t.features[:, t.feature_names.index("waterfront")].numpy().sum() == 163
    assert t.target.numpy().mean() == pytest.approx(540088.1, rel=1e-5)
