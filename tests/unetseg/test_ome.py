import numpy as np
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05 import Image, ImageLabel

from unetseg.ome import COLOURS, fields_metadata, image_metadata
from unetseg.zarr_arrays import ArrayWriter, write_group


def write_array(path, planes):
    ArrayWriter(path, planes.shape, planes.dtype, chunk=16).write(0, planes)


def write_image(folder, planes, channels, pixel_size=(0.5, 0.25)):
    ome = image_metadata("a name", channels, pixel_size, window=(0.0, 2.0))
    write_array(write_group(folder, {"ome": ome}) / "0", planes)


def test_describing_a_group_replaces_its_attributes_and_leaves_its_arrays(tmp_path):
    write_image(tmp_path / "g", np.ones((1, 4, 4), np.uint8), ["grey"])
    write_group(tmp_path / "g", {"a": 1})
    assert dict(zarr.open_group(tmp_path / "g", mode="r").attrs) == {"a": 1}
    assert list(zarr.open_group(tmp_path / "g", mode="r").array_keys()) == ["0"]


@pytest.mark.parametrize("pixel_size", [None, (0.5, 0.25)])
def test_an_image_is_valid_ome_zarr(tmp_path, pixel_size):
    write_image(tmp_path / "g", np.ones((2, 9, 8), np.float16), ["grey", "green"], pixel_size)
    (multiscale,) = Image.from_zarr(zarr.open_group(tmp_path / "g", mode="r")).attributes.ome.multiscales
    assert [axis.name for axis in multiscale.axes] == ["c", "y", "x"]
    assert [axis.unit for axis in multiscale.axes] == [None, *(["micrometer"] * 2 if pixel_size else [None] * 2)]
    assert multiscale.datasets[0].coordinateTransformations[0].scale == [1.0, *(pixel_size or (1.0, 1.0))]


@pytest.mark.parametrize(
    ("size", "units", "scale"),
    [
        ((3.0, 0.5, 0.25), [None, "micrometer", "micrometer", "micrometer"], [1.0, 3.0, 0.5, 0.25]),
        ((3.0, None, None), [None, "micrometer", None, None], [1.0, 3.0, 1.0, 1.0]),
        ((0.5, 0.25), [None, None, "micrometer", "micrometer"], [1.0, 1.0, 0.5, 0.25]),
    ],
    ids=["all", "depth alone", "no depth"],
)
def test_an_axis_has_the_unit_and_scale_that_are_known_of_it(tmp_path, size, units, scale):
    ome = image_metadata("a name", ["grey"], size, window=(0.0, 1.0), axes="czyx")
    write_array(write_group(tmp_path / "g", {"ome": ome}) / "0", np.ones((1, 9, 8), np.uint8))
    assert [axis.get("unit") for axis in ome["multiscales"][0]["axes"]] == units
    assert ome["multiscales"][0]["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": scale}]


def test_a_reader_finds_pixels_channels_colours_and_contrast(tmp_path):
    planes = np.arange(3 * 9 * 8).reshape(3, 9, 8).astype(np.uint8)
    write_image(tmp_path / "g", planes, ["grey", "green", "iris"])
    (node,) = Reader(parse_url(tmp_path / "g"))()
    np.testing.assert_array_equal(np.asarray(node.data[0]), planes)
    assert node.metadata["name"] == "a name"
    assert node.metadata["channel_names"] == ["grey", "green", "iris"]
    assert node.metadata["contrast_limits"] == [[0.0, 2.0]] * 3
    iris = [part / 255 for part in bytes.fromhex(COLOURS[2])]
    assert [colour[1] for colour in node.metadata["colormap"]] == [[1, 1, 1], [0, 1, 0], iris]


def test_bit_fields_are_valid_labels_named_and_coloured_by_their_classes(tmp_path):
    meanings = {1: [0], 2: [1], 3: [0, 1], 4: []}
    metadata = fields_metadata("classes", meanings, ["iris", "pupil"], (0.5, 0.25))
    group = write_group(tmp_path / "g", {"ome": metadata})
    write_array(group / "0", np.ones((9, 8), np.uint8))
    ome = ImageLabel.from_zarr(zarr.open_group(tmp_path / "g", mode="r")).attributes.ome
    iris, pupil = (list(bytes.fromhex(colour)) for colour in COLOURS[:2])
    both = [(a + b) // 2 for a, b in zip(iris, pupil, strict=True)]
    found = {colour.label_value: list(colour.rgba) for colour in ome.image_label.colors}
    assert found == {1: [*iris, 255], 2: [*pupil, 255], 3: [*both, 255], 4: [64, 64, 64, 255]}
    names = {item.label_value: item.model_dump()["class"] for item in ome.image_label.properties}
    assert names == {1: "iris", 2: "pupil", 3: "iris + pupil", 4: "ignore"}
    assert ome.image_label.source.image == "../../"
    assert ome.multiscales[0].datasets[0].coordinateTransformations[0].scale == [0.5, 0.25]


def test_labels_of_a_scan_without_any_class_are_valid(tmp_path):
    group = write_group(tmp_path / "g", {"ome": fields_metadata("classes", {}, ["iris"], None)})
    write_array(group / "0", np.zeros((9, 8), np.uint8))
    assert ImageLabel.from_zarr(zarr.open_group(tmp_path / "g", mode="r")).attributes.ome.image_label.colors is None


def test_the_colours_are_different_colours():
    assert len({bytes.fromhex(colour) for colour in COLOURS}) == len(COLOURS) == 8
