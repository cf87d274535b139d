"""From what a form submits to a project with settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from unetseg.config import Settings
from unetseg.project import Project, load_project, merge_settings, override

__all__ = ["project_with"]


def project_with(folder: str, overrides: Sequence[str], **stages: object) -> Project:
    """Open a project: defaults, then ``unetseg.yaml``, then what was changed in the form, then overrides.

    Args:
        folder: of the project, on the worker.
        overrides: texts such as ``train.epochs=5``.
        stages: settings of one stage, by its name; or ``settings``, all of them.
    """
    project = load_project(folder)
    settings = project.settings
    everything = stages.pop("settings", None)
    if isinstance(everything, Settings):
        stages |= {item.name: getattr(everything, item.name) for item in fields(everything)}
    for stage, changed in stages.items():
        settings = merge_settings(settings, stage, changed)
    return replace(project, settings=override(settings, overrides))
