"""Settings that older versions wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from unetseg.config import EvaluateConfig, Settings, TrainConfig, to_plain
from unetseg.old_settings import changed_settings, renew_settings, same_settings
from unetseg.project import load_project


def test_names_that_moved_are_renewed_and_the_original_stays():
    old = {"train": {"dice_weight": 3.0, "intensity": 0.4, "flips": False, "epochs": 5}, "model": {"width": 8}}
    new = renew_settings(old, "here")
    assert new == {
        "train": {"epochs": 5},
        "model": {"width": 8},
        "loss": {"dice": 3.0},
        "augment": {"contrast": 0.4, "brightness": 0.4, "noise": 0.1, "flips": False},
    }
    assert old["train"]["dice_weight"] == 3.0


def test_a_new_name_is_stronger_than_an_old_one():
    assert renew_settings({"train": {"dice_weight": 3.0}, "loss": {"dice": 2.0}}, "here")["loss"] == {"dice": 2.0}


def test_an_empty_section_takes_what_moved_into_it():
    assert renew_settings({"train": {"flips": False}, "augment": None}, "here")["augment"] == {"flips": False}


def test_what_is_no_section_is_left_for_the_check_that_follows():
    assert renew_settings({"train": 3}, "here") == {"train": 3}


def test_a_gate_on_average_precision_compares_f1_now_and_says_so(caplog: pytest.LogCaptureFixture):
    old = {"gate": {"score": "average_precision", "floor": 0.4}}
    assert renew_settings(old, "unetseg.yaml") == {"gate": {"score": "f1", "floor": 0.4}}
    assert old["gate"]["score"] == "average_precision"
    assert "unetseg.yaml: gate.score average_precision" in caplog.text
    caplog.clear()
    assert renew_settings({"gate": {"score": "iou"}}, "unetseg.yaml") == {"gate": {"score": "iou"}}
    assert not caplog.text


def test_a_project_file_of_an_older_version_is_read(tmp_path: Path):
    text = "schema_version: 1\nsources: {scans: {path: scans}}\ntrain: {class_weights: none, epochs: 5}\n"
    text += "gate: {score: average_precision}\n"
    (tmp_path / "unetseg.yaml").write_text(text)
    settings = load_project(tmp_path).settings
    assert settings.train == TrainConfig(epochs=5)
    assert settings.loss.class_weights == "none"
    assert settings.gate.score == "f1"
    assert settings.ingest == Settings().ingest


def test_settings_stored_before_a_field_was_there_are_the_same_where_it_has_its_default():
    stored = to_plain(EvaluateConfig(beta=2))
    del stored["average"]
    assert same_settings(stored, EvaluateConfig(beta=2))
    assert not same_settings(stored, EvaluateConfig(beta=2, average="micro"))
    assert not same_settings(stored, EvaluateConfig())
    assert not same_settings({"gone": 1}, EvaluateConfig())
    assert not same_settings(None, EvaluateConfig())


def test_settings_that_mean_something_else_now_are_named():
    stored = to_plain(EvaluateConfig(beta=2))
    assert changed_settings(stored, EvaluateConfig(average="micro")) == ("average", "beta")
    assert "criterion" in changed_settings({"gone": 1}, EvaluateConfig())
