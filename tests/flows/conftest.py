"""A Prefect of the tests' own: nothing of the user's home is read or written, nothing leaves the machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

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
