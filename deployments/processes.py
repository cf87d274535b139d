"""Processes: start them, keep them running, find all that belong to a home, end them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from deployments.environment import MARK
from deployments.home import Home, Process
from unetseg.errors import UnetsegError

__all__ = ["RUN", "Child", "belonging_to", "end", "is_alive", "is_run", "of_run", "tail", "trim", "variable"]

RUN = "PREFECT__FLOW_RUN_ID"
"""The variable by which Prefect tells a process which run it is."""

_DELAYS = (1, 2, 4, 8, 16)  # seconds before a process that died is started again, each time in a row
_SETTLED = 60.0  # seconds: what ran for so long did start well
_LARGEST_LOG = 10 * 2**20  # bytes
_TAIL = 15  # lines of a log, where one must say what went wrong
_BORN = 10.0  # seconds: how far a clock that is set moves the start of a process; a number is not given again so soon
_PAUSE = 0.1  # seconds between two looks
_SHOWN = 1.0  # seconds: a process without an environment may have been given none


class Child:
    """A process that is kept running.

    Args:
        name: what it does.
        command: program and arguments.
        environment: all of it.
        folder: where it runs.
        log: file for what it says; that of the last time is kept beside it.
        clock: tells seconds.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.log = name, log
        self._command, self._environment, self._folder, self._clock = command, environment, folder, clock
        self._process: subprocess.Popen[bytes] | None = None
        self._failures, self._began, self._due = 0, 0.0, 0.0
        _keep_one(log)

    @property
    def record(self) -> Process | None:
        """Number and start; None while it does not run."""
        if self._process is None or self._process.poll() is not None:
            return None
        with suppress(psutil.Error):
            return Process(self.name, self._process.pid, psutil.Process(self._process.pid).create_time())
        return None

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C in the terminal is for `unetseg up`, which ends it in order."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _wait_for_environment(self._process.pid)
        self._began = self._clock()

    def keep(self) -> str:
        """Start it again where it has ended, after a pause that grows; tell what happened, or nothing.

        Raises:
            UnetsegError: it ended too often in a row.
        """
        if self._process is None:
            if self._clock() >= self._due:
                self.start()
            return ""
        code = self._process.poll()
        return "" if code is None else self._again(code)

    def _again(self, code: int) -> str:
        assert self._process is not None
        end(_session(self._process.pid), grace=0.0)  # what it left would hold its port
        self._process = None
        self._failures = 0 if self._clock() - self._began > _SETTLED else self._failures
        if self._failures == len(_DELAYS):
            raise UnetsegError(
                f"{self.name} ended {self._failures + 1} times, at last {_ended(code)}. Its log ends with:\n"
                f"{tail(self.log)}\nThe log: {self.log}"
            )
        delay = _DELAYS[self._failures]
        self._failures += 1
        self._due = self._clock() + delay
        return f"{self.name} ended {_ended(code)}; it is started again in {delay} s (log: {self.log})"


def belonging_to(home: Home) -> list[psutil.Process]:
    """All processes of this machine that an `unetseg up` with this home has started, and what they started."""
    found = {
        each.pid: each
        for process in psutil.process_iter()
        if variable(process, MARK) == str(home.folder)
        for each in [process, *_children(process)]
    }
    found.pop(os.getpid(), None)
    return list(found.values())


def is_run(process: psutil.Process) -> bool:
    """Whether it works on a run."""
    return variable(process, RUN) is not None


def of_run(processes: Iterable[psutil.Process], run: str) -> list[psutil.Process]:
    """Those that work on one run, and what they started."""
    return [each for process in processes if variable(process, RUN) == run for each in [process, *_children(process)]]


def is_alive(process: Process) -> bool:
    """Whether it is still the one that was started: a number that was given to another process is not."""
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.born) <= _BORN
        return bool(same and found.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def end(processes: Iterable[psutil.Process], *, grace: float, hurry: Callable[[], bool] = lambda: False) -> None:
    """Ask processes to end, and kill those that have not after a while.

    Args:
        processes: to end.
        grace: seconds to wait.
        hurry: whether to wait no longer.
    """
    left = _signal(processes, signal.SIGTERM) if grace else list(processes)
    deadline = time.monotonic() + grace
    while left and time.monotonic() < deadline and not hurry():
        _, left = psutil.wait_procs(left, timeout=_PAUSE)
    psutil.wait_procs(_signal(left, signal.SIGKILL), timeout=10)


def tail(log: Path) -> str:
    """The last lines of a log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return "\n".join(f"  {line}" for line in lines[-_TAIL:]) or "  (nothing)"


def trim(log: Path, most: int = _LARGEST_LOG) -> None:
    """Keep a log small while it is written: what is in it moves to the file beside it."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > most:
            shutil.copyfile(log, _older(log))
            os.truncate(log, 0)  # writers append, so they go on at the start


def _wait_for_environment(pid: int) -> None:
    """Linux shows the environment of a process, by which it is found, a moment after it has begun."""
    deadline = time.monotonic() + _SHOWN
    with suppress(psutil.Error):
        while not psutil.Process(pid).environ() and time.monotonic() < deadline:
            time.sleep(_PAUSE / 100)


def _keep_one(log: Path) -> None:
    with suppress(FileNotFoundError):
        log.replace(_older(log))


def _older(log: Path) -> Path:
    return log.with_name(f"{log.name}.1")


def _ended(code: int) -> str:
    """How, in words: ``with status 3``, or ``by SIGKILL``."""
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> list[psutil.Process]:
    reached = []
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)
            reached.append(process)
    return reached


def variable(process: psutil.Process, name: str) -> str | None:
    """A variable of the environment that a process was started with; None also where it may not be read."""
    try:
        value: str | None = process.environ().get(name)
        return value
    except (psutil.Error, OSError):
        return None


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def _session(leader: int) -> list[psutil.Process]:
    """What is left of the session that a process led."""
    return [process for process in psutil.process_iter() if _session_of(process.pid) == leader]


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1
