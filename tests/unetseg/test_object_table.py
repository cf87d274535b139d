import csv

import numpy as np
import pyarrow.parquet
import pytest

from unetseg.object_table import ObjectRow, object_rows, write_table


def test_a_table_by_hand():
    areas = [np.array([2, 1, 2]), np.array([], np.int64)]
    found = object_rows("a/b", areas, (3, 6), ["iris", "pupil"], np.array([0.25, 0.0]), (2.0, 0.5))
    assert found == [
        ObjectRow("a/b", "iris", 5, 5 / 18, 5.0, 3, 2.0, 2, 0.25, 3, 6),
        ObjectRow("a/b", "pupil", 0, 0.0, 0.0, 0, None, None, 0.0, 3, 6),
    ]
    assert {type(value).__module__ for row in found for value in vars(row).values()} == {"builtins"}  # they become JSON


def test_without_a_pixel_size_there_is_no_area():
    (row,) = object_rows("a", [np.array([4])], (2, 2), ["iris"], np.zeros(1), None)
    assert row.area_um2 is None
    assert row.pixels == 4


@pytest.mark.parametrize("objects", [1, 2, 5, 6])
def test_the_median_is_that_of_numpy(objects):
    areas = np.random.default_rng(objects).integers(1, 1000, objects)
    (row,) = object_rows("a", [areas], (100, 100), ["iris"], np.zeros(1), None)
    assert row.object_pixels_median == np.median(areas)


ROWS = [
    ObjectRow('a, "b"/ü', "iris", 5, 5 / 18, 5.25, 3, 2.5, 2, 1 / 3, 3, 6),
    ObjectRow("c", "pupil", 0, 0.0, None, 0, None, None, 0.0, 3, 6),
]


def stored_table(folder, rows):
    write_table(folder, rows)
    return pyarrow.parquet.read_table(folder / "table.parquet")


def test_the_parquet_file_holds_the_rows(tmp_path):
    assert [ObjectRow(**row) for row in stored_table(tmp_path, ROWS).to_pylist()] == ROWS


def test_parquet_and_csv_say_the_same(tmp_path):
    rows = stored_table(tmp_path, ROWS).to_pylist()
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        texts = list(csv.DictReader(file))
    assert list(texts[0]) == list(rows[0])
    for row, text in zip(rows, texts, strict=True):
        for name, value in row.items():
            assert text[name] == "" if value is None else type(value)(text[name]) == value


def test_types_do_not_depend_on_what_is_missing(tmp_path):
    tables = [stored_table(tmp_path, rows) for rows in (ROWS, ROWS[1:], [])]
    assert tables[0].schema == tables[1].schema == tables[2].schema
    assert str(tables[0].schema.field("object_pixels_max").type) == "int64"
    assert [table.num_rows for table in tables] == [2, 1, 0]
