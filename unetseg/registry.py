"""The models of a project: numbered versions, and two aliases that move atomically.

``aliases.json`` is replaced as a whole, never edited in place, and of several processes that change it at once none
loses what another did (:func:`unetseg.records.update_json`)::

    {"production": "0007", "previous": "0006", "history": [
        {"time": ..., "who": "ada@lab", "production": "0007", "previous": "0006", "why": ...}, ...]}

Where a person went back to an older version, the line names the one that was taken out of production (``rolled_back``);
see :mod:`unetseg.registry_rollbacks`.
"""

from __future__ import annotations

import datetime
import getpass
import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from unetseg.bundle import load_bundle, versions
from unetseg.errors import BundleError, MovedError, UsageError
from unetseg.records import update_json
from unetseg.storage import read_json

__all__ = [
    "Aliases",
    "change_aliases",
    "history",
    "model_folder",
    "noted",
    "promote",
    "read_aliases",
    "rollback",
    "versions",
]

WHO = "UNETSEG_WHO"
"""Environment variable with the name that the history tells, where user and machine say little (a container)."""


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
    path = models / "aliases.json"
    return _from_plain(read_json(path)) if path.exists() else Aliases()


def history(models: Path) -> tuple[dict[str, Any], ...]:
    """What was promoted, rolled back and removed, when, by whom and why; oldest first."""
    return read_aliases(models).history


def model_folder(models: Path, name: str = "production") -> Path:
    """The folder of a version, given as a number, ``production``, ``previous`` or ``latest``.

    Raises:
        UsageError: there is no such version; the message lists what there is.
    """
    found = versions(models)
    aliases = read_aliases(models)
    named = {"production": aliases.production, "previous": aliases.previous, "latest": found[-1] if found else None}
    version = named.get(name, name.zfill(4))
    if version is None or version not in found:
        raise UsageError(
            f"models: no version {name!r} in {models}; there are: {', '.join(found) or 'none, train one first'}"
        )
    return models / version


_WHATEVER: Final = "whatever"


def promote(models: Path, version: str, *, why: str, instead_of: str | None = _WHATEVER) -> Aliases:
    """Make a version production; what was production becomes previous.

    Args:
        models: the project's folder of models.
        version: a number, or ``latest``.
        why: for the history.
        instead_of: the production that the version was compared with, None where there was none; left out: any, since
            a person decides. To promote an older version by hand is to roll back.

    Raises:
        UsageError: there is no such version, or it is being removed.
        MovedError: another version is production by now.
        BundleError: it is damaged.
    """
    name = load_bundle(model_folder(models, version)).version

    def move(before: Aliases) -> Aliases:
        if before.production == name:
            return before
        if instead_of not in (_WHATEVER, before.production):
            raise MovedError(
                f"promote: production is {before.production} by now, no longer {instead_of}; compare again"
            )
        # Once more, since a cleaning may have come between.
        if name in before.removing or name not in versions(models):
            raise UsageError(f"promote: version {name} was removed meanwhile; promote another, or train again")
        back = instead_of == _WHATEVER and before.production is not None and int(name) < int(before.production)
        return _moved(before, name, why, rolled_back=back)

    return change_aliases(models, move)


def rollback(models: Path, *, why: str = "rolled back by hand") -> Aliases:
    """Make the previous version production again; the two change places.

    The gate does not promote the other one again; a person can.

    Raises:
        UsageError: there is no previous version.
        BundleError: it is damaged; the message names the newest other version that is not.
    """

    def move(before: Aliases) -> Aliases:
        if before.previous is None:
            raise UsageError(f"rollback: {models} has no previous version to go back to; promote one by its number")
        _check_way_back(models, before, before.previous)
        return _moved(before, before.previous, why, rolled_back=True)

    return change_aliases(models, move)


def change_aliases(models: Path, change: Callable[[Aliases], Aliases]) -> Aliases:
    """Change the aliases so that what others do at the same time is not lost.

    Args:
        models: the project's folder of models.
        change: makes the new aliases of the old; may be called several times.
    """
    plain = update_json(
        models / "aliases.json", lambda old: _to_plain(change(_from_plain(old))), default=_to_plain(Aliases())
    )
    return _from_plain(plain)


def noted(aliases: Aliases, why: str, **more: Any) -> Aliases:  # noqa: ANN401 (JSON)
    """Aliases with one more line of history."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    state = {"production": aliases.production, "previous": aliases.previous}
    return replace(aliases, history=(*aliases.history, {"time": now, "who": _who(), **state, "why": why, **more}))


def _moved(before: Aliases, production: str, why: str, *, rolled_back: bool) -> Aliases:
    """Another production, and what was is previous; every such line says whether it is a rollback."""
    after = replace(before, production=production, previous=before.production)
    return noted(after, why, rolled_back=before.production if rolled_back else None)


def _from_plain(plain: dict[str, Any]) -> Aliases:
    removing = tuple(plain.get("removing", ()))
    return Aliases(plain["production"], plain["previous"], tuple(plain["history"]), removing)


def _to_plain(aliases: Aliases) -> dict[str, Any]:
    plain = asdict(aliases)
    return plain if aliases.removing else {name: value for name, value in plain.items() if name != "removing"}


def _check_way_back(models: Path, aliases: Aliases, previous: str) -> None:
    try:
        load_bundle(model_folder(models, previous))
    except (BundleError, UsageError) as error:
        others = [name for name in reversed(versions(models)) if name not in {previous, aliases.production}]
        sound = next((name for name in others if _is_sound(models / name)), None)
        way_out = f"unetseg models promote {sound}, the newest other version" if sound else "there is no other version"
        raise type(error)(f"rollback: previous version {previous} cannot be used: {error}; {way_out}") from error


def _is_sound(folder: Path) -> bool:
    try:
        load_bundle(folder)
    except BundleError:
        return False
    return True


def _who() -> str:
    if named := os.environ.get(WHO):
        return named
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
