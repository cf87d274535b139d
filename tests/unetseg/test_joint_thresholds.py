"""Thresholds chosen together against all combinations there are."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetseg import joint_choice
from unetseg.config import EvaluateConfig
from unetseg.histograms import BINS, Histograms
from unetseg.joint_thresholds import choose_places, highest_precision
from unetseg.thresholds import choose_thresholds

counts = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(any), min_size=1, max_size=6)
classes = st.lists(counts.filter(lambda bins: any(bin[0] for bin in bins)), min_size=1, max_size=3)
targets = st.sampled_from([0.1, 0.25, 0.4, 0.5, 0.6, 2 / 3, 0.75, 0.8, 0.9, 0.95, 1.0])


def histograms_of(drawn):
    """One class per list, of foreground and background pixels per occupied bin, rising."""
    histograms = Histograms.empty(len(drawn))
    for k, bins in enumerate(drawn):
        places = np.linspace(10, BINS - 1, len(bins)).astype(int)
        histograms.positives[k, places], histograms.negatives[k, places] = np.array(bins).T
    return histograms


def averages(cuts, average, beta):
    """Precision, recall and F-beta as fractions; ``cuts`` are true and false positives and foreground per class."""
    if average == "macro":
        columns = zip(*(averages([cut], "micro", beta) for cut in cuts), strict=True)
        return tuple(sum(column) / len(cuts) for column in columns)
    tp, fp, positives = (sum(column) for column in zip(*cuts, strict=True))
    weight = Fraction(str(beta)) ** 2
    f_beta = (1 + weight) * tp / ((1 + weight) * tp + weight * (positives - tp) + fp)
    return Fraction(tp, tp + fp), Fraction(tp, positives), f_beta


def cut(curve, place):
    return int(curve.true_positives[place]), int(curve.false_positives[place]), curve.positives


def all_averages(curves, config):
    for places in itertools.product(*(range(len(curve.thresholds)) for curve in curves)):
        cuts = [cut(curve, place) for curve, place in zip(curves, places, strict=True)]
        yield averages(cuts, config.average, config.beta)


def score(values, config):
    """What is to be highest, or None where that is not allowed."""
    precision, recall, f_beta = values
    target = Fraction(str(config.target)).limit_denominator(10**6)
    if config.criterion == "recall_at_precision":
        return recall if precision >= target else None
    if config.criterion == "precision_at_recall":
        return precision if recall >= target else None
    return f_beta


@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize("criterion", ["f_beta", "recall_at_precision", "precision_at_recall"])
@settings(max_examples=40, deadline=None)
@given(drawn=classes, target=targets, beta=st.sampled_from([0.5, 1.0, 1.7, 2.0]))
def test_the_choice_is_the_best_of_all_combinations(criterion, average, drawn, target, beta):
    config = EvaluateConfig(criterion=criterion, average=average, target=target, beta=beta)
    histograms = histograms_of(drawn)
    curves = [histograms.curve(k) for k in range(len(drawn))]
    found = list(all_averages(curves, config))
    allowed = [value for values in found if (value := score(values, config)) is not None]
    places = choose_places(curves, config)
    assert (places is None) == (not allowed)
    if places is not None:
        reached = averages([cut(*pair) for pair in zip(curves, places, strict=True)], average, beta)
        assert score(reached, config) == max(allowed)
    assert highest_precision(curves, average) == pytest.approx(float(max(values[0] for values in found)), rel=1e-12)


def random_histograms(seed, classes, bins):
    """Curves of many bins: foreground more probable than background, as a network gives them."""
    random = np.random.default_rng(seed)
    histograms = Histograms.empty(classes)
    for k in range(classes):
        ratio = np.linspace(0.02, 0.98, bins) ** random.uniform(0.5, 3)
        total = random.integers(0, 40, bins)
        places = np.sort(random.choice(BINS, bins, replace=False))
        histograms.positives[k, places] = random.binomial(total, ratio)
        histograms.negatives[k, places] = total - histograms.positives[k, places]
    return histograms


@pytest.mark.parametrize("few", [5, 1000], ids=["split into halves", "merged"])
@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize("criterion", ["f_beta", "recall_at_precision", "precision_at_recall"])
def test_the_choice_is_the_best_of_a_hundred_thousand_combinations(criterion, average, few, monkeypatch):
    """Long curves, merged in small parts, against arrays of all combinations."""
    monkeypatch.setattr(joint_choice, "_FEW", few)
    monkeypatch.setattr(joint_choice, "_PAIRS", 50)
    monkeypatch.setattr(joint_choice, "_BEAM", 3)
    monkeypatch.setattr(joint_choice, "_OPTIONS", 5)
    config = EvaluateConfig(criterion=criterion, average=average, target=0.85)
    for seed in range(5):
        histograms = random_histograms(seed, 3, 50)
        curves = [histograms.curve(k) for k in range(3)]
        tp, fp = (
            np.meshgrid(*columns, indexing="ij")
            for columns in zip(*((c.true_positives, c.false_positives) for c in curves), strict=True)
        )
        positives = [curve.positives for curve in curves]
        if average == "micro":
            precision, recall = sum(tp) / (sum(tp) + sum(fp)), sum(tp) / sum(positives)
            f_beta = 2 * sum(tp) / (sum(tp) + sum(fp) + sum(positives))
        else:
            precision = sum(t / (t + f) for t, f in zip(tp, fp, strict=True)) / 3
            recall = sum(t / p for t, p in zip(tp, positives, strict=True)) / 3
            f_beta = sum(2 * t / (t + f + p) for t, f, p in zip(tp, fp, positives, strict=True)) / 3
        goal, allowed = {
            "f_beta": (f_beta, True),
            "recall_at_precision": (recall, precision >= 0.85),
            "precision_at_recall": (precision, recall >= 0.85),
        }[criterion]
        places = tuple(choose_places(curves, config))
        assert np.broadcast_to(allowed, goal.shape)[places]
        assert goal[places] == pytest.approx(np.where(allowed, goal, 0).max(), rel=1e-13)


def fewest_false_positives(curves):
    """For every number of true positives of all classes together the fewest false positives there are, or infinity."""
    fewest = np.zeros(1)
    for curve in curves:
        longer = np.full(len(fewest) + curve.positives, np.inf)
        for tp, fp in zip(curve.true_positives, curve.false_positives, strict=True):
            np.minimum(longer[tp : tp + len(fewest)], fewest + fp, out=longer[tp : tp + len(fewest)])
        fewest = longer
    return fewest


@pytest.mark.parametrize("few", [20, 1000], ids=["split into halves", "merged"])
@pytest.mark.parametrize("criterion", ["f_beta", "recall_at_precision", "precision_at_recall"])
def test_the_micro_choice_of_many_classes_equals_a_table_of_all_sums(criterion, few, monkeypatch):
    monkeypatch.setattr(joint_choice, "_FEW", few)
    for seed in range(3):
        histograms = random_histograms(seed, 8, 60)
        curves = [histograms.curve(k) for k in range(8)]
        fp, positives = fewest_false_positives(curves), sum(curve.positives for curve in curves)
        tp = np.arange(len(fp))
        with np.errstate(invalid="ignore"):
            precision, recall, f_beta = tp / (tp + fp), tp / positives, 2 * tp / (tp + fp + positives)
        expected = {
            "f_beta": f_beta[np.isfinite(fp)],
            "recall_at_precision": recall[precision >= 0.9],
            "precision_at_recall": precision[(recall >= 0.9) & np.isfinite(fp)],
        }[criterion].max()
        places = choose_places(curves, EvaluateConfig(criterion=criterion, average="micro", target=0.9))
        reached = averages([cut(*pair) for pair in zip(curves, places, strict=True)], "micro", 1.0)
        reached_by = dict(zip(("precision_at_recall", "recall_at_precision", "f_beta"), reached, strict=True))
        assert float(reached_by[criterion]) == expected


@pytest.mark.parametrize(
    ("average", "criterion", "expected", "reason"),
    [
        ("micro", "recall_at_precision", (0.5, 1.0), "highest micro recall with micro precision >= 0.8: 0.9091"),
        ("macro", "recall_at_precision", (0.5, 1.0), "highest macro recall with macro precision >= 0.8: 0.7500"),
    ],
)
def test_one_class_gives_up_what_another_gains(average, criterion, expected, reason):
    """Hand-made: class a finds 1 of 2 surely and 1 with 8 wrong; class b all 9 with 2 wrong, or 5 surely."""
    histograms = histograms_of([[(1, 8), (1, 0)], [(4, 2), (5, 0)]])
    config = EvaluateConfig(criterion=criterion, average=average, target=0.8)
    chosen = choose_thresholds(histograms, ["a", "b"], config)
    assert tuple(item.recall for item in chosen.values()) == expected
    assert {item.reason for item in chosen.values()} == {f"chosen together over 2 classes: {reason}"}
    assert all(item.reached for item in chosen.values())
    assert chosen["b"].precision == 9 / 11


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_what_cannot_be_reached_says_what_can(average):
    histograms = histograms_of([[(2, 1)], [(4, 2)]])
    config = EvaluateConfig(criterion="recall_at_precision", average=average, target=0.9)
    chosen = choose_thresholds(histograms, ["a", "b"], config)
    assert [item.reached for item in chosen.values()] == [False, False]
    assert chosen["a"].score == pytest.approx(0.8)
    assert chosen["a"].reason == (
        f"not reached: no thresholds of 2 classes for the highest {average} recall with {average} precision >= 0.9 "
        f"(highest {average} precision: 0.6667); fell back to the highest {average} F1: 0.8000"
    )


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_classes_without_foreground_take_no_part(average):
    config = EvaluateConfig(criterion="recall_at_precision", average=average, target=0.7)
    whole = choose_thresholds(
        histograms_of([[(2, 5), (3, 1)], [(0, 50)], [(1, 1), (3, 0)]]), ["a", "none", "b"], config
    )
    part = choose_thresholds(histograms_of([[(2, 5), (3, 1)], [(1, 1), (3, 0)]]), ["a", "b"], config)
    assert {name: whole[name] for name in ("a", "b")} == part
    assert (whole["none"].reached, whole["none"].precision, whole["none"].value) == (False, None, 0.5)


def test_no_class_with_foreground_is_no_error():
    chosen = choose_thresholds(histograms_of([[(0, 5)]]), ["none"], EvaluateConfig(average="micro"))
    assert not chosen["none"].reached


def test_the_average_is_over_the_classes_without_a_criterion_of_their_own():
    three = histograms_of([[(2, 5), (3, 1)], [(4, 9), (1, 1)], [(1, 1), (3, 0)]])
    config = EvaluateConfig(average="micro", criterion="precision_at_recall", target=0.7, class_criteria=("b=dice",))
    chosen = choose_thresholds(three, ["a", "b", "c"], config)
    two = histograms_of([[(2, 5), (3, 1)], [(1, 1), (3, 0)]])
    alone = EvaluateConfig(average="micro", criterion="precision_at_recall", target=0.7)
    assert {name: chosen[name] for name in ("a", "c")} == choose_thresholds(two, ["a", "c"], alone)
    assert chosen["b"].reason.startswith("highest Dice")


def test_dice_on_an_average_is_f1():
    histograms = random_histograms(3, 3, 30)
    dice, f1 = (
        choose_thresholds(histograms, "abc", EvaluateConfig(criterion=criterion, average="micro", beta=beta))
        for criterion, beta in (("dice", 2.0), ("f_beta", 1.0))
    )
    assert [item.value for item in dice.values()] == [item.value for item in f1.values()]
    assert "highest micro Dice: " in dice["a"].reason
