"""Stacks come back as stacks: pages are the units of work, and their outputs one file."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr_models.v05 import Image, ImageLabel

from unetseg import predict_bands, predict_open, predict_stack, scan_rows
from unetseg.config import PredictConfig, ScanSource
from unetseg.json_files import read_json, write_json
from unetseg.outputs import FORMATS, MASKS, OBJECTS, PROBABILITIES, Kind
from unetseg.predict import PredictResult, predict
from unetseg.project import Project
from unetseg.readers import ScanRef, list_scans

# Keras, whose numbers do not depend on what the process has segmented before.
ALL = PredictConfig(engine="keras", probabilities=True, objects=True, min_object=5, workers=2)
PAGES = 3


@pytest.fixture
def pages(eyes: Path) -> np.ndarray:
    """Three scans of eyes, cut to one size: ``(3, 72, 100)``."""
    files = sorted((eyes / "scans").glob("*.tif"))[:PAGES]
    return np.stack([tifffile.imread(file)[:72, :100] for file in files])


@pytest.fixture
def scans(tmp_path: Path, pages: np.ndarray) -> Path:
    """A folder with a stack, and with the first of its pages as a scan of its own."""
    folder = tmp_path / "scans"
    folder.mkdir()
    tifffile.imwrite(folder / "vol.tif", pages, photometric="minisblack")
    tifffile.imwrite(folder / "alone.tif", pages[0])
    return folder


def run(project: Project, scans: Path, out: Path, config: PredictConfig = ALL, **more: Any) -> PredictResult:
    return predict(scans, out, bundle=project.models / "0001", config=config, **more)


def singles(project: Project, pages: Any, folder: Path) -> Path:
    """The outputs of the pages as scans of their own."""
    (folder / "scans").mkdir(parents=True)
    for number, page in enumerate(pages):
        tifffile.imwrite(folder / f"scans/{number}.tif", page)
    run(project, folder / "scans", folder / "out")
    return folder / "out"


def planes(out: Path, name: str, form: str = "ome-zarr", kind: Kind = MASKS, page: int = 0) -> np.ndarray:
    middle = "" if kind is MASKS else f".{kind.name}"
    return FORMATS[form].read(out / f"{name}{middle}{FORMATS[form].suffix}", kind=kind, page=page)


def contents(out: Path) -> dict[str, bytes]:
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in {"run.json", ".lock"}]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_stack_comes_back_as_one_file_whose_pages_are_what_they_are_alone(
    trained: Project, scans: Path, pages: np.ndarray, tmp_path: Path, form: str
):
    out = tmp_path / "out"
    result = run(trained, scans, out, replace(ALL, format=form))
    assert (result.done, result.skipped, result.quarantined, result.warnings) == (2, 0, (), ())
    alone = singles(trained, pages, tmp_path / "singles")
    for kind in (MASKS, OBJECTS, PROBABILITIES):
        for number in range(PAGES):
            expected = planes(alone, str(number), kind=kind)
            np.testing.assert_array_equal(planes(out, "vol", form, kind, number), expected)
    suffix = FORMATS[form].suffix
    names = {f"{name}{kind}{suffix}" for name in ("vol", "alone") for kind in ("", ".objects", ".probabilities")}
    assert {path.name for path in out.iterdir() if ".ome." in path.name} == names
    assert not list((out / ".unfinished").iterdir())
    assert sorted(path.name for path in (out / "records").iterdir()) == ["alone.json", "vol.json"]


def test_the_table_has_a_row_per_page_and_the_gallery_one_picture_per_stack(
    trained: Project, scans: Path, tmp_path: Path
):
    result = run(trained, scans, tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out/table.csv").read_text().splitlines()))
    assert [row["scan"] for row in rows[::3]] == ["alone", "vol.p0000", "vol.p0001", "vol.p0002"]
    ranked = [row["scan"] for row in csv.DictReader((tmp_path / "out/scans.csv").read_text().splitlines())]
    assert sorted(ranked) == ["alone", "vol.p0000", "vol.p0001", "vol.p0002"]
    first = next(name for name in ranked if name.startswith("vol"))
    drawn = re.findall(r'alt="masks on ([^"]+)"', result.gallery.read_text())
    assert sorted(drawn) == ["alone", first]


def test_a_stack_that_is_done_is_skipped_until_its_file_changes(
    trained: Project, scans: Path, pages: np.ndarray, tmp_path: Path
):
    out = tmp_path / "out"
    run(trained, scans, out)
    before = contents(out)
    again = run(trained, scans, out)
    assert (again.done, again.skipped, contents(out)) == (0, 2, before)
    tifffile.imwrite(scans / "vol.tif", 255 - pages, photometric="minisblack")
    again = run(trained, scans, out)
    assert (again.done, again.skipped) == (1, 1)
    tifffile.imwrite(scans / "vol.tif", pages[0])  # a single scan now
    assert run(trained, scans, out).done == 1
    np.testing.assert_array_equal(planes(out, "vol"), planes(out, "alone"))


@pytest.mark.parametrize("killed_in", ["a page", "the end"])
def test_a_killed_run_loses_no_page_and_the_next_gives_the_same_bytes(
    trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: str
):
    (scans / "alone.tif").unlink()
    run(trained, scans, tmp_path / "whole")
    real, seen = predict_stack.segment_scan, []

    def killed(job: Any, ref: Any) -> Any:
        if len(seen) == (2 if killed_in == "a page" else 99):
            raise OSError(28, "No space left on device")
        seen.append(ref.page)
        return real(job, ref)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(predict_stack, "segment_scan", killed)
    with monkeypatch.context() as patch:
        patch.setattr(type(FORMATS["ome-zarr"]), "write_stack", full)
        with pytest.raises(OSError, match="No space"):
            run(trained, scans, tmp_path / "out", replace(ALL, workers=1))
    assert not (tmp_path / "out/records").exists()
    assert not list((tmp_path / "out").glob("vol*"))
    monkeypatch.undo()
    fresh: list[int] = []

    def counted(job: Any, ref: Any) -> Any:
        found = real(job, ref)
        fresh.extend([ref.page] if found.fresh else [])
        return found

    monkeypatch.setattr(predict_stack, "segment_scan", counted)
    result = run(trained, scans, tmp_path / "out")
    assert (result.done, sorted(seen + fresh)) == (1, [0, 1, 2])
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_page_that_cannot_be_read_sets_the_stack_aside_by_its_number_and_others_go_on(
    trained: Project, scans: Path, tmp_path: Path
):
    data = bytearray((scans / "vol.tif").read_bytes())
    tifffile.imwrite(scans / "good.tif", tifffile.imread(scans / "vol.tif"), photometric="minisblack")
    with tifffile.TiffFile(scans / "vol.tif") as file:
        tag = file.pages[1].tags["Compression"]
    data[tag.valueoffset : tag.valueoffset + 2] = (999).to_bytes(2, "little")
    (scans / "vol.tif").write_bytes(data)
    result = run(trained, scans, tmp_path / "out")
    assert (result.done, [Path(item.path).name for item in result.quarantined]) == (2, ["vol.tif"])
    assert result.quarantined[0].reason.startswith("page 1 of 3 (from 0) cannot be used: ")
    assert str(result.quarantined[0]).count("vol.tif") == 1
    assert not (tmp_path / "out/vol.ome.zarr").exists()
    assert not (tmp_path / "out/records/vol.json").exists()


def test_pages_that_differ_in_size_stay_outputs_of_their_own_and_that_is_said(
    trained: Project, scans: Path, pages: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    run(trained, scans, out)
    tifffile.imwrite(tmp_path / "low.tif", pages[:2, :50], photometric="minisblack")
    uneven = [ScanRef("vol.p0000", scans / "vol.tif", 0), ScanRef("vol.p0001", tmp_path / "low.tif", 1)]
    monkeypatch.setattr(predict_open, "list_scans", lambda *_, **__: (uneven, []))
    result = run(trained, scans, out)
    assert (result.done, result.skipped) == (1, 0)
    assert result.warnings == ("1 scan (vol): a stack whose pages differ in size: each page has outputs of its own",)
    assert run(trained, scans, out).skipped == 1
    monkeypatch.undo()
    alone = singles(trained, [pages[0], pages[1, :50]], tmp_path / "singles")
    for number in range(2):
        np.testing.assert_array_equal(planes(out, f"vol.p000{number}"), planes(alone, str(number)))
    assert not (out / "vol.ome.zarr").exists()
    assert "vol.p000" in result.gallery.read_text()


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_all_outputs_of_a_volume_say_how_far_its_slices_are_apart(
    trained: Project, pages: np.ndarray, tmp_path: Path, form: str
):
    folder, out = tmp_path / "scans", tmp_path / "out"
    folder.mkdir()
    image = nibabel.Nifti1Image(np.transpose(pages), np.diag([0.8, 0.8, 3, 1]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, folder / "vol.nii.gz")
    assert run(trained, folder, out, replace(ALL, format=form)).done == 1
    for kind in (MASKS, OBJECTS, PROBABILITIES):
        assert sizes(out, form, kind) == {"z": 3000.0, "y": 800.0, "x": 800.0}


def sizes(out: Path, form: str, kind: Kind) -> dict[str, float]:
    """Micrometres along the axes of the outputs of the stack, of those that have a unit."""
    path = out / f"vol{'' if kind is MASKS else f'.{kind.name}'}{FORMATS[form].suffix}"
    if form == "tiff":
        with tifffile.TiffFile(path) as tiff:
            pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        assert {pixels.get(f"PhysicalSize{axis}Unit") for axis in "ZYX"} <= {"µm", None}
        return {axis.lower(): pixels[f"PhysicalSize{axis}"] for axis in "ZYX" if f"PhysicalSize{axis}" in pixels}
    model = ImageLabel if kind is OBJECTS else Image
    (multiscale,) = model.from_zarr(zarr.open_group(path, mode="r")).ome_attributes.multiscales
    scale = multiscale.datasets[0].coordinateTransformations[0].scale
    return {axis.name: step for axis, step in zip(multiscale.axes, scale, strict=True) if axis.unit == "micrometer"}


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize("known", [{}, {"y": 0.5, "x": 0.25}], ids=["nothing", "pixel-size"])
def test_outputs_of_a_stack_that_does_not_say_how_far_its_pages_are_apart_claim_nothing(
    trained: Project, scans: Path, pages: np.ndarray, tmp_path: Path, form: str, known: dict[str, float]
):
    about = {"axes": "ZYX", **{f"PhysicalSize{axis.upper()}": size for axis, size in known.items()}}
    tifffile.imwrite(scans / "vol.tif", pages, photometric="minisblack", ome=True, metadata=about)
    run(trained, scans, tmp_path / "out", replace(ALL, format=form))
    assert [sizes(tmp_path / "out", form, kind) for kind in (MASKS, OBJECTS, PROBABILITIES)] == [known] * 3


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_large_pages_are_segmented_in_bands(
    trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
):
    folder = tmp_path / "scans"
    folder.mkdir()
    values = np.random.default_rng(1).integers(0, 255, (2, 1230, 97), np.uint8)
    about = {"axes": "ZYX", "PhysicalSizeZ": 3.5}
    tifffile.imwrite(folder / "vol.tif", values, photometric="minisblack", rowsperstrip=64, ome=True, metadata=about)
    config = replace(ALL, tile=512, format=form)
    run(trained, folder, tmp_path / "whole", config)
    monkeypatch.setattr(scan_rows, "_WHOLE", 0.0)
    bands: list[Any] = []
    real = predict_bands.segment_large
    monkeypatch.setattr(predict_bands, "segment_large", lambda *a, **k: (bands.append(a[1].ref.page), real(*a, **k))[1])
    run(trained, folder, tmp_path / "bands", config)
    assert bands == [0, 1]
    for kind in (MASKS, OBJECTS, PROBABILITIES):
        for page in range(2):
            whole, found = (planes(tmp_path / out, "vol", form, kind, page) for out in ("whole", "bands"))
            np.testing.assert_array_equal(found, whole)
        assert sizes(tmp_path / "bands", form, kind) == {"z": 3.5}
    assert (tmp_path / "bands/table.csv").read_text() == (tmp_path / "whole/table.csv").read_text()


def test_outputs_that_an_earlier_version_made_of_single_pages_go(trained: Project, scans: Path, tmp_path: Path):
    out = tmp_path / "out"
    run(trained, scans, out)
    (out / "vol.ome.zarr").rename(out / "vol.p0001.ome.zarr")
    record = read_json(out / "records/vol.json") | {"outputs": ["vol.p0001.ome.zarr"]}
    (out / "records/vol.json").unlink()
    write_json(out / "records/vol.p0001.json", record)
    assert run(trained, scans, out).done == 1
    assert not list(out.rglob("vol.p0001*"))


def test_a_stack_and_a_scan_of_one_name_would_be_one_output(trained: Project, scans: Path, tmp_path: Path):
    tifffile.imwrite(scans / "vol.tiff", np.zeros((8, 8), np.uint8))
    refs, bad = list_scans(ScanSource(str(scans)))
    assert [ref.id for ref in refs] == ["alone", "vol.p0000", "vol.p0001", "vol.p0002"]
    assert "has the same id as" in bad[0].reason
