"""Settings of single classes: refused when they are made, not after a training."""

import doctest

import pytest
from pydantic import ValidationError

from unetseg import class_settings
from unetseg.class_settings import by_class, parse_criterion, parse_tolerance
from unetseg.config import EvaluateConfig, GateConfig


def test_the_examples_are_right():
    assert doctest.testmod(class_settings) == (0, 3)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("optic disc=dice", {"criterion": "dice"}),
        ("iris=f_beta:2", {"criterion": "f_beta", "beta": 2.0}),
        ("iris=fixed:.3", {"criterion": "fixed", "fixed_threshold": 0.3}),
        ("iris=precision_at_recall:1", {"criterion": "precision_at_recall", "target": 1.0}),
    ],
)
def test_a_criterion_stands_for_fields_of_the_settings(text, fields):
    assert parse_criterion(text) == fields
    assert EvaluateConfig(class_criteria=(text,)).class_criteria == (text,)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        pytest.param("iris=recall_at_precision:1.7", "less than or equal to 1; found 'iris=rec", id="target_above_1"),
        pytest.param("iris=precision_at_recall:0", "greater than 0; found", id="target_0"),
        pytest.param("iris=f_beta:20", "less than or equal to 10", id="beta"),
        pytest.param("iris=fixed:1.5", "less than or equal to 1", id="fixed"),
        pytest.param("iris=recall:0.9", "must be CLASS=CRITERION.*found 'iris=recall:0.9'", id="unknown_criterion"),
        pytest.param("iris=dice:1", "must be CLASS=CRITERION", id="number_of_too_much"),
        pytest.param("iris=fixed", "must be CLASS=CRITERION", id="number_missing"),
        pytest.param("iris=fixed:nan", "must be CLASS=CRITERION", id="no_number"),
        pytest.param("=dice", "must be CLASS=CRITERION", id="no_class"),
        pytest.param("iris =dice", "must be CLASS=CRITERION", id="blank_after_the_class"),
        pytest.param(
            "iris=dice,pupil=dice,iris=f_beta:2",
            "class 'iris' stands there twice, found 'iris=dice' and 'iris=f_beta:2'; leave one",
            id="class_twice",
        ),
    ],
)
def test_a_wrong_criterion_of_a_class_is_no_setting(texts, message):
    with pytest.raises(ValidationError, match=f"class_criteria[^$]*{message}"):
        EvaluateConfig(class_criteria=texts)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        pytest.param(
            "pupil=-0.1", "must be CLASS=NUMBER with a number of 0 or more.*found 'pupil=-0.1'", id="negative"
        ),
        pytest.param("pupil=5", "less than or equal to 1; found 'pupil=5'", id="above_1"),
        pytest.param("pupil=five", "must be CLASS=NUMBER", id="no_number"),
        pytest.param("pupil", "must be CLASS=NUMBER", id="no_equals_sign"),
        pytest.param("pupil=.1,pupil=.1", "class 'pupil' stands there twice", id="class_twice"),
    ],
)
def test_a_wrong_tolerance_of_a_class_is_no_setting(texts, message):
    with pytest.raises(ValidationError, match=f"class_tolerances[^$]*{message}"):
        GateConfig(class_tolerances=texts)


def test_a_tolerance_of_0_is_one():
    assert GateConfig(class_tolerances="pupil=0, iris=1").class_tolerances == ("pupil=0", "iris=1")
    assert parse_tolerance("pupil=0") == 0


def test_a_class_is_there_once_whatever_is_said_of_it():
    with pytest.raises(ValueError, match="twice"):
        by_class(["iris=dice", "iris=dice"])
