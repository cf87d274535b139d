"""What fuzzing has found, and files that are meant to do harm: refused, with the file's name, before harm is done."""

from __future__ import annotations

import io
import json
import logging
import re
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import google_crc32c
import imagecodecs
import nibabel
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from tests.fuzz import outputs
from tests.fuzz.samples import archive, dicom, put, scan_samples, zarr_samples
from unetseg.aliases import read_aliases, versions_named
from unetseg.bundle import load_bundle
from unetseg.config import ScanSource, Settings, Sources
from unetseg.csv_cells import read_text
from unetseg.curve_files import load_curves
from unetseg.dataset_index import Index
from unetseg.embedded import picture_size
from unetseg.errors import BadFileError, BundleError, DamagedFileError, DataError, UsageError
from unetseg.formats import open_plane, plane_count, read_plane
from unetseg.gate import decided
from unetseg.json_files import read_json
from unetseg.model_list import list_models
from unetseg.network_file import check_network_file
from unetseg.nightly import _is_evaluated
from unetseg.plane_counts import PlaneCounts
from unetseg.predict_again import unchanged
from unetseg.predict_begun import _known_endings, _read
from unetseg.predict_marker import Marker
from unetseg.predictions import _markers
from unetseg.project import Project, load_project
from unetseg.readers import ScanRef
from unetseg.same_scans import scored_on
from unetseg.scan_lists import listed_scans
from unetseg.storage import locate

BLANK = np.zeros((4000, 4000), np.uint8)
SMALL = np.zeros((16, 16), np.uint8)


@contextmanager
def little_memory() -> Iterator[None]:
    """No more than there is now and 100 MB: asking for it is an error, with words that no other one has."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + 100_000_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refused(path: Path, *, whole: float | None = None) -> str:
    """Why one plane of a file is refused, without memory having been asked for."""
    with (
        little_memory(),
        pytest.raises(BadFileError) as caught,
        open_plane(path, max_bytes=1e7, whole=whole) as plane,
    ):
        plane.rows(0, plane.header.height)
    text = str(caught.value)
    assert str(path) in text
    assert not re.search("memory|allocate", text, re.IGNORECASE), text
    return text


def test_the_limit_of_these_tests_holds():
    with little_memory(), pytest.raises(MemoryError):
        np.zeros(1 << 27, np.uint8)


# --------------------------------------------------------------------------- TIFF


def test_pages_that_lead_in_a_circle_end(tmp_path: Path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, SMALL, metadata=None)
    with tifffile.TiffFile(path) as file:
        first, tags = file.pages.first.offset, len(file.pages.first.tags)
    with path.open("r+b") as file:
        file.seek(first + 2 + 12 * tags)
        file.write(struct.pack("<I", first))
    with pytest.raises(BadFileError, match=r"a\.tif: is broken: its pages lead in a circle, back to byte 8"):
        plane_count(path)


@pytest.mark.parametrize(
    "options",
    [{"metadata": None}, *({kind: True, "metadata": {"axes": "ZYX"}} for kind in ("imagej", "ome"))],
    ids=["bare", "ImageJ", "OME"],
)
@pytest.mark.parametrize("kept", [0.4, 0.9])
def test_a_stack_that_is_cut_off_is_not_taken_for_a_shorter_one(tmp_path: Path, options: dict[str, Any], kept: float):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3, 100, 100), np.uint8), photometric="minisblack", **options)
    assert plane_count(path) == 3
    size = int(path.stat().st_size * kept)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(
        BadFileError, match=rf"a\.tif: is broken: it ends at byte {size}, before its page \d; was it copied"
    ):
        plane_count(path)


@pytest.mark.parametrize(("kept", "told"), [(2.5, "2 of its 3"), (3, ""), (1, "")], ids=["cut off", "whole", "one"])
def test_of_a_stack_beyond_4_gb_a_part_is_not_taken_for_a_picture(tmp_path: Path, kept: float, told: str):
    """ImageJ writes such stacks with one header; the words on one that kept a single picture are of before."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3, 100, 100), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        after, start = page.offset + 2 + 12 * len(page.tags), page.dataoffsets[0]
    data = bytearray(path.read_bytes())[: start + int(kept * 10_000)]
    data[after : after + 4] = bytes(4)
    path.write_bytes(data)
    if told:
        with pytest.raises(BadFileError, match=f"is cut short: it holds {told} pages; was it copied in full"):
            plane_count(path)
    else:
        assert plane_count(path) == kept


def test_what_tifffile_says_of_a_broken_file_is_not_printed_beside_its_reason(tmp_path: Path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3, 100, 100), np.uint8), imagej=True)
    path.write_bytes(path.read_bytes()[:9000])
    code = f"from unetseg.formats import plane_count; from pathlib import Path; plane_count(Path({str(path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1].startswith("unetseg.errors.BadFileError: ")
    assert "<tifffile." not in done.stderr


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}], ids=["TIFF", "BigTIFF", "big-endian"])
def test_pages_one_after_the_other_are_no_circle(tmp_path: Path, options: dict[str, Any]):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([SMALL] * 3), photometric="minisblack", **options)
    assert plane_count(tmp_path / "a.tif") == 3


def test_a_page_of_a_stack_that_claims_another_size_is_refused(tmp_path: Path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([SMALL, SMALL]), imagej=True, metadata={"axes": "CYX"})
    with tifffile.TiffFile(path, mode="r+") as file:
        page = file.pages[1].aspage()
        page.tags["ImageLength"].overwrite(2_000_000_000)
        page.tags["BitsPerSample"].overwrite(1)
    with pytest.raises(BadFileError, match=r"a\.tif") as caught:
        read_plane(path, max_bytes=1e8)
    assert "allocate" not in str(caught.value)


def with_tile(path: Path, compression: str, tile: bytes, pixels: Any = SMALL) -> Path:
    """A TIFF of one tile, which is replaced."""
    tifffile.imwrite(path, pixels, tile=(16, 16), compression=compression)
    end = path.stat().st_size
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["TileOffsets"].overwrite(end)
        file.pages[0].tags["TileByteCounts"].overwrite(len(tile))
    with path.open("ab") as file:
        file.write(tile)
    return path


def jpeg(pixels: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


PICTURES: dict[str, Callable[[Any], bytes]] = {
    "jpeg": jpeg,
    "jpeg2000": lambda pixels: bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", level=50)),
    "jpegxl": lambda pixels: bytes(imagecodecs.jpegxl_encode(pixels)),
    "jpegxr": lambda pixels: bytes(imagecodecs.jpegxr_encode(pixels)),
    "png": lambda pixels: bytes(imagecodecs.png_encode(pixels)),
    "webp": lambda pixels: bytes(imagecodecs.webp_encode(np.stack([pixels] * 3, -1), lossless=True)),
}


@pytest.mark.parametrize("whole", [None, 0.0], ids=["whole", "by rows"])
@pytest.mark.parametrize("name", PICTURES)
def test_a_tile_that_holds_an_enormous_picture_is_refused_from_its_header(tmp_path: Path, name: str, whole: float):
    pixels = np.zeros((16, 16, 3), np.uint8) if name == "webp" else SMALL
    path = with_tile(tmp_path / "a.tif", name, PICTURES[name](BLANK), pixels)
    assert "a part of 256 pixels holds a picture of 4000x4000" in refused(path, whole=whole)


@pytest.mark.parametrize("shape", [(24, 20), (8, 16), (1, 300), (257, 65), (600, 900), (2048, 16)], ids=str)
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_tell_their_size(tmp_path: Path, name: str, shape: tuple[int, int]):
    random = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    assert picture_size(tmp_path, PICTURES[name](random)) == shape


def test_jpeg_xl_and_2000_in_boxes_tell_their_size(tmp_path: Path):
    assert picture_size(tmp_path, bytes(imagecodecs.jpegxl_encode(BLANK[:30, :70], usecontainer=True))) == (30, 70)
    assert picture_size(tmp_path, bytes(imagecodecs.jpeg2k_encode(BLANK[:30, :70], codecformat="jp2"))) == (30, 70)
    assert picture_size(tmp_path, b"no picture") is None


@pytest.mark.parametrize(("name", "syntax"), [("jpeg", JPEGBaseline8Bit), ("jpeg2000", JPEG2000Lossless)])
def test_a_frame_ofdicom_that_holds_an_enormous_picture_is_refused(tmp_path: Path, name: str, syntax: str):
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom(syntax, PICTURES[name](BLANK)))
    assert "a part of 480 pixels holds a picture of 4000x4000" in refused(path)


@pytest.mark.parametrize("name", ["zlib", "zstd"])
def test_a_tile_that_inflates_to_far_more_takes_no_memory(tmp_path: Path, name: str):
    tile = bytes(getattr(imagecodecs, f"{name}_encode")(np.zeros(1 << 27, np.uint8)))
    path = with_tile(tmp_path / "a.tif", name, tile)
    try:
        with little_memory():
            assert not read_plane(path, max_bytes=1e7)[1].any()  # some decoders give as much as was asked for
    except BadFileError as error:
        assert not re.search("memory|allocate", str(error), re.IGNORECASE), error  # noqa: PT017 (either is right)


def test_entities_of_xml_within_xml_are_not_expanded(tmp_path: Path):
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    text = f'<?xml version="1.0"?><!DOCTYPE o [<!ENTITY a0 "aaaaaaaaaa">{entities}]><OME><Image Name="&a9;"/></OME>'
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, SMALL, description=text, metadata=None)
    with little_memory():
        assert read_plane(path, max_bytes=1e7)[0].channel_names == ()


# --------------------------------------------------------------------------- Zarr, NIfTI


def write_chunk(path: Path, data: bytes, compressor: dict[str, Any] | None, **more: Any) -> Path:
    """A Zarr 2 of one chunk of 4x4."""
    about = {"shape": [4, 4], "chunks": [4, 4], "dtype": "|u1", "fill_value": 0, "order": "C", "filters": None}
    array = {"zarr_format": 2, **about, "compressor": compressor, **more}
    return put(path, {".zarray": json.dumps(array).encode(), "0.0": data})


INFLATED = np.zeros(1 << 27, np.uint8)


def bomb(name: str) -> bytes:
    """What inflates to 128 MB."""
    more = {"lz4": {"header": True}, "bz2": {"level": 1}, "lzma": {"level": 0}}.get(name, {})
    return bytes(getattr(imagecodecs, f"{name}_encode")(INFLATED, **more))


@pytest.mark.parametrize("name", ["blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"])
def test_a_chunk_that_inflates_to_far_more_takes_no_memory(tmp_path: Path, name: str):
    harm = bomb(name)
    assert len(harm) < INFLATED.nbytes / 100
    assert refused(write_chunk(tmp_path / "a.zarr", harm, {"id": name}))


@pytest.mark.parametrize("name", ["blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"])
def test_chunks_of_each_codec_are_read_where_they_are_as_large_as_they_say(tmp_path: Path, name: str):
    chunk = numcodecs.get_codec({"id": name}).encode(np.arange(16, dtype=np.uint8))
    path = write_chunk(tmp_path / "a.zarr", bytes(chunk), {"id": name})
    assert read_plane(path, max_bytes=1e7)[1][..., 0].tolist() == np.arange(16).reshape(4, 4).tolist()


@pytest.mark.parametrize("name", ["bz2", "lzma"])
def test_a_bomb_behind_another_codec_takes_no_memory(tmp_path: Path, name: str):
    """As a filter, these codecs would inflate what the compressor was held to."""
    inner = bomb(name)
    path = write_chunk(tmp_path / "a.zarr", zlib.compress(inner), {"id": "zlib"}, filters=[{"id": name}])
    assert f"Zarr 2 with codec '{name}' is not read" in refused(path)


@pytest.mark.parametrize(
    ("name", "kept"), [("v3.zarr", "zstd"), ("v3-gzip.zarr", "gzip"), ("v3-blosc.zarr", "blosc"), ("sharded.zarr", "")]
)
def test_a_chunk_of_zarr_3_that_inflates_to_far_more_takes_no_memory(tmp_path: Path, name: str, kept: str):
    path = put(tmp_path / "a.zarr", zarr_samples()[name])
    np.testing.assert_array_equal(zarr.open_array(path)[...], read_plane(path, max_bytes=1e7)[1][..., 0])
    chunk = next(item for item in path.glob("c/0/*"))
    harm = bomb(kept or "zstd")
    if not kept:  # a shard of one chunk: its index tells where that is
        index = np.full((6, 2), 2**64 - 1, "<u8")
        index[0] = 0, len(harm)
        harm += index.tobytes() + struct.pack("<I", google_crc32c.value(index.tobytes()))
    chunk.write_bytes(harm)
    assert refused(path)


def test_a_chunk_of_blosc_that_was_cut_short_is_not_read_beyond_its_end(tmp_path: Path):
    """Its copied bytes were taken from whatever lay behind it in memory, and were others each time."""
    files = zarr_samples()["v3-blosc.zarr"]
    noise = np.random.default_rng(0).integers(0, 65535, (16, 16), dtype=np.uint16)
    whole = bytes(imagecodecs.blosc_encode(noise, typesize=2, level=0))
    path = put(tmp_path / "a.zarr", files | {"c/0/0": whole[:100]})
    assert "a chunk of 528 bytes is cut short, 100 are left" in refused(path)


@pytest.mark.parametrize("codec", ["pickle", "json2", "msgpack2", "vlen-bytes", "zfpy", "categorize"])
def test_codecs_that_are_not_known_to_be_harmless_are_refused(tmp_path: Path, codec: str):
    path = write_chunk(tmp_path / "a.zarr", b"\0" * 16, None, filters=[{"id": "shuffle"}, {"id": codec}])
    assert refused(path)


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.parametrize(
    ("codec", "settings"),
    [("zlib", {"level": 1}), ("bz2", {"level": 1}), ("lzma", {"preset": 1}), ("lz4", {"acceleration": 1}), ("gzip", {}),
     ("zstd", {"level": 1}), ("blosc", {"cname": "lz4"})],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_codec_of_zarr_3_that_is_not_known_is_named(tmp_path: Path, codec: str, settings: dict[str, Any]):
    files = zarr_samples()["v3.zarr"]
    about = json.loads(files["zarr.json"])
    about["codecs"][-1] = {"name": f"numcodecs.{codec}", "configuration": settings}
    path = put(tmp_path / "a.zarr", files | {"zarr.json": json.dumps(about).encode()})
    for chunk in path.glob("c/*/*"):
        chunk.write_bytes(bomb(codec))
    words = f"a.zarr: Zarr 3 with codec 'numcodecs.{codec}' is not read; save it with zstd"
    assert words in refused(path)


def test_a_gzipped_volume_larger_than_allowed_is_not_inflated_to_the_disk(tmp_path: Path):
    image = nibabel.Nifti1Image(np.zeros((100, 100, 2000), np.uint8), np.eye(4))
    (tmp_path / "a.nii.gz").write_bytes(zlib.compress(image.to_bytes(), wbits=31))
    with pytest.raises(
        BadFileError, match=r"a\.nii\.gz: its volume decodes to 0\.02 GB, more than the limit of 0\.01 GB"
    ):
        read_plane(tmp_path / "a.nii.gz", 0, max_bytes=1e7)


# --------------------------------------------------------------------------- settings and lists

PROJECT = "schema_version: 1\nsources: {scans: {path: a}}\n"


@pytest.mark.parametrize(
    "text",
    [
        "train: " + "[" * 3000,
        "train: {epochs: 2026-13-45}",
        f"train: {{epochs: {'9' * 5000}}}",
        "a: &a [*a]\ntrain: *a",
        'sources: {scans: {path: "a\\0b"}}',
        "sources: {scans: {path: '~nobody-of-that-name/scans'}}",
    ],
    ids=["deep", "no date", "no number", "a list in itself", "NUL", "nobody's home"],
)
def test_yaml_that_makes_its_reader_fail_is_a_wrong_setting(tmp_path: Path, text: str):
    (tmp_path / "unetseg.yaml").write_text(text if text.startswith("sources") else PROJECT + text)
    if text.startswith("sources"):
        (tmp_path / "unetseg.yaml").write_text(f"schema_version: 1\n{text}")
    with pytest.raises(UsageError):
        load_project(tmp_path)


def test_aliases_in_yaml_do_not_multiply(tmp_path: Path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "unetseg.yaml").write_text(PROJECT + "\n".join(lines) + "\ntrain: *a11\n")
    with pytest.raises(
        UsageError, match=r"unetseg\.yaml: not valid YAML: its aliases stand for more than 10000 values"
    ):
        load_project(tmp_path)


def test_aliases_in_yaml_may_be_used(tmp_path: Path):
    (tmp_path / "unetseg.yaml").write_text(PROJECT.replace("path: a", "path: &p a") + "card: {licence: *p}\n")
    assert load_project(tmp_path).settings.card.licence == "a"


@pytest.mark.parametrize("line", ["~nobody-of-that-name/a.tif", "a\0b.tif"], ids=["nobody's home", "NUL"])
def test_a_list_with_paths_that_are_none_names_the_line(tmp_path: Path, line: str):
    (tmp_path / "scans.txt").write_text(f"good.tif\n{line}\n")
    with pytest.raises(UsageError, match=r"scans\.txt, line 2: "):
        listed_scans(tmp_path / "scans.txt")


def test_an_address_with_a_password_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="an address holds no password") as caught:
        locate("s3://me:hunter2@bucket/scans")
    assert "hunter2" not in str(caught.value)


def test_a_table_that_is_no_path_is_a_wrong_setting():
    with pytest.raises(UsageError, match="NUL"):
        read_text("a\0b.csv", what="table", check="sources.scans.table")


# --------------------------------------------------------------------------- records


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000], ids=["lists", "objects"])
def test_json_without_end_is_damaged(tmp_path: Path, content: bytes):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"a\.json: damaged, not valid JSON"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "change",
    [
        {"history": [None]}, {"history": [{"production": ["0001"]}]}, {"removing": [{}]}, {"production": 1},
        {"production": "x"}, {"removing": ["../../precious"]}, {"removing": ["0001/../../precious"]},
        {"history": [{"production": "0001", "previous": None}]},
        {"history": [{"production": "0001", "time": 1, "why": "better"}]},
        {"history": [{"time": "2030", "why": "better"}]},
    ],
    ids=["no line", "no version", "nothing to remove", "a number", "no number", "above", "through a version", "no time",
         "time", "no production"],
)  # fmt: skip
def test_aliases_of_another_shape_are_damaged(tmp_path: Path, change: dict[str, Any]):
    aliases = outputs.records()["models/aliases.json"]
    (tmp_path / "aliases.json").write_text(json.dumps(aliases))
    assert versions_named(read_aliases(tmp_path)) == {"0001"}
    (tmp_path / "aliases.json").write_text(json.dumps(aliases | change))
    with pytest.raises(DamagedFileError, match=r"aliases\.json: damaged, holds no aliases"):
        read_aliases(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"key": "../../secret"}, {"key": "/etc"}, {"key": {}}, {"split": []}, {"combinations": [[0, 1, 2]]}],
    ids=["above", "absolute", "no text", "no split", "no pair"],
)
def test_an_index_that_leads_elsewhere_or_has_another_shape_is_damaged(tmp_path: Path, change: dict[str, Any]):
    index = outputs.records()["dataset.zarr/index.json"]
    put(tmp_path, {"index.json": json.dumps(index).encode(), "splits.json": b"{}"})
    assert Index.load(tmp_path)
    index["scans"][0] = index["scans"][0] | change
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=r"index\.json: damaged"):
        Index.load(tmp_path)


def test_splits_and_quarantine_of_another_shape_are_damaged_or_passed_over(tmp_path: Path):
    index = json.dumps(outputs.records()["dataset.zarr/index.json"]).encode()
    put(tmp_path, {"index.json": index, "splits.json": b"{}", "quarantine.json": b'[{"path": {}, "reason": 1}]'})
    loaded = Index.load(tmp_path)
    assert loaded
    assert loaded.quarantine == ()
    (tmp_path / "splits.json").write_text('{"a": []}')
    with pytest.raises(DamagedFileError, match=r"splits\.json: damaged"):
        Index.load(tmp_path)


def test_counts_of_another_shape_are_counted_anew(tmp_path: Path):
    put(tmp_path, {"a.pgm": scan_samples()["a.pgm"], "list.json": b"[1]", "words.json": b'{"a": "b"}'})
    for name in ("list.json", "words.json"):
        assert PlaneCounts(tmp_path / name)(tmp_path / "a.pgm") == 1


# --------------------------------------------------------------------------- folders of outputs


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder of outputs beside what is somebody else's, and in it a file that is no output."""
    put(tmp_path, {"precious.txt": b"mine", "out/kept.txt": b"mine", "out/b.ome.zarr": b"of scan b"})
    put(tmp_path, {"a.pgm": scan_samples()["a.pgm"]})
    return tmp_path / "out"


@pytest.mark.parametrize(
    "name",
    ["../precious.txt", "a/../../precious.txt", "kept.txt", "b.ome.zarr", "/precious.txt", "a.\0"],
    ids=["above", "through a folder", "no output", "of another scan", "absolute", "NUL"],
)
def test_a_marker_can_only_name_outputs_of_its_own_scan(out: Path, name: str, caplog: pytest.LogCaptureFixture):
    """They are removed when the scan is done again, or is gone."""
    caplog.set_level(logging.WARNING)
    target = str(out.parent / "precious.txt") if name.startswith("/") else name
    marker = outputs.records()["out/records/a.json"] | {"outputs": [target]}
    put(out, {"records/a.json": json.dumps(marker).encode()})
    job = outputs.job_into(out)
    ref = ScanRef("a", out.parent / "a.pgm")
    again = Marker(job, ref)
    assert again.done() is None
    assert "which is no output of a" in caplog.text
    again.begin(["a.ome.zarr"])
    again.finish(again.sources(), [], [], "", {})
    put(out, {"records/a.json": json.dumps(marker).encode()})
    Marker(job, ref).discard()
    assert {item.name for item in (*out.parent.iterdir(), *out.iterdir())} >= {"precious.txt", "kept.txt", "b.ome.zarr"}


@pytest.mark.parametrize(
    "change",
    [[1], {"signature": None}, {"outputs": [[]]}, {"outputs": None}, {"rows": [{}]}, {"sources": 3}, {"model": {}},
     {"profiles": []}, {"note": 1}, {"sources": [{}]}],
    ids=str,
)  # fmt: skip
def test_a_marker_of_another_shape_is_damaged_and_its_scan_done_again(out: Path, change: Any):
    marker = outputs.records()["out/records/a.json"]
    changed = change if isinstance(change, list) else marker | change
    put(out, {"records/a.json": json.dumps(changed).encode(), "a.ome.zarr": b"", "a.objects.ome.zarr": b""})
    assert Marker(outputs.job_into(out), ScanRef("a", out.parent / "a.pgm")).done() is None
    found, _ = _markers(out)
    assert found["a"] == {} or isinstance(found["a"]["signature"], str)


def test_what_a_killed_run_has_noted_cannot_name_other_files(out: Path):
    (out / ".begun.json").write_text('{"x": {"began": 0, "endings": ["/../../precious.txt"]}}')
    endings = _read(out / ".begun.json")["x"]["endings"]
    assert not _known_endings().intersection(endings)
    for wrong in ("[]", '{"x": 1}', '{"x": {"began": 0}}', '{"x": {"began": 0, "endings": [[]]}}'):
        (out / ".begun.json").write_text(wrong)
        with pytest.raises(DamagedFileError, match=r"\.begun\.json: damaged, tells of no runs; remove it"):
            _read(out / ".begun.json")


# --------------------------------------------------------------------------- bundles


def write_bundle(folder: Path, *, evaluation: dict[str, Any] | None = None, **files: bytes) -> Path:
    """A bundle with all digests right, as somebody who wants to deceive would make it."""
    content = outputs.bundle_files() | {name.replace("_", "."): data for name, data in files.items()}
    digests = {name: sha256(data).hexdigest() for name, data in content.items()}
    put(folder, content | {"bundle.json": outputs.sealed(outputs.bundle_json() | {"files": digests})})
    scores = outputs.evaluation_json() | (evaluation or {})
    put(folder, {"evaluation/evaluation.json": outputs.sealed(scores)})
    return folder


THRESHOLD = outputs.evaluation_json()["thresholds"]["iris"]


@pytest.mark.parametrize(
    "thresholds",
    [None, {}, {"iris": THRESHOLD}, {"iris": THRESHOLD, "pupil": None}, {"iris": THRESHOLD, "pupil": {"value": "x"}},
     {"iris": THRESHOLD, "pupil": {"value": float("nan")}}],
    ids=str,
)  # fmt: skip
def test_an_evaluation_without_a_threshold_per_class_is_refused(tmp_path: Path, thresholds: Any):
    assert load_bundle(write_bundle(tmp_path / "0001")).thresholds.tolist() == [0.25, 0.25]
    bundle = load_bundle(write_bundle(tmp_path / "0002", evaluation={"thresholds": thresholds}))
    with pytest.raises(BundleError, match=r"0002: its evaluation .* run unetseg evaluate again"):
        _ = bundle.decision


ROW = outputs.evaluation_json()["scans"][0]
BESIDE = outputs.evaluation_json()["production"]


@pytest.mark.parametrize(
    "change",
    [{"scans": [3]}, {"scans": [ROW | {"counts": [[1, 2, 3]]}]}, {"scans": [ROW | {"counts": [["x"] * 4]}]},
     {"scores": []}, {"decision": "dice"}, {"inference": "plain"}, {"settings": 1}, {"warnings": "many"},
     {"production": {}}, {"production": BESIDE | {"operating_point": {}}}, {"production": BESIDE | {"scans": [{}]}},
     {"evaluated_with": 3}, {"test_fingerprint": {}}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_an_evaluation_of_another_shape_is_refused(tmp_path: Path, change: dict[str, Any]):
    assert load_bundle(write_bundle(tmp_path / "0001")).evaluation
    bundle = load_bundle(write_bundle(tmp_path / "0002", evaluation=change))
    with pytest.raises(BundleError, match=r"evaluation\.json: damaged, .*; run unetseg evaluate again"):
        _ = bundle.evaluation


@pytest.mark.parametrize("name", ["scores", "scans", "settings", "test_fingerprint", "production", "inference"])
def test_an_evaluation_without_a_part_is_no_evaluation_of_today(tmp_path: Path, name: str):
    project = Project(tmp_path, Sources(ScanSource(str(tmp_path))), Settings())
    scores = outputs.evaluation_json()
    del scores[name]
    folder = write_bundle(tmp_path / "models/0001")
    put(folder, {"evaluation/evaluation.json": outputs.sealed(scores), "evaluation/report.html": b""})
    found = load_bundle(folder)
    assert list_models(tmp_path / "models")[0].damaged == ""
    assert _is_evaluated(found, project) == (name != "settings")
    today = {"test_fingerprint": "t" * 64, "dataset_fingerprint": "d" * 64}
    assert scored_on(found.evaluation, today) == (name != "scans")


@pytest.mark.parametrize("change", [{"result": 3}, {"settings": []}, {"result": {"version": "0001"}}], ids=str)
def test_a_decision_of_another_shape_is_none(tmp_path: Path, change: dict[str, Any], caplog: pytest.LogCaptureFixture):
    project = Project(tmp_path, Sources(ScanSource(str(tmp_path))), Settings())
    folder = write_bundle(tmp_path / "models/0001")
    put(tmp_path / "models", {"aliases.json": json.dumps(outputs.records()["models/aliases.json"]).encode()})
    put(folder, {"gate.json": outputs.sealed(outputs.gate_json())})
    assert decided(load_bundle(folder), project)
    put(folder, {"gate.json": outputs.sealed(outputs.gate_json() | change)})
    assert decided(load_bundle(folder), project) is None
    assert "meets the gate again" in caplog.text


# --------------------------------------------------------------------------- what a prediction left

PAGES = ("table.csv", "table.parquet", "scans.csv", "scans.parquet", "gallery.html")


@pytest.mark.parametrize(
    "change",
    [{}, {"quarantined": None}, {"look_first": [{"scan": 1}]}, {"totals": [{"name": "iris"}]}, {"failed": [[]]},
     {"annotate_next": [{"scan": "a", "reasons": "", "more": 1}]}, {"totals": "none"}],
    ids=str,
)  # fmt: skip
def test_what_the_last_run_told_is_told_again_only_where_it_can_be_read(tmp_path: Path, change: dict[str, Any]):
    out = tmp_path / "out"
    record, prints = outputs.run_json(out), {"inputs_fingerprint": "i", "outputs_fingerprint": "o"}
    told = record["result"] | change
    put(out, dict.fromkeys(PAGES, b"") | {"run.json": json.dumps(record | {"result": told}).encode()})
    found = unchanged(outputs.prediction_into(out), (), prints)
    known = not change or "annotate_next" in change  # what is more than known is of a newer version
    assert (found is not None) == known
    if found:
        assert (found.look_first[0].scan, found.totals[0].objects) == ("a", 2)
    for broken in ({"result": None}, {"result": []}):
        put(out, {"run.json": json.dumps(record | broken).encode()})
        assert unchanged(outputs.prediction_into(out), (), prints) is None


def test_files_that_are_no_list_are_refused(tmp_path: Path):
    bundle = load_bundle(write_bundle(tmp_path / "0001", evaluation={"files": [1]}))
    with pytest.raises(BundleError, match=r"evaluation\.json: damaged"):
        _ = bundle.evaluation


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a\0b", ""], ids=["above", "absolute", "NUL", "none"])
def test_a_bundle_cannot_name_files_elsewhere(tmp_path: Path, name: str):
    (tmp_path / "secret").write_text("mine")
    files = {"model.keras": "0" * 64, name: sha256(b"mine").hexdigest()}
    put(tmp_path / "0001", outputs.bundle_files())
    about = outputs.bundle_json() | {"files": {name: files[name], "model.keras": files["model.keras"]}}
    put(tmp_path / "0001", {"bundle.json": outputs.sealed(about)})
    with pytest.raises(BundleError, match="is missing"):
        load_bundle(tmp_path / "0001")


def test_a_replay_that_inflates_to_far_more_is_not_opened(tmp_path: Path):
    stream = io.BytesIO()
    np.savez_compressed(stream, expected=np.zeros(1 << 29, np.uint8))
    folder = write_bundle(tmp_path / "0001", replay_npz=stream.getvalue())
    with little_memory(), pytest.raises(BundleError, match=r"replay\.npz: holds no plain arrays .*more than"):
        load_bundle(folder).replay()


def damaged_deflate() -> bytes:
    """An archive of which the compressed bytes of a member are damaged."""
    stream = io.BytesIO()
    np.savez_compressed(stream, expected=np.arange(1000))
    data = bytearray(stream.getvalue())
    data[70:90] = b"\xff" * 20
    return bytes(data)


@pytest.mark.parametrize("content", [damaged_deflate(), archive({"expected.npy": b"\x93NUMPY\1\0v\0" + b"{" * 118})])
def test_an_archive_that_makes_its_reader_fail_is_refused(tmp_path: Path, content: bytes):
    with pytest.raises(BundleError, match=r"replay\.npz: holds no plain arrays"):
        load_bundle(write_bundle(tmp_path / "0001", replay_npz=content)).replay()
    (tmp_path / "curves.npz").write_bytes(content)
    with pytest.raises(BundleError, match=r"curves\.npz: not a file of curves, or damaged"):
        load_curves(tmp_path / "curves.npz")


def test_a_directory_of_an_archive_that_points_nowhere_is_refused(tmp_path: Path):
    data = bytearray(outputs.bundle_files()["model.keras"])
    end = data.rindex(b"PK\5\6")
    data[end + 16 : end + 20] = b"\xff\xff\xff\x7f"
    (tmp_path / "model.keras").write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"model\.keras: is no network of Keras"):
        check_network_file(tmp_path / "model.keras")


@pytest.mark.skipif(sys.platform == "win32", reason="no links without rights")
def test_metadata_of_a_zarr_cannot_lead_elsewhere_through_a_link(tmp_path: Path):
    secret = put(tmp_path / "secret.zarr", zarr_samples()["v3.zarr"])
    folder = put(tmp_path / "scans/a.zarr", zarr_samples()["ome.zarr"])
    (folder / "link").symlink_to(secret)
    about = json.loads((folder / "zarr.json").read_text())
    about["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = "link"
    (folder / "zarr.json").write_text(json.dumps(about))
    with pytest.raises(BadFileError, match="names an array outside of it, 'link'"):
        read_plane(folder, max_bytes=1e7)
