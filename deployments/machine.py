"""Server, pools, workers and deployments of one machine: started in order, watched, stopped in order.

::

    start   server -> pools, automation -> runs of the dead -> workers -> deployments
    watch   what ends by itself is started again
    stop    runs -> workers -> server -> whatever is left
"""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from types import FrameType
from typing import TYPE_CHECKING

import psutil

from deployments import automations, pools, runs
from deployments.deploying import deploy, said_first
from deployments.environment import environment
from deployments.gpus import gpus
from deployments.home import Home, Process, Record, State
from deployments.processes import Child, belonging_to, end, is_alive, trim
from deployments.schedules import Nights
from deployments.server import HOST, address, answers, client, wait_until

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["Machine", "stop_all"]

Say = Callable[[str], None]

_SERVER_STARTS = 180.0  # seconds; a new database takes a busy machine half a minute
_WORKERS_START = 120.0  # seconds
_LOOK = 0.5  # seconds between two looks at the processes
_GRACE = 15.0  # seconds between asking a worker or the server to end and killing it


class _StopAsked(Exception):
    """Somebody asked to stop."""


class Machine:
    """Everything that one `unetseg up` runs.

    Args:
        home: where all is kept; this process holds it.
        port: of the server; 0 for any that is free.
        projects: folder by name.
        nights: what becomes of the schedules, ...
        nights_of: ... of which projects.
        say: tells what happens.
    """

    def __init__(
        self,
        home: Home,
        *,
        port: int,
        projects: Mapping[str, str],
        nights: Nights,
        nights_of: Sequence[str],
        say: Say,
    ) -> None:
        self._home, self._projects, self._say, self._port = home, projects, say, port
        self._nights, self._nights_of = nights, nights_of
        self._url = ""
        self._state: State = "starting"
        self._children: list[Child] = []
        self._stopping, self._hurrying = threading.Event(), threading.Event()

    def run(self, ready: Callable[[str], None]) -> None:
        """Start all, and watch until somebody asks to stop; then, or on an error, stop all.

        Args:
            ready: called with the server's address when all is up.

        Raises:
            UnetsegError: something does not start, or ends again and again.
        """
        with self._signals():
            try:
                self._start()
                ready(self._url)
                self._watch()
            except _StopAsked:
                pass
            finally:
                self._stop()

    # ----------------------------------------------------------------------- start

    def _start(self) -> None:
        if belonging_to(self._home):
            self._say("ending what an unetseg up that was killed has left")
            stop_all(self._home, say=self._say, hurry=self._hurrying.is_set)
        _empty(self._home)
        self._url = address(self._port)
        self._note("starting")
        self._say("starting the server")
        server = self._child("server", ["server", "start", "--host", HOST, "--port", self._url.rpartition(":")[2]])
        self._until(lambda: answers(self._url), _SERVER_STARTS, f"the server does not answer (log: {server.log})")
        with client(self._home, self._url) as server_client:
            self._set_up(server_client)
        self._note("up")

    def _set_up(self, server: SyncPrefectClient) -> None:
        found = gpus()
        pools.make(server, self._home, len(found))
        automations.apply(server, automations.DEAD_RUNS)
        for name in runs.crash_the_dead(server):
            self._say(f"run {name} had died with its process; it is marked as crashed")
        pools.resume(server, self._home)
        self._start_workers(server, pools.workers(found))
        self._say(said_first(self._projects))
        deploy(server, self._home, self._url, self._projects, self._nights, self._nights_of)

    def _start_workers(self, server: SyncPrefectClient, started: Sequence[pools.Worker]) -> None:
        """Before the deployments: workers tell what their runs may be given, by which the server checks deployments."""
        self._say("starting the workers")
        since, names = datetime.now(UTC), {worker.name for worker in started}
        for worker in started:
            self._worker(worker)
        self._note("starting")
        what = f"not all workers are there (logs: {self._home.logs})"
        self._until(lambda: names <= _heard(server, since), _WORKERS_START, what)

    def _worker(self, worker: pools.Worker) -> None:
        words = ["worker", "start", "--type", "process", "--pool", worker.pool, "--name", worker.name]
        sees = {} if worker.sees is None else {"CUDA_VISIBLE_DEVICES": worker.sees}
        self._child(f"worker {worker.name}", [*words, "--limit", str(worker.limit)], sees)

    def _child(self, name: str, words: list[str], more: Mapping[str, str] = {}) -> Child:
        child = Child(
            name,
            [sys.executable, "-m", "prefect", *words],
            environment={**environment(self._home, self._url), **more},
            folder=self._home.folder,
            log=self._home.logs / f"{name.replace(' ', '-')}.log",
        )
        self._children.append(child)
        child.start()
        return child

    def _until(self, true: Callable[[], bool], seconds: float, what: str) -> None:
        wait_until(true, seconds=seconds, what=what, meanwhile=self._keep)

    # ----------------------------------------------------------------------- watch

    def _watch(self) -> None:
        while True:
            self._keep()
            self._stopping.wait(_LOOK)

    def _keep(self) -> None:
        """Look at each process once."""
        if self._stopping.is_set():
            raise _StopAsked
        before = self._processes()
        for child in self._children:
            if said := child.keep():
                self._say(said)
            trim(child.log)
        if self._processes() != before:
            self._note(self._state)

    def _note(self, state: State) -> None:
        self._state = state
        me = psutil.Process()
        record = Record(
            state=state,
            watcher=Process("up", me.pid, me.create_time()),
            url=self._url,
            version=version("unetseg"),
            processes=self._processes(),
        )
        self._home.write_record(record)

    def _processes(self) -> tuple[Process, ...]:
        return tuple(record for child in self._children if (record := child.record))

    # ----------------------------------------------------------------------- stop

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP ask to stop; one more SIGINT or SIGTERM to hurry."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._asked) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        if self._stopping.is_set() and number != signal.SIGHUP:
            self._hurrying.set()
        self._stopping.set()

    def _stop(self) -> None:
        with suppress(OSError):  # on a full disk, too, all ends
            self._note("stopping")
        self._say("stopping")
        stop_all(self._home, say=self._say, hurry=self._hurrying.is_set)
        self._home.remove_record()


def stop_all(home: Home, *, say: Say, hurry: Callable[[], bool]) -> None:
    """Stop what belongs to a home: runs, then workers, then the server, and whatever is left.

    Args:
        home: to which it belongs; what runs is read from its record.
        say: tells what happens.
        hurry: whether to wait no longer.
    """
    record = home.read_record()
    if record and _is_ours(record) and answers(record.url) and not hurry():
        try:
            with client(home, record.url) as server:
                pools.pause(server, home)
                runs.stop(server, home, hurry=hurry, say=say)
        except Exception as error:  # the server may be what is broken: then the next start sets the runs' states
            say(f"the runs could not be stopped in order: {error}")
    everything = belonging_to(home)
    servers = {process.pid for process in (record.processes if record else ()) if process.name == "server"}
    end([process for process in everything if not _below(process, servers)], grace=_GRACE, hurry=hurry)
    end(belonging_to(home), grace=_GRACE, hurry=hurry)


def _is_ours(record: Record) -> bool:
    """Whether the server that was started still runs: another one may have taken its address."""
    return any(process.name == "server" and is_alive(process) for process in record.processes)


def _below(process: psutil.Process, leaders: set[int]) -> bool:
    with suppress(psutil.Error):
        return process.pid in leaders or any(parent.pid in leaders for parent in process.parents())
    return False


def _heard(server: SyncPrefectClient, since: datetime) -> set[str]:
    """Names of the workers that the server has heard of since then."""
    return {
        worker.name
        for pool in pools.POOLS
        for worker in server.read_workers_for_work_pool(pool)
        if worker.last_heartbeat_time and worker.last_heartbeat_time >= since
    }


def _empty(home: Home) -> None:
    """Remove temporary files of runs that were killed."""
    shutil.rmtree(home.temporary, ignore_errors=True)
    home.temporary.mkdir(exist_ok=True)
