"""Names of flow runs, such as ``nightly eyes 2026-11-20``."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import PurePath

from prefect import runtime

__all__ = ["run_name"]


def run_name(text: str) -> Callable[[], str]:
    """Name the runs of a flow by what is done, of what, and when.

    Args:
        text: such as ``predict {folder}``; of parameters that are folders or addresses the last name is taken. The date
            on the worker follows.
    """

    def name() -> str:
        values = {key: _short(key, value) for key, value in runtime.flow_run.parameters.items()}
        return f"{text.format(**values)} {datetime.datetime.now().astimezone().date().isoformat()}"

    return name


_FOLDERS = {"project", "folder", "scans"}


def _short(name: str, value: object) -> str:
    """A folder's own name; no path may be wrong here, since the run itself says better what is."""
    text = str(value)
    if name not in _FOLDERS:
        return text
    path = text if "://" in text else os.path.abspath(text)  # noqa: PTH100 (Path keeps '..', which is no name)
    return PurePath(path.rstrip("/")).name or text
