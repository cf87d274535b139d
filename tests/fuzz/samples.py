"""Small sound files of every format that is read, and how inputs are made of them: damaged bytes, changed values."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel
import numcodecs
import numpy as np
import pydicom
import tifffile
import zarr
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, generate_uid

__all__ = [
    "archive",
    "as_text",
    "changed_json",
    "damaged",
    "dicom",
    "packed",
    "put",
    "scan_samples",
    "values",
    "zarr_samples",
]

_RNG = np.random.default_rng(0)
GREY = _RNG.integers(0, 4, (24, 20), dtype=np.uint8)
WIDE = _RNG.integers(0, 60_000, (24, 20), dtype=np.uint16)
COLOUR = _RNG.integers(0, 255, (24, 20, 3), dtype=np.uint8)


def _tiff(pixels: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def _picture(pixels: Any, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(stream, form, **options)
    return stream.getvalue()


def dicom(syntax: str, frame: bytes | None = None, frames: int = 1) -> bytes:
    """A grey file of 24x20, with a compressed frame or without."""
    from pydicom.encaps import encapsulate

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["fuzz"])
    data = pydicom.Dataset()
    data.file_meta = meta
    data.Rows, data.Columns, data.SamplesPerPixel, data.NumberOfFrames = 24, 20, 1, frames
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PhotometricInterpretation, data.PixelSpacing, data.RescaleSlope = "MONOCHROME2", ["0.5", "0.5"], "2"
    data.PixelData = GREY.tobytes() * frames if frame is None else encapsulate([frame])
    data["PixelData"].VR = "OB"
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()


def _nifti(pixels: Any, kind: Any = nibabel.Nifti1Image) -> bytes:
    return bytes(kind(pixels, np.eye(4)).to_bytes())


def _pnm(kind: int, rest: bytes, pixels: bytes) -> bytes:
    return b"P%d\n# made by hand\n20 24\n" % kind + rest + pixels


@cache
def scan_samples() -> dict[str, bytes]:
    """Files by name; the suffix tells how they are called."""
    stack = np.stack([WIDE, WIDE[::-1]])
    palette = Image.fromarray(GREY).convert("P")
    palette.putpalette(range(256 * 3 % 256 or 255))
    jpeg = _picture(GREY, "JPEG")
    volume = np.moveaxis(stack, 0, -1).astype(np.int16)
    return {
        "plain.tif": _tiff(GREY),
        "strips.tif": _tiff(WIDE, rowsperstrip=5, compression="zlib", predictor=True),
        "tiles.tif": _tiff(COLOUR, tile=(16, 16), compression="lzw"),
        "zstd.tif": _tiff(WIDE, tile=(16, 16), compression="zstd"),
        "packbits.tif": _tiff(GREY, compression="packbits"),
        "jpeg.tif": _tiff(COLOUR, tile=(16, 16), compression="jpeg"),
        "jpeg2000.tif": _tiff(COLOUR, tile=(16, 16), compression="jpeg2000"),
        "webp.tif": _tiff(COLOUR, tile=(16, 16), compression="webp"),
        "big.tif": _tiff(WIDE, bigtiff=True, byteorder=">"),
        "planar.tif": _tiff(np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate"),
        "palette.tif": _tiff(GREY, photometric="palette", colormap=np.zeros((3, 256), np.uint16)),
        "imagej.tif": _tiff(stack, imagej=True),
        "ome.ome.tif": _tiff(stack, ome=True, metadata={"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}),
        "bilevel.tif": _tiff(GREY > 1),
        "float.tif": _tiff(WIDE.astype(np.float32), compression="deflate", predictor=True),
        "ycbcr.tif": _picture(COLOUR, "TIFF", compression="jpeg"),
        "ccitt.tif": _picture(Image.fromarray(GREY > 1), "TIFF", compression="group4"),
        "grey.png": _picture(GREY, "PNG"),
        "colour.png": _picture(COLOUR, "PNG"),
        "wide.png": _picture(WIDE, "PNG"),
        "wide-colour.png": bytes(imagecodecs.png_encode(np.stack([WIDE] * 3, -1))),
        "palette.png": _picture(palette, "PNG", transparency=0),
        "grey.jpg": jpeg,
        "progressive.jpg": _picture(COLOUR, "JPEG", progressive=True),
        "cmyk.jpg": _picture(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"),
        "a.bmp": _picture(COLOUR, "BMP"),
        "a.gif": _picture(palette, "GIF"),
        "a.webp": _picture(COLOUR, "WEBP", lossless=True),
        "lossy.webp": _picture(COLOUR, "WEBP"),
        "a.pgm": _pnm(5, b"255\n", GREY.tobytes()),
        "a.ppm": _pnm(3, b"255\n", b" ".join(b"%d" % value for value in COLOUR.ravel())),
        "a.pbm": _pnm(4, b"", np.packbits(GREY > 1, axis=1).tobytes()),
        "a.jp2": bytes(imagecodecs.jpeg2k_encode(COLOUR, codecformat="jp2")),
        "a.j2k": bytes(imagecodecs.jpeg2k_encode(WIDE, codecformat="j2k")),
        "plain.dcm": dicom(ExplicitVRLittleEndian, frames=2),
        "jpeg.dcm": dicom(JPEGBaseline8Bit, jpeg),
        "jpeg2000.dcm": dicom(JPEG2000Lossless, bytes(imagecodecs.jpeg2k_encode(GREY, codecformat="j2k"))),
        "a.nii": _nifti(volume),
        "b.nii": _nifti(volume.astype(np.float32), nibabel.Nifti2Image),
        "a.nii.gz": zlib.compress(_nifti(volume), wbits=31),
    }


@cache
def zarr_samples() -> dict[str, dict[str, bytes]]:
    """Folders as their files."""
    made: dict[str, dict[str, bytes]] = {}
    for name, options in {
        "v2.zarr": {"zarr_format": 2, "chunks": (16, 16)},
        "v2-zlib.zarr": {"zarr_format": 2, "chunks": (16, 16), "compressors": numcodecs.Zlib()},
        "v3.zarr": {"zarr_format": 3, "chunks": (16, 16)},
        "v3-gzip.zarr": {"zarr_format": 3, "chunks": (16, 16), "compressors": zarr.codecs.GzipCodec()},
        "v3-blosc.zarr": {"zarr_format": 3, "chunks": (16, 16), "compressors": zarr.codecs.BloscCodec()},
        "sharded.zarr": {"zarr_format": 3, "chunks": (8, 10), "shards": (24, 20)},
    }.items():
        store: dict[str, Any] = {}
        memory = zarr.storage.MemoryStore(store)
        array = zarr.create_array(memory, shape=WIDE.shape, dtype="uint16", **options)
        array[...] = WIDE
        made[name] = {key: value.to_bytes() for key, value in store.items()}
    made["ome.zarr"] = {f"0/{name}": data for name, data in made["v3.zarr"].items()}
    image = {
        "axes": [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.5]}]}],
        "name": "a",
    }
    made["ome.zarr"]["zarr.json"] = _node({"ome": {"version": "0.5", "multiscales": [image]}})
    plate = {"wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}], "rows": [{"name": "A"}], "columns": []}
    made["plate.zarr"] = {f"A/1/0/{name}": data for name, data in made["ome.zarr"].items()} | {
        "zarr.json": _node({"ome": {"version": "0.5", "plate": plate}}),
        "A/1/zarr.json": _node({"ome": {"version": "0.5", "well": {"images": [{"path": "0"}]}}}),
    }
    made["series.zarr"] = {f"0/{name}": data for name, data in made["ome.zarr"].items()} | {
        "zarr.json": _node({"ome": {"version": "0.5", "bioformats2raw.layout": 3}}),
        "OME/zarr.json": _node({"ome": {"version": "0.5", "series": ["0", "1"]}}),
    }
    return made


def _node(attributes: dict[str, Any]) -> bytes:
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}).encode()


# --------------------------------------------------------------------------- bytes

_NUMBERS = [0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 10**6, 2**31 - 1, 2**31, 2**32 - 1, 2**63]
_CODES = ["<H", ">H", "<I", ">I", "<Q", ">Q", "B"]  # how numbers are written in headers

_places = st.one_of(st.integers(0, 64), st.integers(0, 600), st.integers(0, 1 << 16), st.integers(-200, -1))
_numbers = st.one_of(st.sampled_from(_NUMBERS), st.integers(0, 255), st.integers(0, 2**32 - 1))
_edits = st.one_of(
    st.tuples(st.just("bit"), _places, st.integers(0, 7)),
    st.tuples(st.just("number"), _places, st.tuples(_numbers, st.sampled_from(_CODES))),
    st.tuples(st.just("number"), _places, st.tuples(_numbers, st.sampled_from(_CODES))),
    st.tuples(st.just("cut"), _places, st.just(0)),
    st.tuples(st.just("drop"), _places, st.integers(1, 64)),
    st.tuples(st.just("repeat"), _places, st.integers(1, 64)),
    st.tuples(st.just("bytes"), _places, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("splice"), _places, st.tuples(st.integers(0, 1000), _places)),
)


def damaged(samples: Callable[[], dict[str, bytes]]) -> SearchStrategy[tuple[str, bytes]]:
    """One of the files, with some edits; each kind of container gets its check sums again, half of the time."""
    names = sorted(samples())
    return st.tuples(st.sampled_from(names), st.lists(_edits, min_size=1, max_size=6), st.booleans()).map(
        lambda made: (made[0], _edited(made[0], samples(), made[1], mend=made[2]))
    )


def _edited(name: str, samples: dict[str, bytes], edits: list[Any], *, mend: bool) -> bytes:
    data = samples[name]
    for kind, place, how in edits:
        data = _edit(data, kind, place % (len(data) + 1), how, list(samples.values()))
    return _mended(data) if mend else data


def _edit(data: bytes, kind: str, at: int, how: Any, others: list[bytes]) -> bytes:
    match kind:
        case "bit" if at < len(data):
            return data[:at] + bytes([data[at] ^ 1 << how]) + data[at + 1 :]
        case "number":
            number, code = how
            size = struct.calcsize(code)
            return data[:at] + struct.pack(code, number % (1 << 8 * size)) + data[at + size :]
        case "cut":
            return data[:at]
        case "drop":
            return data[:at] + data[at + how :]
        case "repeat":
            return data[: at + how] + data[at:]
        case "bytes":
            return data[:at] + how + data[at + len(how) :]
        case "splice":
            other = others[how[0] % len(others)]
            return data[:at] + other[how[1] % (len(other) + 1) :]
    return data


def _mended(data: bytes) -> bytes:
    """PNG with the check sums of its chunks, gzip of what was damaged within: else decoders look no further."""
    if data.startswith(b"\x89PNG") and len(data) > 33:
        out, at = data[:8], 8
        while at + 12 <= len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            body = data[at + 4 : at + 8 + length]
            out += data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
            at += 12 + length
        return out + data[at:]
    return data


def packed(data: bytes) -> bytes:
    """As gzip."""
    return zlib.compress(data, wbits=31)


# --------------------------------------------------------------------------- values

_texts = st.one_of(
    st.sampled_from(
        ["", " ", "..", "../..", "../outside", "/", "/etc/passwd", "a/../../b", "~", "~root", "\0", "a\0b", "\n", "{id}",  # noqa: E501
         "nan", "inf", "-1", "1e400", "0x10", "s3://b/k", "file:///etc/passwd", "http://127.0.0.1:9/x", "a" * 300,
         "\ud800", "ä\u202e", "**/*", "[", "(", "(a+)+$", "%s", "{}", "{0.__class__}", "pickle", "|O", "<M8[ns]"]
    ),
    st.text(max_size=12),
)  # fmt: skip
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.sampled_from([*_NUMBERS, -1, 10**30, 0.5, 1e308, -0.0]), st.integers(),
              st.floats(), _texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_texts, inner, max_size=3)),
    max_leaves=5,
)  # fmt: skip
"""What stands where something else is expected."""

_changes = st.lists(
    st.tuples(
        st.sampled_from(["replace", "replace", "remove", "add", "repeat"]), st.integers(0, 10_000), _texts, values
    ),
    min_size=1,
    max_size=3,
)


def changed_json(value: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """JSON values with some parts replaced, removed, added or repeated."""
    return st.tuples(value, _changes).map(lambda made: _changed(json.loads(json.dumps(made[0])), made[1]))


def _changed(value: Any, changes: list[Any]) -> Any:
    root = [value]
    for how, number, name, new in changes:
        places = list(_places_in(root))
        parent, key = places[number % len(places)]
        if how == "remove" and parent is not root:
            del parent[key]
        elif how == "add" and isinstance(parent[key], dict):
            parent[key][name] = new
        elif how == "repeat" and isinstance(parent[key], list):
            parent[key].extend(parent[key])
        else:
            parent[key] = new
    return root[0]


def _places_in(container: Any) -> Any:
    items = container.items() if isinstance(container, dict) else enumerate(container)
    for key, item in list(items):
        yield container, key
        if isinstance(item, dict | list):
            yield from _places_in(item)


def as_text(value: Any) -> bytes:
    """JSON as Python writes it, not-a-number included."""
    return json.dumps(value).encode()


def put(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def archive(files: dict[str, bytes]) -> bytes:
    """As a zip file, not compressed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    return stream.getvalue()
