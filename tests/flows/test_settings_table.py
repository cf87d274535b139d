"""What `unetseg settings` prints can be typed again, behind ``--set``."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flows.settings_table import settings_rows
from unetseg.config import NightlyConfig, ScanSource, Settings, Sources
from unetseg.project import Project, override, save_project

# Of these the first that a setting takes, and that is not its default.
VALUES = (0.25, 0.75, 1, 2, 32, 100, (0.125, 0.25), ("bilinear", "transposed"), ("iris=0.1", "pupil=0.05"))
TEXTS: dict[str, Any] = {
    "class_criteria": ("iris=recall_at_precision:0.95", "pupil=dice"),
    "resource": "GPU=1",
    "pattern": "**/*.tif",
}


def another(stage: Any, name: str, choices: tuple[str, ...]) -> Any:
    """A stage with another value of one setting."""
    value = getattr(stage, name)
    if isinstance(value, bool):
        return replace(stage, **{name: not value})
    for wanted in (TEXTS.get(name), *choices, *VALUES, "Some text, with a comma"):
        try:
            changed = replace(stage, **{name: wanted})
        except ValidationError:
            continue
        if getattr(changed, name) != value:
            return changed
    raise AssertionError(f"no value for {name}")


@pytest.fixture(scope="module")
def changed() -> Settings:
    """Settings of which none is the default."""
    choices = {row.name: row.choices for row in settings_rows("nowhere")}
    settings = Settings(nightly=NightlyConfig(predict_folder="new scans", predict_out="out"))
    for section in fields(Settings):
        stage = getattr(settings, section.name)
        for item in fields(stage):
            if not item.name.startswith("predict_"):  # which go together
                stage = another(stage, item.name, choices[f"{section.name}.{item.name}"])
        settings = replace(settings, **{section.name: stage})
    return settings


def test_what_is_shown_of_a_project_makes_the_same_settings(tmp_path: Path, changed: Settings):
    save_project(Project(tmp_path, Sources(scans=ScanSource(path="scans")), changed))
    rows = settings_rows(tmp_path)
    assert [row.name for row in rows if row.value == row.default] == []
    assert override(Settings(), [f"{row.name}={row.value}" for row in rows]) == changed


def test_what_is_shown_of_the_defaults_makes_them_again(tmp_path: Path, changed: Settings):
    rows = settings_rows(tmp_path)
    assert [row.name for row in rows if row.value != row.default] == []
    assert override(changed, [f"{row.name}={row.default}" for row in rows]) == Settings()


def test_each_choice_is_taken_and_another_word_is_refused(tmp_path: Path):
    rows = [row for row in settings_rows(tmp_path) if row.choices]
    for row in rows:
        for choice in row.choices:
            override(Settings(), [f"{row.name}={choice}"])
        with pytest.raises(ValueError, match=f"--set: {row.name}.*Input should be '{row.choices[0]}'"):
            override(Settings(), [f"{row.name}=another"])
    assert rows
