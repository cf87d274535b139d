import sys
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from unetseg.config import ScanSource
from unetseg.errors import BadFileError, UsageError
from unetseg.readers import (
    BadFile,
    ScanHeader,
    ScanRef,
    list_scans,
    name_of,
    read_header,
    read_page_distance,
    read_scan,
)

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)
COLOUR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)


def pixels_of(path, page=None):
    return read_scan(ScanRef("x", path, page), max_gigabytes=1).pixels


def header_of(path, page=None):
    return read_header(ScanRef("x", path, page))


# --------------------------------------------------------------------------- listing


def test_ids_are_paths_without_suffix_and_sorted(tmp_path):
    for name in ("b/2.TIF", "b/1.ome.tif", "a.tiff"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, GREY)
    (tmp_path / "notes.txt").write_text("no scan")
    tifffile.imwrite(tmp_path / ".hidden.tif", GREY)
    (tmp_path / ".cache").mkdir()
    tifffile.imwrite(tmp_path / ".cache" / "c.tif", GREY)
    scans, bad = list_scans(ScanSource(str(tmp_path)))
    assert scans == [
        ScanRef("a", tmp_path / "a.tiff"),
        ScanRef("b/1", tmp_path / "b/1.ome.tif"),
        ScanRef("b/2", tmp_path / "b/2.TIF"),
    ]
    assert bad == []


def test_each_page_of_a_stack_is_a_scan(tmp_path):
    stack = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
    tifffile.imwrite(tmp_path / "vol.tif", stack, photometric="minisblack")
    scans, _ = list_scans(ScanSource(str(tmp_path)))
    assert [(scan.id, scan.page) for scan in scans] == [("vol.p0000", 0), ("vol.p0001", 1), ("vol.p0002", 2)]
    for scan in scans:
        np.testing.assert_array_equal(read_scan(scan, max_gigabytes=1).pixels[..., 0], stack[scan.page])
    assert list_scans(ScanSource(str(tmp_path / "vol.tif")))[0] == scans


def test_pictures_that_were_written_one_by_one_are_pages(tmp_path):
    """Each has metadata of its own then, and most readers see the first one alone."""
    stack = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
    with tifffile.TiffWriter(tmp_path / "vol.tif") as file:
        for picture in stack:
            file.write(picture, photometric="minisblack")
        file.write(stack[0].astype(np.uint8), photometric="minisblack")  # of another type, such as a mask
    scans, _ = list_scans(ScanSource(str(tmp_path)))
    assert [scan.id for scan in scans] == ["vol.p0000", "vol.p0001", "vol.p0002"]
    for scan in scans:
        np.testing.assert_array_equal(read_scan(scan, max_gigabytes=1).pixels[..., 0], stack[scan.page])


def test_pages_of_several_compressions_stay_in_order(tmp_path):
    stack = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
    with tifffile.TiffWriter(tmp_path / "vol.tif") as file:
        for picture, compression in zip(stack, ("zlib", None, "zlib"), strict=True):
            file.write(picture, photometric="minisblack", compression=compression, metadata=None)
    scans, _ = list_scans(ScanSource(str(tmp_path)))
    found = [read_scan(scan, max_gigabytes=1).pixels[..., 0] for scan in scans]
    np.testing.assert_array_equal(found, stack)


def test_a_thumbnail_is_no_page(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.zeros((2, 2), np.uint8), metadata=None)
        file.write(GREY, metadata=None)
    scans, _ = list_scans(ScanSource(str(tmp_path)))
    assert [scan.id for scan in scans] == ["a"]
    np.testing.assert_array_equal(pixels_of(scans[0].path)[..., 0], GREY)


def test_a_bad_file_is_named_once_and_other_files_stay_named():
    own = BadFile("/scans/a.tif", "/scans/a.tif: cannot be read (no TIFF)")
    assert (own.reason, str(own)) == ("cannot be read (no TIFF)", "/scans/a.tif: cannot be read (no TIFF)")
    mask = BadFile("/scans/a.tif", "/masks/a.tif: 10x11 pixels, the scan 24x20")
    assert str(mask) == "/scans/a.tif: /masks/a.tif: 10x11 pixels, the scan 24x20"


def test_second_file_with_an_id_is_bad(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    scans, bad = list_scans(ScanSource(str(tmp_path)))
    assert [scan.path.name for scan in scans] == ["a.png"]
    assert bad[0].path.endswith("a.tif")
    assert "same id" in bad[0].reason
    assert "a.png" in bad[0].reason


def test_unreadable_header_is_bad(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    (tmp_path / "b.tif").write_bytes(b"II*\0")
    (tmp_path / "c.png").write_bytes(b"hello")
    scans, bad = list_scans(ScanSource(str(tmp_path)))
    assert [scan.id for scan in scans] == ["a"]
    assert [Path(item.path).name for item in bad] == ["b.tif", "c.png"]
    assert all("cannot be read" in item.reason for item in bad)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_name_that_cannot_name_an_output_is_bad(tmp_path):
    tifffile.imwrite(tmp_path / "a\nb.tif", GREY)
    scans, bad = list_scans(ScanSource(str(tmp_path)))
    assert scans == []
    assert "rename" in bad[0].reason


def test_missing_folder_names_it(tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        list_scans(ScanSource(str(tmp_path / "nowhere")))


def test_empty_folder_names_the_suffixes(tmp_path):
    with pytest.raises(UsageError, match=r"\.ome\.tif"):
        list_scans(ScanSource(str(tmp_path)))


@pytest.mark.parametrize("pattern", ["../*", "/etc/*"])
def test_pattern_stays_below_the_folder(tmp_path, pattern):
    with pytest.raises(UsageError, match="below the folder"):
        list_scans(ScanSource(str(tmp_path), pattern=pattern))


def test_pattern_chooses(tmp_path):
    for name in ("a_img.png", "a_mask.png"):
        Image.fromarray(GREY).save(tmp_path / name)
    scans, _ = list_scans(ScanSource(str(tmp_path), pattern="*_img.*"))
    assert [scan.id for scan in scans] == ["a_img"]


@pytest.mark.parametrize("exclude", ["*_mask.*", "**/*_mask.*", "p/*", "p/**", "**/[!a]_mask.png"])
def test_exclude_leaves_out_by_path_or_by_name(tmp_path, exclude):
    for name in ("a.png", "p/b_mask.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(GREY).save(tmp_path / name)
    assert len(list_scans(ScanSource(str(tmp_path)))[0]) == 2
    assert [scan.id for scan in list_scans(ScanSource(str(tmp_path), exclude=exclude))[0]] == ["a"]


def test_exclude_of_everything_is_named(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"looked for \*\*/\* but not \*\.png"):
        list_scans(ScanSource(str(tmp_path), exclude="*.png"))


@pytest.mark.parametrize(
    ("name", "expected"), [("a.ome.tif", "a"), ("a.b.PNG", "a.b"), ("d/a.jpeg", "d/a"), ("a.txt", None)]
)
def test_name_without_suffix(name, expected):
    assert name_of(name) == expected


# --------------------------------------------------------------------------- TIFF


@pytest.mark.parametrize(
    "options",
    [
        {"rowsperstrip": 1},
        {"tile": (16, 16)},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw"},
        {"bigtiff": True},
        {"byteorder": ">"},
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_tiff_layouts_hold_the_same_pixels(tmp_path, options, dtype):
    pixels = (np.arange(35).reshape(5, 7) * 3).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    found = pixels_of(tmp_path / "a.tif")
    assert header_of(tmp_path / "a.tif") == ScanHeader(5, 7, 1, dtype, axes="YX")
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found[..., 0], pixels)


def test_planar_colour(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate")
    assert header_of(tmp_path / "a.tif").channels == 3
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif"), COLOUR)


def test_min_is_white_is_turned_round(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif")[..., 0], 255 - GREY)


def test_one_bit(tmp_path):
    bits = np.array([[1, 0, 0], [0, 1, 1]], np.bool_)
    Image.fromarray(bits).save(tmp_path / "a.tif")
    assert header_of(tmp_path / "a.tif") == ScanHeader(2, 3, 1, "bool", axes="YX")
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif")[..., 0], bits)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".gif", ".bmp"])
def test_palettes_become_colours(tmp_path, suffix):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 10, 20, 30] + [0] * (253 * 3))
    image.save(tmp_path / f"a{suffix}")
    expected = np.array([[[0, 0, 0], [255, 0, 0]], [[10, 20, 30], [255, 0, 0]]], np.uint8)
    header = header_of(tmp_path / f"a{suffix}")
    assert (header.height, header.width, header.channels, header.dtype) == (2, 2, 3, "uint8")
    np.testing.assert_array_equal(pixels_of(tmp_path / f"a{suffix}"), expected)


def test_palette_with_transparency(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([5, 6, 7, 255, 0, 0] + [0] * (254 * 3))
    image.save(tmp_path / "a.png", transparency=bytes([0, 128]))
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.png"), [[[5, 6, 7], [255, 0, 0]]])


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_alpha_goes(tmp_path, suffix):
    rgba = np.dstack([COLOUR, GREY])
    Image.fromarray(rgba).save(tmp_path / f"a{suffix}")
    assert header_of(tmp_path / f"a{suffix}").channels == 3
    np.testing.assert_array_equal(pixels_of(tmp_path / f"a{suffix}"), COLOUR)


def test_channels_of_an_imagej_file_are_channels_not_scans(tmp_path):
    hyperstack = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)  # z, c, y, x
    tifffile.imwrite(tmp_path / "a.tif", hyperstack, imagej=True, metadata={"axes": "ZCYX"})
    scans, _ = list_scans(ScanSource(str(tmp_path)))
    assert [scan.id for scan in scans] == ["a.p0000", "a.p0001"]
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif", 1), np.moveaxis(hyperstack[1], 0, -1))


def test_a_stack_behind_one_page_is_read(tmp_path):
    # As ImageJ writes stacks beyond 4 GB: one directory, all pixels behind it.
    stack = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", metadata={"truncate": True})
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif", 2)[..., 0], stack[2])


def test_planes_of_an_ome_file_are_scans(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((2, 4, 5), np.uint8), metadata={"axes": "ZYX"})
    assert len(list_scans(ScanSource(str(tmp_path)))[0]) == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"resolution": (20000, 10000), "resolutionunit": "CENTIMETER"}, (1.0, 0.5)),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"resolution": (96 / 2.54, 96 / 2.54), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (1, 1), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (4, 2), "imagej": True, "metadata": {"unit": "um"}}, (0.5, 0.25)),
        ({"resolution": (4, 2), "imagej": True, "metadata": {"unit": "pixel"}}, None),
        (
            {
                "ome": True,
                "metadata": {"axes": "YX", "PhysicalSizeY": 0.3, "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm"},
            },
            (0.3, 0.25),
        ),
    ],
)
def test_pixel_size_is_metric_or_none(tmp_path, options, expected):
    tifffile.imwrite(tmp_path / "a.tif", GREY, **options)
    found = header_of(tmp_path / "a.tif").pixel_size
    assert found == (None if expected is None else pytest.approx(expected))


def ome(axes="ZYX", **sizes):
    return {"ome": True, "metadata": {"axes": axes, **sizes}}


def imagej(axes="ZYX", **more):
    return {"imagej": True, "metadata": {"axes": axes, **more}}


@pytest.mark.parametrize(
    ("options", "shape", "expected"),
    [
        pytest.param(ome(PhysicalSizeZ=3), (4, 5, 6), 3.0, id="ome"),
        pytest.param(ome(PhysicalSizeZ=0.75, PhysicalSizeZUnit="mm"), (4, 5, 6), 750.0, id="ome-mm"),
        pytest.param(ome(PhysicalSizeZ=750, PhysicalSizeZUnit="nm"), (4, 5, 6), 0.75, id="ome-nm"),
        pytest.param(ome("ZCYX", PhysicalSizeZ=3), (4, 2, 5, 6), 3.0, id="ome-channels"),
        pytest.param(ome("TZYX", PhysicalSizeZ=3), (2, 4, 5, 6), None, id="ome-times-and-depths"),
        pytest.param(ome("TYX", PhysicalSizeZ=3), (4, 5, 6), None, id="ome-times"),
        pytest.param(ome(PhysicalSizeZ=3, PhysicalSizeZUnit="pixel"), (4, 5, 6), None, id="ome-pixels"),
        pytest.param(ome(PhysicalSizeX=0.5, PhysicalSizeY=0.5), (4, 5, 6), None, id="ome-says-nothing"),
        pytest.param(ome(PhysicalSizeZ=0), (4, 5, 6), None, id="ome-zero"),
        pytest.param(ome(PhysicalSizeZ=-3), (4, 5, 6), None, id="ome-negative"),
        pytest.param(ome(PhysicalSizeZ=float("nan")), (4, 5, 6), None, id="ome-nan"),
        pytest.param(ome(PhysicalSizeZ="3,5"), (4, 5, 6), None, id="ome-no-number"),
        pytest.param(imagej(spacing=3.5, unit="um"), (4, 5, 6), 3.5, id="imagej"),
        pytest.param(imagej(spacing=0.5, unit="mm"), (4, 5, 6), 500.0, id="imagej-mm"),
        pytest.param(imagej(spacing=0.5, unit="\\u00B5m"), (4, 5, 6), 0.5, id="imagej-micro"),
        pytest.param(imagej(spacing=0.5, unit="um", zunit="mm"), (4, 5, 6), 500.0, id="imagej-own-unit"),
        pytest.param(imagej("ZCYX", spacing=3.5, unit="um"), (4, 2, 5, 6), 3.5, id="imagej-channels"),
        pytest.param(imagej("TYX", spacing=3.5, unit="um"), (4, 5, 6), None, id="imagej-times"),
        pytest.param(imagej(spacing=3.5, unit="pixel"), (4, 5, 6), None, id="imagej-pixels"),
        pytest.param(imagej(spacing=3.5), (4, 5, 6), None, id="imagej-no-unit"),
        pytest.param(imagej(unit="um"), (4, 5, 6), None, id="imagej-says-nothing"),
        pytest.param(imagej(spacing=-3.5, unit="um"), (4, 5, 6), None, id="imagej-negative"),
        pytest.param({"resolution": (4, 2), "resolutionunit": "CENTIMETER"}, (4, 5, 6), None, id="no-words"),
    ],
)
def test_how_far_pages_are_apart(tmp_path, options, shape, expected):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros(shape, np.uint8), photometric="minisblack", **options)
    assert len(list_scans(ScanSource(str(path)))[0]) in (4, 8)
    assert read_page_distance(ScanRef("a", path)) == expected


def test_pages_of_imagej_of_which_only_the_number_is_told_are_slices(tmp_path):
    """As ImageJ wrote them before it had hyperstacks."""
    about = "ImageJ=1.38x\nimages=4\nspacing=3.5\nunit=um\n"
    pages = np.zeros((4, 5, 6), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", description=about, metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.series[0].axes == "IYX"
    assert read_page_distance(ScanRef("a", tmp_path / "a.tif")) == 3.5


def test_the_image_with_the_pages_says_how_far_they_are_apart(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(np.zeros((2, 5, 6), np.uint8), **about_depth(9))
        file.write(np.zeros((3, 50, 60), np.uint8), **about_depth(3))
    assert read_page_distance(ScanRef("a", tmp_path / "a.ome.tif")) == 3


def test_several_stacks_in_a_file_have_no_distance_together(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for _ in range(2):
            file.write(np.zeros((2, 5, 6), np.uint8), **about_depth(3))
    assert len(list_scans(ScanSource(str(tmp_path)))[0]) == 4
    assert read_page_distance(ScanRef("a", tmp_path / "a.ome.tif")) is None


def about_depth(distance):
    return {"photometric": "minisblack", "metadata": {"axes": "ZYX", "PhysicalSizeZ": distance}}


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_formats_without_depth_say_nothing_of_it(tmp_path, name):
    Image.fromarray(GREY).save(tmp_path / name)
    assert read_page_distance(ScanRef("a", tmp_path / name)) is None


@pytest.mark.parametrize(
    ("names", "expected"), [(["DAPI", "GFP"], ("DAPI", "GFP")), (["DAPI", ""], ()), (None, ())], ids=str
)
def test_channel_names_of_an_ome_file(tmp_path, names, expected):
    metadata = {"axes": "CYX"} | ({"Channel": {"Name": names}} if names else {})
    stack = np.stack([GREY, GREY])
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata=metadata, photometric="minisblack")
    header = header_of(tmp_path / "a.ome.tif")
    assert (header.channels, header.axes, header.channel_names) == (2, "CYX", expected)


def test_channel_names_are_those_of_the_largest_image(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for name, pixels in (("small", GREY[:2]), ("large", GREY)):
            metadata = {"axes": "YX", "Channel": {"Name": [name]}}
            file.write(pixels, metadata=metadata, photometric="minisblack")
    assert header_of(tmp_path / "a.ome.tif").channel_names == ("large",)


def test_one_name_for_a_pixel_of_three_samples_is_no_name(tmp_path):
    metadata = {"axes": "YXS", "Channel": {"Name": ["tissue"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", COLOUR, metadata=metadata, photometric="rgb")
    assert header_of(tmp_path / "a.ome.tif").channel_names == ()


# --------------------------------------------------------------------------- PNG, JPEG


def test_16_bit_colour_png_keeps_its_bits(tmp_path):
    pixels = np.arange(36, dtype=np.uint16).reshape(3, 4, 3) * 1001
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    assert header_of(tmp_path / "a.png") == ScanHeader(3, 4, 3, "uint16")
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.png"), pixels)


def test_16_bit_grey_png_with_alpha(tmp_path):
    pixels = np.arange(24, dtype=np.uint16).reshape(3, 4, 2) * 1001
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.png"), pixels[..., :1])


def test_16_bit_grey_png(tmp_path):
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.png")[..., 0], pixels)


def test_jpeg_is_what_pillow_reads(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg")
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.jpg"), np.asarray(Image.open(tmp_path / "a.jpg")))


def test_animation_is_refused(tmp_path):
    frames = [Image.fromarray(np.full((2, 2), value, np.uint8)) for value in (0, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(BadFileError, match="animated"):
        pixels_of(tmp_path / "a.gif")


def test_a_large_png_is_no_bomb_by_pillows_measure(tmp_path, monkeypatch):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.png")[..., 0], GREY)


# --------------------------------------------------------------------------- broken files


def test_too_large_is_refused_from_the_header(tmp_path):
    sparse = tifffile.memmap(tmp_path / "a.tif", shape=(30_000, 30_000), dtype=np.uint16)
    del sparse
    assert (tmp_path / "a.tif").stat().st_blocks * 512 < 1e8  # nothing of it is on the disk
    with pytest.raises(BadFileError, match=r"1\.8 GB.*max_scan_gigabytes"):
        pixels_of(tmp_path / "a.tif")


def test_cut_short(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((50, 50), np.uint8))
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[:-100])
    with pytest.raises(BadFileError, match="cut short"):
        pixels_of(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif"])
def test_cut_short_pictures(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(BadFileError, match="cannot be read"):
        pixels_of(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_number(tmp_path, value):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, value]], np.float32))
    with pytest.raises(BadFileError, match="1 values"):
        pixels_of(tmp_path / "a.tif")


def test_complex_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 2), np.complex64))
    with pytest.raises(BadFileError, match="complex64"):
        header_of(tmp_path / "a.tif")


def test_page_beyond_the_stack(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 3, 4), np.uint8), photometric="minisblack")
    with pytest.raises(BadFileError, match=r"page 5 .* holds 2"):
        header_of(tmp_path / "a.tif", 5)


def test_a_stack_is_not_one_image(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 3, 4), np.uint8), photometric="minisblack")
    with pytest.raises(BadFileError, match="2 pages"):
        header_of(tmp_path / "a.tif")


def test_missing_file_is_a_bad_file(tmp_path):
    with pytest.raises(BadFileError, match="nowhere"):
        header_of(tmp_path / "nowhere.tif")


# --------------------------------------------------------------------------- real files


@pytest.mark.data
def test_broken_files_are_bad_files_and_nothing_else(real_scans):
    sound = []
    for path in sorted((real_scans / "bad").iterdir()):
        with suppress(BadFileError):
            sound.append(pixels_of(path, 0).size)
    assert len(sound) <= 5  # a few have sound pixels


@pytest.mark.data
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("seq-1c-1b-71f6a21a", "seq-1c-1b-miniswhite-71f6a21a"),
        ("seq-1c-12b-47c39b31", "seq-1c-12b-miniswhite-47c39b31"),
        ("seq-1c-24b-072a9dc9", "seq-1c-24b-miniswhite-072a9dc9"),
        ("seq-1c-16b-lzw-68f373a0", "seq-1c-16b-bigendian-68f373a0"),
        ("seq-1c-8b-tiled-20f3db0c", "seq-1c-8b-tiled-lzw-20f3db0c"),
    ],
)
def test_unusual_files_hold_the_same_pixels(real_scans, one, other):
    paths = [real_scans / "odd" / f"{name}.tiff" for name in (one, other)]
    np.testing.assert_array_equal(pixels_of(paths[0]), pixels_of(paths[1]))
