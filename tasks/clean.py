"""Remove old versions."""

from __future__ import annotations

from pathlib import Path

from tasks.step import step
from unetseg import registry_cleaning as library

__all__ = ["clean"]


@step("clean", "clean, keep {keep}")
def clean(models: Path, *, keep: int, runs: Path) -> tuple[str, ...]:
    """Remove old versions."""
    return library.clean(models, keep=keep, runs=runs)
