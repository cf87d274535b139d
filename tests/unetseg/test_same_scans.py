"""Which evaluations are of the same test scans, and when scores that were kept beside another model's still hold."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from unetseg.bundle import Bundle
from unetseg.config import PredictConfig
from unetseg.predict_open import doubts
from unetseg.same_scans import beside, evaluated_apart, of_same_scans, scans_today, scored_on

MakeBundle = Callable[..., Bundle]
SCANS = [{"id": "s1"}]
POINT = {"rule": "thresholds", "thresholds": [0.25, 0.25]}


@pytest.mark.parametrize(
    ("evaluation", "same"),
    [
        pytest.param({"test_fingerprint": "t", "dataset_fingerprint": "other"}, True, id="other-training-scans"),
        pytest.param({"test_fingerprint": "other", "dataset_fingerprint": "d"}, False, id="other-test-scans"),
        pytest.param({"dataset_fingerprint": "d"}, True, id="old-of-the-same-data"),
        pytest.param({"dataset_fingerprint": "other"}, False, id="old-of-other-data"),
        pytest.param({"test_fingerprint": "t", "dataset_fingerprint": "d", "scans": []}, False, id="no-single-scans"),
        pytest.param(None, False, id="no-evaluation"),
    ],
)
def test_evaluations_are_comparable_by_the_test_scans_and_old_ones_by_all_data(
    evaluation: dict[str, Any] | None, same: bool
):
    found = evaluation and {"scans": SCANS} | evaluation
    assert scored_on(found, {"test_fingerprint": "t", "dataset_fingerprint": "d"}) == same


@pytest.mark.parametrize(
    ("before", "today", "same"),
    [
        pytest.param("both", "both", True, id="same"),
        pytest.param("none", "both", False, id="switched-on"),
        pytest.param("both", "none", False, id="switched-off"),
        pytest.param(None, "both", False, id="old-evaluations-are-without"),
        pytest.param(None, "none", True, id="old-without"),
    ],
)
def test_evaluations_with_other_flips_are_not_of_the_same(before: str | None, today: str, same: bool):
    scans = {"test_fingerprint": "t", "dataset_fingerprint": "d"}
    how = {"inference": {"flips": before, "precision": "float32", "change": None}} if before else {}
    assert scored_on({"scans": SCANS} | scans | how, scans | {"inference": {"flips": today}}) == same


@pytest.mark.parametrize(
    ("exact", "before", "wanted", "same"),
    [
        pytest.param(False, {"tile": 512}, 512, True, id="same"),
        pytest.param(False, {"tile": 512}, 640, False, id="another"),
        pytest.param(False, {"tile": 512}, 0, False, id="that-of-the-network"),
        pytest.param(False, {}, 640, True, id="not-told"),
        pytest.param(True, {"tile": None}, 640, True, id="exact"),
    ],
)
def test_counts_in_blended_tiles_are_those_of_today_only_in_the_same_tiles(
    exact: bool, before: dict[str, Any], wanted: int, same: bool, make_bundle: MakeBundle
):
    index: Any = SimpleNamespace(test_fingerprint="t", fingerprint="d")
    dataset: Any = SimpleNamespace(index=index)
    how = {"inference": {"flips": "none", "precision": "float32", "change": None} | before}
    bundle, config = make_bundle(exact=exact, stride=16, halo=96, change=how), PredictConfig(tile=wanted)
    evaluation = {"test_fingerprint": "t", "dataset_fingerprint": "d", "scans": SCANS} | how
    today = scans_today(dataset, bundle.info, config)
    assert scored_on(evaluation, today) == same
    assert of_same_scans(evaluation, today)  # all the same for two models, whose tiles are their own
    assert ["evaluated with predict.tile=512: " in text for text in doubts(bundle, config)] == [True] * (not same)


def test_what_differs_from_the_evaluation_is_told_each_by_itself(make_bundle: MakeBundle):
    how = {"inference": {"flips": "none", "tile": 512, "precision": "float32", "change": None}}
    told = doubts(make_bundle(exact=False, change=how), PredictConfig(flips="both", tile=640))
    assert ["those of predict.flips=both" in told[0], "those of predict.tile=640" in told[1]] == [True, True]


@pytest.mark.parametrize(
    ("change", "causes"),
    [
        pytest.param({}, [], id="same"),
        pytest.param({"test_fingerprint": "other"}, ["on other test scans"], id="scans"),
        pytest.param({"inference": {"flips": "none", "tile": 512}}, ["with other flips"], id="flips"),
        pytest.param(
            {"scans": [], "inference": {"flips": "both", "tile": 640}},
            ["blended tiles of another size", "thresholds from stored curves"],
            id="tile-and-thresholds",
        ),
    ],
)
def test_each_cause_why_an_evaluation_does_not_do_is_named(change: dict[str, Any], causes: list[str]):
    today = {"test_fingerprint": "t", "dataset_fingerprint": "d", "inference": {"flips": "both", "tile": 512}}
    found = evaluated_apart({"scans": SCANS} | today | change, today)
    assert len(found) == len(causes)
    assert all(words in sentence for words, sentence in zip(causes, found, strict=True))


def test_two_old_evaluations_are_comparable_by_all_data():
    old = {"dataset_fingerprint": "d", "scans": SCANS}
    assert scored_on(old, old)
    assert not scored_on(old, {"dataset_fingerprint": "other"})


def test_scores_beside_another_model_are_of_the_scans_of_that_model(make_bundle: MakeBundle):
    kept = {"version": "0001", "operating_point": POINT, "scans": SCANS, "scores": {"iris": {"f1": 0.5}}}
    evaluation = {"test_fingerprint": "t", "dataset_fingerprint": "d", "production": kept}
    assert beside(evaluation, make_bundle("0001")) == {"test_fingerprint": "t", "dataset_fingerprint": "d"} | kept


@pytest.mark.parametrize(
    ("kept", "given"),
    [
        pytest.param({"inference": {"flips": "none", "precision": "float32"}}, True, id="told"),
        pytest.param({}, False, id="not-told"),
    ],
)
def test_scores_beside_another_model_whose_flips_are_not_known_are_not_given(
    kept: dict[str, Any], given: bool, make_bundle: MakeBundle
):
    production = {"version": "0001", "operating_point": POINT, "scans": SCANS} | kept
    how = {"inference": {"flips": "both", "precision": "float32", "change": None}}
    evaluation = {"dataset_fingerprint": "d", "production": production} | how
    assert (beside(evaluation, make_bundle("0001")) is not None) == given


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"version": "0009"}, id="of-another-version"),
        pytest.param({"operating_point": {"rule": "thresholds", "thresholds": [0.25, 0.5]}}, id="at-other-thresholds"),
        pytest.param({"operating_point": {"rule": "argmax", "thresholds": [0.25, 0.25]}}, id="by-another-rule"),
        pytest.param({"operating_point": None}, id="nobody-says-how"),
    ],
)
def test_scores_beside_another_model_that_hold_no_more_are_not_given(change: dict[str, Any], make_bundle: MakeBundle):
    kept = {"version": "0001", "operating_point": POINT, "scans": SCANS} | change
    assert beside({"dataset_fingerprint": "d", "production": kept}, make_bundle("0001")) is None


@pytest.mark.parametrize(
    "evaluation",
    [
        pytest.param(None, id="not-evaluated"),
        pytest.param({"dataset_fingerprint": "d"}, id="schema-1"),
        pytest.param({"dataset_fingerprint": "d", "production": None}, id="no-production"),
        pytest.param({"dataset_fingerprint": "d", "production": {"version": "0001", "scores": {}}}, id="schema-2"),
    ],
)
def test_evaluations_without_scans_of_production_give_none(evaluation: dict[str, Any] | None, make_bundle: MakeBundle):
    assert beside(evaluation, make_bundle("0001")) is None
