"""Odd scans come out on top of a prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import tifffile

from unetseg import predict as predict_module
from unetseg import scan_rows
from unetseg.config import PredictConfig
from unetseg.json_files import read_json
from unetseg.predict import PredictResult, predict
from unetseg.project import Project
from unetseg.records import write_record


@pytest.fixture
def scans(eyes: Path, tmp_path: Path) -> Path:
    """Six scans that the model was made for, and a copy of one that was darkened as no exposure does it."""
    folder = tmp_path / "scans"
    folder.mkdir()
    sources = sorted((eyes / "scans").glob("*.tif"))[:6]
    for source in sources:
        (folder / source.name).write_bytes(source.read_bytes())
    pixels = tifffile.imread(sources[0])
    tifffile.imwrite(folder / "odd.tif", np.uint8(255 * (pixels / 255) ** 6))
    return folder


def run(project: Project, scans: Path, out: Path) -> PredictResult:
    return predict(scans, out, bundle=project.models / "0001", config=PredictConfig())


def rows_of(out: Path) -> list[dict[str, object]]:
    return pyarrow.parquet.read_table(out / "scans.parquet").to_pylist()


def test_a_darkened_scan_is_the_first_to_look_at(trained: Project, scans: Path, tmp_path: Path):
    result = run(trained, scans, tmp_path / "out")
    assert result.look_first[0].scan == "odd"
    reason = "intensities are farther from the training data than any training scan's"
    assert result.look_first[0].reasons.startswith(reason)
    first, *others = rows_of(tmp_path / "out")
    assert (first["scan"], first["look_first"]) == ("odd", 1)
    assert not any(reason in str(row["reasons"]) for row in others)
    assert result.ranking == tmp_path / "out/scans.parquet"
    page = result.gallery.read_text()
    assert "Look at these first" in page
    assert "so many were a close decision" in page
    assert page.index("1. odd") < page.index(reason.replace("'", "&#39;")) < page.index("2. ")
    assert read_json(tmp_path / "out/run.json")["result"]["look_first"][0]["scan"] == "odd"


def test_the_lists_stay_when_nothing_changed_and_follow_when_a_scan_goes(
    trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = run(trained, scans, tmp_path / "out")
    monkeypatch.setattr(predict_module, "write_gallery", lambda *_: pytest.fail("nothing is new"))
    again = run(trained, scans, tmp_path / "out")
    assert (again.done, again.look_first, again.annotate_next) == (0, before.look_first, before.annotate_next)
    monkeypatch.undo()
    (scans / "odd.tif").unlink()
    after = run(trained, scans, tmp_path / "out")
    assert after.done == 0
    assert "odd" not in [row["scan"] for row in rows_of(tmp_path / "out")]
    assert "odd</h3>" not in after.gallery.read_text()


def test_bands_give_the_same_lists(trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run(trained, scans, tmp_path / "whole")
    monkeypatch.setattr(scan_rows, "_WHOLE", 0.0)
    monkeypatch.setattr(scan_rows, "_BAND", 112 * 20)
    run(trained, scans, tmp_path / "bands")
    assert rows_of(tmp_path / "bands") == rows_of(tmp_path / "whole")


def test_a_bundle_from_before_is_used_and_the_page_says_what_is_missing(trained: Project, scans: Path, tmp_path: Path):
    path = trained.models / "0001/bundle.json"
    plain = read_json(path)
    del plain["training_data"]
    write_record(path, plain | {"schema_version": 3})
    result = run(trained, scans, tmp_path / "out")
    assert "does not tell what its training data looked like" in result.gallery.read_text()
    rows = rows_of(tmp_path / "out")
    assert {(row["intensity_distance"], row["intensity_ratio"], row["area_ratio"]) for row in rows} == {
        (None, None, None)
    }
    doubts = [row["near_threshold"] for row in rows]
    assert doubts == sorted(doubts, reverse=True)
