"""Runs of `unetseg up` that are killed, with their worker or without, or lose their server: what becomes of them."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deployments.home import Home
from deployments.processes import belonging_to
from deployments.server import answers
from tests.deployments.machine import LONGEST
from tests.drills.operated import ENDED, PROCESSES, Operated, Predicting, Training, Work, alive, taken
from tests.faults import Injected
from unetseg.json_files import read_json

pytestmark = pytest.mark.drill

WORKS = ("train", "predict", "predict-processes")
BOTH = ("train", "predict")
POOLS = 2  # each has a worker
KILLS = 2  # of each kind
RENEWED = 420.0  # seconds in which a run renews its place, and has asked again as often as it may
GRACE = 30.0  # seconds that Prefect gives a run to end, before it kills it
BUSY = 30.0  # seconds that a machine with other work on it may take longer
Say = Callable[[str], None]


@pytest.fixture(scope="module")
def machine(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """All is up, for a project with a model in production; at the end nothing is left."""
    folder = tmp_path_factory.mktemp("operated")
    made = Operated(Home(folder / "home"), shutil.copytree(trained_folder, folder / "eyes"))
    try:
        made.up("--project", made.project)
        yield made
    finally:
        made.unetseg("down")
        assert belonging_to(made.home) == []


@pytest.fixture(scope="module")
def works(machine: Operated, new_prediction, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Work]:
    """What is disturbed, with what an undisturbed run leaves."""
    folder = tmp_path_factory.mktemp("works")
    prediction = new_prediction(folder / "all", machine.project / "models" / "0001", small=120)
    training = Training(machine)
    training.complete(training.begin())
    training.expected = training.weights()
    threads = Predicting(machine, prediction, folder / "threads")
    threads.complete(threads.begin())
    threads.expected = prediction.contents(threads.into)
    processes = Predicting(machine, prediction, folder / "processes", PROCESSES)
    processes.expected = threads.expected
    return dict(zip(WORKS, (training, threads, processes), strict=True))


@pytest.fixture(params=WORKS)
def work(request: pytest.FixtureRequest, works: dict[str, Work]) -> Work:
    found = works[request.param]
    found.fresh()
    return found


@pytest.fixture(autouse=True)
def production_stays(machine: Operated) -> Iterator[None]:
    """Whatever is killed."""
    before = machine.aliases()
    yield
    assert machine.aliases() == before


def check_goes_on(work: Work, say: Say, what: str) -> None:
    """The next run of the same deployment has its place, goes on, and leaves what an undisturbed one does."""
    done = work.done()
    assert done > 0
    again, machine = work.begin(), work.machine
    waited = taken(lambda: machine.state(again)["name"] == "Running", why=lambda: str(machine.state(again)))
    work.complete(again)
    before = work.done_before(again)
    assert before >= done
    work.check_same()
    say(f"{what}: the next run ran after {waited:.1f} s, and did not do again {before} that were done")


def test_a_run_whose_process_is_killed_is_crashed_and_the_next_one_goes_on(
    machine: Operated, work: Work, injected: Injected, say: Say
):
    run = work.in_the_middle()
    there = machine.kill_run(run)
    injected("run killed")
    crashed = taken(lambda: machine.state(run)["name"] != "Running")
    assert machine.state(run)["name"] == "Crashed", machine.state(run)
    gone = taken(lambda: not any(map(alive, there)))
    what = f"{work.name}, run killed"
    say(f"{what}: crashed after {crashed:.1f} s, its {len(there)} processes gone {gone:.1f} s later")
    check_goes_on(work, say, what)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "restarted"])
def test_when_the_server_goes_and_comes_back_runs_complete(
    machine: Operated, works: dict[str, Work], number: signal.Signals, injected: Injected, say: Say
):
    both = [works[name] for name in BOTH]
    for work in both:
        work.fresh()
    runs = [work.in_the_middle() for work in both]
    server = machine.process("server")
    assert {machine.state(run)["name"] for run in runs} == {"Running"}
    server.send_signal(number)
    injected(f"server ended by {number.name}")
    away = taken(lambda: not alive(server)) + taken(lambda: answers(machine.url))
    for work, run in zip(both, runs, strict=True):
        work.complete(run)
        work.check_same()
    say(f"server gone by {number.name}: back after {away:.1f} s; a training and a prediction completed, nothing lost")


def test_a_run_keeps_its_place_when_the_server_that_gave_it_was_killed(machine: Operated, injected: Injected, say: Say):
    """Places are renewed every four minutes: one that a new server did not know would end its run."""
    run, server = machine.in_training(), machine.process("server")
    server.kill()
    injected("server ended by SIGKILL")
    taken(lambda: not alive(server))
    taken(lambda: answers(machine.url))
    back = time.monotonic()
    while time.monotonic() - back < RENEWED:
        state = machine.state(run)
        assert state["name"] == "Running", f"{state['message']}\n{machine.logs()}"
        time.sleep(GRACE / 10)
    machine.ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    machine.wait(run, *ENDED, seconds=LONGEST)
    say(f"server killed: a training still ran {RENEWED:.0f} s after the next one was there")


@pytest.mark.parametrize("how", ["ui", "command"])
def test_a_cancelled_run_ends_with_its_child_processes_and_the_next_one_goes_on(
    machine: Operated, work: Work, how: str, injected: Injected, say: Say
):
    run = work.in_the_middle()
    there = machine.processes_of(run)
    if how == "ui":
        machine.ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    else:
        machine.prefect("flow-run", "cancel", run)
    injected("run cancelled")
    taken(lambda: not any(map(alive, [*there, *machine.processes_of(run)])))
    gone = time.time()
    machine.wait(run, *ENDED, seconds=LONGEST)
    since = machine.since(run)
    assert "Cancelled" in since, since
    gone, cancelled = gone - since["Cancelling"], since["Cancelled"] - since["Cancelling"]
    what = f"{work.name}, cancelled by {how}"
    say(f"{what}: its {len(there)} processes gone after {gone:.1f} s, Cancelled after {cancelled:.1f} s")
    assert max(gone, cancelled) < GRACE + BUSY
    check_goes_on(work, say, what)


@pytest.mark.parametrize("work", BOTH, indirect=True)
def test_a_run_whose_worker_is_killed_goes_on_and_completes(
    machine: Operated, work: Work, injected: Injected, say: Say
):
    run = work.in_the_middle()
    killed = kill_worker(machine, work)
    injected("worker killed in mid-run")
    there = machine.processes_of(run)
    back = taken(lambda: is_back(machine, killed))
    work.complete(run)
    work.check_same()
    taken(lambda: not any(map(alive, there)))
    say(f"{work.name}, worker killed: another one after {back:.1f} s; the run completed, nothing lost")
    again = work.begin()
    taken(lambda: machine.state(again)["name"] == "Running", why=lambda: str(machine.state(again)))
    work.complete(again)


@pytest.mark.parametrize("work", BOTH, indirect=True)
def test_a_run_that_is_killed_with_its_worker_is_crashed_by_the_server(
    machine: Operated, work: Work, injected: Injected, say: Say
):
    run = work.in_the_middle()
    there = machine.processes_of(run)
    kill_worker(machine, work)
    for process in there:
        process.kill()
    injected("run and its worker killed")
    crashed = taken(lambda: machine.state(run)["name"] != "Running")
    assert machine.state(run)["name"] == "Crashed", machine.state(run)
    what = f"{work.name}, killed with its worker"
    say(f"{what}: crashed after {crashed:.1f} s")
    check_goes_on(work, say, what)


def test_killed_runs_leave_nothing_behind(machine: Operated, works: dict[str, Work], injected: Injected, say: Say):
    before = temporary(machine)  # of killed workers; the next `unetseg up` removes them
    for work in (works[name] for name in BOTH):
        work.fresh()
        for _ in range(KILLS):
            run = work.in_the_middle()
            machine.kill_run(run)
            injected("run killed")
            machine.wait(run, "Crashed", seconds=LONGEST)
        work.complete(work.begin())
        work.check_same()
    taken(lambda: temporary(machine) <= before, why=lambda: str(temporary(machine) - before))
    into = works["predict"].into
    assert list((into / ".unfinished").glob("*")) == []
    assert list(machine.project.glob("runs/*/checkpoint")) == []
    assert read_json(machine.project / "runs" / "working.json") == {}
    assert [process for process in belonging_to(machine.home) if not alive(process)] == []
    half = [path.name for path in into.rglob(".tmp-*")]
    say(
        f"{2 * KILLS} runs killed: no temporary folders, checkpoints, unfinished parts or dead processes left; "
        f"files half written: {len(half)}, removed by a run an hour later; "
        f"folders that killed workers left: {len(before)}"
    )


def test_how_long_a_run_takes_to_begin(work: Work, say: Say):
    run = work.begin()
    work.complete(run)
    since = work.machine.since(run)
    running, began = (at - since["Scheduled"] for at in (since["Running"], work.began(run)))
    say(f"{work.name}: Running {running:.1f} s after it was asked for, first work {began:.1f} s after")
    assert 0 < running < began


def kill_worker(machine: Operated, work: Work) -> psutil.Process:
    worker = machine.process(f"worker {work.pool}")
    worker.kill()
    return worker


def is_back(machine: Operated, killed: psutil.Process) -> bool:
    """Whether another worker is there in the place of one."""
    record = machine.home.read_record()
    assert record is not None
    workers = [process.pid for process in record.processes if process.name.startswith("worker ")]
    return len(workers) == POOLS and killed.pid not in workers


def temporary(machine: Operated) -> set[str]:
    """Folders of runs."""
    return {path.name for path in machine.home.temporary.iterdir() if "prefect" in path.name}
