"""The gate between bundles: what it compares, promotes and writes down. Bundles and dataset are stand-ins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unetseg import gate as module
from unetseg.config import EvaluateConfig, GateConfig, ScanSource, Settings, Sources
from unetseg.errors import DataError, UsageError
from unetseg.gate import GateResult, decided, gate
from unetseg.project import Project
from unetseg.storage import read_json, write_json

GOOD, FAIR, BAD = 0.02, 0.1, 0.3  # shares of wrong pixels


class Shelf:
    """Models of a project without networks: evaluations are made up, promotions are noted."""

    def __init__(self, folder: Path):
        settings = Settings(evaluate=EvaluateConfig(draws=200))
        self.project = Project(folder, Sources(ScanSource("scans")), settings)
        self.production: str | None = None
        self.measured: list[str] = []

    def add(self, version: str, error: float, *, fingerprint: str = "today", scans: bool = True) -> None:
        folder = self.project.models / version / "evaluation"
        folder.mkdir(parents=True)
        rows = self.rows(error, int(version)) if scans else []
        write_json(folder / "evaluation.json", {"dataset_fingerprint": fingerprint, "scans": rows})

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
        return SimpleNamespace(folder=folder, version=folder.name, info=info, evaluation=evaluation)

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
    index = SimpleNamespace(fingerprint="today")
    monkeypatch.setattr(module, "open_dataset", lambda path: SimpleNamespace(index=index))
    monkeypatch.setattr(module, "score_split", made.score)
    monkeypatch.setattr(module, "promote", made.promote)
    monkeypatch.setattr(module, "read_aliases", lambda models: SimpleNamespace(production=made.production))
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


@pytest.mark.parametrize("change", [{"fingerprint": "yesterday"}, {"scans": False}], ids=["old-data", "no-scans"])
def test_counts_that_are_not_of_todays_scans_are_measured_anew(shelf: Shelf, change):
    shelf.add("0001", BAD, **change)
    shelf.add("0002", GOOD)
    shelf.production = "0001"
    result = shelf.gate("0002")
    assert shelf.measured == ["0001"]
    assert not result.promoted  # as measured, production is as good
    assert result.numbers.before > 0.95


def test_the_first_model_must_reach_the_floor(shelf: Shelf):
    shelf.add("0001", BAD)
    assert not shelf.gate("0001", floor=0.9).promoted
    assert shelf.production is None
    assert shelf.gate("0001", floor=0.5).production == "0001"


def test_production_on_other_classes_is_not_comparable_and_the_floor_decides(shelf: Shelf, monkeypatch):
    def other_classes(*arguments):
        raise DataError("classes of model 0001 are ['limbus']")

    monkeypatch.setattr(module, "score_split", other_classes)
    shelf.add("0001", GOOD, fingerprint="yesterday")
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
    del stored["result"]["numbers"]
    write_json(path, stored)
    assert decided(shelf.bundle(path.parent), shelf.project).numbers is None


def test_a_model_without_scores_is_refused(shelf: Shelf):
    with pytest.raises(UsageError, match="0003 has no scores yet; run evaluate first"):
        shelf.gate("0003")


def test_a_misspelt_class_is_refused_before_anything_is_measured(shelf: Shelf):
    shelf.add("0001", GOOD, fingerprint="yesterday")
    with pytest.raises(UsageError, match="no class 'pupli'"):
        shelf.gate("0001", class_tolerances=("pupli=0.1",))
    assert shelf.measured == []
