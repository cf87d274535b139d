import numpy as np
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05 import Image, ImageLabel

from unetseg.ome import COLOURS, image_metadata, label_metadata, write_array, write_group


def files_of(array_folder):
    return [path for path in array_folder.rglob("*") if path.is_file() and path.name != "zarr.json"]


def write_image(folder, planes, channels, pixel_size=(0.5, 0.25)):
    ome = image_metadata("a name", channels, pixel_size, window=(0.0, 2.0))
    write_array(write_group(folder, {"ome": ome}) / "0", planes, chunk=16)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (17, 15), (40, 50), (3, 40, 50), (1, 7, 300)])
@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_planes_come_back_as_they_were_written(tmp_path, shape, dtype):
    planes = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    write_array(write_group(tmp_path / "g", {}) / "0", planes, chunk=16)
    found = zarr.open_array(tmp_path / "g" / "0", mode="r")
    np.testing.assert_array_equal(found[...], planes)
    assert found.dtype == dtype
    assert found.metadata.dimension_names == ("c", "y", "x")[-len(shape) :]


def test_a_chunk_is_one_patch_and_a_scan_is_few_files(tmp_path):
    group = write_group(tmp_path / "g", {})
    write_array(group / "0", np.ones((2, 200, 64), np.uint8), chunk=16)
    array = zarr.open_array(group / "0", mode="r")
    assert array.chunks == (1, 16, 16)
    # 13 x 4 chunks of two channels; 8 to a side of a shard: two files
    assert array.shards == (2, 128, 64)
    assert len(files_of(tmp_path / "g" / "0")) == 2


def test_a_scan_of_one_chunk_is_one_file(tmp_path):
    group = write_group(tmp_path / "g", {})
    write_array(group / "0", np.ones((10, 12), np.uint8), chunk=16)
    assert zarr.open_array(group / "0", mode="r").chunks == (10, 12)
    assert len(files_of(tmp_path / "g" / "0")) == 1


def test_writing_a_group_replaces_what_was_there(tmp_path):
    write_image(tmp_path / "g", np.ones((1, 4, 4), np.uint8), ["grey"])
    write_group(tmp_path / "g", {"a": 1})
    assert dict(zarr.open_group(tmp_path / "g", mode="r").attrs) == {"a": 1}
    assert list(zarr.open_group(tmp_path / "g", mode="r").array_keys()) == []


@pytest.mark.parametrize("pixel_size", [None, (0.5, 0.25)])
def test_an_image_is_valid_ome_zarr(tmp_path, pixel_size):
    write_image(tmp_path / "g", np.ones((2, 9, 8), np.float16), ["grey", "green"], pixel_size)
    (multiscale,) = Image.from_zarr(zarr.open_group(tmp_path / "g", mode="r")).attributes.ome.multiscales
    assert [axis.name for axis in multiscale.axes] == ["c", "y", "x"]
    assert [axis.unit for axis in multiscale.axes] == [None, *(["micrometer"] * 2 if pixel_size else [None] * 2)]
    assert multiscale.datasets[0].coordinateTransformations[0].scale == [1.0, *(pixel_size or (1.0, 1.0))]


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


@pytest.mark.parametrize("index", [0, 3, len(COLOURS)])
def test_a_label_is_valid_ome_zarr_in_the_colour_of_its_class(tmp_path, index):
    group = write_group(tmp_path / "g", {"ome": label_metadata("iris", index, (0.5, 0.25))})
    write_array(group / "0", np.ones((9, 8), np.uint8), chunk=16)
    ome = ImageLabel.from_zarr(zarr.open_group(tmp_path / "g", mode="r")).attributes.ome
    (colour,) = ome.image_label.colors
    assert colour.label_value == 1
    assert colour.rgba == (*bytes.fromhex(COLOURS[index % len(COLOURS)]), 255)
    assert ome.image_label.source.image == "../../"
    assert ome.multiscales[0].datasets[0].coordinateTransformations[0].scale == [0.5, 0.25]


def test_the_colours_are_different_colours():
    assert len({bytes.fromhex(colour) for colour in COLOURS}) == len(COLOURS) == 8
