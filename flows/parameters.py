"""From what a form submits to a project with settings, and from a project to what its form shows.

A form submits all fields, those that nobody touched, too. What differs from what the form showed was changed by
somebody, and is stronger than ``unetseg.yaml`` (docs/adr/0014). A form shows the defaults; or the settings of a
project, where a deployment was made with `form_values` of it.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from pydantic import Field, TypeAdapter

from unetseg.config import Settings, to_plain
from unetseg.project import Project, load_project, merge_settings, override

__all__ = ["Text", "form_values", "project_with"]

Text = Annotated[str, Field(min_length=1)]
"""What a form refuses to leave empty."""

logger = logging.getLogger("unetseg.settings")

_STAGES = {type(getattr(Settings(), item.name)): item.name for item in fields(Settings)}


@dataclass(frozen=True)
class _Form:
    """What a form showed and what came back, as JSON.

    Attributes:
        shown: the deployment's own parameters; empty: the defaults were shown.
        given: what this run was started with; None: a call in Python, which gives all.
    """

    shown: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] | None = None


def project_with(folder: str, overrides: Sequence[str], **submitted: object) -> Project:
    """Open a project: defaults, then ``unetseg.yaml``, then what was changed in the form, then overrides.

    Args:
        folder: of the project, on the worker.
        overrides: texts such as ``train.epochs=5``.
        submitted: the flow's parameters that are settings, of one stage or of all.

    Raises:
        UsageError: no such project, or a setting that does not exist or is out of range.
    """
    project, form = load_project(folder), _form()
    settings = project.settings
    for name, value in submitted.items():
        given = None if form.given is None else form.given.get(name) or {}
        for stage, part in _stages(value).items():
            shown = _stages(_as_shown(form, name, value))[stage]
            names = given if given is None or type(value) in _STAGES else given.get(stage) or {}
            settings = merge_settings(settings, stage, part, shown=shown, given=names)
    settings = override(settings, overrides)
    _tell(project.settings, settings)
    return replace(project, settings=settings)


def form_values(flow: Flow[..., Any], folder: str) -> dict[str, Any]:
    """The parameters of a flow's deployment by which its form shows the settings of a project.

    Args:
        flow: such as ``flows.nightly.nightly``.
        folder: of the project, as the workers see it.

    Raises:
        UsageError: no such project.
    """
    plain = to_plain(load_project(folder).settings)
    found: dict[str, Any] = {"project": folder}
    for name, parameter in inspect.signature(flow.fn).parameters.items():
        if isinstance(parameter.default, Settings):
            found[name] = plain
        elif stage := _STAGES.get(type(parameter.default)):
            found[name] = plain[stage]
    return found


def _stages(value: object) -> dict[str, object]:
    """Settings of one stage, or of all, by the name of the stage."""
    if isinstance(value, Settings):
        return {stage: getattr(value, stage) for stage in _STAGES.values()}
    return {_STAGES[type(value)]: value}


def _as_shown(form: _Form, name: str, value: object) -> object:
    """A parameter as the form showed it; what the deployment leaves out, it showed as the default."""
    return TypeAdapter(type(value)).validate_python(form.shown.get(name) or {})


def _form() -> _Form:
    """What the form of this run showed, where it was started from one; else a call in Python, which showed defaults."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None:
        return _Form()
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment(run.deployment_id)
    if deployment.updated and run.created and deployment.updated > run.created:
        logger.warning("deployed anew since this run was asked for: what differs from today's form counts as chosen")
    return _Form(deployment.parameters or {}, run.parameters or {})


def _tell(before: Settings, after: Settings) -> None:
    """Log what this run does otherwise than ``unetseg.yaml`` says."""
    old, new = to_plain(before), to_plain(after)
    for section, values in new.items():
        for name, value in values.items():
            if value != old[section][name]:
                logger.info("%s.%s = %s for this run (%s in the project)", section, name, value, old[section][name])
