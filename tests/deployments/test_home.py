"""The folder of `unetseg up`: who may read it, who holds it, what it remembers."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from httpx import HTTPError

from deployments import server
from deployments.cli import main
from deployments.home import HOME, Home, Process, Record, find_home, open_home
from unetseg.errors import UnetsegError, UsageError

RECORD = Record("up", Process("up", 12, 34.5), "http://127.0.0.1:1", "0.1.0", (Process("server", 56, 78.25),))

HOLD = """
import sys
from pathlib import Path
from deployments.home import Home
with Home(Path(sys.argv[1])).taken() as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    open_home(made)
    return made


def test_option_is_stronger_than_environment_and_environment_than_habit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(HOME, raising=False)
    assert find_home("").folder == tmp_path / ".unetseg"
    monkeypatch.setenv(HOME, "~/elsewhere")
    assert find_home("").folder == tmp_path / "elsewhere"
    assert find_home(str(tmp_path / "given")).folder == tmp_path / "given"


def test_a_database_cannot_live_in_an_object_store() -> None:
    with pytest.raises(UsageError, match="folder of this machine"):
        find_home("s3://bucket/home")


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    open_home(Home(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    before = tmp_path.stat().st_mode
    with pytest.raises(UsageError, match="holds something else"):
        open_home(Home(tmp_path))
    assert tmp_path.stat().st_mode == before
    with pytest.raises(UsageError, match="holds something else"):
        open_home(Home(tmp_path / "letter.txt"))


def test_opening_again_keeps_what_is_there(home: Home) -> None:
    home.write_record(RECORD)
    open_home(home)
    assert home.read_record() == RECORD


def test_record_comes_back_as_it_was_and_can_be_removed(home: Home) -> None:
    assert home.read_record() is None
    home.write_record(RECORD)
    assert home.read_record() == RECORD
    home.remove_record()
    home.remove_record()
    assert home.read_record() is None


def test_one_process_holds_it_until_it_dies(home: Home) -> None:
    assert not home.is_held()
    command = [sys.executable, "-c", HOLD, str(home.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert home.is_held()
        with home.taken(seconds=0.1) as mine:
            assert not mine
        os.kill(other.pid, signal.SIGKILL)
    assert not home.is_held()
    with home.taken() as mine:
        assert mine


def test_looking_whether_it_is_held_makes_no_folder(tmp_path: Path) -> None:
    assert not Home(tmp_path / "none").is_held()
    assert not (tmp_path / "none").exists()


def test_on_a_full_disk_up_names_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "home" / "logs"))

    monkeypatch.setattr("deployments.home.open_home", full)
    result = CliRunner().invoke(main, ["up", "--home", str(tmp_path / "home")])
    assert result.exit_code == 1
    assert f"No space left on device: {tmp_path / 'home'}; make space there and run" in result.stderr


@pytest.mark.parametrize(("free", "told"), [(0, True), (10**9, False)], ids=["full", "roomy"])
def test_a_server_that_refuses_because_its_disk_is_full_is_told_of_so(
    free: int, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    refusals = server._refusals_name("http://x", Home(tmp_path))
    with pytest.raises(UnetsegError, match="the server refuses") as error, refusals:
        raise HTTPError("500 Internal Server Error")
    assert (f"the disk of {tmp_path} is full: make space there" in str(error.value)) == told
