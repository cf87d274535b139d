"""Prefect's server: where it listens, whether it answers, and a client of it."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.request import ProxyHandler, build_opener

from deployments.environment import adopt
from deployments.home import Home
from unetseg.errors import UnetsegError, UsageError
from unetseg.words import without_login

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["HOST", "address", "answers", "client", "client_of_settings", "wait_until"]

HOST = "127.0.0.1"
"""Only this machine reaches it: there is no password."""

_ASKING = 3.0  # seconds for one answer
_PAUSE = 0.2  # seconds between two questions
_LITTLE = 1 << 20  # bytes: no more than this is free on a disk that is full


def address(port: int) -> str:
    """Where a server is to listen; 0 chooses a port that is free.

    Raises:
        UsageError: the port is taken.
    """
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: an ended one is no hindrance
        try:
            trial.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UsageError(_taken(port, error)) from None
        return f"http://{HOST}:{trial.getsockname()[1]}"


def answers(url: str) -> bool:
    """Whether a Prefect server answers there."""
    with suppress(OSError):  # refused, or not in time
        opener = build_opener(ProxyHandler({}))
        return bool(opener.open(f"{url}/api/health", timeout=_ASKING).read().strip() == b"true")
    return False


def wait_until(true: Callable[[], bool], *, seconds: float, what: str, meanwhile: Callable[[], None]) -> None:
    """Look again and again.

    Args:
        true: what is waited for.
        seconds: the longest time.
        what: is waited for, for the error.
        meanwhile: called each time; may raise to end the wait.

    Raises:
        UnetsegError: it took too long.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise UnetsegError(f"{what}: not within {seconds:.0f} s")
        meanwhile()
        time.sleep(_PAUSE)


@contextmanager
def client(home: Home, url: str) -> Iterator[SyncPrefectClient]:
    """A client of the server; the user's own settings of Prefect are neither read nor changed.

    Raises:
        UnetsegError: within the block, the server refuses, or is lost.
    """
    adopt(home, url)
    from prefect.client.orchestration import SyncPrefectClient

    with _refusals_name(url, home), SyncPrefectClient(api=f"{url}/api") as made:
        yield made


@contextmanager
def client_of_settings() -> Iterator[SyncPrefectClient]:
    """A client of the server that the user's own settings of Prefect name, as every command of Prefect has it.

    Raises:
        UnetsegError: within the block, the server refuses, or is lost.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as made, _refusals_name(str(made.api_url)):
        yield made


@contextmanager
def _refusals_name(url: str, home: Home | None = None) -> Iterator[None]:
    from httpx import HTTPError

    try:
        yield
    except HTTPError as error:
        said = f"{without_login(url)}: the server refuses, or was lost: {without_login(str(error))}"
        raise UnetsegError(f"{said}{_why(home)}") from error


def _why(home: Home | None) -> str:
    """What is plainly the cause, with the way out; a server whose database cannot grow tells nobody."""
    if home is None or shutil.disk_usage(home.folder).free > _LITTLE:
        return ""
    return f"; the disk of {home.folder} is full: make space there"


def _taken(port: int, error: Exception) -> str:
    who = "a Prefect server that is not this one" if answers(f"http://{HOST}:{port}") else f"something else ({error})"
    return f"--port {port}: {who} is there; stop it, or choose another port, such as --port {port % 60000 + 1}"
