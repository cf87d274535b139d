"""The gate between bundles: what it compares, promotes and writes down. Bundles and dataset are stand-ins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unetseg import gate as module
from unetseg.config import EvaluateConfig, GateConfig, ScanSource, Settings, Sources
from unetseg.decisions import Decision
from unetseg.errors import DataError, UsageError
from unetseg.gate import GateResult, decided, gate
from unetseg.project import Project
from unetseg.registry import Aliases
from unetseg.storage import read_json, write_json

GOOD, FAIR, BAD = 0.02, 0.1, 0.3  # shares of wrong pixels
POINT = Decision("thresholds", (0.25, 0.5))
OTHER = {"dataset_fingerprint": "yesterday", "test_fingerprint": "yesterday"}


class Shelf:
    """Models of a project without networks: evaluations are made up, promotions are noted."""

    def __init__(self, folder: Path):
        settings = Settings(evaluate=EvaluateConfig(draws=200))
        self.project = Project(folder, Sources(ScanSource("scans")), settings)
        self.production: str | None = None
        self.history: tuple[dict, ...] = ()
        self.measured: list[str] = []

    def add(self, version: str, error: float, *, scans: bool = True, **change) -> None:
        folder = self.project.models / version / "evaluation"
        folder.mkdir(parents=True)
        rows = self.rows(error, int(version)) if scans else []
        record = {"dataset_fingerprint": "today", "test_fingerprint": "today", "scans": rows} | change
        write_json(folder / "evaluation.json", record)

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

    def bundle(self, folder: Path) -> SimpleNamespace:
        path = folder / "evaluation/evaluation.json"
        evaluation = read_json(path) if path.exists() else None
        info = SimpleNamespace(classes=("iris", "pupil"))
        parts = {"folder": folder, "version": folder.name, "info": info, "evaluation": evaluation}
        return SimpleNamespace(**parts, decision=POINT)

    def score(self, bundle, dataset, split, config) -> SimpleNamespace:
        self.measured.append(bundle.version)
        rows = self.rows(GOOD, 99)
        scans = [SimpleNamespace(id=row["id"], group=row["group"]) for row in rows]
        return SimpleNamespace(scans=scans, counts=np.array([row["counts"] for row in rows]))

    def promote(self, models, version, *, why, instead_of=None) -> SimpleNamespace:
        self.production = version
        return SimpleNamespace(production=version)

    def gate(self, version: str, **settings) -> GateResult:
        return gate(self.with_gate(**settings), model=version)

    def with_gate(self, **settings) -> Project:
        return replace(self.project, settings=replace(self.project.settings, gate=GateConfig(**settings)))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf(tmp_path)
    monkeypatch.setattr(module, "model_folder", lambda models, name: models / name)
    monkeypatch.setattr(module, "load_bundle", made.bundle)
    index = SimpleNamespace(fingerprint="today", test_fingerprint="today")
    monkeypatch.setattr(module, "open_dataset", lambda path: SimpleNamespace(index=index))
    monkeypatch.setattr(module, "score_split", made.score)
    monkeypatch.setattr(module, "promote", made.promote)
    monkeypatch.setattr(module, "read_aliases", lambda models: Aliases(made.production, history=made.history))
    return made


def test_a_better_model_replaces_production(shelf: Shelf):
    shelf.add("0001", FAIR)
    shelf.add("0002", GOOD)
    shelf.production = "0001"
    result = shelf.gate("0002")
    assert (result.promoted, result.production, shelf.production) == (True, "0002", "0002")
    assert result.numbers.against == "0001"
    assert "4 groups" in result.reason
    assert shelf.measured == []


def test_a_worse_model_leaves_production(shelf: Shelf):
    shelf.add("0001", GOOD)
    shelf.add("0002", FAIR)
    shelf.production = "0001"
    result = shelf.gate("0002")
    assert (result.promoted, result.production, shelf.production) == (False, "0001", "0001")


@pytest.mark.parametrize("change", [OTHER, {"scans": False}], ids=["other-scans", "no-scans"])
def test_counts_that_are_not_of_todays_scans_are_measured_anew(shelf: Shelf, change):
    shelf.add("0001", BAD, **change)
    shelf.add("0002", GOOD)
    shelf.production = "0001"
    result = shelf.gate("0002")
    assert shelf.measured == ["0001"]
    assert not result.promoted  # as measured, production is as good
    assert result.numbers.before > 0.95


def test_other_training_scans_leave_stored_counts_as_they_are(shelf: Shelf):
    shelf.add("0001", BAD, dataset_fingerprint="yesterday")
    shelf.add("0002", GOOD)
    shelf.production = "0001"
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
    shelf.production = "0001"
    result = shelf.gate("0002")
    assert shelf.measured == measured
    # Macro F1 of pixels that are wrong with a chance of 0.3; as measured, it would be 0.98.
    assert (result.numbers.before < 0.75) == (not measured)


def test_counts_beside_a_challenger_of_other_scans_are_measured_anew(shelf: Shelf):
    shelf.add("0001", BAD, **OTHER)
    shelf.add("0002", FAIR, **OTHER, **shelf.beside("0001", BAD))
    shelf.production = "0001"
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
    shelf.production = "0001"
    result = shelf.gate("0002")
    assert result.promoted
    assert "reaches the floor of 0.5 (not comparable with 0001: classes of model 0001" in result.reason
    assert result.numbers.against is None


def test_production_itself_stays_without_being_measured(shelf: Shelf):
    shelf.add("0001", GOOD)
    shelf.production = "0001"
    assert shelf.gate("0001") == GateResult("0001", False, "0001", "0001 is production already")


def test_the_decision_is_read_back_as_it_was(shelf: Shelf):
    shelf.add("0001", FAIR)
    shelf.add("0002", GOOD)
    shelf.production = "0001"
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


def test_a_version_that_was_rolled_back_is_not_promoted_again(shelf: Shelf):
    shelf.add("0001", BAD)
    shelf.add("0002", GOOD, **OTHER)
    shelf.add("0003", GOOD)
    shelf.production = "0001"
    line = {"time": "2026-11-20T01:02:03+00:00", "who": "ada@lab", "why": "invents lenses", "rolled_back": "0002"}
    first = {"production": "0002", "previous": "0001", "why": "", "rolled_back": None}
    shelf.history = (first, line | {"production": "0001", "previous": "0002"})
    reason = (
        "0002 was rolled back by ada@lab on 2026-11-20 (invents lenses); promote it by hand if it is wanted again: "
        "unetseg models promote 0002"
    )
    assert shelf.gate("0002") == GateResult("0002", False, "0001", reason)
    assert shelf.measured == []
    assert shelf.gate("0003").promoted


def test_a_model_without_scores_is_refused(shelf: Shelf):
    with pytest.raises(UsageError, match="0003 has no scores yet; run evaluate first"):
        shelf.gate("0003")


def test_a_misspelt_class_is_refused_before_anything_is_measured(shelf: Shelf):
    shelf.add("0001", GOOD, **OTHER)
    with pytest.raises(UsageError, match="no class 'pupli'"):
        shelf.gate("0001", class_tolerances=("pupli=0.1",))
    assert shelf.measured == []
