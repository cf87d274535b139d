"""Charts of evaluations as inline SVG: precision over recall, and the scores of single scans.

Lines differ in dashes and marks as well as in colour, so that they are told apart in grey print and by everybody.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from unetseg.curves import Curve
from unetseg.ome import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CurveLine", "curve_chart", "strip_chart"]

_PANEL: Final = (3.6, 3.1)  # inches: as wide as a phone shows without shrinking the text
_STRIP: Final = (4.4, 0.4)  # inches: width, and height of a class
_STRIP_EDGE: Final = 0.75  # inches: axis and its label
_SOLID, _DASHED = f"#{COLOURS[5]}", f"#{COLOURS[6]}"  # both dark enough for a line on white
_MANY: Final = 400  # dots above which they become one picture: thousands of SVG circles make a page slow
_JITTER: Final = 0.28  # of the height of a row, either way
_NAME: Final = 20  # characters of a class's name: longer ones would push the dots aside
_GOLDEN: Final = (5**0.5 - 1) / 2
_STYLE: Final = {
    "svg.fonttype": "none",  # text stays text: it is found, read aloud and small
    "svg.hashsalt": "unetseg",  # the same numbers give the same file
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.parse_math": False,  # a class may be called what it is called
}
_NO_METADATA: Final = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True, eq=False)
class CurveLine:
    """A precision-recall curve and the point on it that a model works at.

    Attributes:
        label: for the legend.
        curve: of one class.
        point: recall and precision that were measured there; None where one is not measurable.
        dashed: the line has dashes and an open mark, and another colour.
    """

    label: str
    curve: Curve
    point: tuple[float, float] | None = None
    dashed: bool = False


def curve_chart(lines: Sequence[CurveLine]) -> str:
    """Precision over recall.

    The lines are steps, as average precision adds them up: to draw straight lines between the points would promise
    precisions that no threshold gives (Davis & Goadrich 2006, doi:10.1145/1143844.1143874).

    Args:
        lines: to draw; a class without foreground has none.

    Returns:
        An ``<svg>`` element.
    """
    with _figure(*_PANEL) as (figure, axes):
        for line in lines:
            _draw_curve(axes, line)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower left", frameon=False)
        return _svg(figure)


def _draw_curve(axes: Axes, line: CurveLine) -> None:
    if not line.curve.positives:
        return
    dashes, colour, filling = ("--", _DASHED, "white") if line.dashed else ("-", _SOLID, _SOLID)
    axes.plot(*_steps(line.curve), dashes, color=colour, drawstyle="steps-post", label=line.label)
    if line.point:
        axes.plot(*line.point, "o", color=filling, markeredgecolor="black", zorder=3, clip_on=False)


def _steps(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and precision from the lowest threshold up, and on to a recall of 0."""
    return np.append(curve.recall, 0.0), np.append(curve.precision, curve.precision[-1:])


def strip_chart(values: Mapping[str, Sequence[float]], colours: Mapping[str, str], *, label: str) -> str:
    """One row of dots per class, a dot per scan, and a line at their median.

    Args:
        values: of each class, one number in [0, 1] per scan that holds it.
        colours: of each class, as ``RRGGBB``.
        label: of the axis.

    Returns:
        An ``<svg>`` element.
    """
    with _figure(_STRIP[0], _STRIP_EDGE + _STRIP[1] * len(values)) as (figure, axes):
        for row, (name, found) in enumerate(values.items()):
            _draw_dots(axes, row, found, f"#{colours[name]}")
        axes.set(xlabel=label, xlim=(-0.02, 1.02), ylim=(len(values) - 0.4, -0.6))
        axes.set_yticks(range(len(values)), [f"{_short(name)} ({len(found):,})" for name, found in values.items()])
        axes.grid(alpha=0.3, axis="x")
        return _svg(figure)


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def _draw_dots(axes: Axes, row: int, found: Sequence[float], colour: str) -> None:
    look: dict[str, Any] = {"rasterized": len(found) > _MANY, "alpha": 0.6, "s": 14, "linewidths": 0.4}
    axes.scatter(found, row + _spread(len(found)), color=colour, edgecolors="black", **look)
    if found:
        axes.plot([np.median(found)] * 2, [row - 0.4, row + 0.4], color="black", linewidth=1.5)


def _spread(number: int) -> NDArray[np.float64]:
    """Offsets that keep equal dots apart: multiples of the golden ratio never fall together (no random numbers)."""
    turns = np.arange(number, dtype=np.float64) * _GOLDEN
    return np.asarray((turns % 1 - 0.5) * 2 * _JITTER, np.float64)


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """An empty chart in the style of all charts, in inches."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):  # type: ignore[arg-type]  # names of settings are literals there
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots()


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata=_NO_METADATA)
    text = stream.getvalue()
    return text[text.index("<svg") :]
