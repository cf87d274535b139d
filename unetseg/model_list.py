"""All versions of a project's models at a glance, damaged ones too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetseg.bundle import read_description, read_evaluation
from unetseg.errors import BundleError
from unetseg.registry import Aliases, read_aliases, versions

__all__ = ["ModelSummary", "alias_of", "list_models"]


@dataclass(frozen=True)
class ModelSummary:
    """One line of ``unetseg models list``.

    Attributes:
        version: its number.
        alias: ``production``, ``previous`` or nothing.
        created: time in UTC; empty where that cannot be read.
        validation_score: None where it cannot be read.
        scores: on the test split, a row per class and mean; None before evaluate.
        damaged: what is wrong; empty where nothing was seen, though not every file was looked at.
    """

    version: str
    alias: str
    created: str
    validation_score: float | None
    scores: dict[str, Any] | None
    damaged: str = ""


def list_models(models: Path) -> list[ModelSummary]:
    """All versions with their scores, oldest first; a damaged one hides no other."""
    aliases = read_aliases(models)
    return [_summary(models / version, alias_of(aliases, version)) for version in versions(models)]


def alias_of(aliases: Aliases, version: str) -> str:
    """What a version is called besides its number; empty where nothing."""
    return {aliases.production: "production", aliases.previous: "previous"}.get(version, "")


def _summary(folder: Path, alias: str) -> ModelSummary:
    # Not load_bundle: a list of versions must not hash every file of each.
    try:
        info = read_description(folder)
    except BundleError as error:
        return ModelSummary(folder.name, alias, "", None, None, str(error))
    try:
        evaluation, damaged = read_evaluation(folder), ""
    except BundleError as error:
        evaluation, damaged = None, str(error)
    scores = evaluation.get("scores") if evaluation else None
    return ModelSummary(folder.name, alias, info.created, info.validation_score, scores, damaged)
