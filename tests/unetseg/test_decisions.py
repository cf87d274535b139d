"""What a pixel is, from probabilities: thresholds or the highest, never both."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from unetseg.config import EvaluateConfig, ModelConfig
from unetseg.decisions import Decision, decision_rule
from unetseg.errors import UsageError


def test_each_class_is_marked_at_or_above_its_own_threshold():
    probabilities = np.array([[0.5, 0.5], [0.25, 0.74], [0.24, 0.76]], np.float32)
    marked = Decision("thresholds", (0.25, 0.75))(probabilities)
    assert marked.tolist() == [[True, False], [True, False], [False, True]]


def test_argmax_takes_one_class_or_the_background():
    probabilities = np.array([[0.5, 0.25], [0.25, 0.5], [0.25, 0.25], [0.0, 0.0]], np.float32)
    marked = Decision("argmax", (0.9, 0.9))(probabilities)
    assert marked.tolist() == [[True, False], [False, True], [False, False], [False, False]]


def test_argmax_agrees_with_a_loop_over_pixels():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([1, 1, 1, 1], size=(6, 7))[..., 1:].astype(np.float32)
    marked = Decision("argmax", (0.0, 0.0, 0.0))(probabilities)
    for row, column in product(range(6), range(7)):
        shares = [*probabilities[row, column].tolist()]
        shares.append(1 - sum(shares))
        expected = [place == shares.index(max(shares)) for place in range(3)]
        assert marked[row, column].tolist() == expected


def test_of_equal_probabilities_the_first_class_wins_and_any_class_before_the_background():
    marked = Decision("argmax", (0.5, 0.5))(np.array([[0.5, 0.5], [0.0, 0.5], [0.25, 0.25]], np.float32))
    assert marked.tolist() == [[True, False], [False, True], [False, False]]


@pytest.mark.parametrize(
    ("decision", "head", "rule"),
    [
        ("auto", "sigmoid", "thresholds"),
        ("auto", "softmax", "argmax"),
        ("thresholds", "softmax", "thresholds"),
        ("argmax", "softmax", "argmax"),
    ],
)
def test_rule_follows_setting_and_head(decision: str, head: str, rule: str):
    assert decision_rule(EvaluateConfig(decision=decision), ModelConfig(head=head)) == rule


def test_overlapping_classes_have_no_argmax():
    with pytest.raises(UsageError, match=r"evaluate\.decision: argmax .* use thresholds"):
        decision_rule(EvaluateConfig(decision="argmax"), ModelConfig(head="sigmoid"))
