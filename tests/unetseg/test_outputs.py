import hashlib
import xml.etree.ElementTree as ElementTree
from typing import get_args, get_type_hints

import numpy as np
import pytest
import skimage.io
import tifffile
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Label, Reader
from ome_zarr_models.v05 import Image, ImageLabel

from unetseg.config import PredictConfig
from unetseg.errors import UsageError
from unetseg.formats import page_distance, plane_header
from unetseg.ome import COLOURS
from unetseg.outputs import FORMATS, LABELS, MASKS, OBJECTS, PROBABILITIES

BOTH = pytest.mark.parametrize("form", sorted(FORMATS))
KINDS = pytest.mark.parametrize("kind", [MASKS, PROBABILITIES, LABELS, OBJECTS], ids=lambda kind: kind.name)
NAMES = ("iris", "pupil", "eye lid", "sclera", "lash")


@pytest.fixture
def small_levels(monkeypatch):
    """Scans get smaller levels above 16 pixels, and are written and read in bands of a chunk."""
    monkeypatch.setattr("unetseg.pyramid._SMALLEST", 16)
    monkeypatch.setattr("unetseg.pyramid._READ_ROWS", 16)
    monkeypatch.setattr("unetseg.output_zarr.CHUNK", 16)
    monkeypatch.setattr("unetseg.output_tiff._TILE", 16)
    monkeypatch.setattr("unetseg.zarr_arrays._BAND_BYTES", 1)
    monkeypatch.setattr("unetseg.zarr_arrays._SHARD_CHUNKS", 2)


class Lazy:
    """Planes that are not in memory; remembers how many rows were asked for at once."""

    def __init__(self, planes):
        self._planes, self.shape, self.most_rows = planes, planes.shape, 0

    def __getitem__(self, part):
        assert isinstance(part, tuple)
        found = self._planes[part]
        self.most_rows = max(self.most_rows, found.shape[1])
        return found


def some_masks(classes=3, shape=(40, 50)):
    return np.random.default_rng(classes).integers(0, 2, (classes, *shape)).astype(np.uint8)


def some_planes(kind, classes=3, shape=(40, 50)):
    random = np.random.default_rng(classes)
    if kind is LABELS:
        labels = random.integers(0, classes + 1, shape)
        return np.stack([labels == k + 1 for k in range(classes)]).astype(np.uint8)
    most = {MASKS: 2, PROBABILITIES: 256, OBJECTS: 2**32}[kind]
    return random.integers(0, most, (classes, *shape)).astype(kind.dtype)


def write(form, folder, planes, pixel_size=(0.5, 0.25), kind=MASKS):
    path = folder / f"a{FORMATS[form].suffix}"
    FORMATS[form].write(path, planes, NAMES[: planes.shape[0]], pixel_size, kind=kind)
    return path


def contents(path):
    files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    return {item.relative_to(path).as_posix(): item.read_bytes() for item in files}


def largest_of_blocks(planes, factor):
    """A level, pixel by pixel: the slow way."""
    classes, height, width = planes.shape
    return np.array(
        [
            [
                [plane[y : y + factor, x : x + factor].max() for x in range(0, width, factor)]
                for y in range(0, height, factor)
            ]
            for plane in planes
        ]
    ).reshape(classes, -(-height // factor), -(-width // factor))


# --------------------------------------------------------------------------- formats


def test_the_settings_know_the_formats_that_there_are():
    assert set(get_args(get_type_hints(PredictConfig)["format"])) == set(FORMATS)


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
        found = tifffile.imread(write("tiff", tmp_path, planes, kind=PROBABILITIES))
        np.testing.assert_array_equal(found, planes)
        stored = zarr.open_array(write("ome-zarr", tmp_path, planes, kind=PROBABILITIES) / "0", mode="r")
        np.testing.assert_array_equal(stored[...], planes)


@pytest.mark.parametrize(("kind", "white"), [(MASKS, 1), (PROBABILITIES, 255)], ids=["masks", "probabilities"])
def test_an_ome_zarr_opens_with_its_names_and_contrast(tmp_path, kind, white):
    planes = some_planes(kind)
    (node,) = Reader(parse_url(write("ome-zarr", tmp_path, planes, kind=kind)))()
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


def test_the_same_masks_become_the_same_tiff(tmp_path):
    first, second = (hashlib.sha256(write("tiff", tmp_path, some_masks()).read_bytes()).digest() for _ in range(2))
    assert first == second


def test_a_tiff_tells_its_pixel_size_also_without_ome_xml(tmp_path):
    with tifffile.TiffFile(write("tiff", tmp_path, some_masks())) as tiff:
        assert tiff.pages[0].get_resolution("MICROMETER") == pytest.approx((1 / 0.25, 1 / 0.5))


@BOTH
@pytest.mark.parametrize("planes", [some_masks(2), some_masks(4)], ids=["too few", "too many"])
def test_there_must_be_a_plane_per_class(tmp_path, form, planes):
    path = tmp_path / f"a{FORMATS[form].suffix}"
    message = rf"^planes: there must be one per class iris, pupil, eye lid, found {len(planes)}$"
    with pytest.raises(UsageError, match=message):
        FORMATS[form].write(path, planes, NAMES[:3], None)
    assert not path.exists()


# --------------------------------------------------------------------------- kinds


@BOTH
@KINDS
@pytest.mark.parametrize("classes", [1, 3])
def test_every_kind_comes_back_as_it_was_written(tmp_path, form, kind, classes):
    planes = some_planes(kind, classes)
    found = FORMATS[form].read(write(form, tmp_path, planes, kind=kind), kind=kind)
    np.testing.assert_array_equal(found, planes)
    assert found.dtype == planes.dtype


def label_map(planes):
    """The number of the class of each pixel, from 1: the slow way."""
    _, height, width = planes.shape
    return [
        [next((k + 1 for k in range(len(planes)) if planes[k, y, x]), 0) for x in range(width)] for y in range(height)
    ]


def test_a_label_map_is_one_image_of_class_numbers(tmp_path):
    planes = some_planes(LABELS)
    tiff, store = (write(form, tmp_path, planes, kind=LABELS) for form in ("tiff", "ome-zarr"))
    expected = np.array(label_map(planes), np.uint8)
    np.testing.assert_array_equal(skimage.io.imread(tiff), expected)
    (node,) = Reader(parse_url(store))()
    np.testing.assert_array_equal(np.asarray(node.data[0]), expected)
    assert node.data[0].dtype == np.uint8


def test_a_label_map_of_many_classes_has_larger_numbers(tmp_path):
    planes = np.zeros((300, 1, 4), np.uint8)
    planes[255, 0, 1] = planes[299, 0, 2] = 1
    store = tmp_path / "a.ome.zarr"
    FORMATS["ome-zarr"].write(store, planes, [f"c{k}" for k in range(300)], None, kind=LABELS)
    assert zarr.open_array(store / "0", mode="r")[...].tolist() == [[0, 256, 300, 0]]
    np.testing.assert_array_equal(FORMATS["ome-zarr"].read(store, kind=LABELS), planes)


@BOTH
def test_classes_that_overlap_become_no_label_map(tmp_path, form):
    with pytest.raises(UsageError, match=r"^labels: .* overlap; write one plane per class$"):
        write(form, tmp_path, np.ones((2, 3, 3), np.uint8), kind=LABELS)
    assert list(tmp_path.iterdir()) == []


def test_a_label_map_is_a_valid_label_image_with_names_and_colours(tmp_path):
    path = write("ome-zarr", tmp_path, some_planes(LABELS, 2), kind=LABELS)
    (node,) = Reader(parse_url(path))()
    assert node.load(Label)
    assert node.metadata["properties"] == {1: {"class": "iris"}, 2: {"class": "pupil"}}
    ome = ImageLabel.from_zarr(zarr.open_group(path, mode="r")).attributes.ome
    colours = {item.label_value: bytes(item.rgba[:3]).hex().upper() for item in ome.image_label.colors}
    assert colours == {1: COLOURS[0], 2: COLOURS[1]}
    assert [axis.name for axis in ome.multiscales[0].axes] == ["y", "x"]


def test_a_tiff_label_map_names_its_classes(tmp_path):
    with tifffile.TiffFile(write("tiff", tmp_path, some_planes(LABELS, 3), kind=LABELS)) as tiff:
        names = tifffile.xml2dict(tiff.ome_metadata)["OME"]["StructuredAnnotations"]["MapAnnotation"]["Value"]["M"]
    assert [(item["K"], item["value"]) for item in names] == [(1, "iris"), (2, "pupil"), (3, "eye lid")]


def test_objects_are_a_valid_label_image_that_knows_its_classes(tmp_path):
    path = write("ome-zarr", tmp_path, some_planes(OBJECTS, 2), kind=OBJECTS)
    (node,) = Reader(parse_url(path))()
    assert node.load(Label)
    assert node.data[0].dtype == np.uint32
    (multiscale,) = ImageLabel.from_zarr(zarr.open_group(path, mode="r")).attributes.ome.multiscales
    assert multiscale.metadata["classes"] == ["iris", "pupil"]


# --------------------------------------------------------------------------- large scans


@BOTH
@KINDS
@pytest.mark.usefixtures("small_levels")
def test_planes_that_are_not_in_memory_are_read_in_bands(tmp_path, form, kind):
    planes = some_planes(kind, 2, (150, 70))
    lazy, whole = Lazy(planes), tmp_path / "whole"
    found, expected = write(form, tmp_path / "lazy", lazy, kind=kind), write(form, whole, planes, kind=kind)
    np.testing.assert_array_equal(FORMATS[form].read(found, kind=kind), planes)
    assert lazy.most_rows == 16
    assert contents(found) == contents(expected)


def stored_levels(form, path):
    """As other people's readers find them, with an axis of classes."""
    return [level.reshape(-1, *level.shape[-2:]) for level in READ_BY_OTHERS[form](path)]


def by_ome_zarr(path):
    (node,) = Reader(parse_url(path))()
    return [np.asarray(level) for level in node.data]


def by_tifffile(path):
    with tifffile.TiffFile(path) as tiff:
        return [level.asarray() for level in tiff.series[0].levels]


READ_BY_OTHERS = {"ome-zarr": by_ome_zarr, "tiff": by_tifffile}


@BOTH
@KINDS
@pytest.mark.usefixtures("small_levels")
@pytest.mark.parametrize("shape", [(64, 70), (16, 130), (17, 3)])
def test_a_pixel_of_a_level_is_the_largest_of_those_that_it_covers(tmp_path, form, kind, shape):
    planes = some_planes(kind, 2, shape)
    levels = stored_levels(form, write(form, tmp_path, planes, kind=kind))
    assert len(levels) == {70: 4, 130: 5, 3: 2}[shape[1]]
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(level, largest_of_blocks(levels[0], 2**number))
    assert max(levels[-1].shape[1:]) <= 16


@pytest.mark.usefixtures("small_levels")
def test_levels_lie_upon_each_other(tmp_path):
    """The centre of a pixel of level n is the mean of the centres of the 2^n pixels that it covers."""
    path = write("ome-zarr", tmp_path, some_masks(2, (64, 40)))
    (multiscale,) = Image.from_zarr(zarr.open_group(path, mode="r")).ome_attributes.multiscales
    assert multiscale.type == "max"
    for number, dataset in enumerate(multiscale.datasets):
        found = {item.type: item for item in dataset.coordinateTransformations}
        scale = np.array(found["scale"].scale)
        shift = np.array(found["translation"].translation) if number else np.zeros(3)
        for pixel in (0, 3):
            covered = np.arange(pixel * 2**number, (pixel + 1) * 2**number)
            np.testing.assert_allclose((scale * pixel + shift)[1:], covered.mean() * np.array([0.5, 0.25]))
        assert (scale[0], shift[0]) == (1, 0)


@BOTH
def test_scans_that_a_viewer_shows_at_once_have_one_level(tmp_path, form):
    for side, levels in ((1024, 1), (1025, 2)):
        assert len(stored_levels(form, write(form, tmp_path, some_masks(1, (8, side))))) == levels


@BOTH
@KINDS
@pytest.mark.usefixtures("small_levels")
@pytest.mark.parametrize("step", [2, 3, 4, 7, 33, 100])
def test_a_thinned_read_has_what_is_near_each_pixel(tmp_path, form, kind, step):
    planes = some_planes(kind, 2, (50, 75))
    found = FORMATS[form].read(write(form, tmp_path, planes, kind=kind), kind=kind, step=step)
    size = min(2 ** int(np.log2(step)), 8)  # of the level: there are four, the largest of 50 x 75 pixels
    stored = np.array([label_map(planes)]) if kind is LABELS else planes
    level = largest_of_blocks(stored, size)
    rows, columns = (np.arange(0, side, step) // size for side in (50, 75))
    expected = level[:, rows][..., columns]
    expected = np.stack([expected[0] == 1, expected[0] == 2]) if kind is LABELS else expected
    np.testing.assert_array_equal(found, expected)


@BOTH
def test_a_thinned_read_of_a_scan_without_levels_is_every_step_th_pixel(tmp_path, form):
    planes = some_masks(2, (50, 75))
    np.testing.assert_array_equal(FORMATS[form].read(write(form, tmp_path, planes), step=4), planes[:, ::4, ::4])


def test_a_tiff_of_more_than_four_gigabytes_is_a_big_tiff(tmp_path, monkeypatch):
    monkeypatch.setattr("unetseg.output_tiff._LARGE", 3000)
    for shape, big in (((30, 30), False), ((32, 32), True)):  # of three classes
        with tifffile.TiffFile(write("tiff", tmp_path, some_masks(3, shape))) as tiff:
            assert tiff.is_bigtiff == big


# --------------------------------------------------------------------------- stacks


def write_stack(form, folder, pages, kind=MASKS, size=(0.5, 0.25)):
    path = folder / f"a{FORMATS[form].suffix}"
    FORMATS[form].write_stack(path, pages, NAMES[: pages[0].shape[0]], size, kind=kind)
    return path


@BOTH
@KINDS
@pytest.mark.usefixtures("small_levels")
@pytest.mark.parametrize(("classes", "count"), [(2, 3), (1, 2), (2, 1)])
def test_the_pages_of_a_stack_come_back(tmp_path, form, kind, classes, count):
    pages = [np.roll(some_planes(kind, classes, (40, 30)), page, axis=1) for page in range(count)]
    path = write_stack(form, tmp_path, [Lazy(page) for page in pages], kind)
    for number, page in enumerate(pages):
        np.testing.assert_array_equal(FORMATS[form].read(path, kind=kind, page=number), page)
        if kind is not LABELS:
            thin = FORMATS[form].read(path, kind=kind, page=number, step=2)
            np.testing.assert_array_equal(thin, largest_of_blocks(page, 2))


@pytest.mark.usefixtures("small_levels")
def test_stacks_have_the_axes_that_readers_expect(tmp_path):
    pages = [some_masks(2, (40, 30)), some_masks(2, (40, 30))[:, ::-1], some_masks(2, (40, 30))]
    path = write_stack("ome-zarr", tmp_path, pages)
    (node,) = Reader(parse_url(path))()
    assert [axis["name"] for axis in node.metadata["axes"]] == ["c", "z", "y", "x"]
    np.testing.assert_array_equal(np.asarray(node.data[0]), np.stack(pages, axis=1))
    assert [level.shape for level in node.data] == [(2, 3, 40, 30), (2, 3, 20, 15), (2, 3, 10, 8)]
    axes = Image.from_zarr(zarr.open_group(path, mode="r")).ome_attributes.multiscales[0].axes
    assert [axis.unit for axis in axes] == [None, None, "micrometer", "micrometer"]
    with tifffile.TiffFile(write_stack("tiff", tmp_path, pages)) as tiff:
        assert tiff.series[0].axes == "ZCYX"
        np.testing.assert_array_equal(tiff.series[0].asarray(), np.stack(pages) * 255)
        assert [level.shape for level in tiff.series[0].levels] == [(3, 2, 40, 30), (3, 2, 20, 15), (3, 2, 10, 8)]


@KINDS
@pytest.mark.usefixtures("small_levels")
def test_an_ome_zarr_stack_says_how_far_its_pages_are_apart_at_each_level(tmp_path, kind):
    path = write_stack("ome-zarr", tmp_path, [some_planes(kind, 2, (40, 30))] * 3, kind, (3.0, 0.5, 0.25))
    model = Image if kind.white else ImageLabel
    (multiscale,) = model.from_zarr(zarr.open_group(path, mode="r")).ome_attributes.multiscales
    classes = [] if kind is LABELS else [1.0]
    assert [axis.name for axis in multiscale.axes] == [*("c" for _ in classes), "z", "y", "x"]
    assert [axis.unit for axis in multiscale.axes] == [None] * len(classes) + ["micrometer"] * 3
    levels = [[item.model_dump() for item in each.coordinateTransformations] for each in multiscale.datasets]
    assert [level[0]["scale"] for level in levels] == [
        [*classes, 3.0, 0.5, 0.25], [*classes, 3.0, 1.0, 0.5], [*classes, 3.0, 2.0, 1.0],
    ]  # fmt: skip
    unmoved = [0.0 for _ in classes]
    assert [level[1]["translation"] for level in levels[1:]] == [
        [*unmoved, 0.0, 0.25, 0.125], [*unmoved, 0.0, 0.75, 0.375],
    ]  # fmt: skip


@KINDS
def test_a_tiff_stack_says_how_far_its_pages_are_apart(tmp_path, kind):
    path = write_stack("tiff", tmp_path, [some_planes(kind, 2, (40, 30))] * 3, kind, (3.0, 0.5, 0.25))
    pixels = ome_pixels(path)
    assert [pixels.get(f"PhysicalSize{axis}") for axis in "ZYX"] == ["3.0", "0.5", "0.25"]
    assert [pixels.get(f"PhysicalSize{axis}Unit") for axis in "ZYX"] == ["µm"] * 3
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[0].get_resolution("MICROMETER") == pytest.approx((1 / 0.25, 1 / 0.5))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((3.0, None, None), ("3.0", None, None)), ((0.5, 0.25), (None, "0.5", "0.25")), (None, (None, None, None))],
    ids=["depth alone", "no depth", "nothing"],
)
def test_a_tiff_stack_says_only_what_is_known(tmp_path, size, expected):
    path = write_stack("tiff", tmp_path, [some_masks(2)] * 3, size=size)
    assert tuple(ome_pixels(path).get(f"PhysicalSize{axis}") for axis in "ZYX") == expected


@BOTH
@pytest.mark.parametrize("size", [(3.0, 0.5, 0.25), (3.0, None, None)], ids=["all", "depth alone"])
def test_how_far_pages_are_apart_is_read_back(tmp_path, form, size):
    path = write_stack(form, tmp_path, [some_masks(2)] * 3, size=size)
    assert page_distance(path) == 3.0
    assert plane_header(path, 1).pixel_size == (size[1:] if size[1] else None)


@BOTH
@KINDS
@pytest.mark.usefixtures("small_levels")
def test_outputs_of_single_pages_become_a_stack_without_being_in_memory(tmp_path, form, kind):
    pages = [np.roll(some_planes(kind, 2, (40, 30)), page, axis=1) for page in range(3)]
    singles = [write(form, tmp_path / str(number), page, kind=kind) for number, page in enumerate(pages)]
    lazy = [FORMATS[form].planes(path, kind=kind) for path in singles]
    found = write_stack(form, tmp_path / "lazy", lazy, kind)
    expected = write_stack(form, tmp_path / "memory", pages, kind)
    assert contents(found) == contents(expected)


@BOTH
@KINDS
def test_planes_are_read_in_parts(tmp_path, form, kind):
    planes = some_planes(kind, 3, (600, 530))  # more than a tile or chunk
    stored = FORMATS[form].planes(write(form, tmp_path, planes, kind=kind), kind=kind)
    assert stored.shape == planes.shape
    for part in ((slice(1, 2), slice(500, 520)), (slice(None), slice(0, 1)), (slice(0, 2), slice(590, 999))):
        np.testing.assert_array_equal(stored[part], planes[part])


@BOTH
def test_pages_of_one_stack_have_one_size(tmp_path, form):
    message = r"^pages: a stack needs pages of one shape \(K, H, W\), found \[\(2, 3, 4\), \(2, 4, 4\)\]$"
    with pytest.raises(UsageError, match=message):
        write_stack(form, tmp_path, [some_masks(2, (4, 4)), some_masks(2, (3, 4))])
    with pytest.raises(UsageError, match="found none"):
        FORMATS[form].write_stack(tmp_path / "a", [], NAMES, None)
