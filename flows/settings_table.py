"""Every setting as a row: for people who look for one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from unetseg.config import Settings
from unetseg.places import PROJECT_FILE
from unetseg.project import load_project
from unetseg.storage import locate

__all__ = ["SettingRow", "settings_rows"]


@dataclass(frozen=True)
class SettingRow:
    """What is told of one setting; values in the form that ``--set`` takes.

    Attributes:
        name: with its section, such as ``train.epochs``.
        value: in the project, or the default where there is none.
        default: where nobody changes it.
        meaning: one sentence.
        choices: all values that it, or each entry of a list, may have; empty where they are no list of names.
    """

    name: str
    value: str
    default: str
    meaning: str
    choices: tuple[str, ...]

    @property
    def meaning_and_choices(self) -> str:
        """For people, in one cell."""
        return f"{self.meaning} (one of: {', '.join(self.choices)})" if self.choices else self.meaning


def settings_rows(project: str | Path) -> list[SettingRow]:
    """All settings, in the order of ``unetseg.yaml``."""
    there = (locate(project) / PROJECT_FILE).exists()
    current = load_project(project).settings if there else Settings()
    return [row for section in fields(Settings) for row in _section_rows(section.name, current)]


def _section_rows(section: str, current: Settings) -> Iterator[SettingRow]:
    stage, default = getattr(current, section), getattr(Settings(), section)
    hints = get_type_hints(type(stage), include_extras=True)
    for item in fields(stage):
        yield SettingRow(
            name=f"{section}.{item.name}",
            value=_as_set(getattr(stage, item.name)),
            default=_as_set(getattr(default, item.name)),
            meaning=_meaning(hints[item.name]),
            choices=_choices(hints[item.name]),
        )


def _as_set(value: object) -> str:
    """A value in the form that ``--set`` takes: `unetseg.project.override` makes the value of it again."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(_as_set, value))
    return str(value)


def _meaning(hint: object) -> str:
    found = (
        part.description for part in get_args(hint) if isinstance(part, FieldInfo)
    )  # a type may bring limits alone
    return next(filter(None, found), "")


def _choices(hint: Any) -> tuple[str, ...]:  # noqa: ANN401 (a type)
    """The names that a type allows, also inside of Annotated and of tuples."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return next(filter(None, map(_choices, get_args(hint))), ())
