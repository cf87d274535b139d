"""What an evaluation says of its own weakness."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from unetseg.config import EvaluateConfig
from unetseg.decisions import Decision
from unetseg.evaluation_record import evaluation_record
from unetseg.histograms import Histograms
from unetseg.scores import FN, FP, TN, TP
from unetseg.scoring import SplitScores

CLASSES = ("iris", "pupil")
HELD, ABSENT = [5, 1, 1, 93], [0, 0, 0, 100]


def scored(iris: int, pupil: int, *, scans: int = 6, groups: int = 6, **more: Any) -> SplitScores:
    """So many scans, of so many groups, of which the first hold the classes."""
    rows = [[HELD if n < iris else ABSENT, HELD if n < pupil else ABSENT] for n in range(scans)]
    counts, histograms = np.array(rows, np.int64), Histograms.empty(2)
    histograms.positives[:, 0] = counts[..., [TP, FN]].sum(axis=(0, 2))
    histograms.negatives[:, 0] = counts[..., [FP, TN]].sum(axis=(0, 2))
    return SplitScores(
        scans=tuple(SimpleNamespace(id=f"s{n}", group=f"g{n % groups}") for n in range(scans)),  # type: ignore[arg-type]
        counts=counts,
        surfaces=np.full((scans, 2, 2), np.nan),
        histograms=histograms,
        unit="pixels",
        **more,
    )


def record(test: SplitScores, validation: SplitScores | None, rule: Any = "thresholds", **settings: Any) -> dict:
    chosen = {name: {"value": 0.5, "reached": name == "iris", "reason": f"reason of {name}"} for name in CLASSES}
    return evaluation_record(
        SimpleNamespace(version="0001", info=SimpleNamespace(classes=CLASSES)),  # type: ignore[arg-type]
        SimpleNamespace(index=SimpleNamespace(fingerprint="d", test_fingerprint="t")),  # type: ignore[arg-type]
        EvaluateConfig(draws=100, **settings),
        decision=Decision(rule, (0.5, 0.5)),
        thresholds=chosen,
        test=test,
        validation=validation,
    )


def test_thresholds_are_weak_that_few_scans_support_or_that_do_not_reach_their_aim():
    found = record(scored(6, 6), scored(4, 5))
    assert found["warnings"] == [
        "iris: only in 4 validation scans, too few to support a threshold",
        "pupil: reason of pupil",
    ]
    assert found["validation_support"] == {"iris": 4, "pupil": 5}


def test_scores_are_weak_that_few_test_scans_support():
    assert record(scored(6, 4), scored(6, 6))["warnings"][0] == (
        "pupil: only in 4 test scans, too few to support scores and intervals"
    )


@pytest.mark.parametrize(("number", "said"), [(1, "only 1 group,"), (4, "only 4 groups,"), (5, None)])
def test_intervals_are_rough_where_the_test_scans_come_from_few_groups(number: int, said: str | None):
    about = [text for text in record(scored(6, 6, groups=number), scored(6, 6))["warnings"] if "group" in text]
    assert [said in text for text in about] == [True] * bool(said)


def test_a_class_in_one_scan_only_is_told_of():
    assert record(scored(6, 1), scored(6, 6))["warnings"][0].startswith("pupil: only in 1 test scan, too few")


def test_where_the_most_probable_class_wins_nothing_is_said_of_thresholds():
    assert record(scored(6, 6), scored(1, 1), "argmax")["warnings"] == []


@pytest.mark.parametrize(
    ("settings", "weak"),
    [
        pytest.param({"criterion": "fixed"}, [], id="all fixed"),
        pytest.param({"class_criteria": ("iris=fixed:0.3",)}, ["pupil"], id="one fixed"),
        pytest.param({"criterion": "fixed", "class_criteria": ("iris=dice",)}, ["iris"], id="all but one fixed"),
    ],
)
def test_a_threshold_that_was_given_needs_no_support(settings: dict[str, Any], weak: list[str]):
    said = record(scored(6, 6), scored(2, 2), **settings)["warnings"]
    assert [text.partition(":")[0] for text in said if "validation scans" in text] == weak


def test_thresholds_that_were_given_from_elsewhere_have_no_validation_scans():
    found = record(scored(6, 6), None)
    assert found["validation_support"] is None
    assert not any("validation scans" in text for text in found["warnings"])


@pytest.mark.parametrize(
    ("number", "named"), [(2, "s0, s1"), (5, "s0, s1, s2, s3, s4"), (6, "s0, s1, s2, s3, s4 and 1 more")]
)
def test_scans_without_distances_are_counted_and_named(number: int, named: str):
    test = scored(6, 6, not_outlined=tuple(f"s{n}" for n in range(number)))
    assert record(test, scored(6, 6))["warnings"][-1] == (
        f"Hausdorff-95 and surface Dice are without {number} of 6 test scans, which are larger than 67 megapixels: "
        f"{named}"
    )
