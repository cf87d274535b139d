"""Remove old versions of a project's models, but never one that is in use.

What goes is first written into ``aliases.json``, in one step with the look at what is in use. So of a cleaning and a
promotion at the same time one comes first: the cleaning leaves the promoted version, or the promotion is refused.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from unetseg.aliases import Aliases, change_aliases, read_aliases
from unetseg.errors import UsageError
from unetseg.registry import noted, versions
from unetseg.run_cleaning import clean_runs
from unetseg.storage import is_remote, leftovers, remove

__all__ = ["clean"]

logger = logging.getLogger(__name__)

_DAY = 86400.0  # seconds: no write of a model takes as long


def clean(models: Path, *, keep: int, runs: Path | None = None, dry_run: bool = False) -> tuple[str, ...]:
    """Remove the oldest versions, and what writes that were killed more than a day ago have left.

    Args:
        models: the project's folder of models.
        keep: so many of the newest versions stay, at least 1; production and previous stay besides.
        runs: the folder of trainings, of which those go whose models are gone (`unetseg.run_cleaning`); None: all stay.
        dry_run: only tell what would be removed.

    Returns:
        The versions that were removed, oldest first.

    Raises:
        UsageError: ``keep`` is below 1.
    """
    if keep < 1:
        raise UsageError(f"keep: at least 1 version must stay, found {keep}")
    if dry_run:
        return _superfluous(models, read_aliases(models), keep)
    if not models.exists():
        return ()
    going = change_aliases(models, lambda before: _condemned(models, before, keep)).removing
    for version in going:
        # What a cleaning that was killed has removed is still in the list.
        if (models / version).exists():
            remove(models / version)
            logger.info("removed model %s", version)
    if going:
        change_aliases(models, lambda before: _without(before, going))
    for path in leftovers(models, seconds=_DAY):
        remove(path)
        logger.info("removed %s, which a killed run has left", path)
    if runs and not is_remote(runs):  # nor does anything train there
        clean_runs(runs, versions(models))
    return going


def _superfluous(models: Path, aliases: Aliases, keep: int) -> tuple[str, ...]:
    """What is neither in use nor among the newest; with what an earlier cleaning did not finish."""
    used = {aliases.production, aliases.previous}
    old = [version for version in versions(models)[:-keep] if version not in used]
    return tuple(sorted({*old, *aliases.removing}, key=int))


def _condemned(models: Path, before: Aliases, keep: int) -> Aliases:
    going = _superfluous(models, before, keep)
    new = [version for version in going if version not in before.removing]
    if not new:
        return before
    return noted(replace(before, removing=going), f"cleaned, {keep} newest kept", removed=new)


def _without(before: Aliases, gone: tuple[str, ...]) -> Aliases:
    return replace(before, removing=tuple(version for version in before.removing if version not in gone))
