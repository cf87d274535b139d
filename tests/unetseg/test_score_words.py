"""How scores are written for people."""

from __future__ import annotations

import math

import pytest

from unetseg.score_words import interval_text, score_number, score_title


@pytest.mark.parametrize(
    ("score", "value", "text"),
    [
        pytest.param("f1", 0.12345, "0.123", id="score"),
        pytest.param("f1", 1, "1.000", id="whole-number"),
        pytest.param("f1", None, "–", id="none"),
        pytest.param("f1", math.nan, "–", id="nan"),
        pytest.param("hausdorff95", math.inf, "–", id="infinite"),
        pytest.param("hausdorff95", 3.14159, "3.14", id="short-distance"),
        pytest.param("hausdorff95", 1234.56, "1,234.6", id="long-distance"),
        pytest.param("false_positive_fraction", 0.01234, "1.23 %", id="share"),
    ],
)
def test_a_number_is_written_by_its_kind(score: str, value: float | None, text: str):
    assert score_number(score, value) == text


@pytest.mark.parametrize(("value", "text"), [(0.25, "+0.250"), (-0.25, "-0.250"), (-0.0001, "+0.000"), (0.0, "+0.000")])
def test_a_difference_has_its_sign_and_nothing_is_minus_zero(value: float, text: str):
    assert score_number("f1", value, signed=True) == text


def test_an_interval_without_an_end_is_a_dash():
    assert interval_text("f1", [0.1, 0.2]) == "0.100 to 0.200"
    assert interval_text("f1", None) == "–"
    assert interval_text("f1", [None, 0.2]) == "–"


def test_only_distances_have_a_unit():
    assert score_title("hausdorff95", "µm") == "Hausdorff 95 (µm)"
    assert score_title("average_precision", "µm") == "average precision"
