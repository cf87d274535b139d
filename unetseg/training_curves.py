"""The curves of a training as one picture: loss, validation score, and each class's Dice in training and validation."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unetseg.history import Row, best_row, dice_column, series
from unetseg.ome import COLOURS
from unetseg.storage import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["write_curves"]

_Look: TypeAlias = dict[str, Any]  # how matplotlib draws a line

_TRAIN: Final[_Look] = {"color": f"#{COLOURS[5]}", "linestyle": "-", "label": "training"}
_VALIDATION: Final[_Look] = {
    "color": f"#{COLOURS[6]}",
    "linestyle": "--",
    "label": "validation",
}  # told apart in print too
_BEST: Final[_Look] = {"color": "0.35", "linestyle": ":", "linewidth": 1.0, "zorder": 0}
_STAR: Final[_Look] = {"color": _VALIDATION["color"], "linestyle": "", "marker": "*", "markersize": 11}

_MOST_COLUMNS: Final = 4  # of panels
_PANEL: Final = (3.2, 2.3)  # inches
_TITLE_WIDTH: Final = 28  # characters that fit over a panel
_MARKED_EPOCHS: Final = 40  # up to so many, each epoch has a dot: a line of one epoch would not be seen
_LOG_RANGE: Final = 20.0  # largest over smallest loss above which a linear axis would hide the end


def write_curves(path: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
    """Draw the history of a training.

    Args:
        path: of the PNG file, which is replaced.
        rows: of the history, one per epoch, as in :mod:`unetseg.history`.
        classes: one panel each, in this order.
    """
    from matplotlib.figure import Figure

    lines = math.ceil(len(classes) / _MOST_COLUMNS)
    columns = max(2, math.ceil(len(classes) / max(lines, 1)))  # five classes as 3 + 2, not as 4 + 1
    figure = Figure(figsize=(columns * _PANEL[0], (1 + lines) * _PANEL[1] + 0.4), layout="constrained")
    _fill(figure, 1 + lines, columns, rows, classes)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    write_bytes(path, stream.getvalue())


def _fill(figure: Figure, lines: int, columns: int, rows: Sequence[Row], classes: Sequence[str]) -> None:
    """Loss and score share the first line of panels, the classes follow."""
    grid = figure.add_gridspec(lines, columns)
    halves = grid[0, :].subgridspec(1, 2)
    loss, score = figure.add_subplot(halves[0]), figure.add_subplot(halves[1])
    panels = [figure.add_subplot(grid[1 + k // columns, k % columns]) for k in range(len(classes))]
    _draw_loss(loss, rows)
    _draw_score(score, rows)
    for name, axes in zip(classes, panels, strict=True):
        _draw_class(axes, rows, name)
    best = best_row(rows)
    for axes in (loss, score, *panels):
        _finish(axes, rows, best)
    handles = [*loss.get_legend_handles_labels()[0], *score.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)


def _draw_loss(axes: Axes, rows: Sequence[Row]) -> None:
    losses = series(rows, "loss")
    _draw_line(axes, rows, losses, _TRAIN)
    axes.set_title("loss", fontsize=10)
    seen = losses[np.isfinite(losses)]
    if seen.size and seen.min() > 0 and seen.max() > _LOG_RANGE * seen.min():
        axes.set_yscale("log")


def _draw_score(axes: Axes, rows: Sequence[Row]) -> None:
    _draw_line(axes, rows, series(rows, "validation_score"), _VALIDATION)
    axes.set_title("validation score", fontsize=10)
    best = best_row(rows)
    if best is not None:
        epoch, score = series([best], "epoch"), series([best], "validation_score")
        axes.plot(epoch, score, label=f"best: {score[0]:.3f} in epoch {epoch[0]:.0f}", **_STAR)
    axes.set_ylim(-0.02, 1.02)


def _draw_class(axes: Axes, rows: Sequence[Row], name: str) -> None:
    both = (series(rows, dice_column("train", name)), series(rows, dice_column("validation", name)))
    for values, style in zip(both, (_TRAIN, _VALIDATION), strict=True):
        _draw_line(axes, rows, values, style)
    missing = [str(style["label"]) for values, style in zip(both, (_TRAIN, _VALIDATION), strict=True) if _none(values)]
    if missing:
        box = {"facecolor": "white", "edgecolor": "none"}
        text = f"absent from {' and '.join(missing)}"
        axes.text(0.5, 0.08, text, transform=axes.transAxes, ha="center", fontsize=8, bbox=box)
    title = textwrap.shorten(name, _TITLE_WIDTH, placeholder="…") if " " in name else name[:_TITLE_WIDTH]
    axes.set_title(f"Dice: {title}", fontsize=10)
    axes.set_ylim(-0.02, 1.02)


def _none(values: NDArray[np.float64]) -> bool:
    return bool(np.isnan(values).all())


def _draw_line(axes: Axes, rows: Sequence[Row], values: NDArray[np.float64], style: _Look) -> None:
    marker = "." if len(rows) <= _MARKED_EPOCHS else ""
    axes.plot(series(rows, "epoch"), values, linewidth=1.5, marker=marker, **style)


def _finish(axes: Axes, rows: Sequence[Row], best: Row | None) -> None:
    """The same axis of epochs, in whole numbers, and the epoch whose weights are kept, in all panels."""
    from matplotlib.ticker import MaxNLocator

    if best is not None:
        axes.axvline(series([best], "epoch")[0], **_BEST)
    axes.set_xlim(0.5, max(series(rows, "epoch"), default=1.0) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
