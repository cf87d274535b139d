"""The gate's decision on made-up counts."""

from __future__ import annotations

import numpy as np
import pytest

from unetseg.config import EvaluateConfig, GateConfig
from unetseg.curves import Histograms
from unetseg.gate import _compare, _first, _Scored
from unetseg.scores import count, score_table

CLASSES = ("iris", "pupil")
SCANS = 12


def scored(error_rates: tuple[float, float], seed: int = 0) -> _Scored:
    """A model that gets a share of the pixels of each class wrong, on twelve scans of twelve groups."""
    truth_source, errors = np.random.default_rng(7), np.random.default_rng(seed)
    histograms, counts = Histograms.empty(2), []
    for _ in range(SCANS):
        truth = (truth_source.random((40, 40, 2)) < 0.3).astype(np.int8)
        wrong = errors.random((40, 40, 2)) < np.array(error_rates)
        marked = (truth == 1) ^ wrong
        counts.append(count(truth, marked))
        histograms.add(truth, marked.astype(np.float32))
    stacked = np.stack(counts)
    names = tuple(f"scan{number}" for number in range(SCANS))
    return _Scored(names, names, stacked, score_table(stacked, CLASSES, [0.5, 0.5], histograms))


def compare(ours: _Scored, theirs: _Scored, **settings) -> tuple[bool, str]:
    return _compare(ours, theirs, CLASSES, GateConfig(**settings), EvaluateConfig(draws=300))


def test_better_on_every_class_is_promoted():
    promoted, reason = compare(scored((0.02, 0.02), 1), scored((0.10, 0.10), 2))
    assert promoted
    assert "->" in reason


def test_the_same_model_is_kept():
    ours = scored((0.05, 0.05), 1)
    promoted, reason = compare(ours, ours)
    assert not promoted
    assert "+0.000 to +0.000" in reason


def test_worse_is_kept():
    promoted, _ = compare(scored((0.10, 0.10), 1), scored((0.05, 0.05), 2))
    assert not promoted


def test_better_on_average_with_one_class_ruined_is_kept_and_names_it():
    promoted, reason = compare(scored((0.001, 0.13), 1), scored((0.15, 0.08), 2))
    assert not promoted
    assert "pupil fell" in reason


def test_a_wider_tolerance_lets_the_same_pass():
    promoted, _ = compare(scored((0.001, 0.13), 1), scored((0.15, 0.08), 2), tolerance=0.5)
    assert promoted


@pytest.mark.parametrize("score", ["dice", "f1", "recall", "average_precision"])
def test_every_score_can_be_chosen(score: str):
    assert compare(scored((0.02, 0.02), 1), scored((0.2, 0.2), 2), score=score)[0]
    assert not compare(scored((0.2, 0.2), 1), scored((0.02, 0.02), 2), score=score, tolerance=1.0)[0]


def test_equal_models_are_rarely_promoted():
    wins = sum(compare(scored((0.1, 0.1), 2 * n), scored((0.1, 0.1), 2 * n + 1))[0] for n in range(40))
    assert wins <= 5  # 2.5 % expected; more than 5 of 40 would happen by chance once in 10,000


def test_one_test_scan_alone_needs_a_gain_above_the_tolerance():
    def first_only(model: _Scored) -> _Scored:
        histograms = Histograms.empty(2)
        counts = model.counts[:1]
        truth, wrong = counts[0][:, 0] + counts[0][:, 2], counts[0][:, 1] + counts[0][:, 3]
        for k in range(2):
            histograms.positives[k, 0], histograms.negatives[k, 0] = truth[k], wrong[k]
        return _Scored(("a",), ("a",), counts, score_table(counts, CLASSES, [0.5, 0.5], histograms))

    good, bad = first_only(scored((0.01, 0.01), 1)), first_only(scored((0.2, 0.2), 2))
    promoted, reason = compare(good, bad)
    assert promoted
    assert "one test scan" in reason
    assert not compare(good, good)[0]


def test_first_model_must_reach_the_floor():
    model = scored((0.1, 0.1))
    reached = model.scores["macro"]["f1"]
    assert _first(model, GateConfig(floor=reached - 0.01))[0]
    assert not _first(model, GateConfig(floor=reached + 0.01))[0]
