"""Lists of scans, plates of wells, and collections as sources; ome-zarr-py writes the plates."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr.format import FormatV04, FormatV05

from unetseg.config import ClassSource, IngestConfig, PredictConfig, ScanSource, Settings, Sources
from unetseg.errors import BadFileError, UsageError
from unetseg.formats import read_plane
from unetseg.ingest import ingest
from unetseg.outputs import FORMATS
from unetseg.predict import predict
from unetseg.project import Project
from unetseg.readers import list_scans, read_scan
from unetseg.storage import write_bytes
from unetseg.zarr_collections import SeveralImagesError, check_one_image

with warnings.catch_warnings():
    # ome-zarr warns of a class of its own when it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ome_zarr.writer import write_image, write_plate_metadata, write_well_metadata

BOTH = pytest.mark.parametrize("form", [FormatV04(), FormatV05()], ids=["0.4", "0.5"])
FIELDS = ("A/1/0", "A/1/1", "B/2/0")


def pixels(number: int, shape: tuple[int, ...] = (24, 32)) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, shape, np.uint8)


def listed(folder: Path, **options: str) -> dict[str, Path]:
    refs, bad = list_scans(ScanSource(str(folder), **options))
    assert bad == []
    return {ref.id: ref.path for ref in refs}


# --------------------------------------------------------------------------- lists


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two folders with scans of the same name, and one scan more."""
    for number, name in enumerate(("one/a.tif", "two/a.tif", "two/deep/b.ome.tif")):
        (tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(tmp_path / "scans" / name, pixels(number))
    return tmp_path / "scans"


def write_list(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_names_are_the_paths_below_the_common_folder(scans: Path):
    path = write_list(scans / "list.txt", "# the week", "one/a.tif", "", str(scans / "two/a.tif"), "two/deep/b.ome.tif")
    assert listed(path) == {
        "one/a": scans / "one/a.tif",
        "two/a": scans / "two/a.tif",
        "two/deep/b": scans / "two/deep/b.ome.tif",
    }
    assert set(listed(write_list(path, "two/a.tif", "two/deep/b.ome.tif"))) == {"a", "deep/b"}
    assert set(listed(write_list(path, "two/a.tif"))) == {"a"}


def test_names_never_lead_out_of_the_folder_of_outputs(scans: Path):
    path = write_list(scans / "one/list.txt", "../two/a.tif", "a.tif", "./a.tif")
    assert listed(path) == {"two/a": scans / "two/a.tif", "one/a": scans / "one/a.tif"}


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_a_table_names_scans_in_its_column(scans: Path, separator: str):
    rows = [("number", "Scan"), ("1", "one/a.tif"), ("2", "two/a.tif"), ("3", "")]
    suffix = "tsv" if separator == "\t" else "csv"
    path = write_list(scans / f"table.{suffix}", *(separator.join(row) for row in rows))
    assert set(listed(path)) == {"one/a", "two/a"}


def test_a_list_of_which_nothing_is_left_is_wrong_usage(scans: Path):
    path = write_list(scans / "list.txt", "one/a.tif")
    with pytest.raises(UsageError, match="no scan in it fits the pattern 'x/"):
        list_scans(ScanSource(str(path), "x/*"))


def test_patterns_choose_from_a_list_as_from_a_folder(scans: Path):
    path = write_list(scans / "list.txt", "one/a.tif", "two/a.tif", "two/deep/b.ome.tif")
    assert set(listed(path, pattern="two/**/*")) == {"two/a", "two/deep/b"}
    assert set(listed(path, exclude="b.*")) == {"one/a", "two/a"}


def test_what_cannot_be_used_is_set_aside_by_its_name(scans: Path):
    (scans / "two/notes.txt").write_text("no image")
    path = write_list(scans / "list.txt", "one/a.tif", "one/gone.tif", "two/notes.txt", "two/deep", "one/a.png")
    shutil.copy(scans / "one/a.tif", scans / "one/a.png")
    refs, bad = list_scans(ScanSource(str(path)))
    assert [ref.id for ref in refs] == ["one/a"]
    reasons = {Path(item.path).relative_to(scans).as_posix(): item.reason for item in bad}
    assert set(reasons) == {"one/gone.tif", "two/notes.txt", "two/deep", "one/a.tif"}
    assert "No such file" in reasons["one/gone.tif"]
    assert "has the same id as" in reasons["one/a.tif"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "# nothing\n\n", r"a\.txt: list of scans is empty; write one path per line"),
        ("a.csv", "path,group\nx.tif,1\n", r"a\.csv, line 1: needs one column 'scan', found path, group; name the"),
        ("a.csv", "", r"a\.csv, line 1: needs one column 'scan', found an empty file"),
        ("a.csv", 'scan\n"x.tif\n', r"a\.csv, line 2: not valid CSV"),
        ("a.txt", "x.tif\ns3://bucket/../a.tif\n", r"a\.txt, line 2: s3://bucket/\.\./a\.tif: .* no '\.\.'"),
        ("a.txt", b"\xff\xfe", r"a\.txt: must be UTF-8"),
    ],
)
def test_a_list_that_cannot_be_read_is_wrong_usage(tmp_path: Path, name: str, text: str | bytes, message: str):
    write_bytes(tmp_path / name, text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=message):
        list_scans(ScanSource(str(tmp_path / name)))


def test_a_list_in_a_store_names_scans_there_and_elsewhere(bucket: Path, scans: Path):
    for name in ("one/a.tif", "two/a.tif"):
        write_bytes(bucket / name, (scans / name).read_bytes())
    write_bytes(bucket / "list.txt", f"one/a.tif\n{bucket}/two/a.tif\n".encode())
    assert listed(bucket / "list.txt") == {"one/a": bucket / "one/a.tif", "two/a": bucket / "two/a.tif"}
    assert set(listed(write_list(scans / "list.txt", "one/a.tif", f"{bucket}/two/a.tif"))) == {
        f"{str(scans)[1:]}/one/a",
        f"{str(bucket).removeprefix('s3://')}/two/a",
    }


# --------------------------------------------------------------------------- plates and collections


def write_group(path: Path, form: FormatV04) -> zarr.Group:
    return zarr.open_group(path, mode="a", zarr_format=form.zarr_format)


def write_plate(path: Path, form: FormatV04, shape: tuple[int, ...] = (24, 32), axes: str = "yx") -> Path:
    """Three fields in two wells."""
    plate = write_group(path, form)
    write_plate_metadata(plate, ["A", "B"], ["1", "2"], ["A/1", "B/2"], fmt=form)
    for well, fields in {"A/1": ["0", "1"], "B/2": ["0"]}.items():
        write_well_metadata(plate.require_group(well), fields, fmt=form)
    for number, field in enumerate(FIELDS):
        write_image(pixels(number, shape), plate.require_group(field), axes=axes, fmt=form, scale_factors=[])
    return path


@BOTH
def test_each_field_of_a_plate_is_a_scan(tmp_path: Path, form: FormatV04):
    plate = write_plate(tmp_path / "scans/p.zarr", form)
    tifffile.imwrite(tmp_path / "scans/z.tif", pixels(9))
    refs, bad = list_scans(ScanSource(str(tmp_path / "scans")))
    assert bad == []
    assert [(ref.id, ref.path) for ref in refs[:3]] == [(f"p/{name}", plate / name) for name in FIELDS]
    assert refs[3].id == "z"
    for number, ref in enumerate(refs[:3]):
        np.testing.assert_array_equal(read_scan(ref, max_gigabytes=1).pixels[..., 0], pixels(number))
    assert set(listed(plate)) == {f"p/{name}" for name in FIELDS}


@BOTH
def test_a_field_with_several_planes_is_a_stack(tmp_path: Path, form: FormatV04):
    refs, _ = list_scans(ScanSource(str(write_plate(tmp_path / "p.zarr", form, (5, 24, 32), "zyx"))))
    assert [ref.id for ref in refs[:2]] == ["p/A/1/0.p0000", "p/A/1/0.p0001"]
    assert {ref.stack for ref in refs} == {f"p/{name}" for name in FIELDS}


@BOTH
def test_what_is_broken_in_a_plate_is_set_aside_alone(tmp_path: Path, form: FormatV04):
    plate = write_plate(tmp_path / "p.zarr", form)
    shutil.rmtree(plate / "A/1/1")
    (plate / "B/2" / ("zarr.json" if form.zarr_format == 3 else ".zattrs")).write_text("{")
    refs, bad = list_scans(ScanSource(str(plate)))
    assert [ref.id for ref in refs] == ["p/A/1/0"]
    assert [item.path for item in bad] == [str(plate / "A/1/1"), str(plate / "B/2")]


@BOTH
@pytest.mark.parametrize("told", [True, False], ids=["series listed", "series counted"])
def test_each_series_of_a_collection_is_a_scan(tmp_path: Path, form: FormatV04, told: bool):
    root = write_group(tmp_path / "slides.zarr", form)
    version = {"bioformats2raw.layout": 3}
    root.attrs.update(version if form.zarr_format == 2 else {"ome": {"version": "0.5", **version}})
    for number in range(2):
        write_image(pixels(number), root.require_group(str(number)), axes="yx", fmt=form, scale_factors=[])
    if told:
        series = {"series": ["1", "0"]}
        notes = series if form.zarr_format == 2 else {"ome": {"version": "0.5", **series}}
        root.require_group("OME").attrs.update(notes)
    refs, bad = list_scans(ScanSource(str(tmp_path)))
    assert [ref.id for ref in refs] == ["slides/0", "slides/1"]
    assert bad == []
    np.testing.assert_array_equal(read_scan(refs[1], max_gigabytes=1).pixels[..., 0], pixels(1))


def test_a_plate_where_one_image_is_expected_says_how_to_name_one(tmp_path: Path):
    plate = write_plate(tmp_path / "p.zarr", FormatV05())
    with pytest.raises(
        SeveralImagesError, match=r"of 3 images, where one is expected; name one of them, such as A/1/0"
    ):
        check_one_image(plate)
    with pytest.raises(BadFileError, match="is a plate of wells, where one image is expected; name one of its fields"):
        read_plane(plate, max_bytes=1e9)


def test_metadata_cannot_name_images_outside_of_the_plate(tmp_path: Path):
    plate = write_plate(tmp_path / "p.zarr", FormatV05())
    metadata = json.loads((plate / "A/1/zarr.json").read_text())
    metadata["attributes"]["ome"]["well"]["images"][0]["path"] = "../../../secret"
    (plate / "A/1/zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(BadFileError, match=r"image outside of it, 'A/1/\.\./\.\./\.\./secret'"):
        check_one_image(plate)


def test_plates_in_a_store_are_listed_without_being_copied_whole(bucket: Path, tmp_path: Path):
    plate = write_plate(tmp_path / "p.zarr", FormatV05())
    for path in plate.rglob("*"):
        if path.is_file():
            write_bytes(bucket / "p.zarr" / path.relative_to(plate).as_posix(), path.read_bytes())
    with pytest.raises(SeveralImagesError):
        check_one_image(bucket / "p.zarr")
    assert set(listed(bucket)) == {f"p/{name}" for name in FIELDS}


def test_the_scans_of_a_list_and_of_a_plate_can_be_ingested(tmp_path: Path):
    write_plate(tmp_path / "p.zarr", FormatV05())
    tifffile.imwrite(tmp_path / "a.tif", pixels(7))
    for name in ("a", *(f"p/{field}" for field in FIELDS)):
        (tmp_path / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(tmp_path / f"masks/{name}.tif", 255 * (pixels(8) > 128).astype(np.uint8))
    source = ScanSource(str(write_list(tmp_path / "list.txt", "p.zarr", "a.tif")))
    sources = Sources(source, (ClassSource("iris", str(tmp_path / "masks")),))
    project = Project(tmp_path / "project", sources, Settings(ingest=IngestConfig(chunk=16, workers=1)))
    result = ingest(project)
    assert (result.done, result.quarantined, result.unlabelled) == (4, (), ())
    assert ingest(project).skipped == 4


def test_a_list_with_a_plate_is_segmented_with_names_and_folders_kept(trained: Project, tmp_path: Path):
    folder, out = tmp_path / "scans", tmp_path / "out"
    write_plate(folder / "p.zarr", FormatV05())
    tifffile.imwrite(folder / "a.tif", pixels(7))
    path = write_list(tmp_path / "list.txt", "scans/p.zarr", "scans/a.tif", "scans/gone.tif")
    result = predict(path, out, bundle=trained.models / "0001", config=PredictConfig())
    assert (result.done, [Path(item.path).name for item in result.quarantined]) == (4, ["gone.tif"])
    for name in ("a", *(f"p/{field}" for field in FIELDS)):
        assert FORMATS["ome-zarr"].read(out / f"{name}.ome.zarr").shape == (3, 24, 32)
    assert predict(path, out, bundle=trained.models / "0001", config=PredictConfig()).skipped == 4
