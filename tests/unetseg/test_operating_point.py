"""Thresholds chosen anew from stored curves: what can be known without the network equals what evaluate measures."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from unetseg import operating_point
from unetseg.bundle import load_bundle
from unetseg.dataset import open_dataset
from unetseg.errors import BundleError, MovedError, UsageError
from unetseg.evaluate import evaluate
from unetseg.evaluation_files import EVALUATION_SCHEMA
from unetseg.json_files import read_json, write_json
from unetseg.operating_point import set_thresholds
from unetseg.project import Project, override
from unetseg.records import write_record

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


def way_to_keep(warnings: Sequence[str]) -> list[str]:
    """The setting that the last warning gives, as options of the command line take it."""
    found = re.search(r"set evaluate\.class_criteria to (.+)$", warnings[-1])
    assert found is not None
    return ["evaluate.class_criteria=" + found[1].replace(", ", ",")]


@pytest.mark.parametrize(
    ("chosen_by", "project_by"),
    [
        pytest.param("class", (), id="each-class-on-its-own"),
        pytest.param("micro", ("evaluate.average=micro",), id="together"),
        pytest.param("class", ("evaluate.criterion=recall_at_precision", "evaluate.target=0.9"), id="other-criterion"),
        pytest.param("class", ("evaluate.average=micro",), id="other-average"),
    ],
)
def test_the_setting_that_is_told_keeps_the_thresholds(trained: Project, chosen_by: str, project_by: tuple[str, ...]):
    evaluate(replace(trained, settings=override(trained.settings, [f"evaluate.average={chosen_by}"])))
    project = replace(trained, settings=override(trained.settings, project_by))
    found = set_thresholds(project, ["iris=fixed:0.9"])
    kept = replace(project, settings=override(project.settings, way_to_keep(found.warnings)))
    again = evaluate(kept)
    assert {name: row["value"] for name, row in again.thresholds.items()} == {
        name: row["value"] for name, row in found.thresholds.items()
    }


def test_the_smallest_threshold_can_be_told(trained: Project):
    project = replace(trained, settings=override(trained.settings, ["evaluate.average=macro"]))
    found = set_thresholds(project, ["iris=fixed:0.0000152587890625"])
    settings = override(project.settings, way_to_keep(found.warnings)).evaluate
    assert "iris=fixed:0.0000152587890625" in settings.class_criteria


def test_an_evaluation_that_came_meanwhile_is_not_replaced(trained: Project, monkeypatch: pytest.MonkeyPatch):
    path = trained.models / "0001" / "evaluation" / "evaluation.json"
    choose = operating_point.choose_thresholds

    def slowly(*arguments: Any) -> Any:
        write_record(path, read_json(path) | {"warnings": ["of another evaluation"]})
        return choose(*arguments)

    monkeypatch.setattr(operating_point, "choose_thresholds", slowly)
    with pytest.raises(MovedError, match="another evaluation is there by now"):
        set_thresholds(trained, ["iris=fixed:0.25"])
    assert read_json(path)["warnings"] == ["of another evaluation"]


def test_a_model_that_was_never_evaluated_gets_none_and_the_command_is_told(trained: Project):
    shutil.rmtree(trained.models / "0001" / "evaluation")
    with pytest.raises(UsageError) as caught:
        set_thresholds(trained, ["iris=dice"])
    told = f"unetseg evaluate --model 0001 --project {trained.folder}"
    assert str(caught.value) == f"thresholds: model 0001 has no curves yet; first: {told}"


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        pytest.param([], "no class is named; give --set CLASS=CRITERION", id="none"),
        *(pytest.param([text], "no class is named", id=repr(text)) for text in ("", ",", " ")),
        pytest.param(["lens=dice"], "lens", id="unknown_class"),
        pytest.param(["iris=best"], "must be CLASS=CRITERION", id="unknown_criterion"),
        pytest.param(["evaluate.beta=2"], r"a setting goes to unetseg evaluate --set evaluate\.beta=2$", id="setting"),
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
    newer = {
        "decision",
        "unit",
        "data",
        "production",
        "test_fingerprint",
        "validation_support",
        "files",
        "sha256",
        "evaluated_with",
    }
    for name in read_json(path)["files"]:
        (path.parent / name).rename(path.with_name(f"{name.partition('-')[0]}.npz"))
    old = {key: value for key, value in read_json(path).items() if key not in newer}
    write_json(path, old | {"schema_version": 1, "warnings": ["pupil: only 2 test scans hold it"]})
    found = set_thresholds(trained, ["iris=fixed:0.25"])
    assert found.warnings[0] == "pupil: only 2 test scans hold it"
    again = set_thresholds(trained, ["iris=fixed:0.5"])
    assert len(again.warnings) == len(found.warnings)
    bundle = load_bundle(trained.models / "0001")
    assert bundle.evaluation["schema_version"] == EVALUATION_SCHEMA
    assert bundle.decision.rule == "thresholds"


def test_curves_that_are_gone_are_told_of(trained: Project):
    path = trained.models / "0001" / "evaluation" / "evaluation.json"
    write_json(path, read_json(path) | {"schema_version": 1, "files": {}, "sha256": None})
    with pytest.raises(BundleError, match=r"validation_curves\.npz: is missing; run unetseg evaluate again"):
        set_thresholds(trained, ["iris=fixed:0.25"])


def test_several_criteria_in_one_text_all_count(trained: Project):
    found = set_thresholds(trained, ["iris=fixed:0.25,pupil=fixed:0.75"])
    assert (found.thresholds["iris"]["value"], found.thresholds["pupil"]["value"]) == (0.25, 0.75)


def test_scans_that_hold_each_class_are_counted(trained: Project):
    scans = open_dataset(trained.dataset).scans("validation")
    counted = load_bundle(trained.models / "0001").evaluation["validation_support"]
    assert counted == {name: sum(scan.class_pixels[name] > 0 for scan in scans) for name in counted}
    assert set(counted) == {"iris", "pupil", "sclera"}


@pytest.mark.parametrize(
    ("support", "criterion", "said"),
    [
        pytest.param({"iris": 4}, "dice", True, id="few"),
        pytest.param({"iris": 5}, "dice", False, id="enough"),
        pytest.param({"iris": 4}, "fixed:0.3", False, id="few_but_not_chosen"),
        pytest.param(None, "dice", False, id="unknown"),
    ],
)
def test_too_few_scans_for_a_newly_chosen_threshold_are_told(
    trained: Project, support: dict[str, int] | None, criterion: str, said: bool
):
    path = trained.models / "0001" / "evaluation" / "evaluation.json"
    record = read_json(path) | {"warnings": ["iris: only 9 test scans hold it"], "validation_support": support}
    write_record(path, record)
    for _ in range(2):  # and not told twice
        found = set_thresholds(trained, [f"iris={criterion}"])
        about = [text for text in found.warnings if "validation scans" in text]
        assert about == ["iris: only in 4 validation scans, too few to support a threshold"] * said
        assert found.warnings[0] == "iris: only 9 test scans hold it"


@pytest.mark.parametrize("words", ["only 4 validation scans hold it, too few", "only in 1 validation scan, too few"])
def test_what_was_said_of_few_scans_goes_with_the_threshold_that_it_was_about(trained: Project, words: str):
    path = trained.models / "0001" / "evaluation" / "evaluation.json"
    said = {"warnings": [f"iris: {words}"], "validation_support": {"iris": 9}}
    write_record(path, read_json(path) | said)
    assert [text for text in set_thresholds(trained, ["iris=dice"]).warnings if "validation scan" in text] == []


def test_what_an_older_record_says_of_few_scans_is_kept(trained: Project):
    path = trained.models / "0001" / "evaluation" / "evaluation.json"
    old = ["iris: only 2 validation scans hold it, too few to support its threshold"]
    write_record(path, read_json(path) | {"warnings": old, "validation_support": None})
    assert set_thresholds(trained, ["iris=dice"]).warnings[0] == old[0]


@pytest.mark.parametrize("dataset", ["the one that was scored", "another", "none"])
def test_the_page_tells_of_the_dataset_only_where_it_is_the_one_that_was_scored(trained: Project, dataset: str):
    path = trained.models / "0001" / "evaluation" / "evaluation.json"
    if dataset == "another":
        write_record(path, read_json(path) | {"dataset_fingerprint": "0" * 64})
    if dataset == "none":
        (trained.dataset / "index.json").unlink()
    page = set_thresholds(trained, ["iris=dice"]).report.read_text()
    assert ("<h2>Data</h2>" in page) == (dataset == "the one that was scored")
