"""Prediction on a Dask cluster whose workers or scheduler are killed: the same outputs as undisturbed."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distributed
import pytest

from unetseg.errors import WorkerDiedError
from unetseg.parallel import open_workers

pytestmark = pytest.mark.drill

KILLS = 10
SMALL = 12
BANDS = 5  # of the large scan, at least
NOTICED = 15  # seconds within which the command ends when its scheduler is killed
LONGEST = 240  # seconds; what takes longer hangs


class Cluster:
    """A scheduler and two workers: threads of a process, or processes that a nanny starts again."""

    def __init__(self, *, nanny: bool) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        self.scheduler = _start(
            "scheduler", "--host", "127.0.0.1", "--port", port, "--dashboard-address", "127.0.0.1:0"
        )
        self.count = 2 if nanny else 1
        how = ("--nworkers", 2, "--nthreads", 1) if nanny else ("--no-nanny", "--nthreads", 2)
        self.workers = _start("worker", self.address, *how, "--no-dashboard")

    def pids(self) -> list[int]:
        """The processes of the workers, once they are there."""
        with distributed.Client(self.address, timeout=LONGEST, set_as_default=False) as client:
            client.wait_for_workers(self.count, timeout=LONGEST)
            return sorted(client.run(os.getpid).values())

    def close(self) -> None:
        for process in (self.workers, self.scheduler):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start(what: str, *options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *map(str, options)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, start_new_session=True, **quiet)


@pytest.fixture
def new_cluster() -> Iterator[Callable[..., Cluster]]:
    """Starts clusters, one at a time."""
    with ExitStack() as stack:

        def start(*, nanny: bool = False) -> Cluster:
            stack.close()
            cluster = Cluster(nanny=nanny)
            stack.callback(cluster.close)
            cluster.pids()
            return cluster

        yield start


@dataclass(frozen=True)
class Prepared:
    """What is segmented, and what an undisturbed run makes of it."""

    prediction: Any
    expected: dict[str, bytes]


@pytest.fixture(scope="module")
def prepared(trained_folder: Path, new_prediction, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("predict")
    prediction = new_prediction(folder / "all", trained_folder / "models" / "0001", SMALL)
    with closing(Cluster(nanny=True)) as cluster:
        cluster.pids()
        prediction.run(folder / "out", "--cluster", cluster.address)
    return Prepared(prediction, prediction.contents(folder / "out"))


def _in_mid_run(prediction: Any, out: Path, address: str, number: int) -> subprocess.Popen[bytes]:
    """The command, at a random moment: so many scans and bands are done, and a little later."""
    moment, end = random.Random(number), time.monotonic() + LONGEST
    process, wanted = prediction.start(out, "--cluster", address), moment.randrange(SMALL + BANDS)

    def reached() -> bool:
        begun = out.exists() and any(out.iterdir())  # the folder is tried before the first scan
        return begun and len(prediction.markers(out)) + prediction.bands(out) >= wanted

    while not reached() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(moment.uniform(0, 0.3))
    return process


def test_a_worker_killed_at_any_moment_costs_nothing(prepared: Prepared, new_cluster, tmp_path: Path, injected, say):
    prediction, done, found, bands = prepared.prediction, [], [], []
    cluster = new_cluster(nanny=True)
    for number in range(KILLS):
        out, pids = tmp_path / str(number), cluster.pids()
        process = _in_mid_run(prediction, out, cluster.address, number)
        done.append(len(prediction.markers(out)))
        bands.append(prediction.bands(out))
        os.kill(random.Random(number).choice(pids), signal.SIGKILL)
        injected("predict: Dask worker killed")
        _, said = process.communicate(timeout=LONGEST)
        assert process.returncode == 0, (process.returncode, said.decode())
        counted = prediction.result(out)
        # What a worker had finished and not yet told is found, not done again.
        assert counted["done"] + counted["skipped"] == prediction.count
        found.append(counted["skipped"])
        assert prediction.contents(out) == prepared.expected
    say(f"predict: {KILLS} workers killed, with {done} of {prediction.count} scans and {bands} bands done")
    say(f"predict: scans that were finished and not yet told: {found}")
    assert any(0 < count < prediction.count for count in done)


def test_a_scheduler_killed_at_any_moment_ends_the_command_and_the_next_one_goes_on(
    prepared: Prepared, new_cluster, tmp_path: Path, injected, say
):
    prediction, done, bands, seconds, early = prepared.prediction, [], [], [], 0
    cluster = new_cluster()
    for number in range(KILLS):
        out = tmp_path / str(number)
        process = _in_mid_run(prediction, out, cluster.address, number)
        cluster.scheduler.kill()
        injected("predict: Dask scheduler killed")
        killed = time.monotonic()
        _, said = process.communicate(timeout=LONGEST)
        seconds.append(round(time.monotonic() - killed, 1))
        early += process.returncode == 0
        if process.returncode:
            assert process.returncode == 1
            assert f"--cluster {cluster.address}: the Dask scheduler" in said.decode()
            assert "run the same command again" in said.decode()
            assert seconds[-1] < NOTICED
        cluster = new_cluster()  # the old one's workers are gone
        before = prediction.markers(out)
        done.append(len(before))
        bands.append(prediction.bands(out))
        counted = prediction.run(out, "--cluster", cluster.address)
        assert (counted["done"], counted["skipped"]) == (prediction.count - len(before), len(before))
        assert before.items() <= prediction.markers(out).items()  # what was done is not written again
        assert prediction.contents(out) == prepared.expected
    say(f"predict: {KILLS} schedulers killed, {early} after the last unit; command ended after {seconds} s")
    say(f"predict: kept then: {done} of {prediction.count} scans and {bands} bands; only the others were done")
    assert early < KILLS // 2
    assert any(0 < count < prediction.count for count in done)


def test_a_unit_that_kills_its_process_fails_alone(injected, say):
    deadly = "__import__('os').kill(__import__('os').getpid(), 9)"
    units = [*(f"{number} + 0" for number in range(10)), deadly, *(f"{number} + 0" for number in range(10, 20))]
    started = time.monotonic()
    with open_workers(processes=2) as workers:
        injected("unit that kills its process")
        found = dict(workers.run(eval, units))
    assert isinstance(found.pop(deadly), WorkerDiedError)
    assert found == {f"{number} + 0": number for number in range(20)}
    say(f"a unit that kills its process, among 20 others: it alone failed, after {time.monotonic() - started:.0f} s")
