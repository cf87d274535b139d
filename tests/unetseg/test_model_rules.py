"""What the network's arguments may be, and what they leave open."""

import pytest

from unetseg.config import ModelConfig
from unetseg.errors import UsageError
from unetseg.model_rules import resolved


@pytest.mark.parametrize(
    ("sides", "depth"),
    [((None, None), 4), ((64, 64), 2), ((512, 64), 2), ((64, 512), 2), ((None, 128), 3), ((512, None), 5), ((9, 9), 1)],
    ids=str,
)
def test_a_depth_of_0_follows_from_the_shorter_side_that_is_given(sides, depth):
    assert resolved(ModelConfig(), *sides).depth == depth


def test_what_is_given_stays():
    config = ModelConfig(depth=2, width=5, upsampling=("nearest", "bilinear"), dropout=(0.1, 0.2, 0.3))
    assert resolved(config, 512, 512) == config


def test_one_value_stands_for_all_levels_and_one_dropout_for_the_lowest():
    config = resolved(ModelConfig(depth=3, upsampling=("bilinear",), dropout=(0.5,)), None, None)
    assert config.width == 16
    assert config.upsampling == ("bilinear",) * 3
    assert config.dropout == (0.0, 0.0, 0.0, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": 3}, r"model.outputs: must be at most the depth .*2, received 3; use 2 or less"),
        ({"fusion": 3}, r"model.fusion: must be at most the depth .*2, received 3; use 2 or less"),
        ({"upsampling": ("nearest",) * 3}, r"model.upsampling: must be 1 value or 2 .*received 3.*give 1 or 2"),
        ({"dropout": (0.1, 0.2)}, r"model.dropout: must be 1 value or 3 .*received 2: \(0.1, 0.2\); give 1 or 3"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_contradict_the_depth_are_named(changes, message):
    with pytest.raises(UsageError, match=message):
        resolved(ModelConfig(depth=2, **changes), None, None)


def test_settings_are_held_against_the_depth_that_was_chosen():
    with pytest.raises(UsageError, match=r"model.outputs: must be at most the depth .*1, received 2"):
        resolved(ModelConfig(outputs=2), 16, 16)
