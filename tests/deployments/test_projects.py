"""Projects: chosen, named, remembered, forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.home import Home
from deployments.projects import choose, forget, forgotten, known, name_of, remember, usable
from unetseg.errors import UsageError

YAML = "schema_version: 1\nsources:\n  scans: {path: scans}\n"


def project(folder: Path) -> str:
    folder.mkdir(parents=True)
    (folder / "unetseg.yaml").write_text(YAML)
    return str(folder)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def unsaid(text: str) -> None:
    raise AssertionError(text)


@pytest.mark.parametrize(
    ("folder", "name"),
    [("/data/eyes", "eyes"), ("/data/eyes/", "eyes"), ("s3://bucket/eyes", "eyes"), ("/data/a&b {c}", "a-b -c-")],
    ids=["folder", "slash", "store", "odd"],
)
def test_deployments_are_called_as_the_folder(folder: str, name: str) -> None:
    assert name_of(folder) == name


def test_the_first_time_it_is_the_folder_one_is_in(home: Home, tmp_path: Path) -> None:
    here = Path(project(tmp_path / "eyes"))
    assert choose(home, (), here, say=unsaid) == {"eyes": str(here)}


def test_without_any_project_the_error_says_how_to_make_one(home: Home, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unetseg init"):
        choose(home, (), tmp_path, say=unsaid)
    assert choose(home, (), tmp_path, empty=True, say=unsaid) == {}


def test_projects_of_last_time_stay_and_others_are_added(home: Home, tmp_path: Path) -> None:
    eyes, nuclei = project(tmp_path / "eyes"), project(tmp_path / "nuclei")
    remember(home, {"eyes": eyes})
    assert choose(home, (), Path(nuclei), say=unsaid) == {"eyes": eyes}
    assert choose(home, (nuclei, eyes), tmp_path, say=unsaid) == {"eyes": eyes, "nuclei": nuclei}


def test_two_projects_of_one_name_are_refused(home: Home, tmp_path: Path) -> None:
    one, two = project(tmp_path / "a" / "eyes"), project(tmp_path / "b" / "eyes")
    with pytest.raises(UsageError, match="called eyes too"):
        choose(home, (one, two), tmp_path, say=unsaid)


def test_a_project_that_has_moved_is_the_same_one(home: Home, tmp_path: Path) -> None:
    before, after = tmp_path / "eyes", tmp_path / "elsewhere" / "eyes"
    project(before)
    remember(home, {"eyes": str(before)})
    after.parent.mkdir()
    before.rename(after)
    said: list[str] = []
    assert choose(home, (str(after),), tmp_path, say=said.append) == {"eyes": str(after)}
    assert said == [f"project eyes has moved: no project is in {before} any more; its schedules go on with {after}"]


def test_a_folder_that_is_no_project_is_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unetseg\.yaml: no such file"):
        choose(home, (str(tmp_path),), tmp_path, say=unsaid)


def test_a_project_of_last_time_that_is_away_does_not_hold_up_the_others(home: Home, tmp_path: Path) -> None:
    eyes = project(tmp_path / "eyes")
    remember(home, {"eyes": eyes, "gone": str(tmp_path / "gone")})
    fine, wrong = usable(choose(home, (), tmp_path, say=unsaid))
    assert fine == {"eyes": eyes}
    assert len(wrong) == 1
    assert "--forget gone" in wrong[0]


def test_forgotten_projects_are_noted_until_their_deployments_are_gone(home: Home, tmp_path: Path) -> None:
    eyes = project(tmp_path / "eyes")
    remember(home, {"eyes": eyes, "nuclei": "/data/nuclei"})
    assert forget(home, ("nuclei",)) == ["nuclei"]
    assert forget(home, (eyes,)) == ["eyes"]
    assert known(home) == {}
    assert forgotten(home) == ["nuclei", "eyes"]
    with pytest.raises(UsageError, match="no such project"):
        forget(home, ("eyes",))
    remember(home, {"eyes": eyes})
    assert forgotten(home) == []
