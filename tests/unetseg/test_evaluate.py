"""Evaluation of the tiny model: what is written agrees with itself and with a second way to count."""

from __future__ import annotations

import importlib
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from unetseg.bundle import Bundle, load_bundle, save_bundle
from unetseg.comparison import compare
from unetseg.config import PredictConfig
from unetseg.curve_files import load_curves
from unetseg.dataset import Dataset, open_dataset
from unetseg.engines import open_engine
from unetseg.errors import DataError, MovedError, UsageError
from unetseg.evaluate import evaluate, score_split
from unetseg.evaluation_files import curve_file
from unetseg.gate import gate
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.json_files import read_json
from unetseg.measured_now import measured_today
from unetseg.operating_point import set_thresholds
from unetseg.project import Project, override
from unetseg.records import write_record
from unetseg.scores import FP, TP
from unetseg.scoring import SplitScores
from unetseg.surface_distances import surface_distances

OTHER_SCANS = {"test_fingerprint": "another", "dataset_fingerprint": "another"}
OUTLINES = {"hausdorff95", "surface_dice"}


def test_thresholds_come_from_validation_and_scores_from_test(trained: Project):
    bundle = load_bundle(trained.models / "0001")
    evaluation = bundle.evaluation
    assert evaluation is not None
    validation, classes = load_curves(curve_file(bundle.folder / "evaluation", evaluation, "validation"))
    test, _ = load_curves(curve_file(bundle.folder / "evaluation", evaluation, "test"))
    for k, name in enumerate(classes):
        cut = evaluation["thresholds"][name]["value"]
        curve = validation.curve(k)
        f1 = 2 * curve.true_positives / (curve.true_positives + curve.false_positives + curve.positives)
        assert evaluation["thresholds"][name]["score"] == pytest.approx(f1.max())
        above = slice(int(np.ceil(cut * 65536)), None)
        found, wrong = int(test.positives[k, above].sum()), int(test.negatives[k, above].sum())
        assert evaluation["scores"][name]["recall"] == pytest.approx(found / test.positives[k].sum())
        assert evaluation["scores"][name]["precision"] == pytest.approx(found / (found + wrong))


def test_counts_of_scans_agree_with_whole_scan_predictions(trained: Project):
    bundle, dataset = load_bundle(trained.models / "0001"), open_dataset(trained.dataset)
    found = score_split(bundle, dataset, "test", PredictConfig())
    scan = found.scans[0]
    height, width = scan.shape
    assert height % bundle.info.stride == 0
    assert width % bundle.info.stride == 0
    image = dataset.image(scan).astype(np.float32)
    marked = open_engine(bundle.folder)({"image": image[None]})[0] >= bundle.thresholds
    truth = dataset.masks(scan) == 1
    for k in range(3):
        expected = [
            (truth & marked)[..., k].sum(),
            (~truth & marked)[..., k].sum(),
            (truth & ~marked)[..., k].sum(),
            (~truth & ~marked)[..., k].sum(),
        ]
        assert found.counts[0, k].tolist() == expected


def test_test_and_validation_groups_are_apart_from_training(trained: Project):
    dataset = open_dataset(trained.dataset)
    groups = {split: {scan.group for scan in dataset.scans(split)} for split in ("train", "validation", "test")}
    assert all(groups.values())
    assert not groups["train"] & (groups["validation"] | groups["test"])
    assert not groups["validation"] & groups["test"]


def test_report_is_self_contained_and_shows_every_class(trained: Project):
    page = (trained.models / "0001" / "evaluation" / "report.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)(?!#)""", page)
    for name in ("sclera", "iris", "pupil", "worst:", "best:", "threshold"):
        assert name in page
    assert "<svg" in page


def test_scan_names_cannot_put_markup_into_the_report(trained: Project):
    path = trained.dataset / "index.json"
    text = path.read_text()
    scan = open_dataset(trained.dataset).scans("test")[0].id
    path.write_text(text.replace(f'"id": "{scan}"', '"id": "<script>alert(1)</script>"'))
    page = evaluate(trained).report.read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_another_criterion_moves_the_threshold(trained: Project):
    config = ["evaluate.criterion=recall_at_precision", "evaluate.target=0.99"]
    strict = evaluate(replace(trained, settings=override(trained.settings, config)))
    fixed = evaluate(replace(trained, settings=override(trained.settings, ["evaluate.criterion=fixed"])))
    assert fixed.thresholds["iris"]["value"] == 0.5
    assert strict.thresholds["sclera"]["value"] != fixed.thresholds["sclera"]["value"]
    assert all(item["precision"] >= 0.99 or not item["reached"] for item in strict.thresholds.values())


def test_classes_of_the_dataset_must_be_those_of_the_model(trained: Project):
    sources = replace(trained.sources, classes=trained.sources.classes[:2])
    ingest(replace(trained, sources=sources))
    with pytest.raises(DataError, match="classes of model 0001"):
        evaluate(trained)


def test_a_dataset_normalised_anew_is_scored_as_the_model_saw_it(trained: Project):
    before = load_bundle(trained.models / "0001").evaluation["scores"]["sclera"]["recall"]
    ingest(replace(trained, settings=override(trained.settings, ["ingest.normalisation=zscore"])))
    after = evaluate(trained).scores["sclera"]["recall"]
    assert after == pytest.approx(before, abs=0.02)


def test_evaluation_without_a_dataset_is_wrong_usage(trained: Project):
    (trained.dataset / "index.json").unlink()
    with pytest.raises(UsageError, match="run ingest first"):
        evaluate(trained)


def test_scans_that_are_ingested_anew_meanwhile_are_told_of_and_nothing_is_written(
    trained: Project, eyes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sources, dataset = shutil.copytree(eyes, tmp_path / "eyes"), open_dataset(trained.dataset)
    moved = replace(trained, sources=init(sources / "scans", sources / "masks", project=tmp_path / "moved").sources)
    ingest(moved)
    before = read_json(trained.models / "0001" / "evaluation" / "evaluation.json")
    scored = importlib.import_module("unetseg.evaluate")
    real = scored.score_split

    def while_others_ingest(bundle: Bundle, seen: Dataset, split: str, *others: Any, **named: Any) -> SplitScores:
        found = real(bundle, seen, split, *others, **named)
        if split == "test":
            path = sources / "scans" / f"{dataset.scans('test')[0].id}.tif"
            tifffile.imwrite(path, 255 - tifffile.imread(path))
            ingest(moved)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(scored, "score_split", while_others_ingest)
        with pytest.raises(MovedError, match="ingested anew meanwhile; evaluate again"):
            evaluate(moved, model="1")
    assert read_json(trained.models / "0001" / "evaluation" / "evaluation.json") == before
    assert evaluate(moved, model="1").version == "0001"


def test_evaluation_json_is_strict_json(trained: Project):
    text = (trained.models / "0001" / "evaluation" / "evaluation.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


def test_gate_scores_production_anew_when_its_numbers_are_of_other_data(trained: Project):
    from unetseg.gate import _scored

    bundle, dataset = load_bundle(trained.models / "0001"), open_dataset(trained.dataset)
    stored = _scored(bundle, dataset, trained.settings.predict)
    path = bundle.folder / "evaluation" / "evaluation.json"
    write_record(path, read_json(path) | OTHER_SCANS)
    measured = _scored(load_bundle(bundle.folder), dataset, trained.settings.predict)
    assert measured.scans == stored.scans
    assert np.array_equal(measured.counts, stored.counts)


@pytest.fixture
def exclusive(trained: Project) -> Project:
    """The project with an untrained network of exclusive classes as version 0002."""
    from unetseg.model import build_unet

    info = load_bundle(trained.models / "0001").info
    settings = replace(info.settings, model=replace(info.settings.model, head="softmax"))
    network = build_unet(settings.model, classes=len(info.classes), input_shape=(None, None, 1))
    save_bundle(trained.models, network, replace(info, settings=settings))
    return trained


def test_exclusive_classes_are_decided_by_the_highest_probability_everywhere(exclusive: Project, eyes: Path):
    result = evaluate(exclusive, model="2")
    bundle = load_bundle(exclusive.models / "0002")
    assert bundle.decision.rule == "argmax"
    assert result.scores["iris"]["threshold"] is None
    marked = np.array([row["counts"] for row in bundle.evaluation["scans"]])[..., [TP, FP]].sum(axis=(1, 2))
    sizes = [scan.shape[0] * scan.shape[1] for scan in open_dataset(exclusive.dataset).scans("test")]
    assert all(marked <= sizes)
    found = segmented(exclusive, eyes, bundle)
    assert found.sum(axis=0).max() <= 1
    labels = segmented(exclusive, eyes, bundle, masks="labels")
    np.testing.assert_array_equal(labels, sum(plane * (k + 1) for k, plane in enumerate(found)))
    with pytest.raises(UsageError, match=r"^predict.fill_holes: 5 would give pixels of one class to the class around"):
        segmented(exclusive, eyes, bundle, masks="labels", fill_holes=5)


def segmented(project: Project, eyes: Path, bundle: Bundle, **settings: Any) -> np.ndarray:
    """Planes ``(K, N, H, W)``, or label maps ``(N, H, W)``."""
    from unetseg.predict import predict

    out = project.folder / f"out-{settings.get('masks', 'planes')}"
    predict(eyes / "scans", out, bundle=bundle.folder, config=PredictConfig(**settings))
    found = [zarr.open_array(place / "0", mode="r")[...] for place in sorted(out.glob("*.ome.zarr"))]
    return np.stack(found, axis=-3)


def test_exclusive_classes_may_have_thresholds_if_they_are_asked_for(exclusive: Project, eyes: Path):
    asked = replace(exclusive, settings=override(exclusive.settings, ["evaluate.decision=thresholds"]))
    assert evaluate(asked, model="2").scores["iris"]["threshold"] is not None
    bundle = load_bundle(exclusive.models / "0002")
    assert bundle.decision.rule == "thresholds"
    with pytest.raises(UsageError, match=r"run unetseg evaluate --model 0002 --set evaluate\.decision=argmax$"):
        segmented(exclusive, eyes, bundle, masks="labels")


def test_thresholds_of_exclusive_classes_stay_where_both_settings_that_are_told_are_set(exclusive: Project):
    asked = replace(exclusive, settings=override(exclusive.settings, ["evaluate.decision=thresholds"]))
    evaluate(asked, model="2")
    found = set_thresholds(exclusive, ["iris=fixed:0.25"], model="2")
    told = "set evaluate.decision to thresholds and evaluate.class_criteria to iris=fixed:0.25"
    assert found.warnings[-1].endswith(told)
    kept = ["evaluate.decision=thresholds", "evaluate.class_criteria=iris=fixed:0.25"]
    again = evaluate(replace(exclusive, settings=override(exclusive.settings, kept)), model="2")
    assert again.thresholds == found.thresholds


def test_classes_that_overlap_are_never_decided_by_the_highest(trained: Project):
    asked = replace(trained, settings=override(trained.settings, ["evaluate.decision=argmax"]))
    with pytest.raises(UsageError, match=r"evaluate\.decision: argmax"):
        evaluate(asked)


def test_the_difference_to_production_is_kept_where_it_was_scored_on_the_same_scans(exclusive: Project):
    evaluate(exclusive, model="2")
    found = load_bundle(exclusive.models / "0002").evaluation
    own = load_bundle(exclusive.models / "0001").evaluation
    assert found["production"]["version"] == "0001"
    assert found["production"]["scores"] == own["scores"]
    difference = found["scores"]["macro"]["f1"] - own["scores"]["macro"]["f1"]
    assert found["production"]["difference"]["difference"] == pytest.approx(difference)
    assert own["production"] is None


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Version and split of each pass over a split that evaluate and the gate make."""
    passes = []

    def counted(bundle: Bundle, dataset: Dataset, split: str, *arguments: Any, **named: Any) -> SplitScores:
        passes.append((bundle.version, split))
        return score_split(bundle, dataset, split, *arguments, **named)

    for name in ("evaluate", "measured_now", "gate"):
        monkeypatch.setattr(importlib.import_module(f"unetseg.{name}"), "score_split", counted)
    return passes


@pytest.mark.parametrize(
    ("change", "production"),
    [
        pytest.param({"dataset_fingerprint": "another"}, [], id="other-training-scans"),
        pytest.param(OTHER_SCANS, [("0001", "test")], id="other-test-scans"),
        pytest.param({"scans": []}, [("0001", "test")], id="thresholds-from-curves"),
    ],
)
def test_a_night_scores_production_once_and_only_on_other_test_scans(
    exclusive: Project, scored: list[tuple[str, str]], change: dict[str, Any], production: list[tuple[str, str]]
):
    path = exclusive.models / "0001" / "evaluation" / "evaluation.json"
    own = read_json(path)
    write_record(path, own | change)
    before = path.read_bytes()
    evaluate(exclusive, model="2")
    result = gate(exclusive, model="2")
    assert scored == [("0002", "validation"), ("0002", "test"), *production]
    assert result.numbers.before == pytest.approx(own["scores"]["macro"]["f1"])
    assert path.read_bytes() == before  # its thresholds above all
    kept = load_bundle(exclusive.models / "0002").evaluation["production"]
    assert kept["measured"] == bool(production)
    assert {row["id"]: row["counts"] for row in kept["scans"]} == {row["id"]: row["counts"] for row in own["scans"]}
    for name, row in own["scores"].items():
        here = {key: value for key, value in row.items() if not (production and key in OUTLINES)}
        assert kept["scores"][name] == pytest.approx(here, nan_ok=True)


def test_a_night_with_other_flips_scores_production_with_them_and_an_equal_model_gains_nothing(
    exclusive: Project, scored: list[tuple[str, str]]
):
    flipped = replace(exclusive, settings=override(exclusive.settings, ["predict.flips=both"]))
    dataset, production = open_dataset(exclusive.dataset), load_bundle(exclusive.models / "0001")
    evaluate(flipped, model="2")
    result = gate(flipped, model="2")
    assert scored == [("0002", "validation"), ("0002", "test"), ("0001", "test")]
    kept = load_bundle(exclusive.models / "0002").evaluation["production"]
    assert (kept["measured"], kept["inference"]["flips"]) == (True, "both")
    hits, wrong, missed, _ = np.moveaxis(
        score_split(production, dataset, "test", flipped.settings.predict).counts.sum(axis=0), -1, 0
    )
    assert result.numbers.before == pytest.approx(float(np.mean(2 * hits / (2 * hits + wrong + missed))))
    assert not result.promoted
    today = measured_today(flipped, [load_bundle(exclusive.models / name) for name in ("0001", "0002")])
    assert list(today) == ["0001"]  # its own evaluation is without flips
    assert today["0001"]["inference"]["flips"] == "both"


def test_counts_of_production_beside_another_model_do(exclusive: Project, scored: list[tuple[str, str]]):
    path = exclusive.models / "0001" / "evaluation" / "evaluation.json"
    write_record(path, read_json(path) | OTHER_SCANS)
    shutil.copytree(exclusive.models / "0002", exclusive.models / "0003")
    evaluate(exclusive, model="2")
    first = load_bundle(exclusive.models / "0002").evaluation["production"]
    scored.clear()
    evaluate(exclusive, model="3")
    assert scored == [("0003", "validation"), ("0003", "test")]
    assert load_bundle(exclusive.models / "0003").evaluation["production"] == first  # the same model, scored again
    kept = exclusive.models / "0002" / "evaluation" / "evaluation.json"
    write_record(kept, read_json(kept) | OTHER_SCANS)
    evaluate(exclusive, model="3")  # its own evaluation names it; that of the scans of today is enough
    assert ("0001", "test") not in scored
    write_record(path.parents[2] / "0003" / "evaluation" / "evaluation.json", {})
    evaluate(exclusive, model="3")
    assert scored.count(("0001", "test")) == 1  # none is left that can be read, or is of these scans


def test_a_production_that_is_gone_is_wrong_usage(exclusive: Project):
    shutil.rmtree(exclusive.models / "0001")
    with pytest.raises(UsageError, match="no version '0001'"):
        evaluate(exclusive, model="2")


def test_a_damaged_production_does_not_stop_an_evaluation_and_the_gate_tells_of_it(
    exclusive: Project, caplog: pytest.LogCaptureFixture
):
    (exclusive.models / "0001" / "model.keras").write_bytes(b"damaged")
    evaluate(exclusive, model="2")
    assert load_bundle(exclusive.models / "0002").evaluation["production"] is None
    assert "not compared with 0001: " in caplog.text
    assert "not comparable with 0001" in gate(exclusive, model="2").reason


def test_models_that_were_scored_on_other_scans_are_scored_on_todays_and_keep_their_evaluation(
    trained: Project, scored: list[tuple[str, str]]
):
    bundle = load_bundle(trained.models / "0001")
    twin = load_bundle(shutil.copytree(bundle.folder, trained.models / "0002"))
    assert measured_today(trained, [bundle]) == {}
    path = bundle.folder / "evaluation" / "evaluation.json"
    own = read_json(path)
    write_record(path, own | OTHER_SCANS)
    told: list[str] = []
    other = load_bundle(bundle.folder)
    found = measured_today(trained, [other], progress=lambda done, total, what: told.append(what))["0001"]
    assert scored == [("0001", "test")]
    assert found["scores"] == own["scores"]
    assert found["scans"] == own["scans"]
    assert (found["unit"], found["settings"]) == (own["unit"], {"surface_tolerance": 2.0})
    assert found["test_fingerprint"] == own["test_fingerprint"]
    assert told[0].startswith("model 0001, test ")
    compared = compare(other, twin, trained.settings.evaluate, today={"0001": found})
    assert compared.differences["macro"]["f1"].difference == 0


@pytest.mark.parametrize("tolerance", [2.0, 0.0], ids=["default", "none"])
def test_outlines_are_measured_as_on_whole_masks(tolerance: float, trained: Project):
    evaluate(replace(trained, settings=override(trained.settings, [f"evaluate.surface_tolerance={tolerance}"])))
    bundle, dataset = load_bundle(trained.models / "0001"), open_dataset(trained.dataset)
    row = {item["id"]: item for item in bundle.evaluation["scans"]}
    for scan in dataset.scans("test"):
        image = dataset.image(scan).astype(np.float32)
        marked = bundle.decision(open_engine(bundle.folder)({"image": image[None]})[0])
        expected = surface_distances(dataset.masks(scan), marked, tolerance=tolerance)
        for k, name in enumerate(bundle.info.classes):
            found = [row[scan.id][key][name] for key in ("hausdorff95", "surface_dice")]
            assert found == pytest.approx(expected[k].tolist(), nan_ok=True)


def test_scans_too_large_for_distances_have_none_and_are_named(trained: Project, monkeypatch: pytest.MonkeyPatch):
    scans = open_dataset(trained.dataset).scans("test")
    monkeypatch.setattr("unetseg.scoring.LARGEST_OUTLINED", scans[0].shape[0] * scans[0].shape[1] - 1)
    result = evaluate(trained)
    assert result.scores["iris"]["hausdorff95"] is None or np.isnan(result.scores["iris"]["hausdorff95"])
    assert result.scores["iris"]["recall"] > 0
    said = next(text for text in result.warnings if text.startswith("Hausdorff-95 and surface Dice are without"))
    assert said.startswith(f"Hausdorff-95 and surface Dice are without {len(scans)} of {len(scans)} test scans")
    assert said.endswith(", ".join(scan.id for scan in scans))


def test_outlines_of_large_scans_are_those_of_small_ones(trained: Project, monkeypatch: pytest.MonkeyPatch):
    bundle, dataset = load_bundle(trained.models / "0001"), open_dataset(trained.dataset)
    together = score_split(bundle, dataset, "test", PredictConfig(), tolerance=2.0)
    monkeypatch.setattr("unetseg.scoring._OUTLINED_ALONE", 0)
    alone = score_split(bundle, dataset, "test", PredictConfig(), tolerance=2.0)
    np.testing.assert_array_equal(alone.surfaces, together.surfaces)
    assert alone.not_outlined == together.not_outlined == ()
