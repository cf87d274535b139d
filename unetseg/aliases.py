"""``aliases.json``: which version is in production, which was before, how it came so, and which numbers are taken.

It is replaced as a whole, never edited in place, and of several processes that change it at once none loses what
another did (:func:`unetseg.records.update_json`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unetseg.errors import DamagedFileError
from unetseg.json_files import read_json
from unetseg.records import update_json

__all__ = ["Aliases", "change_aliases", "read_aliases", "versions_named"]

_FILE = "aliases.json"
_VERSION = re.compile(r"[0-9]{4,}")  # and so never the name of a folder elsewhere, which cleaning would remove


@dataclass(frozen=True)
class Aliases:
    """Which version is in production, which was before, and how it came so.

    Attributes:
        production: the version in use.
        previous: what `rollback` goes back to.
        history: what was done, oldest first: ``time`` in UTC, ``who``, ``why``, what ``production`` and ``previous``
            were then, what was ``removed``, if anything, and which version was ``rolled_back``, None where none was
            (older lines do not say).
        removing: versions that are being removed, which nobody may promote any more.
    """

    production: str | None = None
    previous: str | None = None
    history: tuple[dict[str, Any], ...] = ()
    removing: tuple[str, ...] = ()


def read_aliases(models: Path) -> Aliases:
    """The aliases of a project; empty where nothing was promoted yet.

    Raises:
        DamagedFileError: they cannot be read.
    """
    path = models / _FILE
    return _from_plain(path, read_json(path)) if path.exists() else Aliases()


def change_aliases(models: Path, change: Callable[[Aliases], Aliases]) -> Aliases:
    """Change the aliases so that what others do at the same time is not lost.

    Args:
        models: the project's folder of models.
        change: makes the new aliases of the old; may be called several times.
    """
    path = models / _FILE
    plain = update_json(path, lambda old: _to_plain(change(_from_plain(path, old))), default=_to_plain(Aliases()))
    return _from_plain(path, plain)


def versions_named(aliases: Aliases) -> set[str]:
    """All versions that are, or once were, something here: none of their numbers may ever mean another model."""
    lines = ({"production": aliases.production, "previous": aliases.previous}, *aliases.history)
    named = {line.get(key) for line in lines for key in ("production", "previous", "rolled_back")}
    removed = {name for line in lines for name in line.get("removed") or ()}
    return {name for name in named | removed | set(aliases.removing) if name is not None}


def _from_plain(path: Path, plain: dict[str, Any]) -> Aliases:
    try:
        removing = tuple(plain.get("removing", ()))
        found = Aliases(plain["production"], plain["previous"], tuple(plain["history"]), removing)
        for name in versions_named(found):
            if not _VERSION.fullmatch(name):
                raise ValueError(f"{name!r} is no version")
        for line in found.history:
            _check_line(line)
        return found
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{path}: damaged, holds no aliases ({error!r}); restore it from a copy") from None


def _check_line(line: dict[str, Any]) -> None:
    """Refuse a line of history that those who read it could not use."""
    if "production" not in line or not all(isinstance(line[name], str) for name in ("time", "why")):
        raise TypeError("a line of history without production, time or reason")


def _to_plain(aliases: Aliases) -> dict[str, Any]:
    plain = asdict(aliases)
    return plain if aliases.removing else {name: value for name, value in plain.items() if name != "removing"}
