"""A Prefect of the tests' own: nothing of the user's home is read or written, nothing leaves the machine."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

# Prefect reads its settings when it is imported, so they are set first.
_HOME = tempfile.mkdtemp(prefix="unetseg-test-prefect-")
os.environ.update(
    {
        "PREFECT_HOME": _HOME,
        "PREFECT_PROFILES_PATH": f"{_HOME}/profiles.toml",
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": f"{_HOME}/results",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
    }
)
for _name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_PROFILE"):
    os.environ.pop(_name, None)

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A server that lives as long as the tests."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=120),
        # Each flow run would else wait a second at its end for the thread that beats.
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="session")
def task_runs(prefect_server: None) -> Callable[..., list[str]]:
    """Tells the names of the task runs of a flow run; the server hears of them by and by."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    def names(flow_run: FlowRun, *, at_least: int) -> list[str]:
        runs = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
        deadline = time.monotonic() + 30  # seconds; a busy machine takes some
        with get_client(sync_client=True) as client:
            while True:
                found = client.read_task_runs(flow_run_filter=runs)
                complete = len(found) >= at_least and all(run.state and run.state.is_final() for run in found)
                if complete or time.monotonic() > deadline:
                    return sorted(run.name for run in found)

    return names


@pytest.fixture(scope="session")
def newest_run(prefect_server: None) -> Callable[..., FlowRun]:
    """Tells the newest run of a flow, of those that were started with some parameters."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    def find(**parameters: Any) -> FlowRun:
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC)
        return next(run for run in runs if parameters.items() <= run.parameters.items())

    return find
