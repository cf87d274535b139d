"""A model scored on other scans: its thresholds stay, and numbers of the same scans are the same."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tifffile

from unetseg.bundle import load_bundle
from unetseg.dataset import open_dataset
from unetseg.errors import DataError, UsageError
from unetseg.evaluate_on import evaluate_on
from unetseg.json_files import read_json
from unetseg.project import Project, override
from unetseg.records import write_record


@pytest.fixture
def others(trained: Project, eyes: Path, tmp_path: Path) -> Path:
    """The scans of the project's test split, elsewhere, and one whose mask is broken."""
    folder = tmp_path / "clinic"
    scans = open_dataset(trained.dataset).scans("test")
    for scan in scans:
        for part in ("scans", "masks/iris", "masks/pupil", "masks/sclera"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            shutil.copy(eyes / part / f"{scan.id}.tif", folder / part)
    return folder


def test_the_same_scans_have_the_same_scores_elsewhere(trained: Project, others: Path):
    folder = trained.models / "0001" / "evaluation"
    before = (folder / "evaluation.json").read_bytes()
    result = evaluate_on(trained, others / "scans", others / "masks", model="0001")
    assert (folder / "evaluation.json").read_bytes() == before
    there = read_json(result.report.parent / "evaluation.json")
    own = load_bundle(trained.models / "0001").evaluation
    assert own is not None
    assert there["thresholds"] == own["thresholds"]
    assert there["scores"] == own["scores"]
    assert [(row["id"], row["counts"]) for row in there["scans"]] == [(r["id"], r["counts"]) for r in own["scans"]]
    assert there["data"] == {"scans": str(others / "scans"), "masks": str(others / "masks")}
    assert not any("trained the model" in warning for warning in result.warnings)


def test_what_is_found_lies_beside_the_scans_under_the_version(trained: Project, others: Path):
    result = evaluate_on(trained, others / "scans", others / "masks")
    place = result.report.relative_to(trained.folder).as_posix()
    assert re.fullmatch(r"evaluations/clinic-scans-[0-9a-f]{6}/0001/report\.html", place)
    named = evaluate_on(trained, others / "scans", others / "masks", name="march")
    assert named.report == trained.folder / "evaluations" / "march" / "0001" / "report.html"


def test_scans_that_trained_the_model_are_named(trained: Project, eyes: Path):
    result = evaluate_on(trained, eyes / "scans", eyes / "masks")
    seen = [scan.id for split in ("train", "validation") for scan in open_dataset(trained.dataset).scans(split)]
    warning = next(text for text in result.warnings if "trained the model" in text)
    assert warning.startswith(f"{len(seen)} of these scans")
    assert sorted(seen)[0] in warning


def test_a_broken_scan_is_set_aside_and_the_others_are_scored(trained: Project, others: Path):
    broken = sorted((others / "masks/iris").glob("*.tif"))[0]
    broken.write_bytes(b"no TIFF")
    patient = replace(trained, settings=override(trained.settings, ["ingest.max_failed_fraction=0.5"]))
    result = evaluate_on(patient, others / "scans", others / "masks")
    assert [Path(item.path).stem for item in result.quarantined] == [broken.stem]
    assert result.scores["iris"]["support"] == len(list((others / "scans").iterdir())) - 1


def test_masks_drawn_on_larger_copies_score_as_those_they_copy(trained: Project, others: Path):
    expected = evaluate_on(trained, others / "scans", others / "masks").scores
    for mask in (others / "masks").glob("*/*.tif"):
        tifffile.imwrite(mask, tifffile.imread(mask).repeat(2, axis=0).repeat(2, axis=1))
    with pytest.raises(DataError, match=r"set ingest\.resize_masks=true"):
        evaluate_on(trained, others / "scans", others / "masks", name="large")
    told = replace(trained, settings=override(trained.settings, ["ingest.resize_masks=true"]))
    assert evaluate_on(told, others / "scans", others / "masks", name="large").scores == expected


def test_scans_without_masks_are_told(trained: Project, others: Path):
    alone = sorted((others / "scans").iterdir())[0]
    for mask in (others / "masks").glob(f"*/{alone.name}"):
        mask.unlink()
    result = evaluate_on(trained, others / "scans", others / "masks")
    assert any(f"1 scan without a mask, left out: {alone.stem}" in text for text in result.warnings)


def test_scans_of_another_pixel_size_are_told_or_refused(trained: Project, others: Path):
    path = trained.models / "0001" / "bundle.json"
    write_record(path, read_json(path) | {"pixel_size": [0.5, 0.5]})
    coarse = sorted((others / "scans").iterdir())[0]
    pixels = tifffile.imread(coarse)
    tifffile.imwrite(coarse, pixels, resolution=(10_000, 10_000), resolutionunit="CENTIMETER")  # 1 µm
    result = evaluate_on(trained, others / "scans", others / "masks")
    number = len(list((others / "scans").iterdir()))
    told = f"1 of {number} scans have pixels of 1 x 1 µm ({coarse.stem}), the model was trained on 0.5 x 0.5 µm: "
    assert [text for text in result.warnings if "µm" in text] == [
        f"{told}they were scored as they are, so their scores may be lower than at the model's pixel size"
    ]
    assert set(result.warnings) <= set(read_json(result.report.parent / "evaluation.json")["warnings"])
    strict = replace(trained, settings=override(trained.settings, ["predict.pixel_size=refuse"]))
    with pytest.raises(
        DataError, match=rf"have pixels of 1 x 1 µm \({coarse.stem}\) and {number - 1} of {number} scans"
    ):
        evaluate_on(strict, others / "scans", others / "masks")


def test_names_stay_below_the_project(trained: Project, others: Path):
    result = evaluate_on(trained, others / "scans", others / "masks", name="../../models/0001")
    assert result.report.is_relative_to(trained.folder / "evaluations")


def test_a_model_without_thresholds_or_scans_without_masks_are_wrong_usage(trained: Project, others: Path):
    with pytest.raises(UsageError, match="scans need masks"):
        evaluate_on(trained, others / "scans", "")
    shutil.rmtree(trained.models / "0001" / "evaluation")
    with pytest.raises(UsageError, match=r"has no thresholds yet; .*: unetseg evaluate --model 0001 --project "):
        evaluate_on(trained, others / "scans", others / "masks")
