"""Make the previous version production again."""

from __future__ import annotations

from pathlib import Path

from tasks.step import step
from unetseg import registry as library

__all__ = ["rollback"]


@step("rollback", "rollback")
def rollback(models: Path, *, why: str, of: str | None) -> library.Aliases:
    """Make the previous version production again."""
    return library.rollback(models, why=why, of=of)
