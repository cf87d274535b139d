"""Make a version production."""

from __future__ import annotations

from pathlib import Path

from tasks.step import step
from unetseg import registry as library

__all__ = ["promote"]


@step("promote", "promote {version}")
def promote(models: Path, version: str, *, why: str) -> library.Aliases:
    """Make a version production."""
    return library.promote(models, version, why=why)
