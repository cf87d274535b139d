import csv
import statistics
import xml.etree.ElementTree as ElementTree

import numpy as np
import pyarrow.parquet
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05 import Image
from scipy import ndimage

from unetseg.outputs import FORMATS, ObjectRow, describe_masks, write_table

BOTH = pytest.mark.parametrize("form", sorted(FORMATS))
NAMES = ("iris", "pupil", "eye lid", "sclera", "lash")
FEW = settings(max_examples=25, deadline=None)


def some_masks(classes=3, shape=(40, 50)):
    return np.random.default_rng(classes).integers(0, 2, (classes, *shape)).astype(np.uint8)


def write(form, folder, planes, pixel_size=(0.5, 0.25), white=1):
    path = folder / f"a{FORMATS[form].suffix}"
    FORMATS[form].write(path, planes, NAMES[: len(planes)], pixel_size, white=white)
    return path


# --------------------------------------------------------------------------- formats


@BOTH
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(1, 1), (40, 50), (300, 3), (513, 257)])
def test_masks_come_back_as_they_were_written(tmp_path, form, classes, shape):
    planes = some_masks(classes, shape)
    found = FORMATS[form].read(write(form, tmp_path, planes))
    np.testing.assert_array_equal(found, planes)
    assert found.dtype == np.uint8


@BOTH
def test_empty_masks_come_back_empty(tmp_path, form):
    planes = np.zeros((2, 9, 8), np.uint8)
    np.testing.assert_array_equal(FORMATS[form].read(write(form, tmp_path, planes)), planes)


@BOTH
def test_a_second_write_replaces_the_first(tmp_path, form):
    write(form, tmp_path, some_masks(3))
    path = write(form, tmp_path, some_masks(2, (8, 9)))
    assert FORMATS[form].read(path).shape == (2, 8, 9)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def ome_pixels(path):
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        return next(node for node in ElementTree.fromstring(tiff.ome_metadata).iter() if node.tag.endswith("}Pixels"))


@pytest.mark.parametrize("classes", [1, 3])
def test_a_tiff_has_a_white_page_per_class_in_any_tool(tmp_path, classes):
    planes = some_masks(classes)
    path = write("tiff", tmp_path, planes)
    np.testing.assert_array_equal(tifffile.imread(path, key=range(classes)).reshape(planes.shape), planes * 255)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == classes
        assert tiff.series[0].axes.endswith("YX")
        assert {page.keyframe.photometric.name for page in tiff.pages} == {"MINISBLACK"}


def test_a_tiff_keeps_names_and_pixel_size(tmp_path):
    pixels = ome_pixels(write("tiff", tmp_path, some_masks(3)))
    channels = [node.get("Name") for node in pixels if node.tag.endswith("}Channel")]
    assert channels == ["iris", "pupil", "eye lid"]
    assert (float(pixels.get("PhysicalSizeY")), float(pixels.get("PhysicalSizeX"))) == (0.5, 0.25)
    assert (pixels.get("PhysicalSizeYUnit"), pixels.get("PhysicalSizeXUnit")) == ("µm", "µm")


def test_a_tiff_of_unknown_pixel_size_claims_none(tmp_path):
    assert ome_pixels(write("tiff", tmp_path, some_masks(3), None)).get("PhysicalSizeX") is None


def test_probabilities_are_written_as_they_are(tmp_path):
    every_value = np.arange(2 * 20 * 10, dtype=np.uint16).reshape(2, 20, 10).astype(np.uint8)
    for planes in (every_value, every_value // 255):  # also where nothing is likelier than 1 / 255
        found = tifffile.imread(write("tiff", tmp_path, planes, white=255))
        np.testing.assert_array_equal(found, planes)
        stored = zarr.open_array(write("ome-zarr", tmp_path, planes, white=255) / "0", mode="r")
        np.testing.assert_array_equal(stored[...], planes)


@pytest.mark.parametrize(("planes", "white"), [(some_masks(3), 1), (some_masks(3) * np.uint8(200), 255)])
def test_an_ome_zarr_opens_with_its_names_and_contrast(tmp_path, planes, white):
    (node,) = Reader(parse_url(write("ome-zarr", tmp_path, planes, white=white)))()
    np.testing.assert_array_equal(np.asarray(node.data[0]), planes)
    assert node.metadata["name"] == "a"
    assert node.metadata["channel_names"] == ["iris", "pupil", "eye lid"]
    assert node.metadata["contrast_limits"] == [[0.0, white]] * 3
    assert node.metadata["coordinateTransformations"] == [[{"type": "scale", "scale": [1.0, 0.5, 0.25]}]]


@pytest.mark.parametrize("pixel_size", [None, (0.5, 0.25)])
def test_an_ome_zarr_is_valid(tmp_path, pixel_size):
    path = write("ome-zarr", tmp_path, some_masks(2), pixel_size)
    axes = Image.from_zarr(zarr.open_group(path, mode="r")).ome_attributes.multiscales[0].axes
    assert [axis.unit for axis in axes] == [None, *(["micrometer"] * 2 if pixel_size else [None] * 2)]


# --------------------------------------------------------------------------- table


def test_a_table_by_hand():
    mask = np.array([[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]], np.uint8)  # a diagonal pair, and a column of two
    mask = np.stack([np.pad(mask, ((0, 0), (0, 2))), np.zeros((3, 6), np.uint8)])
    mask[0, 0, 5] = 1
    found = describe_masks("a/b", mask, ["iris", "pupil"], np.array([0.25, 0.0]), (2.0, 0.5))
    assert found == [
        ObjectRow("a/b", "iris", 5, 5 / 18, 5.0, 3, 2.0, 2, 0.25, 3, 6),
        ObjectRow("a/b", "pupil", 0, 0.0, 0.0, 0, None, None, 0.0, 3, 6),
    ]


def test_without_a_pixel_size_there_is_no_area():
    (row,) = describe_masks("a", np.ones((1, 2, 2), np.uint8), ["iris"], np.zeros(1), None)
    assert row.area_um2 is None
    assert row.pixels == 4


@FEW
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 1)))
def test_objects_are_those_of_scipy_with_eight_neighbours(mask):
    (row,) = describe_masks("a", mask[None], ["iris"], np.zeros(1), None)
    labels, number = ndimage.label(mask, structure=ndimage.generate_binary_structure(2, 2))
    areas = [int((labels == label).sum()) for label in range(1, number + 1)]
    assert (row.pixels, row.fraction) == (mask.sum(), mask.mean())
    assert row.objects == number
    assert row.object_pixels_max == max(areas, default=None)
    assert row.object_pixels_median == (statistics.median(areas) if areas else None)


ROWS = [
    ObjectRow('a, "b"/ü', "iris", 5, 5 / 18, 5.25, 3, 2.5, 2, 1 / 3, 3, 6),
    ObjectRow("c", "pupil", 0, 0.0, None, 0, None, None, 0.0, 3, 6),
]


def stored_table(folder, rows):
    write_table(folder, rows)
    return pyarrow.parquet.read_table(folder / "table.parquet")


def test_the_parquet_file_holds_the_rows(tmp_path):
    assert [ObjectRow(**row) for row in stored_table(tmp_path, ROWS).to_pylist()] == ROWS


def test_a_table_that_is_as_it_was_is_left_alone(tmp_path):
    assert write_table(tmp_path, ROWS)
    before = [path.stat().st_mtime_ns for path in sorted(tmp_path.iterdir())]
    assert not write_table(tmp_path, ROWS)
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.iterdir())] == before
    assert write_table(tmp_path, ROWS[1:])


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
