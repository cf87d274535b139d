"""Old versions go, those in use stay, whoever promotes meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unetseg import registry_cleaning
from unetseg.bundle import versions
from unetseg.errors import UsageError
from unetseg.json_files import read_json
from unetseg.registry import history, promote, read_aliases
from unetseg.registry_cleaning import clean
from unetseg.storage import find, write_bytes


@pytest.fixture
def make_models(write_versions):
    """Writes six versions; 0002 is production and 0001 was."""

    def make(place):
        write_versions(place, *range(1, 7))
        for number in range(1, 7):
            write_bytes(place / f"{number:04d}" / "evaluation" / "evaluation.json", b"{}")
        promote(place, "1", why="")
        promote(place, "2", why="")

    return make


@pytest.fixture(params=["folder", "store"])
def models(request, tmp_path, make_models):
    """Six versions on a disk and in an object store; 0002 is production and 0001 was."""
    place = tmp_path if request.param == "folder" else request.getfixturevalue("bucket") / "models"
    make_models(place)
    return place


def everything(place):
    return sorted(path.relative_to(place).as_posix() for path in find(place, "*") if path.name != ".lock")


def test_the_oldest_go_and_production_and_previous_stay(models):
    assert clean(models, keep=2) == ("0003", "0004")
    assert versions(models) == ["0001", "0002", "0005", "0006"]
    assert everything(models) == ["0001", "0002", "0005", "0006", "aliases.json"]
    assert clean(models, keep=2) == ()


def test_the_history_tells_what_was_removed(models, monkeypatch):
    monkeypatch.setenv("UNETSEG_WHO", "ada")
    clean(models, keep=3)
    clean(models, keep=3)
    assert len(history(models)) == 3
    last = history(models)[-1]
    assert (last["removed"], last["who"], last["production"], last["why"]) == (
        ["0003"], "ada", "0002", "cleaned, 3 newest kept"
    )  # fmt: skip
    assert "removing" not in read_json(models / "aliases.json")


def test_a_dry_run_only_tells(models):
    before = read_aliases(models)
    assert clean(models, keep=1, dry_run=True) == ("0003", "0004", "0005")
    assert versions(models) == [f"{number:04d}" for number in range(1, 7)]
    assert read_aliases(models) == before


@pytest.mark.parametrize("keep", [0, -1])
def test_at_least_one_version_stays(tmp_path, keep):
    with pytest.raises(UsageError, match=rf"keep: at least 1 version must stay, found {keep}"):
        clean(tmp_path, keep=keep)


def test_where_there_are_no_models_nothing_is_made(tmp_path):
    assert clean(tmp_path / "models", keep=1) == ()
    assert not (tmp_path / "models").exists()


def test_a_version_that_is_promoted_meanwhile_stays(bucket, monkeypatch, make_models):
    make_models(bucket)
    condemned, seen = registry_cleaning._condemned, []

    def promoted_first(models, before, keep):
        seen.append(before.production)
        if len(seen) == 1:  # between the look at the aliases and their change; on a disk the lock keeps others out
            promote(models, "3", why="")
        return condemned(models, before, keep)

    monkeypatch.setattr(registry_cleaning, "_condemned", promoted_first)
    assert clean(bucket, keep=2) == ("0001", "0004")
    assert seen == ["0002", "0003"]
    assert read_aliases(bucket).production == "0003"
    assert versions(bucket) == ["0002", "0003", "0005", "0006"]


def test_a_version_that_is_being_removed_cannot_be_promoted(models, monkeypatch):
    refused = []
    remove = registry_cleaning.remove

    def promote_first(path):
        with pytest.raises(UsageError, match="version 0003 was removed meanwhile"):
            promote(models, "3", why="")
        refused.append(path.name)
        remove(path)

    monkeypatch.setattr(registry_cleaning, "remove", promote_first)
    assert clean(models, keep=3) == ("0003",)
    assert refused == ["0003"]


def test_a_version_that_went_while_it_was_looked_at_cannot_be_promoted(models, monkeypatch):
    from unetseg import registry

    load = registry.load_bundle

    def cleaned_after(folder):
        bundle = load(folder)
        clean(models, keep=3)
        return bundle

    monkeypatch.setattr(registry, "load_bundle", cleaned_after)
    with pytest.raises(UsageError, match="version 0003 was removed meanwhile"):
        promote(models, "3", why="")
    assert read_aliases(models).production == "0002"


def test_a_cleaning_that_was_killed_is_finished_by_the_next(models, monkeypatch):
    class KilledError(Exception):
        pass

    def killed(path):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(registry_cleaning, "remove", killed)
        with pytest.raises(KilledError):
            clean(models, keep=3)
    assert read_aliases(models).removing == ("0003",)
    assert clean(models, keep=3, dry_run=True) == ("0003",)
    assert clean(models, keep=3) == ("0003",)
    assert versions(models) == ["0001", "0002", "0004", "0005", "0006"]
    assert [item.get("removed") for item in history(models)] == [None, None, ["0003"]]
    assert read_aliases(models).removing == ()


def test_leftovers_of_killed_writes_go_after_a_day(tmp_path, write_versions):
    write_versions(tmp_path, 1)
    yesterday = time.time() - 86400 - 60
    for name in (".tmp-0002-abc", ".tmp-0003-def", "notes", "2024"):
        write_bytes(tmp_path / name / "model.keras", b"")
    for name in (".tmp-0002-abc", "notes", "2024"):
        for path in (tmp_path / name / "model.keras", tmp_path / name):
            os.utime(path, (yesterday, yesterday))
    assert clean(tmp_path, keep=1) == ()
    assert everything(tmp_path) == [".tmp-0003-def", "0001", "2024", "notes"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.integers(1, 20000), unique=True, max_size=8),
    production=st.integers(0, 7),
    previous=st.integers(0, 7),
    keep=st.integers(1, 9),
)
def test_what_goes_is_what_is_neither_new_nor_in_use(monkeypatch, numbers, production, previous, keep):
    names = [f"{number:04d}" for number in sorted(numbers)]
    used = {(names + [None] * 8)[place] for place in (production, previous)}
    monkeypatch.setattr(registry_cleaning, "versions", lambda models: names)
    aliases = registry_cleaning.Aliases((names + [None] * 8)[production], (names + [None] * 8)[previous])
    expected = [name for name in names if name not in used and sum(int(other) > int(name) for other in names) >= keep]
    assert registry_cleaning._superfluous(Path(), aliases, keep) == tuple(expected)
