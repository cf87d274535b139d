"""Where the demo keeps what its Prefect writes; the demo itself runs in test_flows.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from upath import UPath

from flows.demo import _prefect


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def test_the_database_of_its_prefect_stays_in_the_folder_of_the_demo(tmp_path: Path) -> None:
    assert _prefect(tmp_path)["PREFECT_HOME"] == str(tmp_path / "prefect")


@pytest.mark.parametrize("name", ["PREFECT_API_URL", "PREFECT_PROFILE"])
def test_the_prefect_that_a_user_names_is_taken_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "theirs")
    assert "PREFECT_HOME" not in _prefect(tmp_path)


def test_no_database_goes_into_an_object_store() -> None:
    assert "PREFECT_HOME" not in _prefect(UPath("memory://demo"))
