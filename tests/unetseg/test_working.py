"""One run at a time in a project; a dead one is in nobody's way."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from unetseg import working as module
from unetseg.errors import BusyError
from unetseg.json_files import read_json, write_json
from unetseg.storage import locate
from unetseg.working import working


@pytest.fixture(params=["disk", "store"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder, on a disk or in an object store."""
    if request.param == "disk":
        return tmp_path / "eyes"
    request.getfixturevalue("atomic")
    return request.getfixturevalue("bucket") / "eyes"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that last fractions of a second."""
    monkeypatch.setattr(module, "_LOOK", 0.01)
    monkeypatch.setattr(module, "_BEAT", 0.02)


def note(project: Path) -> dict:
    return read_json(project / "runs" / "working.json")


def left_by_another(project: Path, **more: object) -> None:
    """The note of a run on another machine, of which nobody hears."""
    about = {"token": "x", "what": "train", "who": "ada@lab", "since": "then", "process": ["boot", "space", "1", "2"]}
    write_json(project / "runs" / "working.json", {**about, "beat": time.time(), **more})


def test_a_second_run_waits_for_the_first(project: Path):
    order: list[str] = []

    def second() -> None:
        with working(project, "second"):
            order.append("second begins")

    with working(project, "first"):
        assert note(project)["what"] == "first"
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first ends")
    thread.join(20)
    assert order == ["first ends", "second begins"]
    assert note(project) == {}


def test_a_run_that_shall_not_wait_says_for_whom(project: Path):
    left_by_another(project)
    with (
        pytest.raises(BusyError, match="eyes: train by ada@lab works there since then"),
        working(project, "n", wait=False),
    ):
        raise AssertionError("must not begin")
    assert note(project)["token"] == "x"


def test_stages_of_the_same_run_have_it_already(project: Path):
    with working(project, "nightly"):
        with working(project, "ingest", wait=False):
            assert note(project)["what"] == "nightly"
        assert note(project)["what"] == "nightly"
    assert note(project) == {}


def test_an_error_lets_go(project: Path):
    with pytest.raises(KeyError), working(project, "train"):
        raise KeyError
    assert note(project) == {}


@pytest.mark.parametrize("wait", [True, False], ids=["waiting", "not waiting"])
def test_a_run_that_shows_no_sign_of_life_is_replaced(
    project: Path, wait: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(module, "_SILENCE", 0.3)
    left_by_another(project, beat=time.time() - 60)
    with working(project, "nightly", wait=wait):
        assert note(project)["what"] == "nightly"
    assert "eyes: the train of ada@lab, since then, has died; this run takes its place" in caplog.text


def test_one_that_lives_by_a_clock_of_its_own_is_not_replaced(project: Path, monkeypatch: pytest.MonkeyPatch):
    """Its clock is an hour behind, but its note changes."""
    monkeypatch.setattr(module, "_SILENCE", 0.5)
    left_by_another(project, beat=time.time() - 3600)
    done = threading.Event()

    def live() -> None:
        beat = 1.0
        while not done.wait(0.05):
            left_by_another(project, beat=(beat := beat + 1))

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(BusyError), working(project, "nightly", wait=False):
            raise AssertionError("must not begin")
    finally:
        done.set()
        thread.join()


def test_signs_of_life_are_shown_meanwhile(project: Path):
    with working(project, "train"):
        first = note(project)["beat"]
        deadline = time.monotonic() + 20
        while note(project)["beat"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_whoever_was_replaced_says_so_and_leaves_the_other_alone(project: Path, caplog: pytest.LogCaptureFixture):
    with working(project, "train"):
        left_by_another(project)
        deadline = time.monotonic() + 20
        while "another one works there by now" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert note(project)["token"] == "x"


def test_a_killed_process_of_this_machine_is_known_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    code = (
        "import sys, time; from pathlib import Path; from unetseg.working import working\n"
        "with working(Path(sys.argv[1]), 'train'):\n    print('there', flush=True)\n    time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    with pytest.raises(BusyError), working(tmp_path, "nightly", wait=False):
        raise AssertionError("must not begin")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with working(tmp_path, "nightly"):
        assert note(tmp_path)["what"] == "nightly"
    assert "has died; this run takes its place" in caplog.text
    assert "waiting for it to end" not in caplog.text


def test_a_number_of_a_process_that_another_has_by_now_is_not_taken_for_it(tmp_path: Path):
    here = module._this_process()
    left_by_another(tmp_path, process=[*here[:-1], "1"])
    with working(locate(tmp_path), "nightly", wait=False):
        assert note(tmp_path)["what"] == "nightly"


def test_a_process_that_the_system_hides_is_not_taken_for_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With ``hidepid`` the files of other users' processes cannot be opened."""
    mine = {"process": module._this_process()}
    assert not module._is_gone(mine)

    def hidden(pid: int) -> str:
        raise FileNotFoundError(pid)

    monkeypatch.setattr(module, "_began", hidden)
    assert not module._is_gone(mine)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    *place, _, began = mine["process"]
    assert module._is_gone({"process": [*place, str(ended.pid), began]})
