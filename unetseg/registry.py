"""The models of a project: numbered versions, and two aliases that move atomically.

``aliases.json`` (:mod:`unetseg.aliases`) is replaced as a whole, never edited in place::

    {"production": "0007", "previous": "0006", "history": [
        {"time": ..., "who": "ada@lab", "production": "0007", "previous": "0006", "why": ...}, ...]}

Where a person went back to an older version, the line names the one that was taken out of production (``rolled_back``);
see :mod:`unetseg.registry_rollbacks`.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from unetseg.aliases import Aliases, change_aliases, read_aliases
from unetseg.bundle import load_bundle, versions
from unetseg.errors import BundleError, MovedError, UsageError
from unetseg.registry_rollbacks import rollback_in_words, rolled_back
from unetseg.who import who
from unetseg.words import in_project

__all__ = [
    "Aliases",
    "history",
    "model_folder",
    "noted",
    "promote",
    "read_aliases",
    "rollback",
    "versions",
]

logger = logging.getLogger(__name__)


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
        raise UsageError(f"models: no version {name!r} in {models}; there are: {_what_there_is(models, name, found)}")
    return models / version


def _what_there_is(models: Path, name: str, found: Sequence[str]) -> str:
    """The versions, and what to type where the wanted one cannot be among them."""
    if not found:
        return f"none, train one first: {in_project('unetseg nightly', models.parent)}"
    promotion = in_project(f"unetseg models promote {found[-1]}", models.parent)
    return ", ".join(found) + (f"; make one of them production: {promotion}" if name == "production" else "")


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
        MovedError: ``instead_of`` is given, and another version is production by now, or this one was rolled back.
        BundleError: it is damaged.
    """
    name = load_bundle(model_folder(models, version)).version

    def move(before: Aliases) -> Aliases:
        if before.production == name:
            return before
        if instead_of != _WHATEVER:
            _check_unmoved(before, name, instead_of)
        # Once more, since a cleaning may have come between.
        if name in before.removing or name not in versions(models):
            raise UsageError(f"promote: version {name} was removed meanwhile; promote another, or train again")
        back = instead_of == _WHATEVER and before.production is not None and int(name) < int(before.production)
        return _moved(before, name, why, rolled_back=back)

    return change_aliases(models, move)


def rollback(models: Path, *, why: str = "rolled back by hand", of: str | None = None) -> Aliases:
    """Make the previous version production again; the two change places.

    The gate does not promote the other one again; a person can.

    Args:
        models: the project's folder of models.
        why: for the history.
        of: the version that is to leave production. Where it was rolled back already, by somebody else or by a run that
            is repeated, nothing changes. Left out: whatever is production, so that a second rollback undoes the first.

    Raises:
        UsageError: there is no previous version, or another one than ``of`` is production.
        BundleError: it is damaged; the message names the newest other version that is not.
    """
    leaving = of and of.zfill(4)

    def move(before: Aliases) -> Aliases:
        if leaving and leaving != before.production:
            return _rolled_back_already(models, before, leaving)
        if before.previous is None:
            raise UsageError(f"rollback: {_no_way_back(models)}")
        _check_way_back(models, before, before.previous)
        return _moved(before, before.previous, why, rolled_back=True)

    return change_aliases(models, move)


def noted(aliases: Aliases, why: str, **more: Any) -> Aliases:  # noqa: ANN401 (JSON)
    """Aliases with one more line of history."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    state = {"production": aliases.production, "previous": aliases.previous}
    return replace(aliases, history=(*aliases.history, {"time": now, "who": who(), **state, "why": why, **more}))


def _moved(before: Aliases, production: str, why: str, *, rolled_back: bool) -> Aliases:
    """Another production, and what was is previous; every such line says whether it is a rollback."""
    after = replace(before, production=production, previous=before.production)
    return noted(after, why, rolled_back=before.production if rolled_back else None)


def _check_unmoved(before: Aliases, name: str, instead_of: str | None) -> None:
    """Refuse what was decided before somebody moved production, also where it is back again by now."""
    if before.production != instead_of:
        raise MovedError(f"promote: production is {before.production} by now, no longer {instead_of}; compare again")
    if line := rolled_back(before, name):
        raise MovedError(f"promote: {rollback_in_words(name, line)}; only a person promotes it again")


def _no_way_back(models: Path) -> str:
    """Why there is no previous version, and what can be done."""
    found = versions(models)
    if not found:
        return f"there are no models, train one first: {in_project('unetseg nightly', models.parent)}"
    if len(found) == 1:
        return f"{found[0]} is the only model, there is none to go back to; see " + in_project(
            "unetseg models list", models.parent
        )
    return f"{models} has no previous version to go back to; promote one by its number"


def _rolled_back_already(models: Path, before: Aliases, leaving: str) -> Aliases:
    if line := rolled_back(before, leaving):
        logger.info("rollback: nothing to do, %s", rollback_in_words(leaving, line))
        return before
    raise UsageError(
        f"rollback: version {leaving} is not in production, {before.production or 'none'} is; nothing was changed; see "
        + in_project("unetseg models history", models.parent)
    )


def _check_way_back(models: Path, aliases: Aliases, previous: str) -> None:
    try:
        load_bundle(model_folder(models, previous))
    except (BundleError, UsageError) as error:
        others = [name for name in reversed(versions(models)) if name not in {previous, aliases.production}]
        sound = next((name for name in others if _is_sound(models / name)), None)
        promotion = in_project(f"unetseg models promote {sound}", models.parent)
        way_out = f"{promotion}, the newest other version" if sound else "there is no other version"
        raise type(error)(f"rollback: previous version {previous} cannot be used: {error}; {way_out}") from error


def _is_sound(folder: Path) -> bool:
    try:
        load_bundle(folder)
    except BundleError:
        return False
    return True
