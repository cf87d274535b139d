"""Thresholds of single classes against slow loops and hand values."""

import doctest
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetseg import thresholds
from unetseg.config import EvaluateConfig
from unetseg.errors import UsageError
from unetseg.histograms import BINS, Histograms
from unetseg.thresholds import check_criteria, choose_threshold, choose_thresholds

FEW_BINS = [0, 1, 2, 100, 32767, 32768, 50000, 65534, 65535]  # few, so that ties and gaps are common


pixels = st.lists(
    st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from(FEW_BINS).map(lambda slot: slot / BINS)),
    min_size=1,
    max_size=40,
)


CONFIGS = [
    EvaluateConfig(),
    EvaluateConfig(beta=2.0),
    EvaluateConfig(criterion="recall_at_precision", target=0.6),
    EvaluateConfig(criterion="precision_at_recall", target=0.7),
    EvaluateConfig(criterion="fixed", fixed_threshold=0.3),
    EvaluateConfig(criterion="dice", beta=2.0),
]


@settings(max_examples=150, deadline=None)
@given(drawn=pixels, config=st.sampled_from(CONFIGS), between_bins=st.booleans())
def test_applying_the_threshold_reproduces_its_numbers(drawn, config, between_bins, curve_of):
    truth, probabilities = (np.array(column) for column in zip(*drawn, strict=True))
    probabilities = probabilities.astype(np.float32)
    if between_bins:  # not only lower edges of bins
        probabilities = np.nextafter(probabilities, np.float32(1))
    chosen = choose_threshold(curve_of(truth, probabilities), config)
    predicted = probabilities[truth >= 0] >= np.float32(chosen.value)
    foreground = truth[truth >= 0] == 1
    tp = int((predicted & foreground).sum())
    assert float(np.float32(chosen.value)) * BINS == int(chosen.value * BINS)
    if not foreground.any():
        assert (chosen.precision, chosen.recall, chosen.score) == (None, None, None)
    else:
        assert chosen.recall == tp / foreground.sum()
        assert chosen.precision == (tp / predicted.sum() if predicted.any() else None)


def slow_choice(slots, truth, config):
    """Try every threshold there is: (score, other) pairs, the best of them, and whether one was allowed."""
    best = None
    for edge in sorted({0, *(slot + 1 for slot in slots), *slots} - {BINS}):
        predicted = [slot >= edge for slot in slots]
        tp = sum(t and p for t, p in zip(truth, predicted, strict=True))
        if not any(predicted):
            continue
        precision, recall = tp / sum(predicted), tp / sum(truth)
        if config.criterion == "recall_at_precision":
            key = (recall, precision) if precision >= config.target else None
        elif config.criterion == "precision_at_recall":
            key = (precision, recall) if recall >= config.target else None
        else:
            weight = config.beta**2
            fn, fp = sum(truth) - tp, sum(predicted) - tp
            key = ((1 + weight) * tp / ((1 + weight) * tp + weight * fn + fp), -recall)
        if key is not None and (best is None or key > best):
            best = key
    return best


@pytest.mark.parametrize("config", CONFIGS[:4], ids=lambda config: f"{config.criterion} {config.beta}")
def test_the_choice_is_the_best_of_all_thresholds(config, curve_of):
    for seed in range(30):
        random = np.random.default_rng(seed)
        slots = random.choice(FEW_BINS, 12).tolist()
        truth = (random.random(12) < 0.5).tolist()
        truth[0] = True
        chosen = choose_threshold(curve_of(truth, np.array(slots) / BINS), config)
        best = slow_choice(slots, truth, config)
        assert chosen.reached == (best is not None)
        if best is not None:
            other = {"recall_at_precision": chosen.precision, "precision_at_recall": chosen.recall}
            assert (chosen.score, other.get(config.criterion, -chosen.recall)) == pytest.approx(best, rel=1e-12)


def test_a_perfect_model_is_cut_in_the_middle(curve_of):
    chosen = choose_threshold(curve_of([1, 1, 0, 0], [1.0, 1.0, 0.0, 0.0]), EvaluateConfig())
    assert (chosen.value, chosen.reached, chosen.score) == (0.5, True, 1.0)
    assert chosen.reason == "highest F1: 1.0000"


@pytest.mark.parametrize("config", CONFIGS[:4], ids=lambda config: f"{config.criterion} {config.beta}")
def test_the_threshold_lies_in_the_middle_of_its_gap(config, curve_of):
    chosen = choose_threshold(curve_of([1, 1, 0], [0.75, 0.75, 0.25]), config)
    lowest, highest = 0.25 * BINS + 1, 0.75 * BINS  # all thresholds that count the same
    assert chosen.value * BINS == (lowest + highest) // 2


def test_neighbouring_bins_leave_no_gap(curve_of):
    chosen = choose_threshold(curve_of([1, 0], [101 / BINS, 100 / BINS]), EvaluateConfig())
    assert chosen.value == 101 / BINS


def test_below_the_lowest_bin_the_gap_reaches_down_to_zero(curve_of):
    chosen = choose_threshold(curve_of([1, 1], [0.5, 0.75]), EvaluateConfig())
    assert (chosen.value, chosen.recall) == (0.25, 1.0)


def test_equal_f_beta_takes_the_highest_threshold(curve_of):
    # F1 is 2/3 with the first pixel alone and with all four
    curve = curve_of([1, 0, 0, 1], [0.875, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(curve.f_beta(1), [2 / 3, 2 / 5, 1 / 2, 2 / 3])
    assert choose_threshold(curve, EvaluateConfig()).recall == 0.5


def test_beta_above_one_leans_to_recall(curve_of):
    curve = curve_of([1, 1, 0, 0, 1], [0.875, 0.75, 0.5, 0.5, 0.25])
    low, high = (choose_threshold(curve, EvaluateConfig(beta=beta)) for beta in (2.0, 0.5))
    assert (low.recall, high.recall) == (1.0, 2 / 3)


def test_recall_at_precision_takes_the_highest_recall_and_then_the_highest_threshold(curve_of):
    curve = curve_of([1, 1, 0, 0, 1, 0, 0], [0.875, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0625])
    for target, expected in ((0.6, (3 / 5, 1.0)), (0.65, (1.0, 2 / 3)), (0.4, (3 / 5, 1.0))):
        chosen = choose_threshold(curve, EvaluateConfig(criterion="recall_at_precision", target=target))
        assert (chosen.reached, chosen.precision, chosen.recall) == (True, *expected)
        assert chosen.score == chosen.recall
        assert chosen.reason == f"highest recall with precision >= {target}: {chosen.recall:.4f}"


def test_precision_at_recall_takes_the_highest_precision_and_then_the_most_recall(curve_of):
    curve = curve_of([1, 1, 0, 1], [0.875, 0.75, 0.5, 0.25])
    for target, expected in ((0.3, (1.0, 2 / 3)), (0.9, (3 / 4, 1.0))):
        chosen = choose_threshold(curve, EvaluateConfig(criterion="precision_at_recall", target=target))
        assert (chosen.reached, chosen.precision, chosen.recall) == (True, *expected)
        assert chosen.score == chosen.precision


def test_an_unreachable_criterion_falls_back_to_the_best_f1_and_says_so(curve_of):
    curve = curve_of([0, 1, 1, 0], [0.875, 0.75, 0.5, 0.25])
    chosen = choose_threshold(curve, EvaluateConfig(criterion="recall_at_precision", target=0.9))
    best = choose_threshold(curve, EvaluateConfig(criterion="f_beta", beta=1.0))
    assert not chosen.reached
    assert (chosen.value, chosen.score) == (best.value, best.score) == (chosen.value, pytest.approx(0.8))
    assert chosen.reason == (
        "not reached: no threshold for the highest recall with precision >= 0.9 (highest precision: 0.6667); "
        "fell back to the highest F1: 0.8000"
    )


@pytest.mark.parametrize("config", CONFIGS[:4], ids=lambda config: f"{config.criterion} {config.beta}")
def test_a_class_without_foreground_never_looks_chosen(config, curve_of):
    chosen = choose_threshold(curve_of([0, 0], [0.5, 0.75]), config)
    assert (chosen.value, chosen.reached) == (0.5, False)
    assert chosen.reason == f"not chosen: no foreground pixel to judge {config.criterion} by; fell back to 0.5"


def test_fixed_takes_the_setting_rounded_to_a_bin(curve_of):
    curve = curve_of([1, 0, 1], [0.875, 0.5, 0.25])
    chosen = choose_threshold(curve, EvaluateConfig(criterion="fixed", fixed_threshold=0.3))
    assert chosen.value == round(0.3 * BINS) / BINS
    assert (chosen.reached, chosen.precision, chosen.recall, chosen.score) == (True, 0.5, 0.5, 0.5)
    assert chosen.reason == "fixed at 0.3, not chosen from the data"


def test_fixed_score_is_f_beta(curve_of):
    curve = curve_of([1, 0, 1], [0.875, 0.5, 0.25])
    chosen = choose_threshold(curve, EvaluateConfig(criterion="fixed", fixed_threshold=0.75, beta=2.0))
    assert chosen.score == pytest.approx(5 / (5 + 4))


@pytest.mark.parametrize(("setting", "value", "recall"), [(0.0, 0.0, 1.0), (1.0, 65535 / 65536, 0.0)])
def test_fixed_at_its_limits(setting, value, recall, curve_of):
    chosen = choose_threshold(curve_of([1, 0], [0.5, 0.5]), EvaluateConfig(criterion="fixed", fixed_threshold=setting))
    assert (chosen.value, chosen.recall) == (value, recall)
    assert (chosen.precision is None) == (recall == 0.0)


def test_a_threshold_cannot_be_changed(curve_of):
    chosen = choose_threshold(curve_of([1, 0], [0.75, 0.25]), EvaluateConfig())
    with pytest.raises(FrozenInstanceError):
        chosen.value = 0.9


def test_dice_is_f_beta_with_beta_one(curve_of):
    curve = curve_of([1, 1, 0, 0, 1], [0.875, 0.75, 0.5, 0.5, 0.25])
    dice = choose_threshold(curve, EvaluateConfig(criterion="dice", beta=2.0))
    f1 = choose_threshold(curve, EvaluateConfig(beta=1.0))
    assert (dice.value, dice.score) == (f1.value, f1.score)
    assert dice.value != choose_threshold(curve, EvaluateConfig(beta=2.0)).value
    assert (dice.reason, f1.reason) == ("highest Dice: 0.8000", "highest F1: 0.8000")


# --------------------------------------------------------------------------- classes


def two_classes():
    y_true = np.array([[1, 1], [1, 0], [0, 0], [0, 1], [1, 0]], np.int8)
    y_pred = np.array([[0.875, 0.75], [0.75, 0.5], [0.5, 0.25], [0.5, 0.625], [0.25, 0.125]], np.float32)
    histograms = Histograms.empty(2)
    histograms.add(y_true, y_pred)
    return histograms


def test_classes_are_chosen_one_by_one():
    histograms, config = two_classes(), EvaluateConfig(criterion="precision_at_recall", target=0.6)
    chosen = choose_thresholds(histograms, ["iris", "pupil"], config)
    assert list(chosen) == ["iris", "pupil"]
    assert list(chosen.values()) == [choose_threshold(histograms.curve(k), config) for k in range(2)]


@pytest.mark.parametrize("average", ["class", "micro", "macro"])
def test_fixed_is_fixed_for_every_class_and_average(average):
    config = EvaluateConfig(criterion="fixed", fixed_threshold=0.25, average=average)
    assert [item.value for item in choose_thresholds(two_classes(), ["a", "b"], config).values()] == [0.25, 0.25]


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("pupil=recall_at_precision:0.95", EvaluateConfig(criterion="recall_at_precision", target=0.95)),
        ("pupil=precision_at_recall:.5", EvaluateConfig(criterion="precision_at_recall", target=0.5)),
        ("pupil=f_beta:2", EvaluateConfig(beta=2.0)),
        ("pupil=dice", EvaluateConfig(criterion="dice")),
        ("pupil=fixed:0.3", EvaluateConfig(criterion="fixed", fixed_threshold=0.3, beta=0.5)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("average", ["class", "micro", "macro"])
def test_a_class_with_its_own_criterion_is_chosen_on_its_own(text, alone, average):
    histograms = two_classes()
    config = EvaluateConfig(average=average, class_criteria=(text,), beta=0.5)
    chosen = choose_thresholds(histograms, ["iris", "pupil"], config)
    assert list(chosen) == ["iris", "pupil"]
    assert chosen["pupil"] == choose_threshold(histograms.curve(1), alone)
    assert chosen["iris"].value == choose_threshold(histograms.curve(0), EvaluateConfig(beta=0.5)).value


@pytest.mark.parametrize("refuse", [choose_thresholds, lambda _, *rest: check_criteria(*rest)], ids=["use", "check"])
def test_criteria_of_a_class_that_there_is_not_are_refused(refuse):
    with pytest.raises(UsageError, match="no class 'lens', got 'lens=dice'; classes: iris, pupil"):
        refuse(two_classes(), ["iris", "pupil"], EvaluateConfig(class_criteria=("iris=dice", "lens=dice")))


def test_names_must_match_the_classes():
    with pytest.raises(UsageError, match="2 names"):
        choose_thresholds(two_classes(), ["iris"], EvaluateConfig())


def test_the_example_is_right():
    assert doctest.testmod(thresholds).failed == 0
    assert doctest.testmod(thresholds).attempted > 0
