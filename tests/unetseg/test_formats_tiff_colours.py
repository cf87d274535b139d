"""TIFF files with inks and with luminance; copies in sub-directories."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from unetseg.errors import BadFileError
from unetseg.formats import plane_count, plane_header, read_plane
from unetseg.photometric import cmyk_to_rgb, inverted
from unetseg.planes import ScanHeader

RANDOM = np.random.default_rng(0)
INKS = RANDOM.integers(0, 256, (48, 64, 4), np.uint8)
GREY = RANDOM.integers(0, 256, (64, 64), np.uint8)


def pixels_of(path, page=None):
    return read_plane(path, page, max_bytes=1e8)[1]


# --------------------------------------------------------------------------- inks


def test_all_pairs_of_ink_and_black_are_pillows():
    ink, black = (axis.astype(np.uint8) for axis in np.mgrid[:256, :256])
    inks = np.stack([ink, ink.T, 255 - ink, black], axis=-1)
    np.testing.assert_array_equal(cmyk_to_rgb(inks), np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")))


def test_16_bit_inks_are_rounded_to_the_nearest():
    inks = RANDOM.integers(0, 65536, (40, 50, 4), np.uint16)
    inks[0, :2] = [[0, 65535, 1, 0], [65535, 0, 32768, 65535]]
    ink, black = inks[..., :3].astype(np.float64), inks[..., 3:].astype(np.float64)
    expected = (65535 - ink) * (65535 - black) / 65535
    found = cmyk_to_rgb(inks)
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found, expected, atol=0.5)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
def test_cmyk_is_what_pillow_makes_of_it(tmp_path, compression):
    path = tmp_path / "a.tif"
    Image.fromarray(INKS, "CMYK").save(path, compression=compression)
    assert plane_header(path) == ScanHeader(48, 64, 3, "uint8", axes="YXS")
    np.testing.assert_array_equal(pixels_of(path), np.asarray(Image.open(path).convert("RGB")))


def test_planar_inks_with_alpha(tmp_path):
    planes = np.concatenate([np.moveaxis(INKS, -1, 0), GREY[np.newaxis, :48]])
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, planes, photometric="separated", planarconfig="separate", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(pixels_of(path), cmyk_to_rgb(INKS))


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (INKS.astype(np.float32), {}),
        (INKS, {"extratags": [(332, 3, 1, 2, True)]}),  # inks of other colours
        (np.concatenate([INKS, INKS[..., :1]], axis=-1), {"extrasamples": ["unspecified"]}),
    ],
)
def test_other_inks_are_refused(tmp_path, pixels, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="separated", planarconfig="contig", **options)
    with pytest.raises(BadFileError, match=r"a\.tif: inks other than"):
        pixels_of(path)


@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint16", 12), ("int8", 8), ("bool", 1)])
def test_inverting_twice_changes_nothing(dtype, bits):
    pixels = (np.arange(40) * 3 % 2**bits).astype(dtype)
    np.testing.assert_array_equal(inverted(inverted(pixels, bits), bits), pixels)
    assert inverted(pixels, bits).dtype == pixels.dtype


# --------------------------------------------------------------------------- luminance


@pytest.fixture
def luminance(tmp_path):
    """Compressed YCbCr, one Cb and Cr for two by two pixels."""
    blocks = RANDOM.integers(0, 256, (24, 32, 6), np.uint8)  # four luminances, then Cb and Cr
    return ycbcr(tmp_path / "a.tif", blocks, (2, 2), "zlib")


def ycbcr(path, blocks, subsampling, compression=None):
    """Blocks as they are stored, in one strip, as an image of 48 rows and 64 columns."""
    options = {"rowsperstrip": 48, "metadata": None, "extratags": [(530, 3, 2, subsampling, True)]}
    tifffile.imwrite(path, blocks.reshape(48, -1), photometric="minisblack", compression=compression, **options)
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        # No writer makes such files any more: what they are is put right afterwards.
        for name, value in [
            *(("ImageWidth", 64), ("SamplesPerPixel", 3), ("BitsPerSample", (8, 8, 8))),
            ("PhotometricInterpretation", 6),
        ]:
            tags[name].overwrite(value)
    return path


def test_subsampled_luminance_is_what_libtiff_makes_of_it(luminance):
    with Image.open(luminance) as image:
        expected = np.asarray(image)
    assert plane_header(luminance) == ScanHeader(48, 64, 3, "uint8", axes="YXS")
    assert len(np.unique(expected)) > 100
    np.testing.assert_array_equal(pixels_of(luminance), expected)


def test_uncompressed_luminance_is_what_pillow_makes_of_it(tmp_path):
    pixels = RANDOM.integers(0, 256, (48, 64, 3), np.uint8)
    path = ycbcr(tmp_path / "a.tif", pixels, (1, 1))
    np.testing.assert_array_equal(pixels_of(path), np.asarray(Image.fromarray(pixels, "YCbCr").convert("RGB")))


def test_uncompressed_subsampled_luminance_is_refused(tmp_path):
    path = ycbcr(tmp_path / "a.tif", np.zeros((24, 32, 6), np.uint8), (2, 2))
    with pytest.raises(BadFileError, match=r"a\.tif: uncompressed subsampled"):
        plane_header(path)


@pytest.mark.parametrize("removed", [100, 1000])
def test_cut_luminance_is_refused(luminance, removed):
    with tifffile.TiffFile(luminance) as file:
        page = file.pages[0]
        end = page.dataoffsets[0] + page.databytecounts[0]
    luminance.write_bytes(luminance.read_bytes()[: end - removed])
    with pytest.raises(BadFileError, match=r"a\.tif: is cut short"):
        pixels_of(luminance)


# --------------------------------------------------------------------------- copies in sub-directories


@pytest.mark.parametrize("large_first", [True, False])
def test_the_largest_of_a_pyramid_is_the_image(tmp_path, large_first):
    sizes = [GREY, GREY[::2, ::2]] if large_first else [GREY[::2, ::2], GREY]
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(sizes[0], subifds=1, metadata=None)
        file.write(sizes[1], metadata=None)
    assert plane_count(path) == 1
    np.testing.assert_array_equal(pixels_of(path)[..., 0], GREY)


# --------------------------------------------------------------------------- real files


@pytest.fixture
def odd(real_scans):
    return real_scans / "odd"


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        *("cmyk-3c-8b.tiff", "seq-4c-8b-cmyk-352ac1da.tiff", "subsampled.tif", "ojpeg-tile.tif"),
        *("minisblack-1c-8b.pgm", "miniswhite-1c-1b.pbm", "random-fp16.pgm", "rgb-3c-8b.ppm", "quad-tile.jpg.tiff"),
    ],
)
def test_real_files_are_what_pillow_reads(odd, name):
    image = Image.open(odd / name)
    expected = np.asarray(image.convert("RGB") if image.mode == "CMYK" else image)
    np.testing.assert_array_equal(pixels_of(odd / name).squeeze(), expected)


@pytest.mark.data
def test_a_slide_is_its_largest_level(odd):
    path = odd / "CMU-1-Small-Region.svs"
    assert plane_count(path) == 1
    np.testing.assert_array_equal(pixels_of(path), tifffile.imread(path))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "reason"), [("logluv-3c-16b.tiff", "LOGLUV"), ("cmyk-3c-32b-float.tiff", "inks other than")]
)
def test_real_files_that_are_refused(odd, name, reason):
    with pytest.raises(BadFileError, match=reason):
        pixels_of(odd / name)
