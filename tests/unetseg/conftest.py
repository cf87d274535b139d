"""Evaluated models that nobody trained, versions without networks, random pixels with their histograms, some scans."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unetseg.bundle import Bundle, BundleInfo
from unetseg.config import EvaluateConfig, Settings, to_plain
from unetseg.curve_files import save_curves
from unetseg.curves import Curve
from unetseg.histograms import Histograms
from unetseg.json_files import write_json
from unetseg.records import write_record
from unetseg.storage import file_hash, write_bytes

CLASSES = ("iris", "pupil")
GROUPS = {"s1": "g1", "s2": "g1", "s3": "g2", "s4": "g3"}

MakeBundle = Callable[..., Bundle]


def iris_counts(found: int, invented: int = 0) -> list[list[int]]:
    """A scan of 100 pixels with 20 of iris, so many of them found, and none of pupil."""
    return [[found, invented, 20 - found, 80 - invented], [0, 0, 0, 100]]


def made_up_evaluation(found: dict[str, int]) -> dict[str, Any]:
    """A record with four scans, as schema 3 has it; scores are numbers that can be told apart, not those of counts."""
    scores = {
        "recall": 0.501, "precision": 0.602, "f1": 0.703, "dice": 0.804, "iou": 0.205, "average_precision": 0.906,
        "hausdorff95": 12.34, "surface_dice": 0.407, "specificity": 0.998, "false_positive_fraction": 0.0123,
        "threshold": 0.25, "support": 4, "scans_without": 0,
    }  # fmt: skip
    absent = dict.fromkeys(scores) | {"threshold": 0.5, "support": 0, "scans_without": 4, "specificity": 1.0}
    threshold = {"value": 0.25, "reached": True, "precision": 0.9, "recall": 0.8, "score": 0.85}
    return {
        "schema_version": 3,
        "model": "0001",
        "dataset_fingerprint": "f" * 64,
        "test_fingerprint": "e" * 64,
        "settings": to_plain(EvaluateConfig(draws=100)),
        "decision": "thresholds",
        "unit": "µm",
        "thresholds": {name: threshold | {"reason": f"best for {name}"} for name in CLASSES},
        "scores": {"iris": scores, "pupil": absent, "micro": scores, "macro": scores, "weighted": scores},
        "intervals": {"iris": {"f1": [0.611, 0.799], "hausdorff95": [9.87, 15.0]}},
        "warnings": ["pupil: only 0 test scans hold it"],
        "scans": [
            {
                "id": name,
                "group": GROUPS[name],
                "counts": iris_counts(number),
                "f1": {"iris": number / (number + 10), "pupil": None},
                "mean_f1": number / (number + 10),
            }
            for name, number in sorted(found.items(), key=lambda item: item[1])
        ],
        "data": None,
        "production": None,
    }


def made_up_histograms(scores: tuple[float, ...] = (0.9, 0.8, 0.3, 0.2)) -> Histograms:
    """Four pixels of iris at these probabilities, four of background below 0.5, and no pupil."""
    truth = np.zeros((8, 2), np.int8)
    truth[:4, 0] = 1
    probabilities = np.zeros((8, 2), np.float32)
    probabilities[:, 0] = (*scores, 0.4, 0.1, 0.1, 0.0)
    histograms = Histograms.empty(2)
    histograms.add(truth, probabilities)
    return histograms


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Makes a bundle of a version, with an evaluation in which so many of 20 pixels of iris were found per scan."""

    def make(
        version: str = "0001",
        *,
        found: dict[str, int] | None = None,
        settings: Settings = Settings(),
        change: dict[str, Any] | None = None,
        **info: Any,
    ) -> Bundle:
        folder = tmp_path / "models" / version / "evaluation"
        folder.mkdir(parents=True, exist_ok=True)
        record = made_up_evaluation(found or dict.fromkeys(GROUPS, 10)) | {"model": version} | (change or {})
        write_record(folder / "evaluation.json", record)
        save_curves(folder / "test_curves.npz", made_up_histograms(), CLASSES)
        about = {
            "classes": CLASSES,
            "guides": (),
            "channels": ("grey",),
            "settings": settings,
            "pixel_size": (0.5, 0.25),
            "dataset_fingerprint": "d" * 64,
            "training_fingerprint": "e" * 64,
            "validation_score": 0.87654,
            "software": {"keras": "3.15.1"},
            "created": "2026-01-02T03:04:05+00:00",
        }
        return Bundle(folder.parent, BundleInfo(**about | info))

    return make


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a folder one that may not be listed; permissions do not bind the root user, whom tests may have."""

    def refuse_one(folder: Path) -> None:
        real = os.scandir

        def scandir(path: str | Path = ".") -> Iterator[os.DirEntry[str]]:
            if Path(path) == folder:
                raise PermissionError(13, "Permission denied", str(folder))
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)

    return refuse_one


@pytest.fixture(scope="session")
def write_versions() -> Callable[..., None]:
    """Writes versions as far as the registry can see: bundles of schema 2, whose networks are never opened."""

    def write(models: Path, *numbers: int) -> None:
        for number in numbers:
            folder = models / f"{number:04d}"
            write_bytes(folder / "model.keras", b"network" + folder.name.encode())
            created, software = "2030-01-02T03:04:05+00:00", {"numpy": "2"}
            info = BundleInfo(
                ("iris",), (), ("grey",), Settings(), None, "d", "t", number / 100, software, created=created
            )
            files = {"model.keras": file_hash(folder / "model.keras")}
            write_json(folder / "bundle.json", {"schema_version": 2, **to_plain(info), "files": files})

    return write


# --------------------------------------------------------------------------- pixels


@pytest.fixture(scope="session")
def random_pixels() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Makes masks, a tenth of them ignored, and probabilities that say something about them, 0, 1 and 0.5 included."""

    def make(seed: int, shape: tuple[int, ...], dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        y_pred = random.beta(0.4, 0.6, size=shape).astype(dtype)
        y_pred.reshape(-1)[:3] = [0, 1, 0.5]
        y_true = (random.random(shape) < y_pred).astype(np.int8)
        y_true[random.random(shape) < 0.1] = -1
        return y_true, y_pred

    return make


@pytest.fixture(scope="session")
def histogram_of() -> Callable[..., Histograms]:
    """Makes the histograms of one class from its pixels."""

    def make(truth: Sequence[int], probabilities: Sequence[float]) -> Histograms:
        histograms = Histograms.empty(1)
        histograms.add(np.asarray(truth, np.int8)[:, None], np.asarray(probabilities, np.float32)[:, None])
        return histograms

    return make


@pytest.fixture(scope="session")
def curve_of(histogram_of: Callable[..., Histograms]) -> Callable[..., Curve]:
    """Makes the curve of one class from its pixels."""
    return lambda truth, probabilities: histogram_of(truth, probabilities).curve(0)


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """Compares histograms with positives and negatives, number by number."""

    def compare(histograms: Histograms, expected: tuple[np.ndarray, np.ndarray]) -> None:
        np.testing.assert_array_equal(histograms.positives, expected[0])
        np.testing.assert_array_equal(histograms.negatives, expected[1])

    return compare


@pytest.fixture
def some_scans(tmp_path: Path, eyes: Path) -> Callable[[int], Path]:
    """Copies so many scans into a folder of their own."""

    def copied(number: int) -> Path:
        folder = tmp_path / "scans"
        folder.mkdir()
        for source in sorted((eyes / "scans").glob("*.tif"))[:number]:
            shutil.copy(source, folder)
        return folder

    return copied
