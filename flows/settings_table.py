"""Every setting as a row: for people who look for one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

from pydantic.fields import FieldInfo

from unetseg.config import Settings
from unetseg.project import PROJECT_FILE, load_project
from unetseg.storage import locate

__all__ = ["settings_rows"]


def settings_rows(project: str | Path) -> list[tuple[str, str, str, str]]:
    """Name, value in this project (or the default, where there is none), default, meaning."""
    there = (locate(project) / PROJECT_FILE).exists()
    current = load_project(project).settings if there else Settings()
    rows = []
    for section in fields(Settings):
        stage, default = getattr(current, section.name), getattr(Settings(), section.name)
        hints = get_type_hints(type(stage), include_extras=True)
        rows += [
            (
                f"{section.name}.{item.name}",
                str(getattr(stage, item.name)),
                str(getattr(default, item.name)),
                _meaning(hints[item.name]),
            )
            for item in fields(stage)
        ]
    return rows


def _meaning(hint: object) -> str:
    found = (
        part.description for part in get_args(hint) if isinstance(part, FieldInfo)
    )  # a type may bring limits alone
    return next(filter(None, found), "")
