"""Public sets of real scans, nothing set but the time: ``python -m benchmarks.real_scans MINUTES [SET ...]``.

Needs the folder named by UNETSEG_DATA. Each set's figures go to ``docs/benchmarks/real-scans.json``; the page beside it
is written anew from all that are there.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.pipeline import COLUMNS, HEAD, Outcome, prepare, run, score_rows, table
from unetseg.bundle import Bundle, load_bundle
from unetseg.dataset import Dataset, open_dataset
from unetseg.engines import open_engine
from unetseg.evaluate import score_split
from unetseg.histograms import Histograms
from unetseg.inference import predict_tiles
from unetseg.tile_size import tile_side

SETS: Final = {
    "nuclei": ("nuclei/images", "nuclei/masks"),
    "em_vnc": ("em_vnc/raw", "em_vnc"),
    "em_membrane": ("em_membrane/train-volume.tif", "em_membrane/train-labels.tif"),
    "sandstone": ("sandstone/images", "sandstone/masks"),
}

_OUT: Final = Path(__file__).parents[1] / "docs" / "benchmarks"
_BORDER: Final = {"em_membrane": "foreground"}  # sets whose minority is what the class leaves over


def main(minutes: float, names: list[str]) -> None:
    """Run some sets and write figures and page."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    data = Path(os.environ["UNETSEG_DATA"])
    path = _OUT / "real-scans.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    for name in names:
        with tempfile.TemporaryDirectory(prefix="unetseg-real-") as folder:
            scans, masks = (data / part for part in SETS[name])
            project = prepare(scans, masks, Path(folder) / name)
            found[name] = figures(name, run(project, [f"train.max_minutes={minutes}"]))
        print(json.dumps(found[name], indent=1), flush=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
        (_OUT / "real-scans.md").write_text(page(found))


def figures(name: str, outcome: Outcome) -> dict[str, Any]:
    """What one set gave, as JSON."""
    dataset = open_dataset(outcome.project.dataset)
    bundle = load_bundle(outcome.result.bundle)
    counts = score_split(bundle, dataset, "test", outcome.project.settings.predict).counts.sum(axis=0)
    return {
        "scores": {
            key: {column: row[column] for column in COLUMNS} for key, row in outcome.scores.items() if key != "micro"
        },
        "left_over_dice": _left_over(counts, dataset.index.classes, _BORDER.get(name)),
        "overlaps": overlaps(bundle, dataset, outcome.project.settings.predict.tile),
        "grey_dice": dict(zip(dataset.index.classes, best_grey_dice(dataset), strict=True)),
        "scans": {split: len(dataset.scans(split)) for split in ("train", "validation", "test")},
        "minutes": outcome.minutes,
        "epochs": outcome.result.epochs,
        "best_epoch": outcome.result.best_epoch,
        "plan": dict(outcome.result.plan),
        "notes": list(outcome.result.notes),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def overlaps(bundle: Bundle, dataset: Dataset, tile: int) -> dict[str, list[float]]:
    """Shares of the pixels of a class that a second one covers too: in the masks, in what is found; by pair."""
    engine, names = open_engine(bundle.folder), dataset.index.classes
    tile = tile_side(bundle.info, tile)
    both = np.zeros((2, len(names), len(names)))
    for scan in dataset.scans("test"):
        masks = dataset.masks(scan)
        for window, probabilities in predict_tiles(engine, bundle.info, dataset.image(scan), tile=tile):
            for side, planes in enumerate((masks[window] > 0, probabilities >= bundle.thresholds)):
                flat = planes.reshape(-1, len(names)).astype(np.float64)
                both[side] += flat.T @ flat
    shares = both / np.maximum(np.diagonal(both, axis1=1, axis2=2)[:, :, np.newaxis], 1)
    pairs = [(i, j) for i in range(len(names)) for j in range(len(names)) if i != j and shares[0, i, j] > 0]
    return {f"{names[i]} on {names[j]}": [float(share) for share in shares[:, i, j]] for i, j in pairs}


def best_grey_dice(dataset: Dataset) -> list[float]:
    """A baseline that knows the answers: Dice at the best grey value of the test scans themselves, either way round."""
    found = []
    for sign in (1, -1):
        histograms = Histograms.empty(len(dataset.index.classes))
        for scan in dataset.scans("test"):
            grey = np.clip(dataset.image(scan).astype(np.float32).mean(axis=-1, keepdims=True), 0, 1)
            masks = dataset.masks(scan)
            histograms.add(masks, np.repeat(grey if sign > 0 else 1 - grey, masks.shape[-1], axis=-1))
        curves = [histograms.curve(k) for k in range(len(dataset.index.classes))]
        found.append([float(curve.f_beta(1.0).max()) if curve.positives else float("nan") for curve in curves])
    return [max(pair) for pair in zip(*found, strict=True)]


def _left_over(counts: NDArray[np.int64], classes: tuple[str, ...], name: str | None) -> float | None:
    """Dice of what a class leaves over, such as the membranes between cells."""
    if name is None:
        return None
    _, false_positives, false_negatives, true_negatives = counts[classes.index(name)]
    return float(2 * true_negatives / (2 * true_negatives + false_positives + false_negatives))


def page(found: dict[str, Any]) -> str:
    """The figures for people."""
    rows = []
    for name, item in found.items():
        for row in score_rows(name, item["scores"], [f"{item['minutes']:.1f}", f"{item['epochs']}"]):
            rows.append([*row[:-2], f"{item['grey_dice'].get(row[1], float('nan')):.3f}", *row[-2:]])
        if item["left_over_dice"] is not None:
            rows.append([name, "what the class leaves over", "–", f"{item['left_over_dice']:.3f}", *["–"] * 6])
    head = ["set", "class", *HEAD, "best grey value", "minutes", "epochs"]
    machines = "; ".join(sorted({item["machine"] for item in found.values()}))
    return "\n\n".join(
        [
            "# Real scans",
            f"Test split, at the thresholds that the validation split chose. Nothing was set but the time. {machines}.",
            table(head, rows),
            "*Best grey value* is a baseline that knows the answers: the Dice of the grey value that separates the "
            "test scans best.\n",
        ]
    )


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:] or list(SETS))
