"""Which folders of trainings go, and which stay."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from unetseg.json_files import write_json
from unetseg.registry_cleaning import clean
from unetseg.run_cleaning import ABANDONED_DAYS, clean_runs

DAY = 86400


def training(runs: Path, name: str, *, version: str = "", days: float = 0) -> Path:
    """A folder as a training leaves it, or as one that was killed so many days ago."""
    run = runs / f"train-{name}"
    (run / "checkpoint").mkdir(parents=True)
    (run / "checkpoint" / "last.npz").write_bytes(b"weights")
    (run / "plan.json").write_text("{}")
    if version:
        write_json(run / "result.json", {"version": version})
    then = time.time() - days * DAY
    for path in (*run.rglob("*"), run):
        os.utime(path, (then, then))
    return run


def test_trainings_go_with_their_models_and_killed_ones_when_nobody_goes_on(tmp_path: Path):
    stay = [
        training(tmp_path, "a", version="0002", days=400),
        training(tmp_path, "b", days=ABANDONED_DAYS - 1),
        training(tmp_path, "c"),
    ]
    go = [training(tmp_path, "d", version="0001"), training(tmp_path, "e", days=ABANDONED_DAYS + 1)]
    (tmp_path / "working.json").write_text("{}")
    assert clean_runs(tmp_path, {"0002", "0003"}) == tuple(go)
    assert sorted(tmp_path.iterdir()) == [*stay, tmp_path / "working.json"]


def test_a_training_that_goes_on_is_as_young_as_its_checkpoint(tmp_path: Path):
    run = training(tmp_path, "a", days=ABANDONED_DAYS + 5)
    os.utime(run / "checkpoint" / "last.npz")
    assert clean_runs(tmp_path, set()) == ()


def test_a_training_that_replaces_its_checkpoint_just_now_stays(tmp_path: Path):
    run = training(tmp_path, "a", days=ABANDONED_DAYS + 5)
    (run / "checkpoint" / "gone.npz").symlink_to(tmp_path / "nothing")
    assert clean_runs(tmp_path, set()) == ()


@pytest.mark.parametrize("content", ["", "[]", "{}", '"0001"'], ids=["empty", "list", "no version", "text"])
def test_a_damaged_result_is_that_of_a_killed_training(tmp_path: Path, content: str):
    (training(tmp_path, "a") / "result.json").write_text(content)
    assert clean_runs(tmp_path, set()) == ()


def test_without_trainings_nothing_goes(tmp_path: Path):
    assert clean_runs(tmp_path / "runs", set()) == ()


def test_cleaning_models_cleans_their_trainings(tmp_path: Path):
    models, runs = tmp_path / "models", tmp_path / "runs"
    for version in ("0001", "0002", "0003"):
        write_json(models / version / "bundle.json", {})
        training(runs, version, version=version)
    assert clean(models, keep=1, runs=runs, dry_run=True) == ("0001", "0002")
    assert len(list(runs.iterdir())) == 3
    assert clean(models, keep=1, runs=runs) == ("0001", "0002")
    assert [path.name for path in runs.iterdir()] == ["train-0003"]
