"""Draw the pictures of the documentation from synthetic data: ``make docs-pictures``.

Those of the report and of the gallery are of what ``make demo`` has left, in Chromium.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from unetseg.config import EvaluateConfig
from unetseg.histograms import Histograms
from unetseg.pictures import COLOURS, overlay, to_rgb
from unetseg.synth import CLASS_NAMES, draw_eye
from unetseg.thresholds import choose_threshold

FOLDER = Path(__file__).parent / "pictures"
COLOURS_USED = 256  # of a picture's palette: half of the bytes of true colours
DOTS_PER_INCH = 110

mpl.rcParams |= {"font.size": 9, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False}


PAGES = {  # of the demo: the page, the heading from which on it is shown, width and height in pixels
    "report": ("models/0001/evaluation/report.html", "<h2>Errors</h2>", (900, 720)),
    "gallery": ("segmented/gallery.html", '<h2 id="scans">', (480, 720)),
}
HEADLESS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


def main(demo: Path, chromium: str) -> None:
    """Draw all of them; those of pages only where the demo was run."""
    FOLDER.mkdir(exist_ok=True)
    for draw in (pipeline, encodings, criteria, tiles):
        _save(draw(), FOLDER / f"{draw.__name__}.png")
    for name, (page, heading, size) in PAGES.items():
        if (demo / page).exists():
            photograph((demo / page).read_text(encoding="utf-8"), heading, size, chromium, FOLDER / f"{name}.png")


def photograph(html: str, heading: str, size: tuple[int, int], chromium: str, path: Path) -> None:
    """What follows a heading of a self-contained page, as a browser shows it."""
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder) / "page.html", Path(folder) / "page.png"
        page.write_text(html[: html.index("<h1")] + html[html.index(heading) :], encoding="utf-8")
        window = f"--window-size={size[0]},{size[1]}"
        subprocess.run([chromium, *HEADLESS, window, f"--screenshot={shot}", page.as_uri()], check=True)
        _save_small(Image.open(shot), path)


def pipeline() -> Figure:
    """A scan, its masks drawn over it, a guide, and the planes that masks are."""
    eye = draw_eye(3, 1)
    rgb = to_rgb(eye.image[..., np.newaxis])
    figure, axes = _panels(2, 3)
    _show(axes[0], rgb, "a scan")
    _show(axes[1], overlay(rgb, eye.masks), "its masks: classes overlap")
    _show(axes[2], eye.guides[..., 0], "a guide, if there is one")
    for k, name in enumerate(CLASS_NAMES):
        _show(axes[3 + k], eye.masks[..., k], f"class {name}")
    return figure


def encodings() -> Figure:
    """The scan of docs/howto/mask-encodings.md and its masks in each encoding."""
    rows, columns = np.mgrid[:64, :64]
    cell = np.hypot(rows - 32, columns - 28) < 20
    nucleus = np.hypot(rows - 32, columns - 34) < 8
    colours = np.zeros((64, 64, 3), np.uint8)
    colours[cell], colours[nucleus] = (0, 255, 0), (255, 0, 0)
    files = np.ones((64, 2 * 64 + 4), bool)
    files[:, :64], files[:, 68:] = nucleus & (rows < 32), nucleus & (rows >= 32)
    figure, axes = _panels(2, 4)
    _show(axes[0], 40 + 60 * cell + 90 * nucleus, "the scan", high=255)
    _show(axes[1], cell, "binary, pages: the cell")
    _show(axes[2], nucleus, "and the nucleus")
    _show(axes[3], files, "objects: two files")
    for axis, values, title in (
        (axes[4], cell.astype(int) + nucleus, "labels"),
        (axes[5], cell + 2 * nucleus, "bits: 1 and 2 are 3"),
        (axes[6], 17 * cell, "instances"),
    ):
        _show(axis, values, title)
        _write_values(axis, values)
    _show(axes[7], colours, "colours")
    return figure


def criteria() -> Figure:
    """A precision-recall curve of a class with doubtful pixels, and what three criteria choose on it."""
    random = np.random.default_rng(0)
    truth = random.random((500, 400, 1)) < 0.1
    seen = 1 / (1 + np.exp(-random.normal(np.where(truth, 1.2, -3.0), 1.6)))
    histograms = Histograms.empty(1)
    histograms.add(truth.astype(np.int8), seen.astype(np.float32))
    curve = histograms.curve(0)
    figure = Figure(figsize=(4.6, 3.1), layout="constrained")
    axis = figure.subplots()
    axis.plot(curve.recall, curve.precision, color="0.4")
    for config, label, colour in (
        (EvaluateConfig(), "f_beta, beta = 1", f"#{COLOURS[0]}"),
        (EvaluateConfig(beta=2), "f_beta, beta = 2", f"#{COLOURS[1]}"),
        (
            EvaluateConfig(criterion="recall_at_precision", target=0.9),
            "recall_at_precision, target 0.9",
            f"#{COLOURS[2]}",
        ),
    ):
        chosen = choose_threshold(curve, config)
        label = f"{label}: threshold {chosen.value:.2f}"
        axis.plot(chosen.recall, chosen.precision, "o", color=colour, markersize=8, label=label)
    axis.axhline(0.9, color="0.7", linewidth=0.8, linestyle=":")
    axis.set(
        xlabel="recall: share of the true pixels that are found", ylabel="precision", xlim=(0.3, 1), ylim=(0, 1.02)
    )
    axis.legend(loc="lower left", fontsize=8, frameon=False)
    return figure


def tiles() -> Figure:
    """Two tiles of a scan: what is kept of each, and the halo around it."""
    figure = Figure(figsize=(5.4, 2.6), layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(-0.3, 10.3), ylim=(5.7, -0.3), aspect="equal")
    axis.set_axis_off()
    axis.add_patch(Rectangle((0, 0), 10, 5, facecolor="0.93", edgecolor="0.3"))
    axis.text(9.9, 4.8, "scan", ha="right", va="bottom")
    for left, colour, name in ((1, f"#{COLOURS[0]}", "tile 1"), (4, f"#{COLOURS[1]}", "tile 2")):
        axis.add_patch(Rectangle((left, 0.5), 4, 4, facecolor=colour, alpha=0.18, edgecolor=colour))
        axis.add_patch(Rectangle((left + 0.5, 1), 3, 3, facecolor=colour, alpha=0.35, edgecolor=colour))
        axis.text(left + 2, 2.4, f"{name}:\nkept", ha="center", va="center")
        axis.text(left + 2, 0.78, "halo: read, not kept", ha="center", va="center", fontsize=7)
    axis.plot([4.5, 4.5], [0.2, 5.15], color="0.2", linewidth=0.8, linestyle=":")
    axis.text(4.5, 5.45, "kept parts meet here, and both agree with the whole scan", ha="center", fontsize=8)
    return figure


def _panels(rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    return figure, list(figure.subplots(rows, columns).flat)


def _show(axis: Axes, values: Any, title: str, *, high: float | None = None) -> None:  # noqa: ANN401 (an array)
    axis.imshow(values, cmap="gray", vmin=0, vmax=high, interpolation="nearest")
    axis.set_title(title, fontsize=9.5)
    axis.set_axis_off()


def _write_values(axis: Axes, values: Any) -> None:  # noqa: ANN401 (an array)
    """The number of a pixel in the cell, and of one in the nucleus."""
    for column, row in ((16, 32), (34, 32), (58, 8)):
        value = int(values[row, column])
        colour = "black" if value > values.max() / 2 else "white"
        axis.text(column, row, str(value), ha="center", va="center", fontsize=10, color=colour)


def _save(figure: Figure, path: Path) -> None:
    stream = io.BytesIO()
    figure.savefig(stream, dpi=DOTS_PER_INCH, facecolor="white")
    _save_small(Image.open(stream), path)


def _save_small(picture: Image.Image, path: Path) -> None:
    few = picture.convert("RGB").quantize(COLOURS_USED, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
