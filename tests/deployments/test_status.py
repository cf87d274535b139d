"""What runs, in words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from deployments.cli import main
from deployments.home import find_home
from deployments.status import look, say_status
from flows.console import Console


@pytest.fixture
def west(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is five hours behind."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "WEST+5")
        time.tzset()
        yield
    time.tzset()


def test_a_project_is_told_not_to_be_asked_for():
    result = CliRunner().invoke(main, ["status", "--project", "eyes"])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        2,
        "Error: No such option '--project'. This is about all projects of the machine.",
    )


def test_the_command_that_starts_it_names_a_home_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for named, option in (("my home", f" --home '{tmp_path}/my home'"), ("usual", "")):
        monkeypatch.setenv("UNETSEG_HOME", str(tmp_path / "usual"))
        say_status(Console(as_json=False), look(find_home(str(tmp_path / named))))
        assert capsys.readouterr().out.splitlines()[1] == f"start it with: unetseg up{option}"


@pytest.mark.usefixtures("west")
def test_people_read_times_as_their_clock_shows_them(capsys: pytest.CaptureFixture[str]):
    when = "2026-11-23 02:15:19.250000+00:00"
    running = {"id": "1", "name": "nightly eyes", "state": "Running", "since": when}
    waiting = {"id": "2", "name": "a", "deployment": "nightly/eyes", "state": "Scheduled", "when": when}
    found = {"state": "up", "home": "h", "server": "s", "processes": [], "running": [running], "waiting": [waiting]}
    say_status(Console(as_json=False), found)
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "running   nightly eyes  Running since 2026-11-22 21:15 WEST",
        "waiting   nightly/eyes  Scheduled, 2026-11-22 21:15 WEST",
    ]
