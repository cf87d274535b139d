"""A worker that gives its runs back when it is stopped.

Services and containers are stopped by SIGTERM. ``prefect worker start`` (3.8.8) kills its runs then, and on the server
they stay *Running* for ever; whatever waits for their slot waits with them. So this command stands around it. It takes
the same options, and when it is told to stop it

1. holds the worker, so that it takes nothing new;
2. asks the runs to end, which lets their ``finally`` run, and kills those that have not ended in time;
3. tells the server that they wait for the next worker (*AwaitingRetry*), with a sentence.

    python -m deployments.worker --pool gpu --limit 1

Prefect is imported only when runs are given back: this process is to cost little beside the worker itself.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

import psutil

from deployments.processes import RUN, variable

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["main"]

logger = logging.getLogger(__name__)

_OURS: Final = "UNETSEG_WORKER"  # in the environment of all that this worker starts, also of what outlives its parent
_TO_END: Final = 30.0  # seconds that runs have to end by themselves; a cancelled run has as many
_TO_DIE: Final = 5.0  # seconds until what was killed is gone; a process that waits for a lost disk is not
_LOOK: Final = 0.2  # seconds between two looks


class _Stopped(BaseException):
    """Somebody told this process to end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker until it ends or is told to stop.

    Args:
        arguments: those of ``prefect worker start``; the words after the command's name unless given.

    Returns:
        The exit status: 0 when it was stopped and its runs are given back, 1 when they could not be, and the worker's
        own when that ended by itself.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s | %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    pool, name, options = _parse(arguments)
    mark = uuid4().hex
    with tempfile.TemporaryDirectory(prefix="unetseg-worker-", ignore_cleanup_errors=True) as scratch:
        _when_told_to_stop(_stop)
        worker, status = None, 0
        try:
            worker = _start(options, os.environ | {_OURS: mark, "TMPDIR": scratch})
            status = worker.wait()
        except _Stopped:
            logger.info("worker %s is told to stop", name)
        _when_told_to_stop(signal.SIG_IGN)
        given = _give_back(_end(worker, mark), pool, name)
        return status or int(not given)


def _parse(arguments: Sequence[str] | None) -> tuple[str, str, list[str]]:
    """The pool, the worker's name, and all options for ``prefect worker start``."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.worker",
        description="Run a worker that gives its runs back when it is stopped.",
        epilog="Other options are those of `prefect worker start`.",
        allow_abbrev=False,
    )
    parser.add_argument("-p", "--pool", required=True, help="the work pool whose runs it takes")
    parser.add_argument("-n", "--name", help="no other worker may have it; default: machine and pool")
    known, others = parser.parse_known_args(arguments)
    name = known.name or f"{socket.gethostname()}-{known.pool}"
    # Without its type the worker asks what types there are, and the server asks an address outside.
    return known.pool, name, ["--pool", known.pool, "--name", name, "--type", "process", *others]


def _when_told_to_stop(action: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, action)  # type: ignore[arg-type]


def _stop(number: int, frame: FrameType | None) -> None:
    _when_told_to_stop(signal.SIG_IGN)  # what follows is not to be cut short; who cannot wait sends SIGKILL
    raise _Stopped


def _start(options: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """The worker, in a session of its own: Ctrl-C in a terminal is for this process alone."""
    command = [sys.executable, "-m", "prefect", "worker", "start", *options]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)


# --------------------------------------------------------------------------- processes


def _end(worker: subprocess.Popen[bytes] | None, mark: str) -> set[UUID]:
    """End the worker and all that it started; the runs that were under way."""
    if worker:
        worker.send_signal(signal.SIGSTOP)  # else it would take the next run, and call these crashed
    runs = _runs(mark)
    for process in runs:
        _signal(process, signal.SIGTERM)
    _wait_while(lambda: any(map(_lives, runs)), _TO_END)
    for process in _marked(mark):
        _signal(process, signal.SIGKILL)
    if worker:
        worker.wait()
    _wait_while(lambda: bool(_marked(mark)), _TO_DIE)
    return set(runs.values())


def _runs(mark: str) -> dict[psutil.Process, UUID]:
    """The process of each run, not those that it started itself: it ends them."""
    inside = {process: UUID(run) for process in _marked(mark) if (run := variable(process, RUN))}
    pids = {process.pid for process in inside}
    return {process: run for process, run in inside.items() if process.ppid() not in pids}


def _marked(mark: str) -> list[psutil.Process]:
    """All that this worker has started, also what outlived its parent."""
    return [process for process in psutil.process_iter() if variable(process, _OURS) == mark]


def _wait_while(true: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while true() and time.monotonic() < until:
        time.sleep(_LOOK)


def _lives(process: psutil.Process) -> bool:
    """Whether it still does something: what has ended stays a zombie, since the worker is held."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


# --------------------------------------------------------------------------- the server


def _give_back(runs: Iterable[UUID], pool: str, name: str) -> bool:
    """Tell the server that runs wait for the next worker; whether it knows.

    Args:
        runs: that were under way; some may have ended well in the meantime.
        pool: of the worker.
        name: of the worker; the server knows of runs that it has taken and not begun.
    """
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            for run in {*runs, *_taken(client, pool, name)}:
                _give_one_back(client, run, name)
    except Exception:  # whatever it is, this process must end; the automation that looks for dead runs does the rest
        logger.exception("the server could not be told that the runs of %s have ended", name)
        return False
    return True


def _taken(client: SyncPrefectClient, pool: str, name: str) -> set[UUID]:
    """The runs that a worker has, as the server sees it."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType

    under_way = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=under_way)),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
    )
    return {run.id for run in found if run.labels.get("prefect.worker.name") == name}


def _give_one_back(client: SyncPrefectClient, run_id: UUID, name: str) -> None:
    """Let a run wait for the next worker, unless it has ended or was being cancelled."""
    from prefect.states import AwaitingRetry, Cancelled, Crashed

    run = client.read_flow_run(run_id)
    state, stopped = run.state, f"Worker {name} was stopped while this ran"
    if state and state.is_cancelling():
        client.set_flow_run_state(run_id, Cancelled(message=f"{stopped}, and was being cancelled."), force=True)
    elif state and state.is_final() and not state.is_crashed():
        logger.info("%s had ended: %s", run.name, state.name)
    else:
        # The automation that ends dead runs waits for a last word of each that it has heard of, and this is one.
        client.set_flow_run_state(run_id, Crashed(message=f"{stopped}."), force=True)
        again = f"{stopped}; the next worker of the pool goes on from what is finished."
        client.set_flow_run_state(run_id, AwaitingRetry(message=again), force=True)
        logger.info("%s waits for the next worker", run.name)


if __name__ == "__main__":
    sys.exit(main())
