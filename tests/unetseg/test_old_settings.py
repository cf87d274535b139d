"""Settings that older versions wrote."""

from __future__ import annotations

from pathlib import Path

from unetseg.config import Settings, TrainConfig
from unetseg.old_settings import renew_settings
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


def test_a_project_file_of_an_older_version_is_read(tmp_path: Path):
    text = "schema_version: 1\nsources: {scans: {path: scans}}\ntrain: {class_weights: none, epochs: 5}\n"
    (tmp_path / "unetseg.yaml").write_text(text)
    settings = load_project(tmp_path).settings
    assert settings.train == TrainConfig(epochs=5)
    assert settings.loss.class_weights == "none"
    assert settings.ingest == Settings().ingest
