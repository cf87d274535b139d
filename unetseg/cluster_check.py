"""Whether the workers of a cluster can do the work: the same unetseg, the same folders.

A worker on another machine may have a folder of the same name that is not the same folder, so a file that nobody could
have guessed is put there, and each worker must find it.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from unetseg.errors import ClusterError, UsageError
from unetseg.storage import write_bytes

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Checked", "check_workers", "token_in"]


def _version() -> str:
    try:
        return version("unetseg")
    except PackageNotFoundError:  # run from its sources
        return "unknown"


@dataclass(frozen=True)
class Checked:
    """What a worker must have.

    Attributes:
        token: file that was just made; None: nothing is to be seen.
        sees: further files and folders.
        unetseg: version of the one that asks.
    """

    token: Path | None
    sees: tuple[Path, ...] = ()
    unetseg: str = _version()

    def here(self) -> None:
        """Once per process.

        Raises:
            ClusterError: something is missing; says which and where.
        """
        if problem := _problem(self):
            raise ClusterError(f"worker on {socket.gethostname()} {problem}")


@lru_cache(maxsize=8)
def _problem(checked: Checked) -> str:
    """What is wrong, as the end of a sentence, or nothing."""
    if _version() != checked.unetseg:
        return f"has unetseg {_version()}, not {checked.unetseg}; install the same version everywhere"
    wanted = [checked.token.parent, *checked.sees] if checked.token else checked.sees
    missing = [path for path in wanted if not path.exists()]
    if checked.token and not missing and not checked.token.exists():
        missing = [checked.token.parent]
    if missing:
        return f"does not see {missing[0]} as it is here; share the folder under the same path, or leave --cluster out"
    return ""


@contextmanager
def token_in(folder: Path | None) -> Iterator[Path | None]:
    """A file of a new name in the folder, gone at the end.

    Args:
        folder: made where it is missing; None: no file.
    """
    if folder is None:
        yield None
        return
    token = folder / f".tmp-seen-{uuid.uuid4().hex}"
    write_bytes(token, b"")
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)


def check_workers(client: Client, address: str, checked: Checked | None, workers: Sequence[str]) -> None:
    """Ask those that are there; those that come later are asked at their first unit.

    Args:
        client: of the cluster.
        address: of its scheduler.
        checked: what they must have.
        workers: who is asked.

    Raises:
        UsageError: one cannot do the work.
        ClusterError: the scheduler does not answer any more.
    """
    if checked is None:
        return
    try:
        answers = client.run(checked.here, workers=list(workers), on_error="return")
    except OSError as error:
        raise ClusterError(
            f"--cluster {address}: lost while its workers were asked ({error}); start it again"
        ) from error
    for worker, answer in answers.items():
        if isinstance(answer, ImportError):
            raise UsageError(f"--cluster {address}: worker {worker} cannot import unetseg ({answer}); install it there")
        if isinstance(answer, Exception):
            raise UsageError(f"--cluster {address}: {answer} ({worker})")
