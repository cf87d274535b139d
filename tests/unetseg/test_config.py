import doctest
import json
from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest
from pydantic import TypeAdapter, ValidationError

from unetseg import config
from unetseg.config import ClassSource, GuideSource, IngestConfig, ScanSource, Settings, Sources, TrainConfig, to_plain

STAGES = [item.name for item in fields(Settings)]
CLASSES = [kind for kind in (getattr(config, name) for name in config.__all__) if is_dataclass(kind)]


def test_the_examples_in_the_documentation_are_true():
    assert doctest.testmod(config).failed == 0
    assert doctest.testmod(config).attempted == 2


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_no_class_takes_a_field_that_it_does_not_have(kind):
    with pytest.raises(ValidationError, match=r"(?i)unexpected keyword"):
        kind(nonsense=1)


@pytest.mark.parametrize("stage", STAGES)
def test_each_setting_has_a_sentence_for_the_form(stage):
    schema = TypeAdapter(type(getattr(Settings(), stage))).json_schema()
    for name, item in schema["properties"].items():
        assert item.get("description", "").endswith("."), f"{stage}.{name}"


@pytest.mark.parametrize("stage", STAGES)
def test_the_limits_of_each_number_are_kept(stage):
    kind = type(getattr(Settings(), stage))
    for name, item in TypeAdapter(kind).json_schema()["properties"].items():
        outside = {
            "minimum": lambda limit: limit - 1,
            "maximum": lambda limit: limit + 1,
            "exclusiveMinimum": lambda limit: limit,
            "exclusiveMaximum": lambda limit: limit,
        }
        if item["type"] in ("integer", "number"):
            assert set(outside) & set(item) or name.startswith("fixed_"), f"{stage}.{name} has no limit"
        for limit in set(outside) & set(item):
            with pytest.raises(ValidationError, match=name):
                kind(**{name: outside[limit](item[limit])})


def test_settings_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        TrainConfig().epochs = 3


def test_settings_survive_json():
    settings = Settings(ingest=IngestConfig(normalisation="fixed", fixed_low=-5.0), train=TrainConfig(seed=7))
    plain = json.loads(json.dumps(to_plain(settings)))
    assert plain["ingest"]["fixed_low"] == -5.0
    assert TypeAdapter(Settings).validate_python(plain) == settings


def test_sources_survive_json():
    sources = Sources(
        ScanSource("s", channels=("a", "b"), group=r"^(\d+)"),
        (ClassSource("iris", "m", encoding="labels", values=("3", "4")),),
        (GuideSource("lid", "g"),),
    )
    assert TypeAdapter(Sources).validate_python(json.loads(json.dumps(to_plain(sources)))) == sources


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_setting(value):
    with pytest.raises(ValidationError, match="finite"):
        IngestConfig(fixed_high=value)


@pytest.mark.parametrize(("low", "high"), [(5.0, 5.0), (6.0, 5.0)])
def test_an_empty_fixed_range_is_refused(low, high):
    with pytest.raises(ValidationError, match=r"fixed_high must be above fixed_low, found 5.0 and"):
        IngestConfig(fixed_low=low, fixed_high=high)


def test_a_group_that_is_no_regular_expression_is_refused():
    with pytest.raises(ValidationError, match=r"is no regular expression: .*'\(p'"):
        ScanSource("s", group="(p")


@pytest.mark.parametrize("name", ["", "/", "../x", "a/b", "-a", ".hidden", "x" * 65, "a\nb", "a\n"])
def test_a_name_that_cannot_name_a_folder_is_refused(name):
    with pytest.raises(ValidationError, match="name"):
        ClassSource(name=name, path="m")
