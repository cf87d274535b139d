"""The environment of everything that `unetseg up` starts: a Prefect of its own, which keeps to itself.

What the runs need stands in ``prefect.yaml``, since workers of other machines need it too; it is read from there.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from deployments.home import Home

__all__ = ["MARK", "PREFECT_FILE", "adopt", "deployed", "environment"]

PREFECT_FILE = Path(__file__).with_name("prefect.yaml")

MARK = "UNETSEG_UP"
"""The variable by which a process tells which home it belongs to, however it was started."""

_HERE = ("127.0.0.1", "localhost")  # never asked for through a proxy

_PREFECT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_API_URL": "/api",  # the page asks the server that it came from, also through a tunnel
    "PREFECT_WORKER_QUERY_SECONDS": "3",  # a run that was clicked starts within seconds
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",  # else runs are kept for ever
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(90 * 86400),  # seconds
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P7D",  # days: they are most of the database
    # On disk: a run whose place in a limit a restarted server had forgotten would be ended.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}


@cache
def deployed() -> dict[str, Any]:
    """The content of ``prefect.yaml``. Not to be changed."""
    content: dict[str, Any] = yaml.safe_load(PREFECT_FILE.read_text(encoding="utf-8"))
    return content


def environment(home: Home, url: str) -> dict[str, str]:
    """The whole environment of a process.

    What the user has set for another Prefect does not reach this one: its server, profile or database is not ours.

    Args:
        home: where all is kept.
        url: of the server, without a path.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    runs: dict[str, str] = deployed()["definitions"]["env"]
    addresses = {
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url,
    }  # of pages that may ask it
    return inherited | runs | _PREFECT | _proxies() | _places(home) | addresses


def adopt(home: Home, url: str) -> None:
    """Take the environment on, for Prefect's client in this process; before Prefect is imported."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ.update(environment(home, url) | {"PREFECT_LOGGING_LEVEL": "ERROR"})
    os.environ.pop(MARK)  # whoever only asks is not part of it


def _places(home: Home) -> dict[str, str]:
    return {
        MARK: str(home.folder),
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_PROFILES_PATH": str(home.prefect / "profiles.toml"),
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(home.prefect / "storage"),
        # Its pages, at each start. Not into the package: that may be root's, and then there would be no UI.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home.prefect / "ui"),
        "TMPDIR": str(home.temporary),
        "PYTHONUNBUFFERED": "1",  # what a process said last is in its log, however it ended
    }


def _proxies() -> dict[str, str]:
    known = [name for name in os.environ.get("NO_PROXY", os.environ.get("no_proxy", "")).split(",") if name]
    names = ",".join([*known, *(name for name in _HERE if name not in known)])
    return {"NO_PROXY": names, "no_proxy": names}
