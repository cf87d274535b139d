"""deployments/prefect.yaml against the flows that it names; no server is needed for that.

Prefect is imported inside the tests, when all settings of all conftest files are made.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

FILE = Path(__file__).parents[2] / "deployments" / "prefect.yaml"
CONTENT = yaml.safe_load(FILE.read_text(encoding="utf-8"))
DEPLOYMENTS: dict[str, dict[str, Any]] = {item["name"]: item for item in CONTENT["deployments"]}
ONE_AT_A_TIME = {"limit": 1, "collision_strategy": "ENQUEUE"}

# What a person gives when starting a run, and the deployment's description names.
ASKED_FOR = {
    "predict": {"folder", "out"},
    "promote": {"version"},
    "evaluate_on": {"scans", "masks"},
    "thresholds": {"criteria"},
    "clean": {"keep"},
}
OTHER_ANSWERS: dict[str, dict[str, Any]] = {"thresholds": {"criteria": ["iris=dice"]}, "clean": {"keep": 3}}

each_deployment = pytest.mark.parametrize("name", DEPLOYMENTS)


def flow_of(name: str) -> Any:
    module, _, function = DEPLOYMENTS[name]["entrypoint"].partition(":")
    return getattr(importlib.import_module(module), function)


def described(flow: Any) -> dict[str, str]:
    """The ``Args`` lines of a flow's docstring."""
    _, _, arguments = inspect.getdoc(flow.fn).partition("Args:\n")
    return dict(re.findall(r"^ {4}(\w+): (.+)$", arguments, flags=re.MULTILINE))


def test_code_comes_from_the_installed_package() -> None:
    assert CONTENT["pull"] == []


def test_every_stage_that_an_operator_needs_is_deployed() -> None:
    stages = {"ingest", "train", "evaluate", "evaluate_on", "thresholds", "predict", "nightly"}
    assert set(DEPLOYMENTS) == stages | {"promote", "rollback", "clean"}


@each_deployment
def test_entrypoint_is_the_flow_of_that_name(name: str) -> None:
    from prefect import Flow

    flow = flow_of(name)
    assert isinstance(flow, Flow)
    assert flow.name == name
    assert DEPLOYMENTS[name]["entrypoint"] == f"flows.{name}:{name}"


@each_deployment
def test_parameters_are_the_flows(name: str) -> None:
    assert set(DEPLOYMENTS[name]["parameters"]) <= set(inspect.signature(flow_of(name).fn).parameters)


@each_deployment
def test_required_parameters_are_given_or_asked_for_in_the_description(name: str) -> None:
    from prefect.utilities.callables import parameter_schema

    required = set(parameter_schema(flow_of(name)).required)
    missing = required - set(DEPLOYMENTS[name]["parameters"])
    assert missing == ASKED_FOR.get(name, set())
    assert all(f"`{parameter}`" in DEPLOYMENTS[name]["description"] for parameter in missing)


@each_deployment
def test_form_can_be_built_and_submitted(name: str) -> None:
    from prefect.utilities.callables import parameter_schema
    from prefect.utilities.schema_tools import validate

    flow = flow_of(name)
    schema = parameter_schema(flow).model_dump_for_openapi()
    answers = dict.fromkeys(ASKED_FOR.get(name, ()), "x") | OTHER_ANSWERS.get(name, {})
    validate(DEPLOYMENTS[name]["parameters"] | answers, schema, raise_on_error=True)
    flow.validate_parameters(DEPLOYMENTS[name]["parameters"] | answers)


@each_deployment
def test_form_explains_every_field(name: str) -> None:
    flow = flow_of(name)
    assert set(described(flow)) == set(inspect.signature(flow.fn).parameters)


@each_deployment
def test_form_names_every_group_and_field_in_plain_words(name: str) -> None:
    from prefect.utilities.callables import parameter_schema

    definitions = parameter_schema(flow_of(name)).model_dump_for_openapi().get("definitions", {})
    for group in definitions.values():
        assert "Config" not in group["title"]
        assert all(field.get("description") for field in group["properties"].values() if "$ref" not in field)
        titles = [field["title"] for field in group["properties"].values() if "title" in field]
        assert all("_" not in title and title[0].isupper() for title in titles)


@each_deployment
def test_form_refuses_to_leave_empty_what_it_asks_for(name: str) -> None:
    from prefect.utilities.callables import parameter_schema

    properties = parameter_schema(flow_of(name)).model_dump_for_openapi()["properties"]
    asked = {"project", *ASKED_FOR.get(name, ())}
    texts = {parameter for parameter in asked if properties[parameter].get("type") == "string"}
    assert {parameter for parameter in texts if properties[parameter].get("minLength") != 1} == set()


def test_form_refuses_to_remove_every_version() -> None:
    from prefect.utilities.callables import parameter_schema
    from prefect.utilities.schema_tools.validation import ValidationError, validate

    schema = parameter_schema(flow_of("clean")).model_dump_for_openapi()
    with pytest.raises(ValidationError, match="0 is less than the minimum of 1"):
        validate({"project": "/eyes", "keep": 0}, schema, raise_on_error=True)


@each_deployment
def test_form_has_no_tagged_unions_and_no_dictionaries(name: str) -> None:
    """Both end as raw JSON boxes in the UI."""
    from prefect.utilities.callables import parameter_schema

    text = str(parameter_schema(flow_of(name)).model_dump_for_openapi())
    assert "oneOf" not in text
    assert "discriminator" not in text
    assert "'additionalProperties': {" not in text


@each_deployment
def test_deployment_is_described_and_tagged(name: str) -> None:
    assert DEPLOYMENTS[name]["description"]
    assert DEPLOYMENTS[name]["tags"][0] == "unetseg"


def test_whatever_trains_runs_in_the_gpu_pool() -> None:
    pools = {name: item["work_pool"]["name"] for name, item in DEPLOYMENTS.items()}
    assert {name for name, pool in pools.items() if pool == "gpu"} == {"train", "nightly"}
    assert set(pools.values()) == {"gpu", "cpu"}


def test_what_takes_long_waits_in_a_queue_of_its_own() -> None:
    bulk = {name for name, item in DEPLOYMENTS.items() if item["work_pool"].get("work_queue_name") == "bulk"}
    assert bulk == {"ingest", "evaluate", "evaluate_on", "predict"}


def test_only_prediction_may_run_several_times_at_once() -> None:
    limits = {name: item.get("concurrency_limit") for name, item in DEPLOYMENTS.items()}
    assert limits.pop("predict") is None
    assert all(limit == ONE_AT_A_TIME for limit in limits.values())


@each_deployment
def test_environment_is_text_and_keeps_to_itself(name: str) -> None:
    environment = DEPLOYMENTS[name]["work_pool"]["job_variables"]["env"]
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_LOGGING_EXTRA_LOGGERS"] == "unetseg"
    assert all(isinstance(value, str) for value in environment.values())


def test_only_nightly_has_a_schedule_and_it_is_off_until_switched_on() -> None:
    assert [name for name, item in DEPLOYMENTS.items() if "schedules" in item] == ["nightly"]
    (schedule,) = DEPLOYMENTS["nightly"]["schedules"]
    assert schedule["cron"] == "0 2 * * *"
    assert schedule["active"] is False
    assert ZoneInfo(schedule["timezone"])


def test_schedule_is_one_that_prefect_accepts() -> None:
    from prefect.client.schemas.schedules import CronSchedule

    (schedule,) = DEPLOYMENTS["nightly"]["schedules"]
    # `max_scheduled_runs` and other keys that the server knows make `prefect deploy` skip the deployment.
    assert set(schedule) == {"slug", "cron", "timezone", "active"}
    CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
