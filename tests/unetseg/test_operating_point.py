"""Thresholds chosen anew from stored curves: what can be known without the network equals what evaluate measures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unetseg.bundle import load_bundle
from unetseg.errors import UsageError
from unetseg.evaluate import evaluate
from unetseg.operating_point import set_thresholds
from unetseg.project import Project, override
from unetseg.storage import read_json, write_json

POOLED = ("recall", "precision", "f1", "average_precision", "specificity", "threshold", "support", "scans_without")
CRITERIA = ("iris=fixed:0.25", "pupil=precision_at_recall:0.5")


def test_pooled_scores_equal_those_that_evaluate_measures(trained: Project):
    found = set_thresholds(trained, CRITERIA)
    settings = override(trained.settings, [f"evaluate.class_criteria={','.join(CRITERIA)}"])
    measured = evaluate(replace(trained, settings=settings))
    assert found.thresholds == measured.thresholds
    for name, row in found.scores.items():
        assert {key: row[key] for key in POOLED} == pytest.approx({key: measured.scores[name][key] for key in POOLED})
        assert row["dice"] is None
        assert measured.scores[name]["dice"] is not None


def test_the_bundle_decides_by_the_new_thresholds_and_keeps_the_others(trained: Project):
    before = load_bundle(trained.models / "0001").thresholds
    set_thresholds(trained, ["iris=fixed:0.25"], model="0001")
    bundle = load_bundle(trained.models / "0001")
    place = bundle.info.classes.index("iris")
    assert bundle.thresholds[place] == 0.25
    assert [value for k, value in enumerate(bundle.thresholds) if k != place] == [
        value for k, value in enumerate(before) if k != place
    ]


def test_a_second_change_keeps_the_first(trained: Project):
    set_thresholds(trained, ["iris=fixed:0.25"])
    found = set_thresholds(trained, ["pupil=fixed:0.75"])
    assert found.thresholds["iris"]["value"] == 0.25
    assert found.thresholds["pupil"]["value"] == 0.75
    settings = load_bundle(trained.models / "0001").evaluation["settings"]
    assert settings["class_criteria"] == ["iris=fixed:0.25", "pupil=fixed:0.75"]
    assert set_thresholds(trained, ["iris=fixed:0.5"]).thresholds["iris"]["value"] == 0.5


def test_what_cannot_be_known_is_said(trained: Project):
    found = set_thresholds(trained, ["iris=recall_at_precision:1.0"])
    assert any("left out until unetseg evaluate measures them" in text for text in found.warnings)
    assert found.intervals == {}


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        pytest.param([], "no class is named", id="none"),
        pytest.param(["lens=dice"], "lens", id="unknown_class"),
        pytest.param(["iris=best"], "must be CLASS=CRITERION", id="unknown_criterion"),
    ],
)
def test_wrong_criteria_change_nothing(trained: Project, criteria: list[str], message: str):
    path = trained.models / "0001" / "evaluation" / "evaluation.json"
    before = path.read_bytes()
    with pytest.raises(UsageError, match=message):
        set_thresholds(trained, criteria)
    assert path.read_bytes() == before


def test_evaluations_of_schema_1_get_thresholds_too_and_keep_their_warnings(trained: Project):
    path = trained.models / "0001" / "evaluation" / "evaluation.json"
    newer = {"decision", "unit", "data", "production", "files", "sha256"}
    old = {key: value for key, value in read_json(path).items() if key not in newer}
    write_json(path, old | {"schema_version": 1, "warnings": ["pupil: only 2 test scans hold it"]})
    found = set_thresholds(trained, ["iris=fixed:0.25"])
    assert found.warnings[0] == "pupil: only 2 test scans hold it"
    again = set_thresholds(trained, ["iris=fixed:0.5"])
    assert len(again.warnings) == len(found.warnings)
    bundle = load_bundle(trained.models / "0001")
    assert bundle.evaluation["schema_version"] == 2
    assert bundle.decision.rule == "thresholds"
