"""The chain as a whole, through the library."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from unetseg.bundle import Bundle, load_bundle
from unetseg.errors import BundleError, DataError, UsageError
from unetseg.gate import GateResult, gate
from unetseg.json_files import read_json
from unetseg.nightly import NightlyResult, Steps, nightly
from unetseg.operating_point import set_thresholds
from unetseg.project import Project, load_project, override
from unetseg.records import write_record
from unetseg.registry import promote, read_aliases, rollback, versions
from unetseg.train import train
from unetseg.working import working


def forbidden(*arguments, **named):
    raise AssertionError("this step must not run")


def test_first_night_trains_evaluates_and_promotes(trained_folder: Path):
    project = load_project(trained_folder)
    aliases = read_aliases(project.models)
    assert versions(project.models) == ["0001"]
    assert aliases.production == "0001"
    assert "floor" in aliases.history[0]["why"]


def test_second_night_on_the_same_data_stops_after_ingest(trained: Project):
    result = nightly(trained, Steps(train=forbidden, evaluate=forbidden, gate=forbidden))
    assert result.outcome == "unchanged"
    assert result.ingest.done == 0
    assert result.ingest.skipped == 16
    assert set(result.scores) == {"sclera", "iris", "pupil", "micro", "macro", "weighted"}


def test_changed_training_settings_train_again_and_the_gate_compares(trained: Project):
    changed = replace(trained, settings=override(trained.settings, ["train.epochs=1", "train.seed=5"]))
    result = nightly(changed)
    assert result.version == "0002"
    assert result.outcome in {"promoted", "kept"}
    assert "0002" in versions(trained.models)
    assert read_aliases(trained.models).production == ("0002" if result.outcome == "promoted" else "0001")
    assert "->" in result.sentence or "fell from" in result.sentence


def test_a_night_cut_short_before_evaluation_goes_on_there(trained: Project):
    changed = replace(trained, settings=override(trained.settings, ["train.epochs=1", "train.steps_per_epoch=1"]))

    def power_cut(*arguments, **named):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nightly(changed, Steps(evaluate=power_cut))
    assert versions(trained.models) == ["0001", "0002"]
    result = nightly(changed, Steps(train=forbidden))
    assert result.version == "0002"
    assert result.outcome in {"promoted", "kept"}


def test_a_night_cut_short_before_the_gate_goes_on_there(trained: Project):
    (trained.models / "0001" / "gate.json").unlink()
    (trained.models / "aliases.json").unlink()
    result = nightly(trained, Steps(train=forbidden, evaluate=forbidden))
    assert result.outcome == "promoted"


def test_production_meets_the_gate_again_and_stays(trained: Project):
    result = gate(trained, model="0001")
    assert not result.promoted
    assert result.production == "0001"


def test_another_criterion_evaluates_again_without_training_and_is_named(
    trained: Project, caplog: pytest.LogCaptureFixture
):
    changed = replace(trained, settings=override(trained.settings, ["evaluate.criterion=fixed"]))
    result = nightly(changed, Steps(train=forbidden))
    assert (result.outcome, result.production) == ("kept", "0001")
    assert result.scores["iris"]["threshold"] == 0.5
    assert "may move its thresholds: at its last evaluation evaluate.criterion was other than now" in caplog.text


def test_other_flips_evaluate_the_newest_again_and_it_meets_the_gate_with_them(trained: Project):
    shutil.copytree(trained.models / "0001", trained.models / "0002")
    assert not gate(trained, model="0002").promoted  # no better than production, which it is a copy of
    flipped = replace(trained, settings=override(trained.settings, ["predict.flips=horizontal"]))
    met: list[GateResult] = []

    def noted(*arguments, **named) -> GateResult:
        met.append(gate(*arguments, **named))
        return met[-1]

    result = nightly(flipped, Steps(train=forbidden, gate=noted))
    assert (result.outcome, result.version) == (("promoted" if met[0].promoted else "kept"), "0002")
    production = load_bundle(trained.models / "0002").evaluation["production"]
    assert (production["version"], production["inference"]["flips"]) == ("0001", "horizontal")
    assert met[0].numbers.before == pytest.approx(production["scores"]["macro"]["f1"])
    assert nightly(flipped, Steps(train=forbidden, evaluate=forbidden, gate=forbidden)).outcome == "unchanged"


def test_another_size_of_blended_tiles_evaluates_again_and_that_of_exact_ones_does_not(trained: Project):
    tiled = replace(trained, settings=override(trained.settings, ["predict.tile=512"]))
    assert nightly(tiled, Steps(train=forbidden, evaluate=forbidden, gate=forbidden)).outcome == "unchanged"
    model, record = trained.models / "0001/bundle.json", trained.models / "0001/evaluation/evaluation.json"
    write_record(model, read_json(model) | {"exact": False})
    before = read_json(record)
    write_record(record, before | {"inference": before["inference"] | {"tile": 1424}})
    gate(trained, model="0001")
    assert nightly(tiled, Steps(train=forbidden)).outcome == "kept"
    assert read_json(record)["inference"]["tile"] == 512
    assert nightly(tiled, Steps(train=forbidden, evaluate=forbidden, gate=forbidden)).outcome == "unchanged"


def test_flips_change_nothing_for_thresholds_that_a_person_set(trained: Project):
    set_thresholds(trained, ["iris=fixed:0.25"], model="production")
    gate(trained, model="0001")
    flipped = replace(trained, settings=override(trained.settings, ["predict.flips=both"]))
    assert nightly(flipped, Steps(train=forbidden, evaluate=forbidden, gate=forbidden)).outcome == "unchanged"


def test_thresholds_that_a_person_set_stay(trained: Project):
    set_thresholds(trained, ["iris=fixed:0.25"], model="production")
    set_thresholds(trained, ["pupil=fixed:0.75"], model="production")
    result = nightly(trained, Steps(train=forbidden, evaluate=forbidden, gate=forbidden))
    assert (result.outcome, result.scores["iris"]["threshold"]) == ("unchanged", 0.25)
    evaluation = load_bundle(trained.models / "0001").evaluation
    assert [evaluation["thresholds"][name]["value"] for name in ("iris", "pupil")] == [0.25, 0.75]


def test_settings_that_changed_since_are_stronger_than_thresholds_that_a_person_set(trained: Project):
    set_thresholds(trained, ["iris=fixed:0.25"], model="production")
    changed = replace(trained, settings=override(trained.settings, ["evaluate.criterion=fixed"]))
    assert nightly(changed, Steps(train=forbidden)).scores["iris"]["threshold"] == 0.5
    assert load_bundle(trained.models / "0001").evaluation["evaluated_with"] is None


def test_an_evaluation_whose_page_never_came_is_made_anew(trained: Project, caplog: pytest.LogCaptureFixture):
    page = trained.models / "0001" / "evaluation" / "report.html"
    page.unlink()
    result = nightly(trained, Steps(train=forbidden, gate=forbidden))
    assert result.outcome == "unchanged"
    assert page.is_file()
    assert "model 0001 is evaluated anew: its page is missing" in caplog.text


def test_thresholds_that_a_person_set_stay_even_where_their_page_never_came(trained: Project):
    set_thresholds(trained, ["iris=fixed:0.25"], model="production").report.unlink()
    assert nightly(trained, Steps(train=forbidden, evaluate=forbidden)).scores["iris"]["threshold"] == 0.25


def test_a_lower_floor_lets_a_model_pass_that_was_kept_before(trained: Project):
    (trained.models / "aliases.json").unlink()
    strict = replace(trained, settings=override(trained.settings, ["gate.floor=1"]))
    assert nightly(strict, Steps(train=forbidden)).outcome == "kept"
    assert nightly(strict, Steps(train=forbidden, gate=forbidden)).outcome == "unchanged"
    assert nightly(trained, Steps(train=forbidden)).outcome == "promoted"


def test_a_damaged_old_version_does_not_end_the_nights(trained: Project, caplog: pytest.LogCaptureFixture):
    (trained.models / "0000").mkdir()
    (trained.models / "0000" / "bundle.json").write_text("{")
    (trained.models / "0002").mkdir()
    (trained.models / "0002" / "bundle.json").write_text("{")
    result = nightly(trained, Steps(train=forbidden))
    assert result.outcome == "unchanged"
    assert "model 0002 is left out" in caplog.text


def test_old_versions_are_let_go_where_the_settings_say_so(trained: Project):
    for version in ("0002", "0003"):
        shutil.copytree(trained.models / "0001", trained.models / version)
    changed = replace(trained, settings=override(trained.settings, ["gate.keep_models=1"]))
    result = nightly(changed, Steps(train=forbidden))
    assert result.removed == ("0002",)
    assert versions(trained.models) == ["0001", "0003"]


def test_a_damaged_evaluation_is_made_anew_and_the_nights_go_on(trained: Project, caplog: pytest.LogCaptureFixture):
    path = trained.models / "0001" / "evaluation" / "evaluation.json"
    path.write_text(path.read_text().replace('"reached": true', '"reached": false', 1))
    with pytest.raises(BundleError, match="changed or damaged"):
        _ = load_bundle(trained.models / "0001").evaluation
    result = nightly(trained, Steps(train=forbidden, gate=forbidden))
    assert result.outcome == "unchanged"
    assert "model 0001 is evaluated anew" in caplog.text
    assert load_bundle(trained.models / "0001").evaluation["thresholds"]["iris"]["reached"]


@pytest.mark.parametrize("changed", [(), ("gate.tolerance=0.5",)], ids=["same-settings", "other-settings"])
def test_the_nights_do_not_undo_a_rollback(trained: Project, changed: tuple[str, ...]):
    shutil.copytree(trained.models / "0001", trained.models / "0002")
    (trained.models / "0002" / "gate.json").unlink()
    promote(trained.models, "0002", why="")
    rollback(trained.models, why="too eager")
    project = replace(trained, settings=override(trained.settings, changed))
    result = nightly(project, Steps(train=forbidden, evaluate=forbidden))
    assert (result.outcome, result.version, result.production) == ("kept", "0002", "0001")
    assert result.sentence.startswith("kept 0001: 0002 was rolled back by ")
    again = nightly(project, Steps(train=forbidden, evaluate=forbidden, gate=forbidden))
    assert again.sentence == "unchanged since 0002: nothing to train, 0001 stays production"


def test_a_damaged_decision_does_not_end_the_nights(trained: Project, caplog: pytest.LogCaptureFixture):
    path = trained.models / "0001" / "gate.json"
    path.write_text(path.read_text()[:-20])
    result = nightly(trained, Steps(train=forbidden, evaluate=forbidden))
    assert (result.outcome, result.production) == ("kept", "0001")
    assert "model 0001 meets the gate again" in caplog.text


def test_a_production_that_moved_meanwhile_is_compared_with_instead(
    trained: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    for version in ("0002", "0003"):
        shutil.copytree(trained.models / "0001", trained.models / version)
    compared: list[str | None] = []

    def decide(project: Project, challenger: Bundle, production: str | None) -> GateResult:
        compared.append(production)
        if len(compared) == 1:
            promote(project.models, "0002", why="by a person, meanwhile")
        return GateResult(challenger.version, True, challenger.version, "better")

    monkeypatch.setattr("unetseg.gate._decide", decide)
    result = gate(trained, model="0003")
    assert compared == ["0001", "0002"]
    assert (result.promoted, result.production) == (True, "0003")
    assert read_aliases(trained.models).previous == "0002"
    assert "production is 0002 by now" in caplog.text


# --------------------------------------------------------------------------- steps that fail


class StepError(Exception):
    """Of a step that fails."""


def broken(*arguments, **named):
    raise StepError


@pytest.mark.parametrize("step", ["ingest", "train", "evaluate", "gate"])
def test_whichever_step_fails_production_stays_and_the_next_night_goes_on(trained: Project, step: str):
    short = ("train.epochs=1", "train.steps_per_epoch=1", "train.seed=9")
    changed = replace(trained, settings=override(trained.settings, short))
    before = (trained.models / "aliases.json").read_bytes()
    with pytest.raises(StepError):
        nightly(changed, Steps(**{step: broken}))
    assert (trained.models / "aliases.json").read_bytes() == before
    assert load_bundle(trained.models / read_aliases(trained.models).production).evaluation is not None
    assert nightly(changed).version == "0002"


def test_a_night_that_dies_between_decision_and_promotion_leaves_production(
    trained: Project, monkeypatch: pytest.MonkeyPatch
):
    (trained.models / "0001" / "gate.json").unlink()
    (trained.models / "aliases.json").unlink()
    monkeypatch.setattr("unetseg.gate.promote", broken)
    with pytest.raises(StepError):
        nightly(trained, Steps(train=forbidden, evaluate=forbidden))
    assert read_aliases(trained.models).production is None
    monkeypatch.undo()
    assert nightly(trained, Steps(train=forbidden, evaluate=forbidden)).outcome == "promoted"


# --------------------------------------------------------------------------- two nights at once


def test_a_night_is_skipped_by_rule_while_another_run_works_on_the_project(trained: Project):
    busy = replace(trained, settings=override(trained.settings, ["nightly.when_busy=skip"]))
    result: list[NightlyResult] = []

    def ask() -> None:
        result.append(nightly(busy, Steps(ingest=forbidden)))

    with working(trained.folder, "train"):
        thread = threading.Thread(target=ask)  # the work of this thread is its own
        thread.start()
        thread.join()
    (skipped,) = result
    assert (skipped.outcome, skipped.version, skipped.ingest, skipped.production) == ("skipped", "", None, "0001")
    assert "train by " in skipped.sentence
    assert skipped.sentence.startswith("skipped: ")


def test_else_it_waits_and_then_finds_what_the_other_has_done(trained: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("unetseg.working._LOOK", 0.01)
    result: list[NightlyResult] = []
    thread = threading.Thread(target=lambda: result.append(nightly(trained, Steps(train=forbidden))))
    with working(trained.folder, "train"):
        thread.start()
        thread.join(0.3)
        assert not result
    thread.join()
    assert result[0].outcome == "unchanged"


# --------------------------------------------------------------------------- a folder to segment afterwards


def with_folder(project: Project) -> Project:
    """Its nights segment three scans, named as a person would below the project."""
    (project.folder / "incoming").mkdir()
    for scan in sorted(Path(project.sources.scans.path).glob("*.tif"))[:3]:
        shutil.copy(scan, project.folder / "incoming")
    folders = ["nightly.predict_folder=incoming", "nightly.predict_out=segmented"]
    return replace(project, settings=override(project.settings, folders))


def test_a_folder_is_segmented_at_the_end_of_each_night_and_only_what_is_new(trained: Project):
    project = with_folder(trained)
    first = nightly(project)
    assert (first.outcome, first.predicted.done, first.predicted.out) == ("unchanged", 3, trained.folder / "segmented")
    assert first.sentence.startswith("unchanged since 0001: nothing to train; segmented 3 scans with model 0001")
    assert len(list((trained.folder / "segmented").glob("*.ome.zarr"))) == 3
    again = nightly(project)
    assert (again.predicted.done, again.predicted.skipped) == (0, 3)
    assert again.sentence.startswith("unchanged since 0001: nothing to train; segmented 0 scans")


def test_a_folder_that_somebody_has_emptied_is_nothing_to_do_and_one_that_is_gone_is_told_of(trained: Project):
    project = with_folder(trained)
    for scan in (project.folder / "incoming").iterdir():
        scan.unlink()
    night = nightly(project)
    assert (night.outcome, night.predicted, night.sentence) == (
        "unchanged", None, "unchanged since 0001: nothing to train",
    )  # fmt: skip
    (project.folder / "incoming").rmdir()
    with pytest.raises(DataError, match=r"incoming was not segmented: .*folder of scans not found"):
        nightly(project)


def test_a_folder_is_segmented_anew_after_a_promotion(trained: Project):
    project = with_folder(trained)
    nightly(project)
    shutil.copytree(trained.models / "0001", trained.models / "0002")

    def gate_that_promotes(project: Project, *, model: str) -> GateResult:
        promote(project.models, model, why="better")
        return GateResult(model, True, model, "better")

    (trained.models / "0002" / "gate.json").unlink()
    set_thresholds(project, ["iris=fixed:0.25"], model="2")  # else it would be the same model, and nothing out of date
    night = nightly(project, Steps(gate=gate_that_promotes))
    assert (night.outcome, night.predicted.model, night.predicted.done) == ("promoted", "0002", 3)


def test_nothing_is_segmented_without_a_folder_or_without_production(trained: Project):
    assert nightly(trained, Steps(predict=forbidden)).predicted is None
    (trained.models / "aliases.json").unlink()
    strict = replace(trained, settings=override(trained.settings, ["gate.floor=1"]))
    assert nightly(with_folder(strict), Steps(predict=forbidden)).outcome == "kept"


def test_a_folder_that_cannot_be_segmented_fails_the_night_whose_promotion_stays(trained: Project):
    project = with_folder(trained)
    shutil.rmtree(trained.folder / "incoming")
    (trained.models / "0001" / "gate.json").unlink()
    (trained.models / "aliases.json").unlink()
    with pytest.raises(DataError, match=r"promoted 0001: .*; but .*incoming was not segmented: "):
        nightly(project)
    assert read_aliases(trained.models).production == "0001"


# --------------------------------------------------------------------------- no GPU


def test_a_night_that_needs_a_gpu_is_refused_before_any_work_where_there_is_none(
    trained: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("unetseg.devices.list_devices", lambda kind=None: [])
    needs = replace(trained, settings=override(trained.settings, ["train.gpu=required"]))
    with pytest.raises(UsageError, match=r"train\.gpu: required, but Keras on \w+ finds no GPU here"):
        nightly(needs, Steps(ingest=forbidden))
    with pytest.raises(UsageError, match="no GPU"):
        train(needs)


def test_a_night_that_finds_a_gpu_runs_and_the_rule_trains_nothing_anew(
    trained: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("unetseg.devices.list_devices", lambda kind=None: ["gpu:0"])
    needs = replace(trained, settings=override(trained.settings, ["train.gpu=required"]))
    assert nightly(needs, Steps(train=forbidden)).outcome == "unchanged"
