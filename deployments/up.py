"""Bring a machine up and down, from whichever process it is asked: the one that watches, or another one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version

from deployments import automations
from deployments.deploying import deploy, said_first
from deployments.gpus import gpus
from deployments.home import Home, Record, as_option
from deployments.machine import Machine, stop_all
from deployments.processes import belonging_to, is_alive, tail
from deployments.schedules import Nights
from deployments.server import answers, client
from unetseg.errors import UnetsegError

__all__ = ["Wish", "bring_down", "bring_up", "server_of"]

Say = Callable[[str], None]

_UP = 600.0  # seconds: the longest that all may take to be up
_DOWN = 180.0  # seconds: the longest that all may take to end; runs have 50 of them
_PAUSE = 0.2  # seconds between two looks


@dataclass(frozen=True)
class Wish:
    """What `unetseg up` was asked for.

    Attributes:
        projects: all that are to be deployed, folder by name.
        named: those that were named, as they were typed.
        nights: what becomes of the schedules, ...
        nights_of: ... of which projects.
        port: of the server.
    """

    projects: dict[str, str]
    named: tuple[str, ...]
    nights: Nights
    nights_of: tuple[str, ...]
    port: int

    def words(self, home: Home) -> list[str]:
        """The same as words of a command."""
        words = ["up", "--home", str(home.folder), "--port", str(self.port)]
        for folder in self.named:
            words += ["--project", folder]
        if self.nights.on is not None:
            words.append(f"--schedule={self.nights.cron}" if self.nights.on else "--no-schedule")
        return [*words, "--timezone", self.nights.timezone] if self.nights.timezone else words


def bring_up(home: Home, wish: Wish, *, detach: bool, say: Say) -> None:
    """Start all and watch it, or start a process that does; where all is up, only deploy anew.

    Raises:
        UnetsegError: something does not start.
    """
    deadline = time.monotonic() + _UP
    while time.monotonic() < deadline:
        if detach and not home.is_held():
            _start_detached(home, wish, say)
            return
        with home.taken() as mine:
            if mine:
                _run(home, wish, say)
                return
        if _join(home, wish, say):
            return
        time.sleep(_PAUSE)
    raise UnetsegError(f"another unetseg up holds {home.folder}, but is not up after {_UP:.0f} s; see {home.logs}")


def bring_down(home: Home, say: Say) -> None:
    """End what runs: ask the process that watches, or do it here where it was killed.

    Raises:
        UnetsegError: something does not end.
    """
    if not home.exists or not (home.is_held() or belonging_to(home)):
        say("nothing runs")
        return
    if home.is_held():
        _ask_to_stop(home, say)
    with home.taken() as mine:
        if not mine:
            raise UnetsegError(f"another unetseg up has begun meanwhile with {home.folder}")
        if belonging_to(home):
            say("unetseg up was killed; ending what it has left")
            stop_all(home, say=say, hurry=lambda: False)
        home.remove_record()
    if left := belonging_to(home):
        raise UnetsegError(f"not all ended: {', '.join(str(process.pid) for process in left)}; end them with kill -9")
    say("all is down")


def server_of(home: Home) -> str:
    """The address of the server that runs.

    Raises:
        UnetsegError: none does.
    """
    record = home.read_record() if home.exists else None
    if record is None or not record.url or not answers(record.url):
        raise UnetsegError("no server runs; start it with: unetseg up")
    return record.url


# --------------------------------------------------------------------------- up


def _run(home: Home, wish: Wish, say: Say) -> None:
    def ready(url: str) -> None:
        say(_addresses(home, wish, url))
        say("stop all: Ctrl-C here, or unetseg down" + as_option(home))

    machine = Machine(
        home, port=wish.port, projects=wish.projects, nights=wish.nights, nights_of=wish.nights_of, say=say
    )
    machine.run(ready)
    say("all is down")


def _start_detached(home: Home, wish: Wish, say: Say) -> None:
    log = home.logs / "up.log"
    say(f"starting in the background (log: {log})")
    command = [sys.executable, "-m", "deployments.cli", *wish.words(home)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    with _ended_on_interrupt(process):
        record = _wait_for(home, process)
    if record is None:
        raise UnetsegError(f"it ended with status {process.returncode}. It said:\n{tail(log)}")
    say(_addresses(home, wish, record.url))
    say(f"stop all: unetseg down{as_option(home)}")


def _wait_for(home: Home, process: subprocess.Popen[bytes]) -> Record | None:
    """The record of a process that has brought all up; None where it ended instead."""
    deadline = time.monotonic() + _UP
    while process.poll() is None:
        record = home.read_record()
        if record and record.watcher.pid == process.pid and record.state == "up":
            return record
        if time.monotonic() > deadline:
            process.terminate()
            raise UnetsegError(f"not up after {_UP:.0f} s; see {home.logs}")
        time.sleep(_PAUSE)
    return None


@contextmanager
def _ended_on_interrupt(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ctrl-C while one waits for it ends it too."""
    try:
        yield
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def _join(home: Home, wish: Wish, say: Say) -> bool:
    """Deploy to what already runs; false where it is not up, or not any more."""
    record = home.read_record()
    if record is None or record.state != "up" or not answers(record.url):
        return False
    if record.version != version("unetseg"):
        say(f"version {record.version} runs, this is {version('unetseg')}: unetseg down, then unetseg up, changes over")
    say(said_first(wish.projects))  # before the client, whose import alone takes seconds
    with client(home, record.url) as server:
        automations.apply(server, automations.DEAD_RUNS)
        deploy(server, home, record.url, wish.projects, wish.nights, wish.nights_of)
    say("it runs already; the deployments are up to date")
    say(_addresses(home, wish, record.url))
    return True


def _nights(on: bool | None, option: str) -> str:
    """What has become of the nights, and how to change it."""
    if on is None:
        return f"the nights: unetseg up{option} --schedule switches them on, --no-schedule off"
    said, other = ("on", "--no-schedule") if on else ("off", "--schedule")
    return f"the nights are switched {said}; unetseg up{option} {other} undoes it"


def _addresses(home: Home, wish: Wish, url: str) -> str:
    option, count = as_option(home), len(gpus())
    lines = [
        f"Prefect UI  {url}",
        *(f"project     {name}  {folder}" for name, folder in wish.projects.items()),
        f"GPUs        {count}" + ("" if count else ": the CPU trains"),
        f"home        {home.folder}",
        "",
        "start a run: in the UI, under Deployments; or, in another terminal:",
        f"  export PREFECT_API_URL={url}/api",
        *(f"  prefect deployment run nightly/{name} --watch" for name in wish.projects),
        _nights(wish.nights.on, option),
        f"look: unetseg status{option}",
    ]
    return "\n".join(lines)


# --------------------------------------------------------------------------- down


def _ask_to_stop(home: Home, say: Say) -> None:
    """SIGTERM to the process that watches, and wait; Ctrl-C meanwhile makes it hurry."""
    deadline, watcher = time.monotonic() + _DOWN, None
    while home.is_held() and time.monotonic() < deadline:
        record = home.read_record()
        if watcher is None and record and is_alive(record.watcher):
            watcher = record.watcher
            say("stopping; Ctrl-C hurries")
            os.kill(watcher.pid, signal.SIGTERM)
        try:
            time.sleep(_PAUSE)
        except KeyboardInterrupt:
            if watcher:
                with suppress(ProcessLookupError):
                    os.kill(watcher.pid, signal.SIGTERM)
    if home.is_held():
        raise UnetsegError(f"unetseg up has not ended within {_DOWN:.0f} s; see {home.logs}")
