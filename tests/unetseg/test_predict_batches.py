"""Prediction in batches: how scans are cut into them, and what is left when the disk fills up."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from unetseg import predict_scan
from unetseg.batches import file_weight, in_batches
from unetseg.class_totals import ClassTotal, class_totals
from unetseg.config import PredictConfig
from unetseg.errors import BundleError
from unetseg.formats import plane_count
from unetseg.full_disk import disk_errors_name
from unetseg.json_files import read_json, write_json
from unetseg.object_table import ObjectRow
from unetseg.outputs import FORMATS
from unetseg.parallel import Workers
from unetseg.plane_counts import PlaneCounts
from unetseg.predict import PredictResult, finish, open_prediction, predict
from unetseg.predict_batches import segment_batch
from unetseg.predict_open import Prediction
from unetseg.predict_workers import workers_for
from unetseg.project import Project


@pytest.fixture
def scans(tmp_path: Path, eyes: Path) -> Path:
    """Four scans, and a stack of three pages between them."""
    folder = tmp_path / "scans"
    folder.mkdir()
    sources = sorted((eyes / "scans").glob("*.tif"))[:4]
    for name, source in zip(("a", "b", "y", "z"), sources, strict=True):
        shutil.copy(source, folder / f"{name}.tif")
    pages = np.stack([tifffile.imread(source) for source in sources[:3]])
    tifffile.imwrite(folder / "stack.tif", pages, photometric="minisblack")
    return folder


def opened(project: Project, scans: Path, out: Path, **settings: Any) -> Prediction:
    return open_prediction(scans, out, bundle=project.models / "0001", config=PredictConfig(**settings))


def run(project: Project, scans: Path, out: Path, **settings: Any) -> PredictResult:
    return predict(scans, out, bundle=project.models / "0001", config=PredictConfig(**settings))


def contents(out: Path) -> dict[str, bytes]:
    """Every file but the record of when and how long."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in {"run.json", ".lock"}]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


# --------------------------------------------------------------------------- cutting


@given(st.lists(st.floats(0.01, 3)), st.data())
def test_batches_hold_all_units_in_order_and_only_their_last_one_fills_them(weights: list[float], data: st.DataObject):
    found = list(in_batches(weights, lambda weight: weight))
    assert [weight for batch in found for weight in batch] == weights
    assert all(batch and sum(batch[:-1]) < 1 for batch in found)
    assert all(sum(batch) > 1 - 1e-6 for batch in found[:-1])


@pytest.mark.parametrize("most", [1, 3, 7, 10, 49, 1000])
def test_a_batch_of_small_files_holds_as_many_as_it_should(most: int):
    weight = file_weight(None, 1 / most)
    assert [len(batch) for batch in in_batches(range(2 * most + 1), lambda _: weight)] == [most, most, 1]


def test_a_large_file_fills_a_batch_and_one_that_is_gone_is_small(tmp_path: Path):
    with (tmp_path / "slide.tif").open("wb") as file:
        file.truncate(3_000_000_000)  # it takes no space
    assert file_weight(tmp_path / "slide.tif", 0.1) == 1.5
    assert file_weight(tmp_path / "gone.tif", 0.1) == 0.1
    assert file_weight(tmp_path / "slide.tif", 0.1, 6e9) == 0.5


def test_stacks_are_not_cut_apart_and_batches_are_numbered(trained: Project, scans: Path, tmp_path: Path):
    batches = opened(trained, scans, tmp_path / "out", batch=3).batches()
    names = [[ref.id for ref in batch.refs] for batch in batches]
    assert names == [["a", "b", "stack.p0000", "stack.p0001", "stack.p0002"], ["y", "z"]]
    assert [(item.name, item.number, item.of, item.first, item.total) for item in batches] == [
        ("scans", 1, 2, 1, 5),
        ("scans", 2, 2, 4, 5),
    ]


def test_batches_of_any_size_give_the_same_files(trained: Project, scans: Path, tmp_path: Path):
    told: list[tuple[int, int]] = []
    run(trained, scans, tmp_path / "whole")
    prediction = opened(trained, scans, tmp_path / "parts", batch=1)
    with workers_for(prediction) as workers:
        records = [
            segment_batch(batch, workers, progress=lambda *now: told.append(now[:2])) for batch in prediction.batches()
        ]
    assert len(records) == 5
    travelled = pickle.loads(pickle.dumps((prediction, records)))
    result = finish(*travelled)
    assert (result.done, result.out) == (5, tmp_path / "parts")
    assert told == [(number, 5) for number in range(1, 6)]
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_totals_add_up_the_classes_over_all_scans():
    def row(scan: str, name: str, pixels: int, objects: int) -> ObjectRow:
        return ObjectRow(scan, name, pixels, pixels / 100, None, objects, None, None, 0.5, 10, 10)

    rows = [row("a", "iris", 20, 2), row("a", "pupil", 0, 0), row("b", "iris", 40, 1), row("b", "pupil", 10, 3)]
    assert class_totals(rows, ["pupil", "iris"]) == (
        ClassTotal("pupil", scans=1, objects=3, fraction=pytest.approx(0.05)),
        ClassTotal("iris", scans=2, objects=3, fraction=pytest.approx(0.3)),
    )
    assert class_totals([], ["iris"]) == (ClassTotal("iris", 0, 0, 0.0),)


# --------------------------------------------------------------------------- counting pages


def test_files_that_are_as_they_were_are_not_opened_to_count_their_pages(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened: list[str] = []
    monkeypatch.setattr("unetseg.plane_counts.plane_count", lambda path: opened.append(path.name) or plane_count(path))

    def counted() -> dict[str, int]:
        opened.clear()
        counts = PlaneCounts(tmp_path / "files.json")
        found = {path.name: counts(path) for path in sorted(scans.iterdir())}
        counts.save()
        return found

    expected = {"a.tif": 1, "b.tif": 1, "stack.tif": 3, "y.tif": 1, "z.tif": 1}
    assert (counted(), len(opened)) == (expected, 5)
    assert (counted(), opened) == (expected, [])
    shutil.copy(scans / "stack.tif", scans / "a.tif")
    assert (counted(), opened) == (expected | {"a.tif": 3}, ["a.tif"])
    os.utime(scans / "b.tif")
    assert (counted(), opened) == (expected | {"a.tif": 3}, ["b.tif"])
    (tmp_path / "files.json").write_text("{")
    assert (counted(), len(opened)) == (expected | {"a.tif": 3}, 5)


def test_unchanged_run_opens_no_scan_and_a_stack_that_grew_is_seen(
    trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(trained, scans, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(tifffile, "TiffFile", None)
        assert run(trained, scans, tmp_path / "out").skipped == 5
    tifffile.imwrite(scans / "z.tif", tifffile.imread(scans / "stack.tif"), photometric="minisblack")
    assert run(trained, scans, tmp_path / "out").done == 1


def test_scans_that_are_up_to_date_are_looked_at_many_to_a_unit(
    trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(trained, scans, tmp_path / "out")
    handed, submit = [], Workers._submit
    monkeypatch.setattr(Workers, "_submit", lambda self, call, unit: handed.append(unit) or submit(self, call, unit))
    assert run(trained, scans, tmp_path / "out").skipped == 5
    assert [len(unit) if isinstance(unit, tuple) else 1 for unit in handed] == [4, 1]  # the last one is the stack


def test_a_marker_that_lacks_something_is_none_and_its_scan_is_done_again(
    trained: Project, scans: Path, tmp_path: Path
):
    run(trained, scans, tmp_path / "out")
    path = tmp_path / "out" / "records" / "b.json"
    write_json(path, {name: value for name, value in read_json(path).items() if name != "rows"})
    result = run(trained, scans, tmp_path / "out")
    assert (result.done, result.skipped, result.failed) == (1, 4, ())
    assert read_json(path)["rows"]


def test_an_error_that_nobody_foresaw_is_that_scans_alone(
    trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = predict_scan.prepare

    def broken(job: Any, ref: Any, rows: Any) -> Any:
        if ref.id == "b":
            raise KeyError("rows")
        return real(job, ref, rows)

    monkeypatch.setattr(predict_scan, "prepare", broken)
    result = run(trained, scans, tmp_path / "out", max_failed_fraction=1.0)
    assert result.done == 4
    assert [(Path(item.path).name, item.reason) for item in result.failed] == [("b.tif", "KeyError: 'rows'")]


# --------------------------------------------------------------------------- a full disk


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "No space left on device: /out; make space there and run"),
        (errno.EDQUOT, "Disk quota exceeded: /out; make space there, or have the quota raised and run"),
        (errno.EROFS, "Read-only file system: /out; make it writable and run"),
    ],
    ids=["full", "quota", "read-only"],
)
def test_errors_of_the_disk_name_the_folder_and_the_way_out(number: int, cure: str):
    with pytest.raises(OSError, match=cure) as found, disk_errors_name(Path("/out")):
        raise OSError(number, "short", "/out/.tmp-a/0")
    assert found.value.errno == number
    with pytest.raises(OSError, match="device: /tmp/abc; make"), disk_errors_name(Path("/out")):
        raise OSError(errno.ENOSPC, "short", "/tmp/abc")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), BundleError("damaged")], ids=["disk", "model"])
def test_other_errors_stay_as_they_are(error: Exception):
    with pytest.raises(type(error)) as found, disk_errors_name(Path("/out")):
        raise error
    assert found.value is error


class FullAt:
    """Fills the disk at one of the calls of a function that writes, and for good."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at: int):
        self.original: Callable[..., Any] = getattr(owner, name)
        self.left = at
        monkeypatch.setattr(owner, name, lambda *args, **named: self(*args, **named))

    def __call__(self, *args: Any, **named: Any) -> Any:
        self.left -= self.counts(*args)
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.original(*args, **named)

    def counts(self, *args: Any) -> bool:
        return True


class FullAtMetadata(FullAt):
    """Fills it where a ``zarr.json`` is begun, rather than any other file that is opened."""

    def counts(self, path: Path, mode: str = "r", *args: Any) -> bool:
        return path.name == "zarr.json" and mode != "r"


CALLS = [
    *(("write_bytes", at) for at in (0, 3)),  # markers, then the pages
    *(("replace", at) for at in (0, 5, 9)),  # files come into their place
    ("rename", 3),
    *(("mkdir", at) for at in (3, 7)),  # of folders that are images
]


@pytest.mark.parametrize(
    ("form", "name", "at"),
    [
        *((form, name, at) for form in sorted(FORMATS) for name, at in CALLS),
        *(("ome-zarr", "open", at) for at in (0, 4, 17)),  # an image has several of them
    ],
)
def test_disk_that_fills_up_ends_the_run_and_the_next_one_goes_on(
    form: str, name: str, at: int, trained: Project, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, settings = tmp_path / "out", {"format": form, "workers": 2, "batch": 3, "probabilities": True}
    run(trained, scans, tmp_path / "expected", **settings)
    with monkeypatch.context() as patch:
        (FullAtMetadata if name == "open" else FullAt)(patch, Path, name, at)
        with pytest.raises(OSError, match=f"No space left on device: {out}; make space there and run the same command"):
            run(trained, scans, out, **settings)
    left = contents(out)
    assert list(out.rglob(".tmp-*")) == []
    expected = contents(tmp_path / "expected")
    done = [path.stem for path in (out / "records").glob("*.json")]
    for scan in done:
        outputs = [item for item in expected if item.startswith((f"{scan}.ome", f"{scan}.prob"))]
        assert [item for item in outputs if left[item] != expected[item]] == []
    result = run(trained, scans, out, **settings)
    assert (result.done, result.skipped) == (5 - len(done), len(done))
    assert contents(out) == expected
