"""Processes are kept running, found by what they belong to, and ended, however they behave."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deployments.environment import MARK
from deployments.home import Home, Process
from deployments.processes import Child, belonging_to, end, is_alive, is_run, of_run, tail, trim
from unetseg.errors import UnetsegError

WAIT = "import time; print('here', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAIT!r}], env={{}}); {WAIT}"

Start = Callable[..., Child]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def start(home: Home) -> Iterator[Start]:
    begun: list[Child] = []

    def begin(code: str, name: str = "child", **more: str) -> Child:
        environment = {**os.environ, MARK: str(home.folder), **more}
        child = Child(
            name, [sys.executable, "-c", code], environment=environment, folder=home.folder, log=home.folder / name
        )
        child.start()
        begun.append(child)
        return child

    yield begin
    end(belonging_to(home), grace=0)
    until(lambda: all(child.record is None for child in begun))


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def said(child: Child) -> bool:
    return "here" in child.log.read_text()


def pids(processes: list[psutil.Process]) -> set[int]:
    return {process.pid for process in processes}


def test_processes_and_their_children_are_found_by_their_home(start: Start, home: Home, tmp_path: Path) -> None:
    parent = start(PARENT)
    until(lambda: parent.log.read_text().count("here") == 2)
    assert parent.record is not None
    found = pids(belonging_to(home))
    assert len(found) == 2  # also the child, whose environment is empty
    assert parent.record.pid in found
    assert belonging_to(Home(tmp_path / "other")) == []


def test_a_process_is_found_as_soon_as_it_is_started(start: Start, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel shows an empty environment until the new program has been laid out."""
    real, early, before = psutil.Process.environ, [{}, {}], set(psutil.pids())

    def environ(process: psutil.Process) -> dict[str, str]:
        return early.pop() if early and process.pid not in before else real(process)

    monkeypatch.setattr(psutil.Process, "environ", environ)
    child = start(WAIT)
    assert child.record is not None
    assert child.record.pid in pids(belonging_to(home))


def test_those_that_do_not_listen_are_killed(start: Start, home: Home) -> None:
    deaf = start(DEAF)
    until(lambda: said(deaf))
    end(belonging_to(home), grace=0.3)
    assert belonging_to(home) == []
    assert deaf.record is None


def test_those_that_listen_end_by_themselves(start: Start, home: Home) -> None:
    child = start(f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit())); {WAIT}")
    until(lambda: said(child))
    end(belonging_to(home), grace=60)
    assert child.log.read_text().split() == ["here", "bye"]


def test_hurry_does_not_wait(start: Start, home: Home) -> None:
    deaf = start(DEAF)
    until(lambda: said(deaf))
    end(belonging_to(home), grace=1e6, hurry=lambda: True)
    assert belonging_to(home) == []


def test_a_recycled_number_is_another_process() -> None:
    me = psutil.Process()
    assert is_alive(Process("me", me.pid, me.create_time()))
    assert not is_alive(Process("me", me.pid, me.create_time() - 3600))
    assert not is_alive(Process("nobody", 2**22 + 1, me.create_time()))


def test_runs_are_known_by_their_number(start: Start, home: Home) -> None:
    children = [start(WAIT, "a", PREFECT__FLOW_RUN_ID="one"), start(WAIT, "b", PREFECT__FLOW_RUN_ID="two")]
    start(WAIT, "c")
    until(lambda: all(said(child) for child in children))
    here = belonging_to(home)
    assert len([process for process in here if is_run(process)]) == 2
    record = children[0].record
    assert record is not None
    assert pids(of_run(here, "one")) == {record.pid}
    assert of_run(here, "three") == []


def test_what_died_is_started_again_with_growing_pauses_and_then_given_up(tmp_path: Path) -> None:
    now = [0.0]
    child = Child(
        "worker gpu",
        [sys.executable, "-c", "import sys; print('no such pool'); sys.exit(3)"],
        environment=os.environ,
        folder=tmp_path,
        log=tmp_path / "log",
        clock=lambda: now[0],
    )
    child.start()
    pauses: list[float] = []

    def die_again() -> None:
        until(lambda: child.record is None)
        sentence = child.keep()
        assert "worker gpu ended with status 3" in sentence
        pauses.append(float(sentence.partition("again in ")[2].partition(" s")[0]))
        now[0] += pauses[-1] - 0.1
        child.keep()
        assert child.record is None  # not yet
        now[0] += 0.2
        child.keep()

    for _ in range(5):
        die_again()
    assert pauses == [1, 2, 4, 8, 16]
    with pytest.raises(UnetsegError, match=r"worker gpu ended 6 times, at last with status 3(?s:.*)no such pool"):
        die_again()


def test_what_ran_for_long_may_die_as_often_again(tmp_path: Path) -> None:
    now = [0.0]
    child = Child(
        "server", [sys.executable, "-c", ""], environment=os.environ, folder=tmp_path, log=tmp_path / "log",
        clock=lambda: now[0],
    )  # fmt: skip
    child.start()
    for _ in range(8):
        until(lambda: child.record is None)
        now[0] += 61
        assert "again in 1 s" in child.keep()
        now[0] += 1
        child.keep()
    until(lambda: child.record is None)


def test_a_process_that_runs_is_left_alone(start: Start, home: Home) -> None:
    child = start(WAIT)
    before = child.record
    assert child.keep() == ""
    assert child.record == before


def test_what_a_dead_process_has_left_ends_before_it_is_started_again(start: Start, home: Home) -> None:
    child = start(PARENT)
    until(lambda: child.log.read_text().count("here") == 2)
    assert child.record is not None
    left = psutil.Process(child.record.pid).children()
    assert len(left) == 1
    os.kill(child.record.pid, signal.SIGKILL)
    until(lambda: child.record is None)
    assert "by SIGKILL" in child.keep()
    assert not [process for process in left if process.is_running()]
    assert belonging_to(home) == []


def test_logs_do_not_grow_without_end(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_bytes(b"x" * 100)
    trim(log, most=100)
    assert log.stat().st_size == 100
    with log.open("ab") as writer:
        trim(log, most=99)
        writer.write(b"new")
    assert log.read_bytes() == b"new"
    assert (tmp_path / "server.log.1").read_bytes() == b"x" * 100
    trim(tmp_path / "none.log")


def test_the_log_of_the_last_time_is_kept(start: Start, home: Home) -> None:
    (home.folder / "child").write_text("old")
    (home.folder / "child.1").write_text("older")
    child = start("print('new')")
    until(lambda: child.record is None)
    assert (home.folder / "child.1").read_text() == "old"
    assert child.log.read_text() == "new\n"


def test_tail_shows_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == "  (nothing)"
    log.write_text("\n".join(map(str, range(100))))
    assert tail(log).split() == [str(number) for number in range(85, 100)]
