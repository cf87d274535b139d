"""The report of an evaluation: one self-contained HTML page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import Bundle
from unetseg.curves import Histograms
from unetseg.dataset import Dataset
from unetseg.ome import COLOURS
from unetseg.pages import render
from unetseg.pictures import INVENTED, MISSED, RIGHT, data_uri, error_picture, overlay, to_rgb
from unetseg.storage import write_bytes

__all__ = ["ErrorPicture", "ReportPage", "write_report"]

_PICTURE_SIDE = 384  # pixels: sharp on a screen, and the page stays below a few megabytes
_WORST_SHOWN = 25  # scans listed; all of them are in evaluation.json
_SCORES = ("recall", "precision", "f1", "dice", "iou", "average_precision", "specificity")


@dataclass(frozen=True)
class ErrorPicture:
    """One test scan with truth and prediction.

    Attributes:
        title: why it is shown, and its id.
        image: normalised intensities, ``(H, W, C)``.
        masks: truth, ``(H, W, K)`` int8: 1, 0, -1 to ignore.
        found: prediction, ``(H, W, K)``.
    """

    title: str
    image: NDArray[np.floating]
    masks: NDArray[np.int8]
    found: NDArray[np.bool_]


@dataclass(frozen=True)
class ReportPage:
    """All that the page shows."""

    bundle: Bundle
    dataset: Dataset
    evaluation: dict[str, Any]
    histograms: Histograms
    pictures: Sequence[ErrorPicture]


def write_report(path: Path, page: ReportPage) -> None:
    """Render the page."""
    classes = page.bundle.info.classes
    html = render(
        "report.html",
        bundle=page.bundle,
        info=page.bundle.info,
        evaluation=page.evaluation,
        score_names=_SCORES,
        colours={name: COLOURS[k % len(COLOURS)] for k, name in enumerate(classes)},
        curves=_curves(page.histograms, classes, page.evaluation["thresholds"]),
        pictures=[_panels(picture, classes) for picture in page.pictures],
        statistics=_statistics(page.dataset),
        worst=page.evaluation["scans"][:_WORST_SHOWN],
        legend={"found": RIGHT, "missed": MISSED, "invented": INVENTED},
    )
    write_bytes(path, html.encode())


def _panels(picture: ErrorPicture, classes: Sequence[str]) -> dict[str, Any]:
    """The scan, the truth, the prediction, and the errors of each class."""
    rgb = to_rgb(picture.image)
    panels = [
        ("scan", rgb),
        ("truth", overlay(rgb, picture.masks == 1)),
        ("prediction", overlay(rgb, picture.found)),
    ]
    panels += [
        (f"errors: {name}", error_picture(rgb, picture.masks[..., k], picture.found[..., k]))
        for k, name in enumerate(classes)
    ]
    return {"title": picture.title, "panels": [(name, data_uri(panel, _PICTURE_SIDE)) for name, panel in panels]}


def _statistics(dataset: Dataset) -> list[dict[str, Any]]:
    """Per split: scans, groups, and the share of pixels and number of scans of each class."""
    rows = []
    for split in ("train", "validation", "test"):
        scans = dataset.scans(split)
        rows.append(
            {
                "split": split,
                "scans": len(scans),
                "groups": len({scan.group for scan in scans}),
                "shares": dict(zip(dataset.index.classes, dataset.class_fractions(split).tolist(), strict=True)),
                "holding": {name: sum(scan.class_pixels[name] > 0 for scan in scans) for name in dataset.index.classes},
            }
        )
    return rows


def _curves(histograms: Histograms, classes: Sequence[str], thresholds: dict[str, Any]) -> str:
    """Precision over recall on the test split, as inline SVG, with each class's chosen threshold marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for k, name in enumerate(classes):
        curve = histograms.curve(k)
        if not curve.positives:
            continue
        colour = f"#{COLOURS[k % len(COLOURS)]}"
        axes.plot(curve.recall, curve.precision, color=colour, label=f"{name} (AP {curve.average_precision:.3f})")
        cut = thresholds[name]["value"]
        point = np.argmin(np.abs(np.asarray(curve.thresholds) - cut))
        axes.plot(curve.recall[point], curve.precision[point], "o", color=colour, markeredgecolor="black")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    stream = io.StringIO()
    figure.savefig(stream, format="svg")
    text = stream.getvalue()
    return text[text.index("<svg") :]
