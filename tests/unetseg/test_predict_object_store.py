"""Predict from and to an object store: the same files as on a disk, and the same resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from unetseg import predict_bands, predict_scan, scan_rows, scratch
from unetseg.config import PredictConfig
from unetseg.errors import UsageError
from unetseg.listing import image_files
from unetseg.outputs import FORMATS
from unetseg.predict import PredictResult, predict
from unetseg.predict_estimate import estimate
from unetseg.project import Project
from unetseg.scratch import claim_folder, scratch_folder
from unetseg.storage import find, local_copy, remove, write_bytes

# Keras, whose numbers do not depend on what the process has segmented before.
ALL = PredictConfig(engine="keras", probabilities=True, objects=True, min_object=5, workers=2, tile=512)


@pytest.fixture
def scans(tmp_path: Path, eyes: Path) -> Path:
    """A folder with a scan, one in a sub-folder that is read in bands, and a stack."""
    folder = tmp_path / "scans"
    (folder / "sub").mkdir(parents=True)
    small = [tifffile.imread(path)[:72, :100] for path in sorted((eyes / "scans").glob("*.tif"))[:2]]
    tifffile.imwrite(folder / "a.tif", small[0])
    tifffile.imwrite(folder / "vol.tif", np.stack(small), photometric="minisblack", rowsperstrip=72)
    slide = np.random.default_rng(0).integers(0, 255, (1100, 64), np.uint8)
    tifffile.imwrite(folder / "sub/slide.tif", slide, rowsperstrip=64)
    return folder


@pytest.fixture(autouse=True)
def in_bands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scan_rows, "_WHOLE", 10_000.0)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(scratch.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))


def run(project: Project, scans: Path, out: Path, config: PredictConfig = ALL, **more: Any) -> PredictResult:
    return predict(scans, out, bundle=project.models / "0001", config=config, **more)


def uploaded(folder: Path, address: Path) -> Path:
    for path in folder.rglob("*.tif"):
        (address / path.relative_to(folder).as_posix()).write_bytes(path.read_bytes())
    return address


def outputs(out: Path) -> dict[str, bytes]:
    """All files but those that name the scans' paths or the time."""
    with local_copy(out) as folder:
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        return {
            name: path.read_bytes()
            for name, path in files.items()
            if name not in {"run.json", "table.parquet", "scans.parquet", ".files.json", ".lock"}
            and not name.startswith("records/")
        }


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_outputs_in_a_store_are_those_on_a_disk(trained: Project, scans: Path, bucket: Path, tmp_path: Path, form: str):
    config = replace(ALL, format=form)
    run(trained, scans, tmp_path / "out", config)
    address = uploaded(scans, bucket / "scans")
    result = run(trained, address, bucket / "out", config)
    assert (result.done, result.skipped, result.quarantined, result.failed) == (3, 0, (), ())
    assert outputs(bucket / "out") == outputs(tmp_path / "out")
    names = {path.relative_to(bucket / "out").as_posix() for path in find(bucket / "out/records", "**/*.json")}
    assert names == {"records/a.json", "records/sub/slide.json", "records/vol.json"}
    assert not [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()]
    again = run(trained, address, bucket / "out", config)
    assert (again.done, again.skipped) == (0, 3)


def test_only_what_is_missing_is_done_again_in_a_store(trained: Project, scans: Path, bucket: Path):
    run(trained, scans, bucket)
    before = outputs(bucket)
    remove(bucket / "records/a.json")
    remove(bucket / "vol.objects.ome.zarr")
    result = run(trained, scans, bucket)
    assert (result.done, result.skipped) == (2, 1)
    assert outputs(bucket) == before
    run(trained, scans, bucket, replace(ALL, objects=False))
    assert not [name for name in outputs(bucket) if ".objects." in name]


def test_bands_of_a_killed_run_are_found_in_the_folder_that_was_named(
    trained: Project, scans: Path, bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = replace(ALL, scratch=str(tmp_path / "shared"), workers=1)
    real, seen = predict_bands._segment_band, []

    def counted(job: Any, scan: Any, kinds: Any, span: Any) -> None:
        if len(seen) == 2:
            raise OSError(28, "No space left on device")
        seen.append(span.inner)
        real(job, scan, kinds, span)

    monkeypatch.setattr(predict_bands, "_segment_band", counted)
    with pytest.raises(OSError, match="No space"):
        run(trained, scans / "sub", bucket, config)
    assert [path.name for path in find(bucket, "**/*")] == [".begun.json"]
    again: list[Any] = []
    monkeypatch.setattr(predict_bands, "_segment_band", lambda *given: (again.append(given[-1].inner), real(*given)))
    assert run(trained, scans / "sub", bucket, config).done == 1
    assert sorted(seen + again) == [(0, 512), (512, 1024), (1024, 1100)]
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("shared", [False, True], ids=["each worker its own disk", "a shared folder"])
def test_a_cluster_that_writes_to_a_store_gives_the_same(
    trained: Project, scans: Path, bucket: Path, tmp_path: Path, shared: bool, monkeypatch: pytest.MonkeyPatch
):
    from distributed import LocalCluster

    run(trained, scans, tmp_path / "out")
    opened: list[int] = []
    real = predict_bands.open_workers

    def listen(*, workers: int) -> Any:
        opened.append(workers)
        return real(workers=workers)

    monkeypatch.setattr(predict_bands, "open_workers", listen)
    config = replace(ALL, scratch=str(tmp_path / "shared") if shared else "")
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        result = run(trained, scans, bucket, config, cluster=cluster.scheduler_address)
    assert (result.done, result.failed) == (3, ())
    there, here = outputs(bucket), outputs(tmp_path / "out")
    assert {name: there[name] for name in there if name != "gallery.html"} == {
        name: here[name] for name in here if name != "gallery.html"
    }
    assert opened == ([] if shared else [1])  # the bands of the slide, by one worker alone


def test_dry_run_and_wrong_places(trained: Project, scans: Path, bucket: Path, tmp_path: Path):
    found = estimate(scans, bucket / "out", bundle=trained.models / "0001", config=ALL)
    assert found.pixels == 3 * 7200 + 1100 * 64
    assert not list(find(bucket, "**/*"))
    address = uploaded(scans, bucket / "scans")
    with pytest.raises(UsageError, match="folder of their own"):
        run(trained, address, address / "out")
    with pytest.raises(UsageError, match=r"predict\.scratch: must be a folder on a disk"):
        run(trained, scans, bucket / "out", replace(ALL, scratch=str(bucket)))


def test_scratch_is_of_one_user_and_one_place(bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert scratch_folder(tmp_path, "elsewhere") == tmp_path / ".unfinished"
    ours = scratch_folder(bucket / "a", str(tmp_path))
    assert ours.parent == tmp_path
    assert ours != scratch_folder(bucket / "b", str(tmp_path))
    claim_folder(ours)
    claim_folder(ours)
    assert ours.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(scratch, "_user", lambda: 12345)
    with pytest.raises(UsageError, match=r"belongs to user .*predict\.scratch"):
        claim_folder(ours)


def test_a_killed_upload_does_not_count_as_done(
    trained: Project, scans: Path, bucket: Path, monkeypatch: pytest.MonkeyPatch
):
    class Stopped(BaseException):
        pass

    def stop(*_: Any, **__: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(predict_scan.Marker, "finish", stop)
        with pytest.raises(Stopped):
            run(trained, scans, bucket, replace(ALL, workers=1))
    assert not list(find(bucket, "records/**/*.json"))
    result = run(trained, scans, bucket)
    assert (result.done, result.skipped) == (3, 0)


def test_a_project_in_a_store_keeps_its_places_for_itself(trained: Project, scans: Path, bucket: Path):
    project, model = bucket / "eyes", {"bundle": trained.models / "0001"}
    for name in ("unetseg.yaml", "models/0001/curves.png", "scans/a.png"):
        write_bytes(project / name, b"-")
    assert image_files(project) == ["scans/a.png"]
    for out in (project, project / "models"):
        with pytest.raises(UsageError, match=r"s3://.*; use for example s3://\S+/eyes/segmented$"):
            estimate(scans, out, **model, config=PredictConfig())
