"""Two versions on the same scans: the numbers against hand values, and the page against the numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unetseg.bundle import Bundle
from unetseg.comparison import Comparison, compare
from unetseg.comparison_page import write_comparison
from unetseg.config import CardConfig, EvaluateConfig, Settings, TrainConfig
from unetseg.errors import UsageError
from unetseg.model_changes import TextChange

MakeBundle = Callable[..., Bundle]
CONFIG = EvaluateConfig(draws=100)
OTHER_SCANS = {"test_fingerprint": "a" * 64, "dataset_fingerprint": "b" * 64}
STORED = "given thresholds from stored curves, which tell nothing of single scans"
HALF = {"s1": 10, "s2": 10, "s3": 10, "s4": 10}
BETTER_BUT_S4 = {"s1": 20, "s2": 20, "s3": 20, "s4": 5}


@pytest.fixture
def found(make_bundle: MakeBundle) -> Comparison:
    return compare(make_bundle("0001", found=HALF), make_bundle("0002", found=BETTER_BUT_S4), CONFIG)


def test_differences_of_counts_are_those_of_a_hand_calculation(found: Comparison):
    iris = found.differences["iris"]
    assert iris["recall"].mean_a == pytest.approx(40 / 80)
    assert iris["recall"].mean_b == pytest.approx(65 / 80)
    assert iris["recall"].difference == pytest.approx(25 / 80)
    assert iris["f1"].difference == pytest.approx(130 / 145 - 80 / 120)
    # Means over scans: of Dice 2 tp / (2 tp + fn), of IoU tp / 20.
    assert iris["dice"].difference == pytest.approx((3 * 1 + 10 / 25) / 4 - 20 / 30)
    assert iris["iou"].difference == pytest.approx((3 * 1 + 5 / 20) / 4 - 10 / 20)
    assert iris["recall"].groups == 3
    assert iris["recall"].low < 25 / 80 < iris["recall"].high


def test_a_class_that_no_scan_holds_has_no_difference_and_macro_leaves_it_out(found: Comparison):
    assert list(found.differences) == ["iris", "macro"]
    assert found.differences["macro"] == found.differences["iris"]


def test_scans_come_by_what_they_lost_and_gained(found: Comparison):
    assert [scan.id for scan in found.scans] == ["s4", "s1", "s2", "s3"]
    lost = found.scans[0]
    assert (lost.group, lost.before, lost.after) == ("g3", 0.5, 5 / 15)
    assert lost.difference == pytest.approx(5 / 15 - 0.5)


def test_scores_of_the_records_are_subtracted_and_what_is_not_measurable_stays_so(make_bundle: MakeBundle):
    a, b = make_bundle("0001"), make_bundle("0002")
    b.evaluation["scores"]["iris"]["average_precision"] = 0.956
    scores = compare(a, b, CONFIG).scores
    assert scores["iris"]["average_precision"].difference == pytest.approx(0.05)
    assert scores["iris"]["f1"].difference == 0
    assert scores["pupil"]["f1"].difference is None
    assert scores["pupil"]["specificity"].before == 1.0


def test_a_version_is_not_compared_with_itself(make_bundle: MakeBundle):
    with pytest.raises(
        UsageError, match=r"compare: both are version 0001; name two, of those that unetseg models list"
    ):
        compare(make_bundle("0001"), make_bundle("0001"), CONFIG)


def test_distances_in_other_units_are_not_compared(make_bundle: MakeBundle):
    micrometres, pixels = make_bundle("0001"), make_bundle("0002", change={"unit": "pixels"})
    assert "hausdorff95" in compare(micrometres, make_bundle("0003"), CONFIG).columns
    assert "hausdorff95" not in compare(micrometres, pixels, CONFIG).columns
    assert "surface_dice" in compare(micrometres, pixels, CONFIG).columns


def test_only_what_differs_in_settings_data_plan_and_software_is_told(make_bundle: MakeBundle):
    a = make_bundle("0001", plan={"train.patch": "64: small scans"}, settings=Settings(card=CardConfig(authors="A")))
    b = make_bundle("0002", settings=Settings(train=TrainConfig(seed=7)), software={"keras": "3.15.1", "jax": "0.9"})
    assert set(compare(a, b, CONFIG).changes) == {
        TextChange("setting", "train.seed", "0", "7"),
        TextChange("plan", "train.patch", "64: small scans", ""),
        TextChange("software", "jax", "", "0.9"),
    }


def test_a_model_that_takes_the_most_probable_class_has_no_thresholds(make_bundle: MakeBundle):
    thresholds = compare(make_bundle("0001"), make_bundle("0002", change={"decision": "argmax"}), CONFIG).thresholds
    assert thresholds["iris"].before == 0.25
    assert thresholds["iris"].after is None


FLIPPED = {"inference": {"flips": "both", "precision": "float32", "change": None}}


def test_models_that_were_scored_with_other_flips_are_not_compared(make_bundle: MakeBundle):
    a, b = make_bundle("0001"), make_bundle("0002", change=FLIPPED)
    words = (
        r"same predict.flips, but 0001 has scores of 4 scans \(e{12}\) and 0002 has scores of 4 scans "
        r"\(e{12}, flips: both\); .* --score"
    )
    with pytest.raises(UsageError, match=words):
        compare(a, b, CONFIG)


def test_a_model_that_was_scored_beside_the_other_with_its_flips_is_compared(make_bundle: MakeBundle, tmp_path: Path):
    kept = beside(make_bundle, "0001") | {"inference": {"flips": "both", "precision": "float32"}}
    a, b = make_bundle("0001"), make_bundle("0002", found=HALF, change=FLIPPED | {"production": kept})
    found = write_comparison(tmp_path / "page.html", a, b, config=CONFIG)
    assert (found.flips, found.anew, found.curves) == ("both", ("0001",), False)  # its curves are without flips
    assert "mirror images (flips: both)" in (tmp_path / "page.html").read_text()


def test_another_precision_hinders_no_comparison_and_is_told(make_bundle: MakeBundle):
    rounded = {"inference": {"flips": "none", "precision": "bfloat16", "change": None}}
    found = compare(make_bundle("0001"), make_bundle("0002", change=rounded), CONFIG)
    assert found.warnings[-1].startswith("0001 was scored in float32, 0002 in bfloat16")
    same = compare(make_bundle("0001", change=rounded), make_bundle("0002", change=rounded), CONFIG)
    assert not any("bfloat16" in text for text in same.warnings)


def test_other_blended_tiles_hinder_no_comparison_and_are_told(make_bundle: MakeBundle):
    wide, narrow = ({"inference": {"flips": "none", "tile": tile, "precision": "float32"}} for tile in (1424, 704))
    found = compare(make_bundle("0001", change=wide), make_bundle("0002", change=narrow), CONFIG)
    assert found.warnings[-1].startswith("0001 was scored in blended tiles of 1424 pixels, 0002 of 704")
    exact = compare(make_bundle("0001", change=wide), make_bundle("0002"), CONFIG)
    assert not any("blended" in text for text in exact.warnings)


def test_a_model_that_was_scored_beside_the_other_in_its_tiles_of_today_has_curves_of_others(make_bundle: MakeBundle):
    small, large = ({"inference": {"flips": "none", "tile": tile, "precision": "float32"}} for tile in (512, 1424))
    kept = beside(make_bundle, "0001") | large
    a = make_bundle("0001", change=small | {"scans": []})
    b = make_bundle("0002", found=HALF, change=large | {"production": kept})
    assert not compare(a, b, CONFIG).curves
    assert compare(make_bundle("0001", change=large | {"scans": []}), b, CONFIG).curves


def beside(make_bundle: MakeBundle, version: str) -> dict[str, Any]:
    """What the evaluation of another model keeps of a version that it scored, without outlines."""
    row = {"recall": 0.25, "f1": 0.375, "average_precision": 0.5}
    return {
        "version": version,
        "measured": True,
        "operating_point": {"rule": "thresholds", "thresholds": [0.25, 0.25]},
        "unit": "µm",
        "settings": {"surface_tolerance": None},
        "scores": {"iris": row, "macro": row},
        "scans": make_bundle("0009", found=BETTER_BUT_S4).evaluation["scans"],
    }


def test_other_training_scans_do_not_hinder_a_comparison(make_bundle: MakeBundle):
    a, b = make_bundle("0001", change={"dataset_fingerprint": "a" * 64}), make_bundle("0002")
    assert compare(a, b, CONFIG).anew == ()


def test_old_evaluations_are_compared_by_all_data(make_bundle: MakeBundle):
    a = make_bundle("0001", change={"test_fingerprint": None})
    b = make_bundle("0002", change={"dataset_fingerprint": "a" * 64})
    with pytest.raises(UsageError, match="same test scans"):
        compare(a, b, CONFIG)


@pytest.mark.parametrize(
    ("other", "causes", "curves"),
    [
        pytest.param(OTHER_SCANS, "evaluated on other test scans", False, id="other-scans"),
        pytest.param({"scans": []}, STORED, True, id="thresholds-set-by-hand"),
        pytest.param(
            {"scans": []} | OTHER_SCANS,
            f"evaluated on other test scans, {STORED}",
            False,
            id="thresholds-set-by-hand-of-other-scans",
        ),
    ],
)
def test_a_model_that_was_scored_beside_the_other_is_compared_with_it(
    other: dict[str, Any], causes: str, curves: bool, make_bundle: MakeBundle, tmp_path: Path
):
    a = make_bundle("0001", change=other)
    b = make_bundle("0002", found=HALF, change={"production": beside(make_bundle, "0001")})
    forward = write_comparison(tmp_path / "page.html", a, b, config=CONFIG)
    assert forward.anew == ("0001",)
    # The differences of the first test, the other way round.
    assert forward.differences["iris"]["recall"].difference == pytest.approx(-25 / 80)
    assert forward.scans[-1].difference == pytest.approx(0.5 - 5 / 15)
    assert forward.scores["iris"]["f1"].before == 0.375
    assert forward.thresholds["iris"].before == 0.25
    assert not {"hausdorff95", "surface_dice"} & set(forward.columns)
    page = (tmp_path / "page.html").read_text()
    assert f"0001 was {causes}: it was scored anew on these scans, with its thresholds as they are." in page
    assert forward.curves == curves
    assert ("<svg" in page, "No stored curves of the same scans" in page) == (curves, not curves)
    assert "Hausdorff" not in page
    back = compare(b, a, CONFIG)
    assert back.anew == ("0001",)
    assert back.differences["iris"]["recall"].difference == pytest.approx(25 / 80)


def test_a_model_whose_thresholds_moved_since_is_not_compared_with_what_it_scored_then(make_bundle: MakeBundle):
    a = make_bundle("0001", change=OTHER_SCANS)
    moved = beside(make_bundle, "0001") | {"operating_point": {"rule": "thresholds", "thresholds": [0.25, 0.75]}}
    with pytest.raises(UsageError, match="same test scans"):
        compare(a, make_bundle("0002", change={"production": moved}), CONFIG)


def test_what_was_measured_today_is_compared(make_bundle: MakeBundle, tmp_path: Path):
    a, b = make_bundle("0001", change=OTHER_SCANS), make_bundle("0002", found=HALF)
    scores = b.evaluation["scores"] | {"iris": b.evaluation["scores"]["iris"] | {"hausdorff95": 10.34}}
    settings = {"surface_tolerance": b.evaluation["settings"]["surface_tolerance"]}
    prints = {name: b.evaluation[name] for name in ("test_fingerprint", "dataset_fingerprint")}
    today = prints | beside(make_bundle, "0001") | {"scores": scores, "settings": settings}
    found = write_comparison(tmp_path / "page.html", a, b, config=CONFIG, today={"0001": today})
    assert found.anew == ("0001",)
    assert found.differences["iris"]["recall"].difference == pytest.approx(-25 / 80)
    assert found.scores["iris"]["hausdorff95"].difference == pytest.approx(2)
    assert "surface_dice" in found.columns
    assert found.warnings == tuple(b.evaluation["warnings"])
    assert not found.curves
    assert "within 2 pixels of the other" in (tmp_path / "page.html").read_text()


def test_curves_of_the_same_scans_are_not_shown_where_both_were_measured_on_others(
    make_bundle: MakeBundle, tmp_path: Path
):
    a, b = make_bundle("0001"), make_bundle("0002", found=HALF)
    today = {name: OTHER_SCANS | beside(make_bundle, name) for name in ("0001", "0002")}
    found = write_comparison(tmp_path / "page.html", a, b, config=CONFIG, today=today)
    assert (found.anew, found.curves) == (("0001", "0002"), False)
    assert "<svg" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            OTHER_SCANS,
            r"but 0001 has scores of 4 scans \(e{12}\) and 0002 has scores of 4 scans \(a{12}\); "
            "unetseg models compare 0001 0002 --score",
            id="data",
        ),
        pytest.param(
            {"scans": []},
            r"and 0002 has no scores of single scans \(its thresholds were set by unetseg thresholds, from stored "
            r"curves\); unetseg models compare 0001 0002 --score",
            id="thresholds-set-by-hand",
        ),
    ],
)
def test_evaluations_of_other_data_are_refused_with_the_way_out(
    change: dict[str, Any], words: str, make_bundle: MakeBundle, tmp_path: Path
):
    with pytest.raises(UsageError, match=words):
        write_comparison(tmp_path / "page.html", make_bundle("0001"), make_bundle("0002", change=change), config=CONFIG)
    assert not (tmp_path / "page.html").exists()


def test_other_scans_of_the_same_data_are_refused(make_bundle: MakeBundle):
    with pytest.raises(
        UsageError, match=r"same test scans.*, but 0001 has scores of 4 scans .* and 0002 has scores of 3 scans"
    ):
        compare(make_bundle("0001"), make_bundle("0002", found={"s1": 10, "s2": 10, "s3": 10}), CONFIG)


def test_a_model_without_scores_is_refused(make_bundle: MakeBundle):
    a, b = make_bundle("0001"), make_bundle("0002")
    (b.folder / "evaluation" / "evaluation.json").unlink()
    with pytest.raises(UsageError, match="model 0002 has no scores yet; run unetseg evaluate --model 0002"):
        compare(a, b, CONFIG)


# --------------------------------------------------------------------------- the page


def test_the_page_shows_the_numbers_and_needs_no_network(make_bundle: MakeBundle, tmp_path: Path):
    a, b = make_bundle("0001", found=HALF), make_bundle("0002", found=BETTER_BUT_S4)
    found = write_comparison(tmp_path / "page.html", a, b, config=CONFIG)
    page = (tmp_path / "page.html").read_text()
    recall = found.differences["iris"]["recall"]
    assert f"+0.312<small>{recall.low:+.3f} to {recall.high:+.3f}" in page
    assert "0.703 → 0.703<small>+0.000" in page
    assert "Hausdorff 95 (µm)" in page
    assert "pupil: not measurable" in page
    assert page.index("Worse now") < page.index("s4") < page.index("Better now") < page.index("s1")
    assert not re.search(r"""(src|href)=["'](?!data:)(?!#)""", page)
    assert page.count("<svg") == 1  # pupil has no curve
    assert "0001: AP" in page
    assert "0002: AP" in page


def test_ten_scans_of_each_kind_are_listed(make_bundle: MakeBundle, tmp_path: Path):
    def rows(values: list[float]) -> list[dict[str, Any]]:
        blank = {"group": "g", "counts": [[10, 0, 10, 80], [0, 0, 0, 100]], "f1": {}}
        return [blank | {"id": f"scan{n:02d}", "mean_f1": value} for n, value in enumerate(values)]

    a = make_bundle("0001", change={"scans": rows([0.5] * 30)})
    b = make_bundle("0002", change={"scans": rows([n / 30 for n in range(30)])})
    write_comparison(tmp_path / "page.html", a, b, config=CONFIG)
    listed = re.findall(r"scan\d\d", (tmp_path / "page.html").read_text())
    assert listed == [f"scan{n:02d}" for n in [*range(10), *range(29, 19, -1)]]


def test_evaluations_of_schema_1_are_compared(make_bundle: MakeBundle, tmp_path: Path):
    bundles = [make_bundle("0001"), make_bundle("0002")]
    for bundle in bundles:
        path = bundle.folder / "evaluation" / "evaluation.json"
        old = json.loads(path.read_text())
        for key in ("sha256", "decision", "unit", "data", "production", "test_fingerprint"):
            old.pop(key, None)
        old["schema_version"] = 1
        for row in old["scores"].values():
            del row["hausdorff95"], row["surface_dice"]
        path.write_text(json.dumps(old))
        (path.parent / "test_curves.npz").unlink()
    found = write_comparison(tmp_path / "page.html", *bundles, config=CONFIG)
    assert "hausdorff95" not in found.columns
    assert "No stored curves" in (tmp_path / "page.html").read_text()
