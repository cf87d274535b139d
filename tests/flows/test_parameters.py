"""What a form showed, what came back, and what counts then."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from unetseg.config import ModelConfig, Settings, TrainConfig, to_plain
from unetseg.project import Project, load_project, override, save_project


@pytest.fixture
def project(trained: Project) -> Project:
    """Its unetseg.yaml says 20 epochs, of which the default is 0."""
    save_project(replace(trained, settings=override(trained.settings, ["train.epochs=20"])))
    return load_project(trained.folder)


def opened(project: Project, monkeypatch: pytest.MonkeyPatch, *, shown: Any, given: Any, **submitted: Any) -> Settings:
    from flows import parameters

    monkeypatch.setattr(parameters, "_form", lambda: parameters._Form(shown, given))
    return parameters.project_with(str(project.folder), [], **submitted).settings


def test_a_form_that_shows_the_project_sets_a_field_back_to_its_default(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    from flows.parameters import form_values
    from flows.train import train

    shown = form_values(train, str(project.folder))
    assert shown["settings"]["epochs"] == 20
    given = shown | {"settings": shown["settings"] | {"epochs": 0}}
    submitted = {"settings": TrainConfig(**given["settings"]), "model": ModelConfig(**given["model"])}
    settings = opened(project, monkeypatch, shown=shown, given=given, **submitted)
    assert settings.train == replace(project.settings.train, epochs=0)
    assert settings.model == project.settings.model


def test_what_the_yaml_says_since_the_deployment_counts_where_the_form_was_not_touched(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    from flows.nightly import nightly
    from flows.parameters import form_values

    shown = form_values(nightly, str(project.folder))
    save_project(replace(project, settings=override(project.settings, ["train.epochs=30", "train.seed=4"])))
    given = shown | {"settings": shown["settings"] | {"train": shown["settings"]["train"] | {"seed": 5}}}
    settings = opened(project, monkeypatch, shown=shown, given=given, settings=Settings(**given["settings"]))
    assert (settings.train.epochs, settings.train.seed) == (30, 5)


def test_a_command_line_that_names_one_field_changes_no_other(project: Project, monkeypatch: pytest.MonkeyPatch):
    from flows.parameters import form_values
    from flows.train import train

    given = {"project": str(project.folder), "settings": {"seed": 5}}  # as `prefect deployment run --param` sends it
    shown = form_values(train, str(project.folder))
    settings = opened(project, monkeypatch, shown=shown, given=given, settings=TrainConfig(seed=5))
    assert settings == replace(project.settings, train=replace(project.settings.train, seed=5))


def test_a_form_of_defaults_overrides_only_what_differs_from_them(project: Project, monkeypatch: pytest.MonkeyPatch):
    given = {"settings": to_plain(TrainConfig(seed=5))}
    settings = opened(project, monkeypatch, shown={}, given=given, settings=TrainConfig(seed=5))
    assert settings.train == replace(project.settings.train, seed=5)


def test_the_log_says_what_a_run_does_otherwise(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    import prefect.main  # noqa: F401 (its first import takes the handlers of the log away, pytest's too)

    caplog.set_level(logging.INFO)
    opened(project, monkeypatch, shown={}, given=None, settings=TrainConfig(epochs=5))
    assert "train.epochs = 5 for this run (20 in the project)" in caplog.messages


def test_values_of_a_form_are_only_parameters_of_its_flow(project: Project):
    from flows.evaluate import evaluate
    from flows.nightly import nightly
    from flows.parameters import form_values
    from flows.rollback import rollback
    from flows.train import train

    assert set(form_values(nightly, str(project.folder))) == {"project", "settings"}
    assert set(form_values(train, str(project.folder))) == {"project", "settings", "model", "loss", "augment"}
    assert set(form_values(evaluate, str(project.folder))) == {"project", "settings"}
    assert form_values(rollback, str(project.folder)) == {"project": str(project.folder)}


@pytest.mark.server
@pytest.mark.usefixtures("prefect_server")
def test_a_run_of_a_deployment_asks_the_server_what_its_form_showed(project: Project):
    """Through the server, as a worker runs it."""
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow

    from flows.parameters import form_values, project_with

    @flow(name="told")
    def told(project: str, settings: TrainConfig = TrainConfig()) -> int:
        return project_with(project, [], settings=settings).settings.train.epochs

    parameters = form_values(told, str(project.folder))
    deployment = told.to_deployment("told", parameters=parameters).apply()
    changed = parameters | {"settings": parameters["settings"] | {"epochs": 0}}
    with get_client(sync_client=True) as client:
        runs = [client.create_flow_run_from_deployment(deployment, parameters=given) for given in (parameters, changed)]
    assert [run_flow(told, flow_run=run, parameters=told.validate_parameters(run.parameters)) for run in runs] == [
        20,
        0,
    ]


@pytest.mark.parametrize("name", ["nightly", "ingest", "train", "evaluate", "predict", "rollback"])
def test_the_server_takes_the_values_of_a_project_for_each_form(name: str, project: Project):
    from importlib import import_module

    from prefect.utilities.callables import parameter_schema
    from prefect.utilities.schema_tools import validate

    from flows.parameters import form_values

    flow = getattr(import_module(f"flows.{name}"), name)
    values = form_values(flow, str(project.folder)) | ({"folder": "in", "out": "out"} if name == "predict" else {})
    validate(values, parameter_schema(flow).model_dump_for_openapi(), raise_on_error=True)
    flow.validate_parameters(values)
