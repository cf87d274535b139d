"""Versions and aliases, the same in a folder and in an object store."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest

from unetseg.bundle import load_bundle
from unetseg.errors import BundleError, DamagedFileError, UsageError
from unetseg.json_files import read_json, write_json
from unetseg.model_list import list_models
from unetseg.registry import Aliases, history, model_folder, promote, read_aliases, rollback, versions
from unetseg.storage import read_bytes, remove, write_bytes


@pytest.fixture
def models(tmp_path, write_versions):
    """Three versions as far as the registry can see: their networks are never opened."""
    write_versions(tmp_path, 1, 2, 10)
    (tmp_path / ".tmp-0011-abc").mkdir()
    (tmp_path / "notes").mkdir()
    return tmp_path


@pytest.fixture(params=["folder", "store"])
def anywhere(request, tmp_path, write_versions):
    """The same three versions on a disk and in an object store."""
    place = tmp_path if request.param == "folder" else request.getfixturevalue("bucket") / "models"
    write_versions(place, 1, 2, 10)
    return place


def names(aliases):
    return aliases.production, aliases.previous


def test_nothing_is_in_production_before_the_first_promotion(models):
    assert read_aliases(models) == Aliases(None, None, ())
    with pytest.raises(
        UsageError, match=r"no version 'production' .* there are: 0001, 0002, 0010; .* promote 0010 --pro"
    ):
        model_folder(models)


def test_a_project_without_models_says_what_to_do(tmp_path):
    assert list_models(tmp_path / "models") == []
    with pytest.raises(UsageError) as caught:
        model_folder(tmp_path / "my eyes" / "models", "latest")
    assert str(caught.value).endswith(f"none, train one first: unetseg nightly --project '{tmp_path / 'my eyes'}'")


def test_what_was_in_production_becomes_previous(anywhere):
    assert names(promote(anywhere, "1", why="first")) == ("0001", None)
    assert names(promote(anywhere, "0002", why="better")) == ("0002", "0001")
    assert names(promote(anywhere, "latest", why="best")) == ("0010", "0002")
    assert names(read_aliases(anywhere)) == ("0010", "0002")


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


def test_versions_are_ordered_as_numbers_also_beyond_four_digits(models, write_versions):
    write_versions(models, 10000, 9999)
    assert [item.version for item in list_models(models)] == ["0001", "0002", "0010", "9999", "10000"]
    assert model_folder(models, "latest").name == "10000"


def test_production_and_previous_change_places_at_a_rollback(anywhere):
    promote(anywhere, "1", why="")
    promote(anywhere, "2", why="")
    assert names(rollback(anywhere)) == ("0001", "0002")
    assert names(rollback(anywhere)) == ("0002", "0001")


def test_a_rollback_of_a_named_version_happens_once(anywhere):
    promote(anywhere, "1", why="")
    promote(anywhere, "2", why="")
    after = rollback(anywhere, of="2")
    assert names(after) == ("0001", "0002")
    assert rollback(anywhere, of="0002", why="once more") == after
    assert read_aliases(anywhere) == after


@pytest.mark.parametrize("of", ["1", "0010", "17"], ids=["made-way", "never-production", "unknown"])
def test_a_version_that_is_not_production_is_not_rolled_back(models, of):
    promote(models, "1", why="")
    before = promote(models, "2", why="")
    way_out = f"see unetseg models history --project {models.parent}$"
    with pytest.raises(UsageError, match=f"version {of.zfill(4)} is not in production, 0002 is; .* changed; {way_out}"):
        rollback(models, of=of)
    assert read_aliases(models) == before


def test_without_a_previous_version_there_is_no_rollback(models):
    promote(models, "1", why="")
    with pytest.raises(UsageError, match="has no previous version to go back to; promote one by its number"):
        rollback(models)
    assert names(read_aliases(models)) == ("0001", None)


@pytest.mark.parametrize(
    ("left", "told"),
    [
        pytest.param((), "there are no models, train one first: unetseg nightly --project ", id="none"),
        pytest.param(("0001",), "0001 is the only model, there is none to go back to; see unetseg models", id="one"),
    ],
)
def test_a_rollback_offers_no_promotion_where_there_is_nothing_to_promote(models, left, told):
    for version in set(versions(models)) - set(left):
        shutil.rmtree(models / version)
    with pytest.raises(UsageError, match=f"^rollback: {told}"):
        rollback(models)


def test_the_history_tells_when_who_what_and_why(anywhere, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    monkeypatch.setattr("socket.gethostname", lambda: "lab")
    promote(anywhere, "1", why="first")
    monkeypatch.setenv("UNETSEG_WHO", "night shift")
    promote(anywhere, "2", why="f1 0.8 -> 0.9")
    told = rollback(anywhere, why="too many false alarms").history
    assert [(item["production"], item["previous"], item["who"], item["why"]) for item in told] == [
        ("0001", None, "ada@lab", "first"),
        ("0002", "0001", "night shift", "f1 0.8 -> 0.9"),
        ("0001", "0002", "night shift", "too many false alarms"),
    ]
    assert all(item["time"].endswith("+00:00") for item in told)
    assert history(anywhere) == told


def test_a_user_without_a_name_is_unknown(models, monkeypatch):
    def fail():
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", fail)
    monkeypatch.setattr("socket.gethostname", lambda: "lab")
    assert promote(models, "1", why="").history[0]["who"] == "unknown@lab"


def test_a_history_from_before_names_were_kept_goes_on(models):
    old = {"time": "2029-01-01T00:00:00+00:00", "production": "0001", "previous": None, "why": "first"}
    write_json(models / "aliases.json", {"production": "0001", "previous": None, "history": [old]})
    assert promote(models, "2", why="better").history[0] == old
    assert names(read_aliases(models)) == ("0002", "0001")


_PROMOTE = """
import sys
from unetseg.registry import promote
from unetseg.storage import locate
for turn in range(8):
    promote(locate(sys.argv[1]), sys.argv[2 + turn % 2], why=f"{sys.argv[4]} {turn}")
"""


def check_chain(aliases, expected):
    """Every promotion is there, and each was made of what the one before had left."""
    assert {item["why"] for item in aliases.history} <= expected
    assert aliases.history[0]["previous"] is None
    for before, after in pairwise(aliases.history):
        assert after["previous"] == before["production"] != after["production"]
    assert names(aliases) == (aliases.history[-1]["production"], aliases.history[-1]["previous"])


def test_promotions_by_several_processes_leave_one_history(models):
    command = [sys.executable, "-c", _PROMOTE, str(models)]
    runs = [subprocess.Popen([*command, *pair, pair[0]]) for pair in (("1", "2"), ("2", "10"))]
    assert [run.wait(timeout=60) for run in runs] == [0, 0]
    check_chain(read_aliases(models), {f"{run} {turn}" for run in (1, 2) for turn in range(8)})


@pytest.mark.usefixtures("atomic")
def test_no_line_of_history_is_lost_when_several_change_it_at_once(anywhere):
    promote(anywhere, "1", why="first")
    promote(anywhere, "2", why="second")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: rollback(anywhere, why=str(number)), range(4)))
    aliases = read_aliases(anywhere)
    assert sorted(item["why"] for item in aliases.history) == ["0", "1", "2", "3", "first", "second"]
    check_chain(aliases, {item["why"] for item in aliases.history})
    assert names(aliases) == ("0002", "0001")  # after an even number of changes


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
    write_bytes(folder / "model.keras", b"other")


def lose_network(folder):
    remove(folder / "model.keras")


def cut_description(folder):
    write_bytes(folder / "bundle.json", read_bytes(folder / "bundle.json")[:-40])


def lose_digest(folder):
    write_json(folder / "bundle.json", read_json(folder / "bundle.json") | {"schema_version": 99})


DAMAGES = [
    (change_network, "model.keras was changed or damaged"),
    (lose_network, "model.keras is missing"),
    (cut_description, "damaged, not valid JSON"),
    (lose_digest, "it names no SHA-256"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_damaged_model_is_never_promoted(anywhere, damage, message):
    before = promote(anywhere, "1", why="")
    damage(anywhere / "0002")
    with pytest.raises(BundleError, match=message):
        promote(anywhere, "2", why="")
    assert read_aliases(anywhere) == before


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_there_is_no_rollback_to_a_damaged_model(models, damage, message):
    promote(models, "1", why="")
    before = promote(models, "2", why="")
    damage(models / "0001")
    way_out = rf"unetseg models promote 0010 --project {models.parent}, the newest other version"
    with pytest.raises(BundleError, match=rf"^rollback: previous version 0001 .*{message}.*; {way_out}"):
        rollback(models)
    assert read_aliases(models) == before


def test_a_rollback_names_no_other_version_that_is_damaged_too(anywhere):
    promote(anywhere, "1", why="")
    promote(anywhere, "2", why="")
    change_network(anywhere / "0001")
    change_network(anywhere / "0010")
    with pytest.raises(BundleError, match=r"there is no other version$"):
        rollback(anywhere)


def test_a_previous_version_that_was_deleted_is_refused(models):
    promote(models, "1", why="")
    promote(models, "2", why="")
    (models / "0001").rename(models / "gone")
    with pytest.raises(UsageError, match=r"no version '0001' .* there are: 0002, 0010; .* promote 0010"):
        rollback(models)


def test_the_list_tells_alias_score_and_time_of_each_version(anywhere):
    promote(anywhere, "1", why="")
    promote(anywhere, "10", why="")
    scores = {"macro": {"f1": 0.75}}
    evaluation = {"schema_version": 1, "scores": scores, "thresholds": {}}
    write_json(anywhere / "0002" / "evaluation" / "evaluation.json", evaluation)
    found = [asdict(item) for item in list_models(anywhere)]
    assert [(item["version"], item["alias"], item["validation_score"], item["scores"]) for item in found] == [
        ("0001", "previous", 0.01, None),
        ("0002", "", 0.02, scores),
        ("0010", "production", 0.1, None),
    ]
    assert {(item["created"], item["damaged"]) for item in found} == {("2030-01-02T03:04:05+00:00", "")}


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"\xff", b'{"schema_version": 2}', b'{"schema_version": 99}'], ids=range(5)
)
def test_a_damaged_version_is_listed_as_such_and_hides_no_other(anywhere, content):
    write_bytes(anywhere / "0002" / "bundle.json", content)
    first, damaged, last = list_models(anywhere)
    assert (first.damaged, last.damaged) == ("", "")
    assert f"{anywhere}/0002/bundle.json: " in damaged.damaged
    assert (damaged.version, damaged.validation_score, damaged.scores) == ("0002", None, None)


def test_a_damaged_evaluation_is_listed_as_such(models):
    write_bytes(models / "0002" / "evaluation" / "evaluation.json", b"{")
    assert [bool(item.damaged) for item in list_models(models)] == [False, True, False]
    assert list_models(models)[1].validation_score == 0.02


def test_what_is_not_complete_is_no_version(anywhere):
    write_bytes(anywhere / "0011" / "model.keras", b"")
    assert [item.version for item in list_models(anywhere)] == ["0001", "0002", "0010"]
    assert model_folder(anywhere, "latest") == anywhere / "0010"


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"production": "0001"}'], ids=["cut", "list", "incomplete"])
def test_aliases_that_are_damaged_are_said_to_be(anywhere, content):
    write_bytes(anywhere / "aliases.json", content)
    with pytest.raises(DamagedFileError, match=r"aliases\.json: damaged"):
        promote(anywhere, "1", why="")
    assert read_bytes(anywhere / "aliases.json") == content


def test_a_bundle_in_a_store_is_named_by_its_address(bucket, write_versions):
    write_versions(bucket, 1, 2, 10)
    assert load_bundle(bucket / "0002").version == "0002"
    change_network(bucket / "0002")
    with pytest.raises(BundleError, match=rf"^{bucket}/0002: model\.keras was changed or damaged"):
        load_bundle(bucket / "0002")
