"""The rules of the gate on made-up counts."""

from __future__ import annotations

import numpy as np
import pytest

from unetseg.bootstrap import paired_difference
from unetseg.config import EvaluateConfig, GateConfig
from unetseg.errors import UsageError
from unetseg.gate_rules import ClassChange, Scored, Verdict, class_tolerances, compare, first

CLASSES = ("iris", "pupil")
PIXELS = 1600
DRAWS = EvaluateConfig(draws=300)


def scored(error_rates: tuple[float, float], seed: int = 0, *, groups: int = 12, scans: int = 12) -> Scored:
    """A model that gets a share of the pixels of each class wrong; every second pixel or so is of the class."""
    truth_source, errors = np.random.default_rng(7), np.random.default_rng(seed)
    true = truth_source.integers(400, 900, (scans, 2))
    fn, fp = errors.binomial(true, error_rates), errors.binomial(PIXELS - true, error_rates)
    counts = np.stack([true - fn, fp, fn, PIXELS - true - fp], axis=-1)
    names = tuple(f"scan{number:02d}" for number in range(scans))
    return Scored(names, tuple(f"group{number % groups:02d}" for number in range(scans)), counts)


def judged(ours: Scored, theirs: Scored, **settings) -> Verdict:
    return compare(ours, theirs, CLASSES, GateConfig(**settings), DRAWS, against="0007")


def macro_f1(model: Scored) -> float:
    tp, fp, fn, _ = model.counts.sum(axis=0).T
    return float((2 * tp / (2 * tp + fp + fn)).mean())


# --------------------------------------------------------------------------- two models


def test_better_on_every_class_is_promoted():
    assert judged(scored((0.02, 0.02), 1), scored((0.10, 0.10), 2)).promotes


def test_the_same_model_is_kept():
    ours = scored((0.05, 0.05), 1)
    verdict = judged(ours, ours)
    assert not verdict.promotes
    assert "+0.000 to +0.000" in verdict.reason


def test_worse_is_kept():
    assert not judged(scored((0.10, 0.10), 1), scored((0.05, 0.05), 2)).promotes


def test_better_on_average_with_one_class_ruined_is_kept_and_says_both():
    verdict = judged(scored((0.001, 0.13), 1), scored((0.15, 0.08), 2))
    assert not verdict.promotes
    change = verdict.numbers.classes["pupil"]
    start = f"pupil fell from f1 {change.before:.3f} to {change.after:.3f}, more than the 0.02 allowed; macro f1 "
    assert verdict.reason.startswith(start)
    assert verdict.numbers.low > 0


@pytest.mark.parametrize(
    "settings", [{"tolerance": 0.5}, {"class_tolerances": ("pupil=0.5",)}], ids=["all", "that-class"]
)
def test_a_wider_tolerance_lets_the_same_pass(settings):
    assert judged(scored((0.001, 0.13), 1), scored((0.15, 0.08), 2), **settings).promotes


def test_a_narrower_tolerance_of_one_class_keeps_production():
    ours, theirs = scored((0.001, 0.09), 1), scored((0.15, 0.085), 2)
    assert judged(ours, theirs).promotes
    verdict = judged(ours, theirs, class_tolerances=("pupil=0.001",))
    assert not verdict.promotes
    assert "pupil fell" in verdict.reason


def test_all_ruined_classes_are_named():
    verdict = judged(scored((0.3, 0.3), 1), scored((0.1, 0.1), 2))
    assert "iris fell" in verdict.reason
    assert "pupil fell" in verdict.reason


@pytest.mark.parametrize("score", ["dice", "f1", "recall", "iou"])
def test_every_score_can_be_chosen(score: str):
    verdict = judged(scored((0.02, 0.02), 1), scored((0.2, 0.2), 2), score=score)
    assert verdict.promotes
    assert f"macro {score} " in verdict.reason
    assert not judged(scored((0.2, 0.2), 1), scored((0.02, 0.02), 2), score=score, tolerance=1.0).promotes


def test_the_reason_and_the_numbers_are_those_of_the_paired_bootstrap():
    ours, theirs = scored((0.09, 0.09), 1, groups=5), scored((0.10, 0.10), 2, groups=5)
    verdict = judged(ours, theirs, class_tolerances=("iris=0.3",))
    found = paired_difference(theirs.counts, ours.counts, ours.groups, "f1", DRAWS)
    assert verdict.reason == (
        f"macro f1 {macro_f1(theirs):.3f} -> {macro_f1(ours):.3f} "
        f"(difference {found.low:+.3f} to {found.high:+.3f} at 95% confidence, 5 groups)"
    )
    numbers = verdict.numbers
    assert (numbers.before, numbers.after) == pytest.approx((macro_f1(theirs), macro_f1(ours)))
    assert (numbers.low, numbers.high, numbers.effective_number) == (found.low, found.high, found.effective_groups)
    assert (numbers.against, numbers.score, numbers.units, numbers.number) == ("0007", "f1", "groups", 5)
    assert (numbers.confidence, numbers.draws, numbers.seed) == (0.95, 300, 0)
    assert [numbers.classes[name].tolerance for name in CLASSES] == [0.3, 0.02]
    assert np.mean([change.after for change in numbers.classes.values()]) == pytest.approx(numbers.after)


def test_uneven_groups_are_said_to_count_less():
    def uneven(model: Scored) -> Scored:
        return Scored(model.scans, ("big",) * 8 + tuple("pqrs"), model.counts)

    verdict = judged(uneven(scored((0.05, 0.05), 1)), uneven(scored((0.1, 0.1), 2)))
    effective = verdict.numbers.effective_number
    assert 1.5 < effective < 3
    assert f"5 groups so uneven that they count like {effective:.1f})" in verdict.reason


def test_equal_models_are_rarely_promoted():
    wins = sum(judged(scored((0.1, 0.1), 2 * n), scored((0.1, 0.1), 2 * n + 1)).promotes for n in range(40))
    assert wins <= 5  # 2.5 % expected; more than 5 of 40 would happen by chance once in 10,000


def test_an_unknown_class_in_a_tolerance_is_named_with_those_there_are():
    config = GateConfig(class_tolerances=("pupil=0.05", "pupli=0.1"))
    with pytest.raises(UsageError, match="no class 'pupli'; the classes are iris, pupil"):
        class_tolerances(config, CLASSES)
    assert class_tolerances(GateConfig(class_tolerances=("pupil=0.05",)), CLASSES) == {"iris": 0.02, "pupil": 0.05}


def test_models_on_other_scans_are_refused():
    with pytest.raises(UsageError, match="same scans and masks"):
        judged(scored((0.1, 0.1)), scored((0.1, 0.1), scans=11))


# --------------------------------------------------------------------------- few groups


def test_scans_of_one_group_stand_for_themselves_and_must_gain_more_than_the_tolerance():
    ours, theirs = scored((0.05, 0.05), 1, groups=1), scored((0.10, 0.10), 2, groups=1)
    verdict = judged(ours, theirs)
    assert verdict.promotes
    gain = verdict.numbers.after - verdict.numbers.before
    assert verdict.reason.endswith(
        f"at 95% confidence over 12 scans of one group, not over groups: the gain, {gain:+.3f}, "
        "must also be more than 0.02)"
    )
    assert (verdict.numbers.units, verdict.numbers.number) == ("scans", 12)
    small = judged(scored((0.095, 0.095), 1, groups=1), theirs)
    assert small.numbers.low > 0
    assert small.numbers.after - small.numbers.before < 0.02
    assert not small.promotes


def test_one_test_scan_alone_needs_a_gain_above_the_tolerance():
    good, bad = scored((0.01, 0.01), 1, scans=1), scored((0.2, 0.2), 2, scans=1)
    verdict = judged(good, bad)
    assert verdict.promotes
    gain = verdict.numbers.after - verdict.numbers.before
    assert verdict.reason.endswith(f"(one test scan: the gain, {gain:+.3f}, must be more than 0.02)")
    assert (verdict.numbers.low, verdict.numbers.confidence, verdict.numbers.draws) == (None, None, None)
    assert not judged(good, good).promotes
    assert not judged(scored((0.01, 0.01), 1, scans=1), scored((0.02, 0.02), 2, scans=1)).promotes


def test_a_test_split_without_any_class_keeps_production():
    empty = Scored(("a", "b"), ("p", "q"), np.tile([0, 5, 0, 95], (2, 2, 1)))
    verdict = judged(empty, empty)
    assert not verdict.promotes
    assert verdict.reason == "macro f1 cannot be measured: no class is in the test split"
    assert verdict.numbers.classes["iris"] == ClassChange(None, None, 0.02, ruined=False)


def test_a_class_that_is_absent_is_neither_ruined_nor_averaged():
    def without_pupil(model: Scored) -> Scored:
        counts = model.counts.copy()
        counts[:, 1] = [0, 5, 0, PIXELS - 5]
        return Scored(model.scans, model.groups, counts)

    verdict = judged(without_pupil(scored((0.02, 0.02), 1)), without_pupil(scored((0.1, 0.1), 2)))
    assert verdict.promotes
    assert verdict.numbers.classes["pupil"].after is None
    assert verdict.numbers.after == verdict.numbers.classes["iris"].after


# --------------------------------------------------------------------------- a first model


def test_first_model_must_reach_the_floor():
    model = scored((0.1, 0.1))
    reached = macro_f1(model)
    passed = first(model, CLASSES, GateConfig(floor=reached - 0.01))
    assert passed.promotes
    assert passed.reason == f"macro f1 {reached:.3f} reaches the floor of {reached - 0.01}"
    assert (passed.numbers.against, passed.numbers.before) == (None, None)
    assert passed.numbers.after == pytest.approx(reached)
    assert passed.numbers.classes["iris"].before is None
    assert not first(model, CLASSES, GateConfig(floor=reached + 0.01)).promotes


def test_first_model_without_any_class_in_the_test_split_is_not_promoted():
    verdict = first(Scored(("a",), ("a",), np.array([[[0, 0, 0, 9], [0, 0, 0, 0]]])), CLASSES, GateConfig(floor=0))
    assert not verdict.promotes
    assert "cannot be measured" in verdict.reason
