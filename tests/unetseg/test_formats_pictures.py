"""WebP, PNM and JPEG 2000."""

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from unetseg.errors import BadFileError
from unetseg.formats import plane_count, plane_header, read_plane
from unetseg.planes import ScanHeader

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (21, 34), np.uint8)
COLOUR = RANDOM.integers(0, 256, (21, 34, 3), np.uint8)
GREY16 = RANDOM.integers(0, 65536, (21, 34), np.uint16)
COLOUR16 = RANDOM.integers(0, 65536, (21, 34, 3), np.uint16)
BITS = RANDOM.random((5, 11)) > 0.5


def pixels_of(path):
    return read_plane(path, max_bytes=1e8)[1]


def refusal(path, max_bytes=1e8):
    with pytest.raises(BadFileError) as error:
        read_plane(path, max_bytes=max_bytes)
    assert str(path) in str(error.value)
    return str(error.value)


def pnm(kind, height, width, largest, body):
    numbers = f"{width} {height}" if largest is None else f"{width} {height}\n{largest}"
    return f"P{kind}\n# made by hand\n{numbers}\n".encode() + body


def plain(pixels):
    return " ".join(str(value) for value in pixels.ravel()).encode()


# --------------------------------------------------------------------------- WebP


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 60}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_webp_is_what_pillow_reads(tmp_path, options, mode):
    path = tmp_path / "a.webp"
    Image.fromarray(COLOUR).convert(mode).save(path, **options)
    assert plane_header(path) == ScanHeader(21, 34, 3, "uint8")
    assert plane_count(path) == 1
    np.testing.assert_array_equal(pixels_of(path), np.asarray(Image.open(path).convert("RGB")))


def test_lossless_webp_with_transparency_keeps_its_colours(tmp_path):
    rgba = np.dstack([COLOUR, GREY])
    Image.fromarray(rgba).save(tmp_path / "a.webp", lossless=True, exact=True)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.webp"), COLOUR)


def test_webp_animation_is_refused(tmp_path):
    frames = [Image.fromarray(np.full((9, 9, 3), value, np.uint8)) for value in (0, 200)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    assert "animated" in refusal(tmp_path / "a.webp")


@pytest.mark.parametrize("kept", [13, 25, 100])
def test_cut_webp(tmp_path, kept):
    path = tmp_path / "a.webp"
    Image.fromarray(COLOUR).save(path, lossless=True)
    path.write_bytes(path.read_bytes()[:kept])
    assert "cannot be read" in refusal(path) or "cut short" in refusal(path) or "broken" in refusal(path)


def test_webp_of_an_enormous_canvas_is_refused(tmp_path):
    canvas = b"VP8X" + (10).to_bytes(4, "little") + bytes(4) + b"\xff\xff\x00" * 2
    (tmp_path / "a.webp").write_bytes(b"RIFF" + (22).to_bytes(4, "little") + b"WEBP" + canvas)
    assert "12.9 GB" in refusal(tmp_path / "a.webp")


# --------------------------------------------------------------------------- PNM


@pytest.mark.parametrize(
    ("kind", "largest", "body", "expected"),
    [
        (4, None, np.packbits(BITS, axis=1).tobytes(), ~BITS),
        (1, None, plain(BITS.astype(int)), ~BITS),
        (1, None, plain(BITS.astype(int)).replace(b" ", b""), ~BITS),
        (5, 255, GREY.tobytes(), GREY),
        (2, 255, plain(GREY), GREY),
        (5, 65535, GREY16.astype(">u2").tobytes(), GREY16),
        (2, 65535, plain(GREY16) + b"\n", GREY16),
        (6, 255, COLOUR.tobytes(), COLOUR),
        (3, 255, plain(COLOUR), COLOUR),
        (6, 65535, COLOUR16.astype(">u2").tobytes(), COLOUR16),
        (5, 1000, (GREY16 % 1001).astype(">u2").tobytes(), GREY16 % 1001),
        (5, 3, (GREY % 4).tobytes(), GREY % 4),
    ],
)
def test_pnm_holds_what_was_written(tmp_path, kind, largest, body, expected):
    path = tmp_path / "a.pnm"
    path.write_bytes(pnm(kind, *expected.shape[:2], largest, body))
    found = pixels_of(path)
    assert found.dtype == expected.dtype
    assert plane_header(path) == ScanHeader(*found.shape, found.dtype.name)
    np.testing.assert_array_equal(found, expected.reshape(found.shape))


@pytest.mark.parametrize("pixels", [GREY, COLOUR, GREY16, BITS])
def test_pnm_of_pillow(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.ppm")
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.ppm").squeeze(), pixels)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pnm(5, 21, 34, 255, GREY.tobytes()[:-1]), "cut short"),
        (pnm(2, 21, 34, 255, plain(GREY)[:-3]), "cut short"),
        (pnm(2, 2, 2, 255, b"1000 200 3"), "cut short"),
        (pnm(4, 5, 11, None, b"\0" * 9), "cut short"),
        (pnm(5, 2, 2, 100, b"\1\2\3\xff"), "beyond its largest"),
        (pnm(5, 2, 2, 0, b"\1\2\3\4"), "largest value is 0"),
        (pnm(5, 2, 2, 70000, b"\1\2\3\4"), "largest value is 70000"),
        (pnm(5, 0, 2, 255, b""), "no pixels"),
        (b"P5\n# nothing else\n", "no width and height"),
    ],
)
def test_broken_pnm(tmp_path, content, reason):
    (tmp_path / "a.pgm").write_bytes(content)
    assert reason in refusal(tmp_path / "a.pgm")


def test_pnm_that_claims_gigabytes_is_refused(tmp_path):
    (tmp_path / "a.ppm").write_bytes(pnm(6, 99999, 99999, 65535, b""))
    assert "60 GB" in refusal(tmp_path / "a.ppm")
    assert "cut short" in refusal(tmp_path / "a.ppm", max_bytes=1e12)


# --------------------------------------------------------------------------- JPEG 2000


@pytest.mark.parametrize("codec", ["jp2", "j2k"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR, GREY16, COLOUR16, GREY16.view(np.int16)])
def test_lossless_jpeg_2000_holds_what_was_written(tmp_path, codec, pixels):
    path = tmp_path / "a.jp2"
    path.write_bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat=codec, reversible=True))
    found = pixels_of(path)
    assert found.dtype == pixels.dtype
    assert plane_header(path) == ScanHeader(*found.shape, found.dtype.name)
    np.testing.assert_array_equal(found, pixels.reshape(found.shape))


def test_12_bits_of_jpeg_2000_stay_12_bits(tmp_path):
    path = tmp_path / "a.jp2"
    path.write_bytes(imagecodecs.jpeg2k_encode(GREY16 >> 4, level=0, bitspersample=12, reversible=True))
    np.testing.assert_array_equal(pixels_of(path)[..., 0], GREY16 >> 4)


@pytest.mark.parametrize("options", [{}, {"irreversible": True, "quality_layers": [20]}, {"tile_size": (16, 16)}])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_jpeg_2000_is_what_pillow_reads_without_alpha(tmp_path, options, mode):
    path = tmp_path / "a.jp2"
    Image.fromarray(COLOUR).convert(mode).save(path, **options)
    expected = np.asarray(Image.open(path).convert(mode.removesuffix("A")))
    np.testing.assert_array_equal(pixels_of(path).squeeze(), expected)


@pytest.mark.parametrize("kept", [13, 40, 100, 400, -1])
@pytest.mark.parametrize("codec", ["jp2", "j2k"])
def test_cut_jpeg_2000(tmp_path, codec, kept):
    path = tmp_path / "a.jp2"
    Image.fromarray(COLOUR).save(path, "JPEG2000", no_jp2=codec == "j2k", tile_size=(16, 16))
    path.write_bytes(path.read_bytes()[:kept])
    assert "read" in refusal(path) or "broken" in refusal(path) or "cut short" in refusal(path)


def test_jpeg_2000_that_claims_gigabytes_is_refused(tmp_path):
    path = tmp_path / "a.j2k"
    data = bytearray(imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="j2k"))
    data[8:16] = (100_000).to_bytes(4, "big") * 2
    path.write_bytes(data)
    assert "10 GB" in refusal(path)


@pytest.mark.parametrize(
    ("at", "value", "reason"), [(40, b"\0\0", "0 components"), (42, b"\x1f", "32 bits"), (43, b"\2", "several sizes")]
)
def test_jpeg_2000_that_is_not_read(tmp_path, at, value, reason):
    path = tmp_path / "a.j2k"
    data = bytearray(imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="j2k"))
    data[at : at + len(value)] = value
    path.write_bytes(data)
    assert reason in refusal(path)


@pytest.mark.parametrize("box", [b"pclr\0\1\1\7\0", b"colr\1\0\0\0\0\0\x12"])
def test_jpeg_2000_with_palette_or_ycc_is_refused(tmp_path, box):
    path = tmp_path / "a.jp2"
    data = imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="jp2")
    added = (len(box) + 4).to_bytes(4, "big") + box
    at = data.index(b"jp2h") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    header = (length + len(added)).to_bytes(4, "big") + data[at + 4 : at + length] + added
    path.write_bytes(data[:at] + header + data[at + length :])
    assert "palette or YCC" in refusal(path)
