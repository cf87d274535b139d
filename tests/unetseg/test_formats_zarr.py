"""OME-Zarr and plain Zarr as scans; ome-zarr-py and zarr-python write what is read here."""

import json
import warnings

import numpy as np
import pytest
import zarr
from ome_zarr.format import FormatV04, FormatV05

from unetseg import format_zarr, formats
from unetseg.config import ScanSource
from unetseg.errors import BadFileError
from unetseg.formats import open_plane, page_distance, plane_count, plane_header, read_plane
from unetseg.planes import ScanHeader
from unetseg.readers import list_scans, read_scan
from unetseg.zarr_arrays import write_group

with warnings.catch_warnings():
    # ome-zarr warns of a class of its own when it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ome_zarr.writer import write_image, write_labels

RANDOM = np.random.default_rng(0)
PLANE = RANDOM.integers(0, 65536, (40, 50), np.uint16)
FIVE = RANDOM.integers(0, 65536, (2, 3, 4, 40, 50), np.uint16)  # t, c, z, y, x
BOTH = pytest.mark.parametrize("form", [FormatV04(), FormatV05()], ids=["0.4", "0.5"])


def write_ome(path, pixels, axes, form, *, units=None, scale=None):
    group = zarr.open_group(path, mode="w", zarr_format=form.zarr_format)
    levels = [{"y": 2, "x": 2}]
    scales = dict(zip(axes, scale, strict=True)) if scale else None
    write_image(pixels, group, axes=axes, fmt=form, scale_factors=levels, axes_units=units, scale=scales)
    return path


def write_plain(path, pixels, **options):
    array = zarr.create_array(path, shape=pixels.shape, dtype=pixels.dtype, **{"chunks": pixels.shape, **options})
    array[...] = pixels
    return path


def pixels_of(path, page=None):
    return read_plane(path, page, max_bytes=1e8)[1]


# --------------------------------------------------------------------------- OME-Zarr


@BOTH
def test_planes_are_counted_over_time_and_depth(tmp_path, form):
    path = write_ome(tmp_path / "a.ome.zarr", FIVE, "tczyx", form)
    assert plane_count(path) == 8
    assert plane_header(path, 0) == ScanHeader(40, 50, 3, "uint16", axes="TCZYX")
    for page, (time, depth) in enumerate(np.ndindex(2, 4)):
        np.testing.assert_array_equal(pixels_of(path, page), np.moveaxis(FIVE[time, :, depth], 0, -1))


@BOTH
def test_an_image_of_two_axes(tmp_path, form):
    path = write_ome(tmp_path / "a.zarr", PLANE, "yx", form)
    np.testing.assert_array_equal(pixels_of(path), PLANE[..., np.newaxis])


@BOTH
@pytest.mark.parametrize(
    ("units", "scale", "expected"),
    [
        ({"y": "micrometer", "x": "micrometer"}, [1, 0.5, 0.25], (0.5, 0.25)),
        ({"y": "nanometer", "x": "millimeter"}, [1, 500, 0.002], (0.5, 2.0)),
        ({}, [1, 0.5, 0.25], None),
        ({"y": "parsec", "x": "micrometer"}, [1, 0.5, 0.25], None),
        ({"y": "micrometer", "x": "micrometer"}, [1, 0, 0.25], None),
    ],
)
def test_pixel_size_is_metric_or_none(tmp_path, form, units, scale, expected):
    path = write_ome(tmp_path / "a.zarr", FIVE[0, :, 0], "cyx", form, units=units, scale=scale)
    assert plane_header(path).pixel_size == (None if expected is None else pytest.approx(expected))


@BOTH
@pytest.mark.parametrize(
    ("units", "depth", "expected"),
    [
        ({"z": "micrometer"}, 3, 3.0),
        ({"z": "millimeter", "y": "micrometer", "x": "micrometer"}, 3, 3000.0),
        ({"y": "micrometer", "x": "micrometer"}, 3, None),
        ({"z": "parsec"}, 3, None),
        ({"z": "micrometer"}, 0, None),
        ({"z": "micrometer"}, -3, None),
    ],
    ids=str,
)
def test_planes_are_apart_by_the_scale_of_z(tmp_path, form, units, depth, expected):
    path = write_ome(tmp_path / "a.zarr", FIVE[0], "czyx", form, units=units, scale=[1, depth, 0.5, 0.25])
    assert plane_count(path) == 4
    assert page_distance(path) == expected


@BOTH
@pytest.mark.parametrize(("times", "expected"), [(1, 3.0), (2, None)])
def test_planes_that_count_times_as_well_have_no_distance(tmp_path, form, times, expected):
    units = dict.fromkeys("zyx", "micrometer")
    path = write_ome(tmp_path / "a.zarr", FIVE[:times], "tczyx", form, units=units, scale=[1, 1, 3, 0.5, 0.25])
    assert page_distance(path) == expected


def test_planes_of_an_array_without_metadata_have_no_distance(tmp_path):
    path = write_plain(tmp_path / "a.zarr", FIVE[0, 0], dimension_names=["z", "y", "x"])
    assert plane_count(path) == 4
    assert page_distance(path) is None


@BOTH
@pytest.mark.parametrize(
    ("labels", "expected"),
    [(["DAPI", "GFP", "actin"], ("DAPI", "GFP", "actin")), (["DAPI", None, "actin"], ()), (["DAPI"], ())],
)
def test_channel_names_are_omeros(tmp_path, form, labels, expected):
    path = tmp_path / "a.zarr"
    write_ome(path, FIVE[0, :, 0], "cyx", form)
    name = path / ("zarr.json" if form.zarr_format == 3 else ".zattrs")
    plain = json.loads(name.read_text())
    ome = plain["attributes"]["ome"] if form.zarr_format == 3 else plain
    ome["omero"] = {"channels": [{"label": label} for label in labels]}
    name.write_text(json.dumps(plain))
    assert plane_header(path).channel_names == expected


@BOTH
def test_labels_within_an_image_are_no_scans(tmp_path, form):
    path = write_ome(tmp_path / "p/a.ome.zarr", FIVE[0, :, 0], "cyx", form)
    write_labels(PLANE % 3, zarr.open_group(path), name="cells", axes="yx", fmt=form, scaler=None)
    (path / "thumbnail.png").write_bytes(b"no scan")
    scans, bad = list_scans(ScanSource(str(tmp_path)))
    assert [(scan.id, scan.path) for scan in scans] == [("p/a", path)]
    assert bad == []
    np.testing.assert_array_equal(read_scan(scans[0], max_gigabytes=1).pixels, np.moveaxis(FIVE[0, :, 0], 0, -1))


@pytest.mark.parametrize("pattern", ["**/*", "p/**/*", "**/p/*", "*/*", "**/*.zarr", "p/a.zarr"])
def test_any_pattern_finds_the_folder_and_nothing_within(tmp_path, pattern):
    path = write_ome(tmp_path / "p/a.zarr", PLANE, "yx", FormatV05())
    write_plain(path / "nested.zarr", PLANE)
    scans, bad = list_scans(ScanSource(str(tmp_path), pattern))
    assert [scan.path for scan in scans] == [path]
    assert bad == []
    assert list_scans(ScanSource(str(path)))[0][0].id == "a"


def test_the_one_image_of_a_group_of_images(tmp_path):
    path = tmp_path / "a.zarr"
    write_group(path, {"bioformats2raw.layout": 3})
    write_ome(path / "0", PLANE, "yx", FormatV05())
    (path / "OME").mkdir()
    np.testing.assert_array_equal(pixels_of(path)[..., 0], PLANE)
    write_ome(path / "1", PLANE, "yx", FormatV05())
    with pytest.raises(
        BadFileError, match="collection of 2 images, where one is expected; name one of them, such as 0"
    ):
        plane_count(path)


# --------------------------------------------------------------------------- plain Zarr


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("shape", "axes", "planes"),
    [
        ((40, 50), "YX", 1),
        ((40, 50, 3), "YXC", 1),
        ((2, 40, 50), "CYX", 1),
        ((7, 40, 50), "ZYX", 7),
        ((7, 40, 50, 4), "ZYXC", 7),
        ((7, 2, 40, 50), "ZCYX", 7),
        ((2, 6, 40, 50), "TZYX", 12),
        ((2, 5, 6, 40, 50), "TCZYX", 12),
    ],
)
def test_axes_without_names(tmp_path, zarr_format, shape, axes, planes):
    pixels = RANDOM.integers(0, 256, shape, np.uint8)
    path = write_plain(tmp_path / "a.zarr", pixels, zarr_format=zarr_format)
    assert (plane_count(path), plane_header(path, 0).axes) == (planes, axes)
    order = [axes.index(axis) for axis in "TZYXC" if axis in axes]
    expected = pixels.transpose(order).reshape(planes, 40, 50, -1)
    for page in range(planes):
        np.testing.assert_array_equal(pixels_of(path, page), expected[page])


def test_axes_with_names(tmp_path):
    pixels = RANDOM.integers(0, 256, (40, 6, 50), np.uint8)
    path = write_plain(tmp_path / "a.zarr", pixels, dimension_names=["y", "channel", "x"])
    np.testing.assert_array_equal(pixels_of(path), pixels.transpose(0, 2, 1))
    old = write_plain(
        tmp_path / "b.zarr", pixels, zarr_format=2, attributes={"_ARRAY_DIMENSIONS": ["y", "channel", "x"]}
    )
    np.testing.assert_array_equal(pixels_of(old), pixels.transpose(0, 2, 1))


@pytest.mark.parametrize("dtype", [">u2", "<f4", "|i1", "|b1"])
def test_types_become_native(tmp_path, dtype):
    path = write_plain(tmp_path / "a.zarr", (PLANE % 100).astype(dtype), zarr_format=2)
    found = pixels_of(path)
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert plane_header(path).dtype == found.dtype.name
    np.testing.assert_array_equal(found[..., 0], (PLANE % 100).astype(dtype))


# --------------------------------------------------------------------------- rows


@pytest.mark.parametrize(
    "options", [{"chunks": (1, 7, 20)}, {"chunks": (3, 16, 16)}, {"chunks": (1, 8, 10), "shards": (3, 16, 50)}]
)
@pytest.mark.parametrize("steps", [(40,), (1,), (5, 13, 2)])
def test_rows_are_those_of_the_whole(tmp_path, monkeypatch, options, steps):
    monkeypatch.setattr(formats, "WHOLE", 0)
    path = write_plain(tmp_path / "a.zarr", FIVE[0, :, 0], **options)
    parts, start = [], 0
    with open_plane(path, max_bytes=1e8) as plane:
        assert plane.streamed
        while start < 40:
            stop = min(start + steps[len(parts) % len(steps)], 40)
            parts.append(plane.rows(start, stop))
            start = stop
        np.testing.assert_array_equal(plane.rows(3, 30), pixels_of(path)[3:30])  # and back again
    np.testing.assert_array_equal(np.concatenate(parts), np.moveaxis(FIVE[0, :, 0], 0, -1))


def test_each_chunk_is_decoded_once(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "WHOLE", 0)
    path = write_plain(tmp_path / "a.zarr", PLANE, chunks=(16, 50))
    asked, rows = [], format_zarr._Zarr.rows
    with open_plane(path, max_bytes=1e8) as plane:
        monkeypatch.setattr(format_zarr._Zarr, "rows", lambda *args: asked.append(args[2:]) or rows(*args))
        for start in range(0, 40, 5):
            plane.rows(start, start + 5)
    assert asked == [(0, 16), (16, 32), (32, 40)]


def test_chunks_of_several_planes_count_as_they_are_decoded(tmp_path):
    path = write_plain(tmp_path / "a.zarr", FIVE[0, 0].repeat(2, axis=0))
    assert plane_count(path) == 8
    with pytest.raises(BadFileError, match=r"a\.zarr: with whole chunks decodes to .* raise max_scan_gigabytes"):
        read_plane(path, 0, max_bytes=PLANE.nbytes * 2)
    with pytest.raises(BadFileError, match="one strip"), open_plane(path, 0, max_bytes=PLANE.nbytes / 2):
        pass


# --------------------------------------------------------------------------- what is refused


def group_with(path, attributes):
    return write_group(path, attributes)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"unetseg": {"schema_version": 1}}, "dataset that unetseg made"),
        ({"ome": {"version": "0.5", "plate": {}}}, "is a plate or collection of images, but its metadata name none"),
        ({"well": {}}, "metadata name none"),
        ({"well": {"images": [{"path": "../b.zarr"}]}}, "name an image outside of it, '../b.zarr'"),
        ({}, "must hold one image, but holds 0: none"),
        ({"ome": {"multiscales": [{"axes": [], "datasets": [{"path": "../b.zarr"}]}]}}, "outside of it, '../b.zarr'"),
        ({"ome": {"multiscales": []}}, "cannot be read"),
        ({"ome": {"multiscales": [{"datasets": [{"path": "7"}]}]}}, "cannot be read"),
    ],
)
def test_other_groups_are_refused(tmp_path, attributes, reason):
    write_plain(tmp_path / "b.zarr", PLANE)
    path = group_with(tmp_path / "a.zarr", attributes)
    with pytest.raises(BadFileError, match=rf"a\.zarr: .*{reason}"):
        plane_count(path)
    scans, bad = list_scans(ScanSource(str(tmp_path)))
    assert [scan.id for scan in scans] == ["b"]
    assert [item.path for item in bad] == [str(path)]


@pytest.mark.parametrize("shape", [(5,), (2, 2, 2, 2, 2, 2)])
def test_other_numbers_of_axes_are_refused(tmp_path, shape):
    path = write_plain(tmp_path / "a.zarr", np.zeros(shape, np.uint8))
    with pytest.raises(BadFileError, match="are not planes of y and x"):
        plane_count(path)


def test_more_planes_than_anybody_can_list(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(10**9, 40, 50), chunks=(1, 40, 50), dtype="u1")
    with pytest.raises(BadFileError, match="are 1000000000 planes"):
        plane_count(tmp_path / "a.zarr")


def test_a_folder_that_is_no_zarr(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(BadFileError, match=r"a\.zarr: is no Zarr: zarr\.json"):
        plane_count(tmp_path / "a.zarr")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"zarr_format": 3, "node_type": "array"}'])
def test_broken_metadata_names_the_folder(tmp_path, text):
    path = write_plain(tmp_path / "a.zarr", PLANE)
    (path / "zarr.json").write_text(text)
    with pytest.raises(BadFileError, match=r"a\.zarr: cannot be read"):
        plane_count(path)


def test_a_broken_chunk_names_the_folder(tmp_path):
    path = write_plain(tmp_path / "a.zarr", PLANE)
    (path / "c/0/0").write_bytes(b"\xff" * 20)
    with pytest.raises(BadFileError, match=r"a\.zarr: cannot be read"):
        pixels_of(path)


def test_a_blank_plane_of_which_nothing_is_stored(tmp_path):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=(20_000, 20_000), chunks=(1000, 1000), dtype="u1")
    with open_plane(path, max_bytes=1e8) as plane:
        assert plane.streamed
        assert not plane.rows(5000, 5100).any()
