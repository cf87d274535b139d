"""The models of a project: numbered versions, and two aliases that move atomically.

``aliases.json`` is replaced as a whole, never edited in place::

    {"production": "0007", "previous": "0006", "history": [{"time": ..., "production": "0007", "why": ...}, ...]}
"""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from unetseg.bundle import load_bundle, versions
from unetseg.errors import UsageError
from unetseg.storage import locked, read_json, write_json

__all__ = ["Aliases", "ModelSummary", "list_models", "model_folder", "promote", "read_aliases", "rollback", "versions"]


@dataclass(frozen=True)
class Aliases:
    """Which version is in production, which was before, and how it came so."""

    production: str | None = None
    previous: str | None = None
    history: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class ModelSummary:
    """One line of ``unetseg models list``."""

    version: str
    alias: str
    created: str
    validation_score: float
    scores: dict[str, Any] | None


def read_aliases(models: Path) -> Aliases:
    """The aliases of a project; empty where nothing was promoted yet."""
    path = models / "aliases.json"
    if not path.exists():
        return Aliases()
    plain = read_json(path)
    return Aliases(plain["production"], plain["previous"], tuple(plain["history"]))


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


def list_models(models: Path) -> list[ModelSummary]:
    """All versions with their scores, oldest first."""
    aliases = read_aliases(models)
    return [_summary(models / version, aliases) for version in versions(models)]


def promote(models: Path, version: str, *, why: str) -> Aliases:
    """Make a version production; what was production becomes previous.

    Raises:
        UsageError: there is no such version.
        BundleError: it is damaged.
    """
    name = load_bundle(model_folder(models, version)).version
    with locked(models):
        before = read_aliases(models)
        if before.production == name:
            return before
        return _write(models, replace(before, production=name, previous=before.production), why)


def rollback(models: Path, *, why: str = "rolled back by hand") -> Aliases:
    """Make the previous version production again; the two change places.

    Raises:
        UsageError: there is no previous version.
    """
    with locked(models):
        before = read_aliases(models)
        if before.previous is None:
            raise UsageError(f"rollback: {models} has no previous version to go back to; promote one by its number")
        load_bundle(model_folder(models, before.previous))
        return _write(models, replace(before, production=before.previous, previous=before.production), why)


def _write(models: Path, aliases: Aliases, why: str) -> Aliases:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {"time": now, "production": aliases.production, "previous": aliases.previous, "why": why}
    aliases = replace(aliases, history=(*aliases.history, entry))
    write_json(models / "aliases.json", asdict(aliases))
    return aliases


def _summary(folder: Path, aliases: Aliases) -> ModelSummary:
    # Not load_bundle: a list of versions must not hash every file of each.
    plain = read_json(folder / "bundle.json")
    evaluation = folder / "evaluation" / "evaluation.json"
    alias = {aliases.production: "production", aliases.previous: "previous"}.get(folder.name, "")
    return ModelSummary(
        version=folder.name,
        alias=alias,
        created=plain["created"],
        validation_score=plain.get("validation_score", plain.get("validation_dice")),  # as schema 1 called it
        scores=read_json(evaluation)["scores"] if evaluation.exists() else None,
    )
