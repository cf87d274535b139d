"""A worker that is stopped: what becomes of its processes, and what the server is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest

from deployments import worker

LONGEST = 60  # seconds; what takes longer hangs

# Stands for a worker: it starts a run, which starts a process of its own, and waits.
WORKER = """
import os, signal, subprocess, sys
of_run = os.environ | {"PREFECT__FLOW_RUN_ID": os.environ["ID"]}
run = subprocess.Popen([sys.executable, "-c", os.environ["RUN"]], env=of_run)
if os.environ.get("DIES"):
    os._exit(9)
signal.pause()
"""

RUN = """
import os, pathlib, signal, subprocess, sys
def end(*_):
    raise SystemExit
signal.signal(signal.SIGTERM, {handler})
helper = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
folder = pathlib.Path(os.environ["FOLDER"])
try:
    (folder / "begun").write_text(str(helper.pid))
    while True:
        signal.pause()
finally:
    helper.kill()
    helper.wait()
    (folder / "ended").touch()
"""


@pytest.fixture
def mark() -> str:
    """Of the processes of a test."""
    return uuid4().hex


@pytest.fixture
def start(tmp_path: Path, mark: str) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], UUID]]]:
    """Starts something like a worker, with a run that has begun; nothing of it is left at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*, handler: str = "end", **environment: str) -> tuple[subprocess.Popen[bytes], UUID]:
        run = uuid4()
        given = {worker._OURS: mark, "ID": str(run), "FOLDER": str(tmp_path), "RUN": RUN.format(handler=handler)}
        process = subprocess.Popen([sys.executable, "-c", WORKER], env=os.environ | given | environment)
        started.append(process)
        end = time.monotonic() + LONGEST
        while not (tmp_path / "begun").exists() or not (tmp_path / "begun").read_text():
            assert time.monotonic() < end
            time.sleep(0.01)
        return process, run

    yield begin
    for process in worker._marked(mark):
        process.kill()
    for process in started:
        process.wait()


def lives(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


# --------------------------------------------------------------------------- options


def test_options_are_those_of_prefects_worker() -> None:
    pool, name, options = worker._parse(["--pool", "gpu", "--name", "gpu-7", "--limit", "1", "--with-healthcheck"])
    assert (pool, name) == ("gpu", "gpu-7")
    assert options == ["--pool", "gpu", "--name", "gpu-7", "--type", "process", "--limit", "1", "--with-healthcheck"]


def test_a_worker_is_called_as_its_machine_and_its_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "brain")
    assert worker._parse(["-p", "cpu"])[1] == "brain-cpu"


def test_a_pool_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        worker._parse(["--limit", "1"])
    assert "--pool" in capsys.readouterr().err


# --------------------------------------------------------------------------- processes


def test_runs_end_in_their_own_way_and_nothing_is_left(start, mark: str, tmp_path: Path) -> None:
    process, run = start()
    helper = int((tmp_path / "begun").read_text())
    assert worker._end(process, mark) == {run}
    assert (tmp_path / "ended").exists()
    assert process.returncode == -signal.SIGKILL  # it was held, and could not say that its run has crashed
    assert not worker._marked(mark)
    assert not lives(helper)


def test_a_run_that_does_not_end_is_killed_with_all_that_it_started(
    start, mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_TO_END", 0.5)
    process, run = start(handler="signal.SIG_IGN")
    helper = int((tmp_path / "begun").read_text())
    assert worker._end(process, mark) == {run}
    assert not (tmp_path / "ended").exists()
    assert not worker._marked(mark)
    assert not lives(helper)


def test_a_run_whose_worker_has_died_is_found_and_ended(start, mark: str, tmp_path: Path) -> None:
    process, run = start(DIES="yes")
    process.wait(LONGEST)
    assert worker._end(process, mark) == {run}
    assert (tmp_path / "ended").exists()
    assert not worker._marked(mark)


def test_processes_of_another_worker_stay(start, mark: str, tmp_path: Path) -> None:
    start()
    assert worker._end(None, uuid4().hex) == set()
    assert len(worker._marked(mark)) == 3
    assert not (tmp_path / "ended").exists()


# --------------------------------------------------------------------------- the server


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    """A server that lives as long as these tests."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def new_run(prefect_server: None) -> Callable[..., SimpleNamespace]:
    """Makes a run in some state, taken by a worker."""
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    @flow(name="some")
    def some() -> None: ...

    def make(state: Any, name: str = "gpu-1", pool: str = "gpu") -> SimpleNamespace:
        with get_client(sync_client=True) as client:
            with suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
            deployment = client.create_deployment(client.create_flow(some), name=uuid4().hex, work_pool_name=pool)
            run = client.create_flow_run_from_deployment(deployment, state=state)
            client.update_flow_run_labels(run.id, {"prefect.worker.name": name})
        return SimpleNamespace(id=run.id, states=lambda: states(run.id), state=lambda: states(run.id)[-1])

    def states(run: UUID) -> list[Any]:
        with get_client(sync_client=True) as client:
            return sorted(client.read_flow_run_states(run), key=lambda state: state.timestamp)

    return make


def test_a_run_that_was_ended_waits_for_the_next_worker(new_run) -> None:
    from prefect.states import Running

    run = new_run(Running())
    assert worker._give_back({run.id}, "gpu", "gpu-1")
    assert run.state().name == "AwaitingRetry"
    assert run.state().message == (
        "Worker gpu-1 was stopped while this ran; the next worker of the pool goes on from what is finished."
    )
    # Whoever waits for a last word of the run, as the automation that ends dead runs does, has heard it.
    assert [state.name for state in run.states()][-2:] == ["Crashed", "AwaitingRetry"]


def test_runs_that_the_worker_had_taken_wait_too_and_those_of_others_stay(new_run) -> None:
    from prefect.states import Pending, Running

    ours, theirs, elsewhere = new_run(Pending()), new_run(Running(), name="gpu-2"), new_run(Running(), pool="cpu")
    assert worker._give_back(set(), "gpu", "gpu-1")
    assert [run.state().name for run in (ours, theirs, elsewhere)] == ["AwaitingRetry", "Running", "Running"]


def test_a_run_that_has_ended_stays_as_it_ended(new_run) -> None:
    from prefect.states import Completed

    run = new_run(Completed(message="promoted 0007"))
    assert worker._give_back({run.id}, "gpu", "gpu-1")
    assert (run.state().name, run.state().message) == ("Completed", "promoted 0007")


def test_a_run_that_was_being_cancelled_is_cancelled(new_run) -> None:
    from prefect.states import Cancelling

    run = new_run(Cancelling())
    assert worker._give_back(set(), "gpu", "gpu-1")
    assert run.state().name == "Cancelled"


def test_a_server_that_does_not_answer_is_told_of(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):  # nobody listens there
        assert not worker._give_back({uuid4()}, "gpu", "gpu-1")
    assert "the server could not be told that the runs of gpu-1 have ended" in caplog.text
