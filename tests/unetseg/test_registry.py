import json
from dataclasses import asdict
from pathlib import Path

import pytest

from unetseg.bundle import BundleInfo
from unetseg.config import Settings, to_plain
from unetseg.errors import BundleError, UsageError
from unetseg.registry import Aliases, list_models, model_folder, promote, read_aliases, rollback
from unetseg.storage import file_hash


@pytest.fixture
def models(tmp_path):
    """Three versions as far as the registry can see: their networks are never opened."""
    for number in (1, 2, 10):
        make_bundle(tmp_path / f"{number:04d}", number / 100)
    (tmp_path / ".tmp-0011-abc").mkdir()
    (tmp_path / "notes").mkdir()
    return tmp_path


def make_bundle(folder, dice):
    folder.mkdir()
    (folder / "model.keras").write_bytes(b"network" + folder.name.encode())
    info = BundleInfo(
        ("iris",), (), ("grey",), Settings(), None, "d", "t", dice, {"numpy": "2"}, created="2030-01-02T03:04:05+00:00"
    )
    files = {"model.keras": file_hash(folder / "model.keras")}
    (folder / "bundle.json").write_text(json.dumps({"schema_version": 1, **to_plain(info), "files": files}))


def names(aliases):
    return aliases.production, aliases.previous


def test_nothing_is_in_production_before_the_first_promotion(models):
    assert read_aliases(models) == Aliases(None, None, ())
    with pytest.raises(UsageError, match=r"no version 'production' .* there are: 0001, 0002, 0010"):
        model_folder(models)


def test_a_project_without_models_says_what_to_do(tmp_path):
    assert list_models(tmp_path / "models") == []
    with pytest.raises(UsageError, match="none, train one first"):
        model_folder(tmp_path / "models", "latest")


def test_what_was_in_production_becomes_previous(models):
    assert names(promote(models, "1", why="first")) == ("0001", None)
    assert names(promote(models, "0002", why="better")) == ("0002", "0001")
    assert names(promote(models, "latest", why="best")) == ("0010", "0002")
    assert names(read_aliases(models)) == ("0010", "0002")


@pytest.mark.parametrize(
    ("name", "version"),
    [("production", "0002"), ("previous", "0001"), ("latest", "0010"), ("1", "0001"), ("0010", "0010")],
)
def test_a_model_is_found_by_alias_and_by_number(models, name, version):
    promote(models, "1", why="")
    promote(models, "2", why="")
    assert model_folder(models, name) == models / version


@pytest.mark.parametrize("name", ["3", "notes", "../0001", "", "newest"])
def test_a_version_that_there_is_not_is_refused_with_those_there_are(models, name):
    with pytest.raises(UsageError, match="there are: 0001, 0002, 0010"):
        model_folder(models, name)


def test_versions_are_ordered_as_numbers_also_beyond_four_digits(models):
    make_bundle(models / "10000", 0.5)
    make_bundle(models / "9999", 0.5)
    assert [item.version for item in list_models(models)] == ["0001", "0002", "0010", "9999", "10000"]
    assert model_folder(models, "latest").name == "10000"


def test_production_and_previous_change_places_at_a_rollback(models):
    promote(models, "1", why="")
    promote(models, "2", why="")
    assert names(rollback(models)) == ("0001", "0002")
    assert names(rollback(models)) == ("0002", "0001")


def test_without_a_previous_version_there_is_no_rollback(models):
    promote(models, "1", why="")
    with pytest.raises(UsageError, match="has no previous version to go back to; promote one by its number"):
        rollback(models)
    assert names(read_aliases(models)) == ("0001", None)


def test_the_history_tells_when_what_and_why(models):
    promote(models, "1", why="first")
    promote(models, "2", why="f1 0.8 -> 0.9")
    history = rollback(models, why="too many false alarms").history
    assert [(item["production"], item["previous"], item["why"]) for item in history] == [
        ("0001", None, "first"),
        ("0002", "0001", "f1 0.8 -> 0.9"),
        ("0001", "0002", "too many false alarms"),
    ]
    assert all(item["time"].endswith("+00:00") for item in history)
    assert read_aliases(models).history == history


def test_promoting_what_is_in_production_changes_nothing(models):
    promote(models, "1", why="")
    before = promote(models, "2", why="")
    assert promote(models, "production", why="again") == before
    assert read_aliases(models) == before


def test_aliases_stay_as_they_were_when_the_new_ones_cannot_be_written(models, monkeypatch):
    before = promote(models, "1", why="")

    def full(self, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space"):
            promote(models, "2", why="")
    assert read_aliases(models) == before
    assert sorted(item.name for item in models.glob("*.json")) == ["aliases.json"]


def change_network(folder):
    (folder / "model.keras").write_bytes(b"other")


def lose_network(folder):
    (folder / "model.keras").unlink()


def cut_description(folder):
    (folder / "bundle.json").write_text((folder / "bundle.json").read_text()[:-40])


def come_from_the_future(folder):
    plain = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(plain | {"schema_version": 99}))


DAMAGES = [
    (change_network, "model.keras was changed or damaged"),
    (lose_network, "model.keras is missing"),
    (cut_description, "damaged, not valid JSON"),
    (come_from_the_future, "bundle schema 99"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_damaged_model_is_never_promoted(models, damage, message):
    before = promote(models, "1", why="")
    damage(models / "0002")
    with pytest.raises(BundleError, match=message):
        promote(models, "2", why="")
    assert read_aliases(models) == before


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_there_is_no_rollback_to_a_damaged_model(models, damage, message):
    promote(models, "1", why="")
    before = promote(models, "2", why="")
    damage(models / "0001")
    with pytest.raises(BundleError, match=message):
        rollback(models)
    assert read_aliases(models) == before


def test_a_previous_version_that_was_deleted_is_refused(models):
    promote(models, "1", why="")
    promote(models, "2", why="")
    (models / "0001").rename(models / "gone")
    with pytest.raises(UsageError, match=r"no version '0001' .* there are: 0002, 0010"):
        rollback(models)


def test_the_list_tells_alias_score_and_time_of_each_version(models):
    promote(models, "1", why="")
    promote(models, "10", why="")
    scores = {"macro": {"f1": 0.75}}
    (models / "0002" / "evaluation").mkdir()
    (models / "0002" / "evaluation" / "evaluation.json").write_text(json.dumps({"scores": scores, "thresholds": {}}))
    rows = [(item["version"], item["alias"], item["validation_score"], item["scores"]) for item in listed(models)]
    assert rows == [
        ("0001", "previous", 0.01, None),
        ("0002", "", 0.02, scores),
        ("0010", "production", 0.1, None),
    ]
    assert {item["created"] for item in listed(models)} == {"2030-01-02T03:04:05+00:00"}


def listed(models):
    return [asdict(item) for item in list_models(models)]
