"""Runs of the deployments: those in progress, and how they end when all is stopped, or was killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from deployments.home import Home
from deployments.processes import belonging_to, end, is_run, of_run
from unetseg.errors import UnetsegError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["crash_the_dead", "in_progress", "stop", "waiting"]

_AGAIN = "Start it again with the same values: what is finished stays, and a training goes on from its last epoch."
_STOPPED = f"Stopped by unetseg down, or by Ctrl-C in the terminal of unetseg up. {_AGAIN}"
_DIED = f"Its process died: the machine went down, or everything was killed. {_AGAIN}"

_GRACE = 40.0  # seconds: Prefect gives a run 30 s between asking it to end and killing it
_GRACE_ALONE = 10.0  # seconds for a run that no worker looks after, and what is left of others
_PAUSE = 0.5  # seconds between two looks
_ASKED_FOR = 200  # runs at once, Prefect's own limit


def in_progress(client: SyncPrefectClient) -> list[Any]:
    """Runs of deployments that have begun and not ended."""
    return _runs(client, ["PENDING", "RUNNING", "CANCELLING", "PAUSED"])


def waiting(client: SyncPrefectClient) -> list[Any]:
    """Runs of deployments that are to begin, those of schedules too; the next one first."""
    return sorted(_runs(client, ["SCHEDULED"]), key=lambda run: run.next_scheduled_start_time or run.created)


def stop(client: SyncPrefectClient, home: Home, *, hurry: Callable[[], bool], say: Callable[[str], None]) -> None:
    """Cancel what is in progress, as the UI does it; what has not ended in time is killed.

    Args:
        client: of the server.
        home: to which the runs belong.
        hurry: whether to wait no longer.
        say: tells what happens.
    """
    from prefect.states import Cancelling

    runs = in_progress(client)
    for run in runs:
        say(f"stopping run {run.name}")
        with suppress(Exception):  # it has just ended
            client.set_flow_run_state(run.id, Cancelling(message=_STOPPED))
    _wait(client, home, runs, hurry)
    end(filter(is_run, belonging_to(home)), grace=0.0 if hurry() else _GRACE_ALONE, hurry=hurry)
    _conclude(client, runs)


def crash_the_dead(client: SyncPrefectClient) -> list[str]:
    """Mark every run in progress as crashed, when no process can be working on it; their names."""
    from prefect.states import Cancelled, Crashed

    dead = in_progress(client)
    for run in dead:
        state: Any = Cancelled(message=_STOPPED) if run.state.is_cancelling() else Crashed(message=_DIED)
        client.set_flow_run_state(run.id, state, force=True)
    return [run.name for run in dead]


def _wait(client: SyncPrefectClient, home: Home, runs: list[Any], hurry: Callable[[], bool]) -> None:
    """Wait until the workers have ended these runs; those that no worker looks after are asked to end here."""
    _end_orphans(home, runs)
    deadline = time.monotonic() + _GRACE
    ids = {run.id for run in runs}
    while time.monotonic() < deadline and not hurry():
        processes = [process for process in belonging_to(home) if is_run(process)]
        if not processes and ids.isdisjoint(run.id for run in in_progress(client)):
            return
        time.sleep(_PAUSE)


def _end_orphans(home: Home, runs: Iterable[Any]) -> None:
    """The worker of these was killed, and another one does not know of them."""
    here = belonging_to(home)
    for run in runs:
        mine = of_run(here, str(run.id))
        if mine and not any(_has_worker(process) for process in mine):
            end(mine, grace=_GRACE_ALONE)


def _has_worker(process: psutil.Process) -> bool:
    try:
        return any("worker" in parent.cmdline() for parent in process.parents())
    except psutil.Error:
        return False


def _conclude(client: SyncPrefectClient, runs: Iterable[Any]) -> None:
    """What did not end by itself gets the state, and the reason."""
    from prefect.states import Cancelled

    for run in runs:
        state = client.read_flow_run(run.id).state
        if state is None or not (state.is_completed() or state.is_failed()):
            stopped: Any = Cancelled(message=_STOPPED)
            answer = client.set_flow_run_state(run.id, stopped, force=True)
            if answer.status.value != "ACCEPT":
                raise UnetsegError(f"run {run.name} could not be marked as cancelled: {answer.details}")


def _runs(client: SyncPrefectClient, types: list[str]) -> list[Any]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType(name) for name in types])),
        deployment_id=FlowRunFilterDeploymentId(is_null_=False),
    )
    found: list[Any] = []
    while page := client.read_flow_runs(flow_run_filter=wanted, offset=len(found), limit=_ASKED_FOR):
        found += page
    return found
