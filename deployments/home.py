"""The one folder that `unetseg up` writes to: what is in it, who holds it, what runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import IO, Any, Literal

from unetseg.errors import UsageError
from unetseg.json_files import read_json, write_json
from unetseg.storage import is_remote

__all__ = ["HOME", "Home", "Process", "Record", "State", "as_option", "find_home", "open_home"]

HOME = "UNETSEG_HOME"
"""The environment variable that names the folder."""

_USUAL = "~/.unetseg"
_LOCK = "up.lock"
_PRIVATE = 0o700  # the database holds parameters of runs, and addresses to notify
_TAKING = 2.0  # seconds to try: somebody who only looks holds the lock for a moment

State = Literal["starting", "up", "stopping"]
"""How far an `unetseg up` is."""


@dataclass(frozen=True)
class Process:
    """A process that was started.

    Attributes:
        name: what it does, such as ``server``.
        pid: its number.
        born: when it started, in seconds since 1970: a number alone may since belong to another process.
    """

    name: str
    pid: int
    born: float


@dataclass(frozen=True)
class Record:
    """What runs, as `unetseg up` last wrote it down.

    Attributes:
        state: how far it is.
        watcher: the process of `unetseg up` itself.
        url: of the server, without a path.
        version: of unetseg.
        processes: server and workers.
    """

    state: State
    watcher: Process
    url: str
    version: str
    processes: tuple[Process, ...] = field(default=())

    def to(self, state: State) -> Record:
        """The same in another state."""
        return replace(self, state=state)


@dataclass(frozen=True)
class Home:
    """The folder, and what is in it.

    Attributes:
        folder: absolute path.
    """

    folder: Path

    @property
    def prefect(self) -> Path:
        """Prefect's own home, with its database."""
        return self.folder / "prefect"

    @property
    def logs(self) -> Path:
        """What each process says."""
        return self.folder / "logs"

    @property
    def temporary(self) -> Path:
        """Temporary files of runs; emptied at each start."""
        return self.folder / "tmp"

    @property
    def prefect_file(self) -> Path:
        """What was deployed last."""
        return self.folder / "prefect.yaml"

    @property
    def projects(self) -> Path:
        """The projects of last time."""
        return self.folder / "projects.json"

    @property
    def pools(self) -> Path:
        """What was done to the work pools."""
        return self.folder / "pools.json"

    @property
    def deploying(self) -> Path:
        """A folder to lock while deployments are made."""
        return self.folder / "deploying"

    @property
    def exists(self) -> bool:
        """Whether `unetseg up` has been here."""
        return (self.folder / _LOCK).exists()

    @contextmanager
    def taken(self, seconds: float = _TAKING) -> Iterator[bool]:
        """Hold the folder as long as the block runs; false where another process does. One that dies lets go."""
        with (self.folder / _LOCK).open("a") as file:
            yield _take(file, seconds)

    def is_held(self) -> bool:
        """Whether a `unetseg up` runs."""
        if not self.exists:
            return False
        with (self.folder / _LOCK).open("a") as file:
            return not _take(file, 0.0, shared=True)

    def read_record(self) -> Record | None:
        """What runs, or ran when it was killed; None after a clean end."""
        plain = _read(self.folder / "up.json")
        if plain is None:
            return None
        processes = tuple(Process(**item) for item in plain.pop("processes"))
        return Record(**plain | {"watcher": Process(**plain["watcher"]), "processes": processes})

    def write_record(self, record: Record) -> None:
        """Note what runs."""
        write_json(self.folder / "up.json", asdict(record))

    def remove_record(self) -> None:
        """Note that nothing runs."""
        (self.folder / "up.json").unlink(missing_ok=True)

    def remembered(self, path: Path) -> dict[str, Any]:
        """What one of the small files holds; empty where it is not there."""
        return _read(path) or {}


def find_home(given: str) -> Home:
    """The folder by option, environment or habit; it may not be there yet.

    Raises:
        UsageError: an address of an object store.
    """
    path = given or os.environ.get(HOME) or _USUAL
    if is_remote(path):
        raise UsageError(f"--home {path}: must be a folder of this machine, since a database lives there")
    return Home(Path(path).expanduser().absolute())


def as_option(home: Home) -> str:
    """What a command needs to find this home again."""
    return "" if home == find_home("") else f" --home {quote(str(home.folder))}"


def open_home(home: Home) -> None:
    """Make the folder, readable for its owner only.

    Raises:
        UsageError: something else is there.
    """
    folder = home.folder
    if folder.exists() and not (folder.is_dir() and (home.exists or not any(folder.iterdir()))):
        raise UsageError(f"--home {folder}: holds something else; name an empty folder, or one that is not there yet")
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    folder.chmod(_PRIVATE)
    (folder / _LOCK).touch()
    for part in (home.prefect, home.logs, home.temporary):
        part.mkdir(exist_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    with suppress(FileNotFoundError):
        content: dict[str, Any] = read_json(path)
        return content
    return None


def _take(file: IO[str], seconds: float, *, shared: bool = False) -> bool:
    import fcntl

    deadline = time.monotonic() + seconds
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
