"""The three measures of a scan, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from unetseg.intensity_distance import KNOTS, PERCENTS
from unetseg.object_table import ObjectRow
from unetseg.training_data import ClassAreas, Intensities, TrainingData
from unetseg.trust import Trust, judge

EVEN = tuple(percent / 100 for percent in KNOTS)  # the profile of intensities that are spread evenly from 0 to 1
FRACTIONS = tuple(np.linspace(0.05, 0.12, 20).tolist())
KNOWN = TrainingData(
    scans=20,
    intensities=(Intensities("grey", tuple(percent / 100 for percent in PERCENTS), (0.01, 0.02, 0.04)),),
    areas=(ClassAreas("pupil", 20, 0, FRACTIONS),),
)


def row(fraction: float = 0.08, near: float = 0.1, name: str = "pupil") -> ObjectRow:
    return ObjectRow("a", name, round(fraction * 10_000), fraction, None, 1, None, None, near, 100, 100)


def judged(fraction: float = 0.08, shift: float = 0.0, known: TrainingData | None = KNOWN, **more: Any) -> Trust:
    return judge([row(fraction, **more)], [tuple(value + shift for value in EVEN)], known)


def test_an_ordinary_scan_gives_no_reason():
    found = judged()
    assert found.reasons == ()
    assert found.intensity_ratio == pytest.approx(0, abs=1e-9)
    assert found.area_ratio is not None
    assert found.area_ratio < 0.2


@pytest.mark.parametrize(
    ("scan", "reason"),
    [
        ({"near": 0.51}, "pupil: 51 % of its pixels are near the threshold"),
        ({"shift": 0.1}, "intensities are farther from the training data than any training scan's (2.5 times)"),
        ({"shift": -0.05}, "intensities are farther from the training data than any training scan's (1.2 times)"),
        ({"fraction": 0.4}, "pupil: 40 % of the scan, training had at most 12 %"),
        ({"fraction": 1.0}, "pupil: 100 % of the scan, training had at most 12 %"),
        ({"fraction": 0.02}, "pupil: 2 % of the scan, training had at least 5 %"),
        ({"fraction": 0.0}, "pupil: not found, and 20 of 20 training scans have it"),
    ],
    ids=["unsure", "brighter", "darker", "large", "all", "small", "absent"],
)
def test_each_odd_thing_has_its_words(scan: dict[str, float], reason: str):
    assert judged(**scan).reasons == (reason,)


def test_the_ratio_is_to_the_farthest_training_scan():
    found = judged(shift=0.1)
    assert found.intensity is not None
    assert (found.intensity.distance, found.intensity.ratio) == (pytest.approx(0.1), pytest.approx(0.1 / 0.04))


def odds(fraction: float) -> float:
    return fraction / (1 - fraction)


def test_areas_are_odd_from_twice_the_odds_of_the_largest():
    limit = 2 * odds(0.12) / (1 + 2 * odds(0.12))
    middle = np.log(np.sort([odds(fraction) for fraction in FRACTIONS])[9:11]).mean()
    for fraction, is_odd in ((limit - 0.001, False), (limit + 0.001, True)):
        found = judged(fraction)
        assert bool(found.reasons) == is_odd
        ratio = (np.log(odds(fraction)) - middle) / (np.log(2 * odds(0.12)) - middle)
        assert found.area_ratio == pytest.approx(ratio)


def test_where_training_scans_are_alike_less_is_odd():
    alike = replace(KNOWN, areas=(ClassAreas("pupil", 20, 0, (0.1,) * 20),))
    # Twice the odds of 0.1 are those of 2 / 11.
    assert judged(0.18, known=alike).reasons == ()
    assert judged(0.19, known=alike).reasons == ("pupil: 19 % of the scan, training had at most 10 %",)


@pytest.mark.parametrize("fraction", [0.0, 0.001])
def test_a_class_that_training_scans_lack_too_may_be_absent(fraction: float):
    rare = replace(KNOWN, areas=(ClassAreas("pupil", 17, 3, FRACTIONS[:17]),))
    assert bool(judged(fraction, known=rare).reasons) == (fraction > 0)


def test_too_few_training_scans_tell_nothing_of_what_is_usual():
    few = replace(KNOWN, scans=9, areas=(ClassAreas("pupil", 9, 0, FRACTIONS[:9]),))
    found = judged(0.9, shift=3.0, known=few)
    assert (found.reasons, found.intensity_ratio, found.area_ratio) == ((), None, None)
    assert found.intensity is not None
    assert found.intensity.distance == pytest.approx(3.0)


def test_of_an_old_bundle_only_the_doubt_is_known():
    found = judged(0.9, shift=3.0, near=0.75, known=None)
    assert (found.intensity, found.areas) == (None, ())
    assert found.reasons == ("pupil: 75 % of its pixels are near the threshold",)


def test_training_scans_that_are_all_equal_make_no_ratio_infinite():
    equal = replace(KNOWN, intensities=(Intensities("grey", (0.0,) * 99, (0.0, 0.0)),))
    ratio = judged(known=equal).intensity_ratio
    assert ratio is not None
    assert 1 < ratio < 1e12
    assert judge([row()], [(0.0,) * 7], equal).reasons == ()


def test_the_farthest_channel_and_the_oddest_classes_are_named():
    grey, (pupil,) = KNOWN.intensities[0], KNOWN.areas
    known = TrainingData(20, (replace(grey, channel="red"), replace(grey, channel="green")), (pupil,) * 4)
    rows = [row(0.2, name="a"), row(0.9, near=0.8, name="b"), row(0.0, name="c"), row(0.3, name="d")]
    found = judge(rows, [EVEN, tuple(value + 1 for value in EVEN)], known)
    assert found.reasons == (
        "intensities of green are farther from the training data than any training scan's (25.0 times)",
        "c: not found, and 20 of 20 training scans have it",
        "b: 90 % of the scan, training had at most 12 %",
        "d: 30 % of the scan, training had at most 12 %",
        "b: 80 % of its pixels are near the threshold",
    )
