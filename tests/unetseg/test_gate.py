"""The gate between bundles: what it compares, promotes and writes down. Networks and dataset are stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unetseg import gate as module
from unetseg.bundle import Bundle, load_bundle
from unetseg.config import EvaluateConfig, GateConfig, ScanSource, Settings, Sources
from unetseg.decisions import Decision
from unetseg.errors import BundleError, DamagedFileError, DataError, UsageError
from unetseg.gate import GateResult, decided, gate
from unetseg.json_files import read_json, write_json
from unetseg.project import Project
from unetseg.records import write_record
from unetseg.registry import promote, read_aliases, rollback

GOOD, FAIR, BAD = 0.02, 0.1, 0.3  # shares of wrong pixels
POINT = Decision("thresholds", (0.25, 0.5))
OTHER = {"dataset_fingerprint": "yesterday", "test_fingerprint": "yesterday"}


class Shelf:
    """Models of a project without networks: evaluations are made up, aliases are those of the real registry."""

    def __init__(self, folder: Path, write_versions: Callable[..., None]):
        settings = Settings(evaluate=EvaluateConfig(draws=200))
        self.project = Project(folder, Sources(ScanSource("scans")), settings)
        self.write_versions = write_versions
        self.measured: list[str] = []
        self.flips: list[str] = []

    @property
    def production(self) -> str | None:
        return read_aliases(self.project.models).production

    def put(self, version: str) -> None:
        """Make a version production as a person does; an older one is then rolled back to."""
        promote(self.project.models, version, why="by hand")

    def add(self, version: str, error: float, *, scans: bool = True, **change) -> None:
        self.write_versions(self.project.models, int(version))
        rows = self.rows(error, int(version)) if scans else []
        cuts = {"iris": {"value": POINT.thresholds[0]}, "pupil": {"value": POINT.thresholds[1]}}
        record = {"schema_version": 3, "decision": POINT.rule, "thresholds": cuts, "scans": rows}
        prints = {"dataset_fingerprint": "today", "test_fingerprint": "today"}
        write_record(self.project.models / version / "evaluation/evaluation.json", record | prints | change)

    def beside(self, production: str, error: float, **change) -> dict:
        """What evaluate keeps of a version that was in production."""
        point = {"rule": "thresholds", "thresholds": list(POINT.thresholds)}
        kept = {"version": production, "operating_point": point, "scans": self.rows(error, int(production))}
        return {"production": kept | change}

    def rows(self, error: float, seed: int) -> list[dict]:
        random, true = np.random.default_rng(seed), 500
        wrong = random.binomial(true, error, (8, 2, 2)).tolist()
        rows = [
            {"id": f"s{n}", "group": f"g{n % 4}", "counts": [[true - a, b, a, true - b] for a, b in scan]}
            for n, scan in enumerate(wrong)
        ]
        return rows[::-1]  # worst first, as it were

    def bundle(self, folder: Path) -> Bundle:
        found = load_bundle(folder)
        return replace(found, info=replace(found.info, classes=("iris", "pupil")))

    def score(self, bundle, dataset, split, config) -> SimpleNamespace:
        self.measured.append(bundle.version)
        self.flips.append(config.flips)
        rows = self.rows(GOOD, 99)
        scans = [SimpleNamespace(id=row["id"], group=row["group"]) for row in rows]
        return SimpleNamespace(scans=scans, counts=np.array([row["counts"] for row in rows]))

    def gate(self, version: str, **settings) -> GateResult:
        return gate(self.with_gate(**settings), model=version)

    def with_gate(self, **settings) -> Project:
        return replace(self.project, settings=replace(self.project.settings, gate=GateConfig(**settings)))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_versions: Callable[..., None]) -> Shelf:
    made = Shelf(tmp_path, write_versions)
    monkeypatch.setattr(module, "load_bundle", made.bundle)
    index = SimpleNamespace(fingerprint="today", test_fingerprint="today")
    monkeypatch.setattr(module, "open_dataset", lambda path: SimpleNamespace(index=index))
    monkeypatch.setattr(module, "score_split", made.score)
    return made


def test_a_better_model_replaces_production(shelf: Shelf):
    shelf.add("0001", FAIR)
    shelf.add("0002", GOOD)
    shelf.put("0001")
    result = shelf.gate("0002")
    assert (result.promoted, result.production, shelf.production) == (True, "0002", "0002")
    assert result.numbers.against == "0001"
    assert "4 groups" in result.reason
    assert shelf.measured == []


def test_a_worse_model_leaves_production(shelf: Shelf):
    shelf.add("0001", GOOD)
    shelf.add("0002", FAIR)
    shelf.put("0001")
    result = shelf.gate("0002")
    assert (result.promoted, result.production, shelf.production) == (False, "0001", "0001")


@pytest.mark.parametrize("change", [OTHER, {"scans": False}], ids=["other-scans", "no-scans"])
def test_counts_that_are_not_of_todays_scans_are_measured_anew(shelf: Shelf, change):
    shelf.add("0001", BAD, **change)
    shelf.add("0002", GOOD)
    shelf.put("0001")
    result = shelf.gate("0002")
    assert shelf.measured == ["0001"]
    assert not result.promoted  # as measured, production is as good
    assert result.numbers.before > 0.95


def test_other_training_scans_leave_stored_counts_as_they_are(shelf: Shelf):
    shelf.add("0001", BAD, dataset_fingerprint="yesterday")
    shelf.add("0002", GOOD)
    shelf.put("0001")
    assert shelf.gate("0002").promoted
    assert shelf.measured == []


@pytest.mark.parametrize(
    ("change", "measured"),
    [
        pytest.param({}, [], id="same"),
        pytest.param({"version": "0000"}, ["0001"], id="another-was-production"),
        pytest.param({"operating_point": {"rule": "thresholds", "thresholds": [0.25, 0.4]}}, ["0001"], id="thresholds"),
        pytest.param({"operating_point": {"rule": "argmax", "thresholds": [0.25, 0.5]}}, ["0001"], id="rule"),
    ],
)
def test_production_that_evaluate_scored_is_not_scored_again_while_it_is_the_same(shelf: Shelf, change, measured):
    shelf.add("0001", FAIR, **OTHER)
    shelf.add("0002", GOOD, **shelf.beside("0001", BAD, **change))
    shelf.put("0001")
    result = shelf.gate("0002")
    assert shelf.measured == measured
    # Macro F1 of pixels that are wrong with a chance of 0.3; as measured, it would be 0.98.
    assert (result.numbers.before < 0.75) == (not measured)


FLIPPED = {"inference": {"flips": "both", "precision": "float32", "change": None}}


def test_production_that_was_scored_without_flips_is_scored_with_those_of_the_challenger(shelf: Shelf):
    shelf.add("0001", BAD)
    shelf.add("0002", GOOD, **FLIPPED)
    shelf.put("0001")
    result = shelf.gate("0002")
    assert (shelf.measured, shelf.flips) == (["0001"], ["both"])
    assert not result.promoted  # with the flips, production is as good


def test_production_that_evaluate_scored_with_the_flips_is_not_scored_again(shelf: Shelf):
    kept = shelf.beside("0001", BAD, inference={"flips": "both", "precision": "float32"})
    shelf.add("0001", GOOD)
    shelf.add("0002", FAIR, **FLIPPED, **kept)
    shelf.put("0001")
    assert shelf.gate("0002").promoted
    assert shelf.measured == []


def test_production_that_was_scored_nobody_knows_with_what_flips_is_scored_anew(shelf: Shelf):
    plain = {"inference": {"flips": "none", "precision": "float32", "change": None}}
    shelf.add("0001", BAD, **OTHER)
    shelf.add("0002", GOOD, **plain, **shelf.beside("0001", BAD))
    shelf.put("0001")
    assert not shelf.gate("0002").promoted
    assert shelf.measured == ["0001"]


@pytest.mark.parametrize(
    ("before", "after", "known"),
    [
        pytest.param({}, FLIPPED, False, id="other"),
        pytest.param(FLIPPED, FLIPPED, True, id="same"),
        pytest.param(FLIPPED, {}, False, id="none-again"),
    ],
)
def test_a_decision_on_scores_with_other_flips_is_none(shelf: Shelf, before, after, known):
    shelf.add("0001", GOOD, **before)
    shelf.gate("0001")
    bundle = shelf.bundle(shelf.project.models / "0001")
    assert bundle.evaluation  # as it was opened, which is not asked
    shelf.add("0001", GOOD, **after)
    assert (decided(bundle, shelf.project) is not None) == known


def test_a_decision_that_names_no_flips_is_on_scores_without(shelf: Shelf):
    shelf.add("0001", GOOD)
    shelf.gate("0001")
    path = shelf.project.models / "0001/gate.json"
    stored = read_json(path)
    del stored["settings"]["inference"]
    write_record(path, stored)
    bundle = shelf.bundle(path.parent)
    assert decided(bundle, shelf.project) is not None
    shelf.add("0001", GOOD, **FLIPPED)
    assert decided(bundle, shelf.project) is None


def test_counts_beside_a_challenger_of_other_scans_are_measured_anew(shelf: Shelf):
    shelf.add("0001", BAD, **OTHER)
    shelf.add("0002", FAIR, **OTHER, **shelf.beside("0001", BAD))
    shelf.put("0001")
    shelf.gate("0002")
    assert shelf.measured == ["0002", "0001"]


def test_the_first_model_must_reach_the_floor(shelf: Shelf):
    shelf.add("0001", BAD)
    assert not shelf.gate("0001", floor=0.9).promoted
    assert shelf.production is None
    assert shelf.gate("0001", floor=0.5).production == "0001"


def test_production_on_other_classes_is_not_comparable_and_the_floor_decides(shelf: Shelf, monkeypatch):
    def other_classes(*arguments):
        raise DataError("classes of model 0001 are ['limbus']")

    monkeypatch.setattr(module, "score_split", other_classes)
    shelf.add("0001", GOOD, **OTHER)
    shelf.add("0002", FAIR)
    shelf.put("0001")
    result = shelf.gate("0002")
    assert result.promoted
    assert "reaches the floor of 0.5 (not comparable with 0001: classes of model 0001" in result.reason
    assert result.numbers.against is None


def test_production_itself_stays_without_being_measured(shelf: Shelf):
    shelf.add("0001", GOOD)
    shelf.put("0001")
    assert shelf.gate("0001") == GateResult("0001", False, "0001", "0001 is production already")


def test_the_decision_is_read_back_as_it_was(shelf: Shelf):
    shelf.add("0001", FAIR)
    shelf.add("0002", GOOD)
    shelf.put("0001")
    result = shelf.gate("0002")
    bundle = shelf.bundle(shelf.project.models / "0002")
    assert decided(bundle, shelf.project) == result
    assert read_json(bundle.folder / "gate.json")["result"]["numbers"]["classes"]["iris"]["ruined"] is False


@pytest.mark.parametrize(
    ("settings", "known"),
    [({"tolerance": 0.5}, False), ({"class_tolerances": ("iris=0.5",)}, False), ({"keep_models": 3}, True)],
    ids=["tolerance", "class_tolerances", "keep_models"],
)
def test_a_decision_under_other_rules_is_none(shelf: Shelf, settings, known):
    shelf.add("0001", GOOD)
    shelf.gate("0001")
    bundle = shelf.bundle(shelf.project.models / "0001")
    assert (decided(bundle, shelf.with_gate(**settings)) is not None) == known


def test_a_model_that_met_no_gate_has_no_decision(shelf: Shelf):
    shelf.add("0001", GOOD)
    assert decided(shelf.bundle(shelf.project.models / "0001"), shelf.project) is None


def test_a_decision_of_an_older_version_has_no_numbers(shelf: Shelf):
    shelf.add("0001", GOOD)
    shelf.gate("0001")
    path = shelf.project.models / "0001/gate.json"
    stored = read_json(path)
    del stored["result"]["numbers"], stored["schema_version"], stored["sha256"]
    write_json(path, stored)
    assert decided(shelf.bundle(path.parent), shelf.project).numbers is None


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text.replace('"promoted": true', '"promoted": false'), id="a_word_changed"),
        pytest.param(lambda text: text[:-9], id="cut"),
        pytest.param(lambda text: "[]", id="no_record"),
        pytest.param(lambda text: '{"settings": {}}', id="no_result"),
    ],
)
def test_a_damaged_decision_is_none_and_the_model_meets_the_gate_again(shelf: Shelf, caplog, damage):
    shelf.add("0001", GOOD)
    shelf.gate("0001")
    path = shelf.project.models / "0001/gate.json"
    path.write_text(damage(path.read_text()))
    bundle = shelf.bundle(path.parent)
    assert decided(bundle, shelf.project) is None
    assert "model 0001 meets the gate again: " in caplog.text
    assert f"{path}: " in caplog.text
    again = shelf.gate("0001")
    assert decided(bundle, shelf.project) == again


def test_a_version_that_was_rolled_back_is_not_promoted_again(shelf: Shelf, monkeypatch):
    shelf.add("0001", BAD)
    shelf.add("0002", GOOD, **OTHER)
    shelf.add("0003", GOOD)
    shelf.put("0001")
    shelf.put("0002")
    monkeypatch.setenv("UNETSEG_WHO", "ada@lab")
    day = rollback(shelf.project.models, why="invents lenses").history[-1]["time"][:10]
    reason = (
        f"0002 was rolled back by ada@lab on {day} (invents lenses); promote it by hand if it is wanted again: "
        "unetseg models promote 0002"
    )
    assert shelf.gate("0002") == GateResult("0002", False, "0001", reason)
    assert shelf.measured == []
    assert shelf.gate("0003").promoted


def during_comparisons(monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> None:
    """What others do while the gate compares: the first act during the first comparison, and so on."""
    compare, left = module.compare, list(acts)

    def compare_meanwhile(*arguments, **named):
        if left:
            left.pop(0)()
        return compare(*arguments, **named)

    monkeypatch.setattr(module, "compare", compare_meanwhile)


def test_a_version_that_is_rolled_back_while_it_is_compared_is_not_promoted(shelf: Shelf, monkeypatch):
    shelf.add("0001", FAIR)
    shelf.add("0002", GOOD)
    shelf.put("0001")

    def tried_and_found_bad():
        shelf.put("0002")
        rollback(shelf.project.models, why="invents lenses")

    during_comparisons(monkeypatch, tried_and_found_bad)
    result = shelf.gate("0002")
    assert (result.promoted, shelf.production) == (False, "0001")
    assert "invents lenses" in result.reason
    assert decided(shelf.bundle(shelf.project.models / "0002"), shelf.project) == result


def test_a_version_that_becomes_production_meanwhile_is_compared_with(shelf: Shelf, monkeypatch):
    shelf.add("0001", BAD)
    shelf.add("0002", FAIR)
    shelf.add("0003", GOOD)
    shelf.put("0001")
    during_comparisons(monkeypatch, lambda: shelf.put("0003"))
    result = shelf.gate("0002")
    assert (result.promoted, result.numbers.against, shelf.production) == (False, "0003", "0003")


def test_the_gate_gives_up_where_production_does_not_rest(shelf: Shelf, monkeypatch):
    for version, error in (("0001", BAD), ("0002", GOOD), ("0003", BAD)):
        shelf.add(version, error)
    shelf.put("0001")
    during_comparisons(monkeypatch, *(partial(shelf.put, version) for version in ("0003", "0001", "0003")))
    with pytest.raises(DataError, match="production was changed 3 times while models were compared; run gate again"):
        shelf.gate("0002")
    assert shelf.production == "0003"
    assert decided(shelf.bundle(shelf.project.models / "0002"), shelf.project) is None
    assert shelf.gate("0002").promoted


@pytest.mark.parametrize("promoted", [False, True], ids=["before", "after"])
def test_a_kill_around_the_promotion_loses_no_numbers(shelf: Shelf, monkeypatch, promoted):
    shelf.add("0001", FAIR)
    shelf.add("0002", GOOD)
    shelf.put("0001")

    def killed(*arguments, **named):
        if promoted:
            promote(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "promote", killed)
        with pytest.raises(KeyboardInterrupt):
            shelf.gate("0002")
    bundle = shelf.bundle(shelf.project.models / "0002")
    known = decided(bundle, shelf.project)
    assert (known is not None) == promoted
    result = known or shelf.gate("0002")
    assert (result.promoted, result.production, result.numbers.against) == (True, "0002", "0001")


def test_a_promotion_stays_decided_when_the_model_has_made_way(shelf: Shelf):
    shelf.add("0001", FAIR)
    shelf.add("0002", GOOD)
    shelf.put("0001")
    result = shelf.gate("0002")
    rollback(shelf.project.models)
    assert decided(shelf.bundle(shelf.project.models / "0002"), shelf.project) == result


def flip_last_byte(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize("name", ["evaluation.json", "validation_curves-0123.npz"])
def test_production_stays_when_only_its_evaluation_is_damaged(shelf: Shelf, name):
    curves = b"histograms"
    shelf.add("0001", GOOD, files={"validation_curves-0123.npz": sha256(curves).hexdigest()})
    folder = shelf.project.models / "0001/evaluation"
    (folder / "validation_curves-0123.npz").write_bytes(curves)
    shelf.add("0002", BAD)
    shelf.put("0001")
    flip_last_byte(folder / name)
    with pytest.raises(BundleError, match=r"production 0001 stays, .*run unetseg evaluate --model 0001, then gate ag"):
        shelf.gate("0002", floor=0.1)
    assert shelf.production == "0001"
    assert decided(shelf.bundle(shelf.project.models / "0002"), shelf.with_gate(floor=0.1)) is None


def test_a_production_whose_network_is_damaged_makes_way_at_the_floor(shelf: Shelf):
    shelf.add("0001", GOOD)
    shelf.add("0002", FAIR)
    shelf.put("0001")
    flip_last_byte(shelf.project.models / "0001/model.keras")
    result = shelf.gate("0002")
    assert result.promoted
    assert "reaches the floor of 0.5 (not comparable with 0001: " in result.reason


def test_a_damaged_dataset_promotes_nothing(shelf: Shelf, monkeypatch):
    def damaged(*arguments):
        raise DamagedFileError("scan s1 cannot be read")

    monkeypatch.setattr(module, "score_split", damaged)
    shelf.add("0001", GOOD, **OTHER)
    shelf.add("0002", BAD)
    shelf.put("0001")
    with pytest.raises(DamagedFileError):
        shelf.gate("0002", floor=0.1)
    assert shelf.production == "0001"


def test_a_model_without_scores_is_refused(shelf: Shelf):
    shelf.write_versions(shelf.project.models, 3)
    with pytest.raises(UsageError, match="0003 has no scores yet; run evaluate first"):
        shelf.gate("0003")


def test_a_misspelt_class_is_refused_before_anything_is_measured(shelf: Shelf):
    shelf.add("0001", GOOD, **OTHER)
    with pytest.raises(UsageError, match="no class 'pupli'"):
        shelf.gate("0001", class_tolerances=("pupli=0.1",))
    assert shelf.measured == []
