"""Reading rows: equal to the same rows of the whole plane, in every layout, and never more memory than allowed."""

import resource
import sys

import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from unetseg import formats
from unetseg.errors import BadFileError
from unetseg.formats import open_plane, plane_count, read_plane
from unetseg.planes import PlanesByRows
from unetseg.readers import ScanRef, open_scan
from unetseg.tiff import TIFF

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (75, 90), np.uint8)
DEEP = RANDOM.integers(0, 65536, (75, 90), np.uint16)
COLOUR = RANDOM.integers(0, 256, (75, 90, 3), np.uint8)
SEPARATE = np.ascontiguousarray(np.moveaxis(COLOUR, -1, 0))
FLOATS = RANDOM.random((75, 90), np.float32)


@pytest.fixture
def streaming(monkeypatch):
    """Files of any size are read by rows."""
    monkeypatch.setattr(formats, "WHOLE", 0)


def rows_of(path, page=None, steps=(1, 13, 40), max_bytes=1e8):
    """All rows, in pieces of unequal size that fit no tile, and whether they were streamed."""
    with open_plane(path, page, max_bytes=max_bytes) as plane:
        parts, start = [], 0
        while start < plane.header.height:
            stop = min(start + steps[len(parts) % len(steps)], plane.header.height)
            parts.append(plane.rows(start, stop))
            start = stop
        return np.concatenate(parts), plane.streamed


# --------------------------------------------------------------------------- layouts of TIFF

LAYOUTS = [
    (GREY, {}),
    (GREY, {"rowsperstrip": 1}),
    (GREY, {"rowsperstrip": 16, "compression": "lzw"}),
    (GREY, {"rowsperstrip": 7, "compression": "packbits"}),
    (GREY, {"tile": (16, 32)}),
    (GREY, {"tile": (32, 16), "compression": "zstd"}),
    (GREY, {"tile": (32, 128), "photometric": "miniswhite"}),
    (GREY > 99, {"rowsperstrip": 10}),
    (GREY, {"rowsperstrip": 10, "photometric": "palette", "colormap": RANDOM.integers(0, 65536, (3, 256), np.uint16)}),
    (DEEP, {"rowsperstrip": 9, "compression": "zlib", "predictor": True}),
    (DEEP, {"byteorder": ">"}),
    (DEEP, {"byteorder": ">", "tile": (16, 16), "compression": "zlib"}),
    (DEEP, {"bigtiff": True, "tile": (16, 16)}),
    (DEEP.astype(np.int16), {"rowsperstrip": 8}),
    (FLOATS, {"rowsperstrip": 8, "compression": "zlib", "predictor": True}),
    (FLOATS, {"tile": (16, 48)}),
    (COLOUR, {"photometric": "rgb", "rowsperstrip": 4}),
    (COLOUR, {"photometric": "rgb", "tile": (16, 16), "compression": "jpeg"}),
    (COLOUR, {"photometric": "rgb", "tile": (48, 32), "compression": "webp"}),
    (COLOUR, {"photometric": "ycbcr", "rowsperstrip": 16, "compression": "jpeg", "subsampling": (2, 2)}),
    (np.dstack([COLOUR, GREY]), {"photometric": "rgb", "extrasamples": ["unassalpha"], "tile": (16, 16)}),
    (np.dstack([COLOUR, GREY]), {"photometric": "separated", "tile": (16, 16)}),
    (SEPARATE, {"photometric": "rgb", "planarconfig": "separate"}),
    (SEPARATE, {"photometric": "rgb", "planarconfig": "separate", "rowsperstrip": 8, "compression": "zlib"}),
    (SEPARATE, {"photometric": "rgb", "planarconfig": "separate", "tile": (32, 32), "compression": "lzw"}),
]


@pytest.mark.parametrize(("pixels", "options"), LAYOUTS)
def test_rows_of_a_tiff_are_those_of_the_whole(tmp_path, streaming, pixels, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, **options)
    expected = read_plane(path, max_bytes=1e8)[1]
    found, streamed = rows_of(path)
    assert streamed
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    tile=st.none() | st.tuples(st.sampled_from([16, 32, 48]), st.sampled_from([16, 32, 64])),
    strip=st.integers(1, 70),
    samples=st.sampled_from(["", "contig", "separate"]),
    compression=st.sampled_from([None, "zlib", "lzw"]),
    wanted=st.lists(st.tuples(st.integers(0, 69), st.integers(1, 70)), min_size=1, max_size=4),
)
def test_any_rows_in_any_order(tmp_path, size, tile, strip, samples, compression, wanted):
    shape = {"": size, "contig": (*size, 3), "separate": (3, *size)}[samples]
    pixels = np.random.default_rng(1).integers(0, 65536, shape, np.uint16)
    layout = {"tile": tile} if tile else {"rowsperstrip": min(strip, size[0])}
    options = {"photometric": "rgb", "planarconfig": samples} if samples else {"photometric": "minisblack"}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, compression=compression, metadata=None, **layout, **options)
    whole = np.moveaxis(pixels, 0, -1) if samples == "separate" else pixels.reshape(*size, -1)
    with TIFF.open(path) as planes:
        reader = planes.by_rows(0)
        for start, count in wanted:
            low, high = min(start, size[0] - 1), min(start + count, size[0])
            if low < high:
                np.testing.assert_array_equal(reader.read(low, high), whole[low:high])


def test_pages_that_are_channels(tmp_path, streaming):
    path = tmp_path / "a.tif"
    stack = RANDOM.integers(0, 65536, (2, 3, 75, 90), np.uint16)
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZCYX"})
    for page in range(2):
        found, streamed = rows_of(path, page)
        assert streamed
        np.testing.assert_array_equal(found, np.moveaxis(stack[page], 0, -1))


def test_compressed_pages_that_are_channels(tmp_path, streaming):
    path = tmp_path / "a.ome.tif"
    stack = RANDOM.integers(0, 65536, (3, 75, 90), np.uint16)
    tifffile.imwrite(path, stack, metadata={"axes": "CYX"}, tile=(32, 32), compression="zlib", photometric="minisblack")
    np.testing.assert_array_equal(rows_of(path)[0], np.moveaxis(stack, 0, -1))


def test_a_stack_behind_one_page(tmp_path, streaming):
    path = tmp_path / "a.tif"
    stack = RANDOM.integers(0, 65536, (3, 75, 90), np.uint16)
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"truncate": True})
    found, streamed = rows_of(path, 2)
    assert streamed
    np.testing.assert_array_equal(found[..., 0], stack[2])


@pytest.mark.parametrize("large_first", [True, False])
def test_the_largest_of_a_pyramid(tmp_path, streaming, large_first):
    path = tmp_path / "a.tif"
    levels = [COLOUR, COLOUR[::2, ::2]][:: 1 if large_first else -1]
    with tifffile.TiffWriter(path) as file:
        for level, subifds in zip(levels, (1, None), strict=True):
            file.write(level, tile=(16, 16), compression="zlib", subifds=subifds, photometric="rgb", metadata=None)
    np.testing.assert_array_equal(rows_of(path)[0], COLOUR)


def test_tiles_that_are_not_in_the_file_are_no_data(tmp_path, streaming):
    path = tmp_path / "a.tif"
    tiles = [np.full((16, 16), value, np.uint8) if value else None for value in (1, 0, 0, 4)]
    tifffile.imwrite(path, iter(tiles), shape=(32, 32), dtype=np.uint8, tile=(16, 16), compression="zlib")
    found = rows_of(path)[0]
    np.testing.assert_array_equal(found[::16, ::16, 0], [[1, 0], [0, 4]])
    np.testing.assert_array_equal(found, read_plane(path, max_bytes=1e8)[1])


def test_luminance_is_read_as_a_whole(tmp_path, streaming):
    path = tmp_path / "a.tif"
    Image.fromarray(COLOUR).convert("YCbCr").save(path, compression="tiff_lzw")
    found, streamed = rows_of(path)
    assert not streamed
    np.testing.assert_array_equal(found, read_plane(path, max_bytes=1e8)[1])


# --------------------------------------------------------------------------- other formats


@pytest.mark.parametrize("suffix", [".pgm", ".ppm", ".pbm"])
def test_rows_of_binary_pnm(tmp_path, streaming, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray({".pgm": GREY, ".ppm": COLOUR, ".pbm": GREY > 99}[suffix]).save(path)
    found, streamed = rows_of(path)
    assert streamed
    np.testing.assert_array_equal(found, read_plane(path, max_bytes=1e8)[1])


def test_rows_of_16_bit_pgm(tmp_path, streaming):
    (tmp_path / "a.pgm").write_bytes(b"P5 90 75 65535\n" + DEEP.astype(">u2").tobytes())
    np.testing.assert_array_equal(rows_of(tmp_path / "a.pgm")[0][..., 0], DEEP)


def test_plain_pnm_is_read_as_a_whole(tmp_path, streaming):
    (tmp_path / "a.pgm").write_text("P2 3 2 9\n1 2 3\n4 5 6\n")
    found, streamed = rows_of(tmp_path / "a.pgm")
    assert not streamed
    assert found[..., 0].tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(("suffix", "by_rows"), [(".nii", True), (".nii.gz", False)])
def test_rows_of_nifti(tmp_path, streaming, suffix, by_rows):
    volume = RANDOM.integers(0, 1000, (90, 75, 4)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / f"a{suffix}")
    found, streamed = rows_of(tmp_path / f"a{suffix}", 2)
    assert streamed == by_rows
    np.testing.assert_array_equal(found[..., 0], volume[:, :, 2].T)


def test_a_format_that_knows_no_rows_is_read_as_a_whole(tmp_path, streaming):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    found, streamed = rows_of(tmp_path / "a.png")
    assert not streamed
    np.testing.assert_array_equal(found, COLOUR)


# --------------------------------------------------------------------------- when what is decoded


def test_a_small_plane_is_decoded_once_and_rows_are_views(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, tile=(16, 16))
    with open_plane(tmp_path / "a.tif", max_bytes=1e8) as plane:
        assert not plane.streamed
        assert plane.rows(0, 5).base is plane.rows(7, 9).base


def test_the_header_is_there_before_pixels_are_decoded(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FLOATS * np.nan)
    with open_scan(ScanRef("a", tmp_path / "a.tif"), max_gigabytes=1) as plane:
        assert (plane.header.height, plane.header.width) == FLOATS.shape
        with pytest.raises(BadFileError, match="no number"):
            plane.rows(0, 1)


def test_values_that_are_no_number_are_found_in_the_rows_that_have_them(tmp_path, streaming):
    pixels = FLOATS.copy()
    pixels[50, 3] = np.inf
    tifffile.imwrite(tmp_path / "a.tif", pixels, rowsperstrip=1)
    with open_plane(tmp_path / "a.tif", max_bytes=1e8) as plane:
        np.testing.assert_array_equal(plane.rows(0, 50)[..., 0], pixels[:50])
        with pytest.raises(BadFileError, match=r"a\.tif: has 1 values"):
            plane.rows(50, 51)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (0, 76), (4, 4), (5, 4)])
def test_rows_that_are_not_there(tmp_path, start, stop):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    with open_plane(tmp_path / "a.tif", max_bytes=1e8) as plane, pytest.raises(ValueError, match="within 0 and 75"):
        plane.rows(start, stop)


def test_what_goes_wrong_elsewhere_is_not_the_files_fault(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    with pytest.raises(OSError, match="disk"), open_plane(tmp_path / "a.tif", max_bytes=1e8):
        raise OSError("disk full")


# --------------------------------------------------------------------------- limits and broken files


def test_more_than_the_limit_is_streamed_where_one_tile_row_is_not(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, tile=(16, 16))
    found, streamed = rows_of(tmp_path / "a.tif", max_bytes=GREY.nbytes / 2)
    assert streamed
    np.testing.assert_array_equal(found[..., 0], GREY)


def test_more_than_the_limit_in_one_strip_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, compression="zlib", rowsperstrip=75)
    with pytest.raises(BadFileError, match=r"one strip .*decodes to .* limit of .*raise max_scan_gigabytes"):
        rows_of(tmp_path / "a.tif", max_bytes=GREY.nbytes / 2)


def test_a_format_without_rows_is_refused_with_a_way_out(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    with pytest.raises(BadFileError, match=r"decodes to .* limit of .*tiled TIFF.* raise max_scan_gigabytes"):
        rows_of(tmp_path / "a.png", max_bytes=GREY.nbytes / 2)


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
def test_a_strip_of_enormous_size_is_refused_without_memory(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, compression="zlib", rowsperstrip=75)
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages[0].tags[name].overwrite(200_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadFileError, match=r"one strip .*decodes to 40 GB"):
        rows_of(path, max_bytes=4e9)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_small_files_that_claim_enormous_planes_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tiles = iter([GREY[:16, :16]] + [None] * (50 * 4000 - 1))  # tiles that are not in the file cost eight bytes each
    tifffile.imwrite(path, tiles, shape=(800, 64000), dtype=np.uint8, tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["TileWidth"].overwrite(16000)
        file.pages[0].tags["TileLength"].overwrite(16000)
        file.pages[0].tags["ImageWidth"].overwrite(16000 * 200)
        file.pages[0].tags["ImageLength"].overwrite(16000 * 200)
    with pytest.raises(BadFileError, match="20000 times as much"):
        rows_of(path, max_bytes=1e11)


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"rowsperstrip": 5, "compression": "zlib"}])
def test_cut_short(tmp_path, streaming, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, metadata=None, **options)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        end = page.dataoffsets[-1] + page.databytecounts[-1]
    path.write_bytes(path.read_bytes()[: end - 30])
    with pytest.raises(BadFileError, match=r"a\.tif"):
        rows_of(path)


def test_a_strip_that_does_not_decode_names_the_file(tmp_path, streaming):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, rowsperstrip=25, compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[1]
    data = bytearray(path.read_bytes())
    data[offset : offset + 20] = bytes(20)
    path.write_bytes(data)
    with open_plane(path, max_bytes=1e8) as plane:
        np.testing.assert_array_equal(plane.rows(0, 25)[..., 0], GREY[:25])
        with pytest.raises(BadFileError, match=r"a\.tif: cannot be read"):
            plane.rows(25, 50)


def test_a_list_of_strips_that_is_too_short_is_broken(tmp_path, streaming):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, rowsperstrip=25, compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["RowsPerStrip"].overwrite(10)
    with pytest.raises(BadFileError, match="lists 3 of 8 strips"):
        rows_of(path)
    with pytest.raises(BadFileError, match="lists 3 of 8 strips"):
        read_plane(path, max_bytes=1e8)


# --------------------------------------------------------------------------- real files


def streamed_rows(path, page, height):
    """Rows by strips and tiles, also where the plane is one strip."""
    with formats._open(path) as planes:
        reader = planes.by_rows(page) if isinstance(planes, PlanesByRows) else None
        if reader is None:
            return None
        return np.concatenate([reader.read(start, min(start + 41, height)) for start in range(0, height, 41)])


@pytest.mark.data
def test_rows_of_unusual_files_are_those_of_the_whole(real_scans):
    compared = 0
    for path in sorted((real_scans / "odd").glob("*.*")):
        try:
            pages = plane_count(path)
            planes = [read_plane(path, page, max_bytes=1e9)[1] for page in range(pages)]
        except BadFileError:
            continue
        for page, expected in enumerate(planes[:3]):
            found = streamed_rows(path, page, len(expected))
            if found is not None:
                np.testing.assert_array_equal(found, expected, err_msg=path.name)
                compared += 1
    assert compared > 120


@pytest.mark.data
def test_rows_of_broken_files_are_a_bad_file_or_pixels(real_scans, streaming):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sound = 0
    for path in sorted((real_scans / "bad").iterdir()):
        try:
            sound += rows_of(path, 0, max_bytes=1e9)[0].size > 0
        except BadFileError:
            continue
    assert sound <= 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kB
