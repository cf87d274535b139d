"""A prediction that is run again: what is about all scans is made again only where something is new."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from unetseg import predict as predict_module
from unetseg.config import PredictConfig
from unetseg.json_files import read_json, write_json
from unetseg.predict import PredictResult, predict
from unetseg.project import Project

PAGES = ("table.csv", "table.parquet", "scans.csv", "scans.parquet", "gallery.html")


@pytest.fixture
def scans(some_scans: Callable[[int], Path]) -> Path:
    """Two scans, and a file that is none."""
    folder = some_scans(2)
    (folder / "broken.tif").write_bytes(b"II*")
    return folder


@pytest.fixture
def run(trained: Project, scans: Path, tmp_path: Path) -> Callable[[], PredictResult]:
    config = PredictConfig(max_failed_fraction=1.0)
    return lambda: predict(scans, tmp_path / "out", bundle=trained.models / "0001", config=config)


def pages(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in PAGES}


def test_where_nothing_changed_the_scans_are_not_ranked_again(
    run: Callable[[], PredictResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, before = run(), pages(tmp_path / "out")
    record = read_json(tmp_path / "out/run.json")
    monkeypatch.setattr(predict_module, "rank_scans", lambda *_: pytest.fail("nothing is new"))
    again = run()
    assert again == replace(first, done=0, skipped=2, seconds=again.seconds)
    assert pages(tmp_path / "out") == before
    differs = {name for name, value in read_json(tmp_path / "out/run.json").items() if record[name] != value}
    assert differs - {"began", "ended"} == {"counts", "result"}


def remove(name: str) -> Callable[[Path], None]:
    return lambda out: (out / name).unlink()


def edit(out: Path) -> None:
    (out / "table.csv").write_text("mine")
    later = (out / "run.json").stat().st_mtime_ns + 1_000_000
    os.utime(out / "table.csv", ns=(later, later))


def damage(out: Path) -> None:
    (out / "run.json").write_text("{")


def by_another_version(out: Path) -> None:
    record = read_json(out / "run.json")
    write_json(out / "run.json", record | {"software": record["software"] | {"unetseg": "0.0.1"}})


def of_another_number(out: Path) -> None:
    record = read_json(out / "run.json")
    write_json(out / "run.json", record | {"model": record["model"] | {"version": "0002"}})


def mended(out: Path) -> None:
    (out.parent / "scans/broken.tif").unlink()


@pytest.mark.parametrize(
    "change",
    [*map(remove, (*PAGES, "run.json")), edit, damage, by_another_version, of_another_number, mended],
    ids=[*PAGES, "run.json", "edited", "damaged", "version", "number", "mended"],
)
def test_what_is_about_all_scans_is_made_again_where_anything_is_new(
    run: Callable[[], PredictResult], tmp_path: Path, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
):
    first, before = run(), pages(tmp_path / "out")
    change(tmp_path / "out")
    ranked, rank = [], predict_module.rank_scans
    monkeypatch.setattr(predict_module, "rank_scans", lambda *known: ranked.append(1) or rank(*known))
    again = run()
    assert (ranked, again.done, again.totals) == ([1], 0, first.totals)
    after = pages(tmp_path / "out")
    assert {name for name in PAGES if after[name] != before[name]} == ({"gallery.html"} if change is mended else set())
