"""The network on paper: Keras' table of its layers as text, and a drawing of the U.

::

    image
      |
    encoder 1 --------------------------> decoder 1 -> head
      |                                       ^
    encoder 2 --------------------------> decoder 2 -> head 2
      |                                       ^
      +-----------> bottleneck ---------------+
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import keras

from unetseg.network_stages import Stage, network_stages
from unetseg.ome import COLOURS
from unetseg.storage import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_network", "write_summary"]

_LINE_LENGTH: Final = 240  # characters: Keras cuts names that do not fit, such as those of fused levels

_BOX: Final = (1.7, 0.62)  # width and height in inches
_GRID: Final = (2.4, 1.0)  # inches from box to box
_MARGIN: Final = 0.25  # inches
_DPI: Final = 110
_KINDS: Final = ("guide", "encoder", "bottleneck", "decoder", "head")
_FILLS: Final = {
    "guide": f"#{COLOURS[2]}",
    "encoder": f"#{COLOURS[1]}",
    "bottleneck": f"#{COLOURS[7]}",
    "decoder": f"#{COLOURS[0]}",
    "head": f"#{COLOURS[3]}",
}
_FILL_OPACITY: Final = 0.45  # black text on it stays readable


_Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class _Place:
    """Where the middle of a box is, in columns and in lines from the top."""

    column: float
    line: float

    @property
    def xy(self) -> _Point:
        return self.column * _GRID[0], -self.line * _GRID[1]

    def side(self, across: float, down: float) -> _Point:
        """A point on the edge: (1, 0) is the middle of the right side, (0, 1) that of the lower."""
        x, y = self.xy
        return x + across * _BOX[0] / 2, y - down * _BOX[1] / 2


def write_summary(path: Path, model: keras.Model) -> None:
    """Replace a text file by Keras' table of the model's layers, with shapes, parameters and connections."""
    texts: list[str] = []
    with _terminal_of(_LINE_LENGTH):
        model.summary(line_length=_LINE_LENGTH, print_fn=texts.append)
    lines = "\n".join(texts).splitlines()
    write_bytes(path, "\n".join(line.rstrip() for line in lines).strip().encode() + b"\n")


@contextmanager
def _terminal_of(columns: int) -> Iterator[None]:
    """Keras cuts its table at the terminal's width, whatever length one asks for; this is where it looks it up."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(columns)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def draw_network(path: Path, model: keras.Model) -> None:
    """Draw the U: each stage a box with its features and its share of the size, each link an arrow.

    Stages and links are taken from the built model, so that attention gates, fusion and heads at several scales show
    where there are any.

    Args:
        path: of the picture, which is replaced; its suffix says the format: ``.png`` or ``.svg``.
        model: with layers named as :func:`unetseg.model.build_unet` does.
    """
    stages = network_stages(model)
    places = _places(stages)
    figure, axes = _page(places.values())
    left, top = axes.get_xlim()[0], axes.get_ylim()[1]
    axes.text(left + _MARGIN, top - _MARGIN, _title(model), ha="left", va="center", fontsize=9)
    for stage in stages.values():
        for source in stage.sources:
            _draw_link(axes, source, stage.name, places)
        _draw_box(axes, stage, places[stage.name])
    stream = io.BytesIO()
    figure.savefig(stream, format=path.suffix.removeprefix("."), dpi=_DPI, facecolor="white")
    write_bytes(path, stream.getvalue())


def _page(places: Iterable[_Place]) -> tuple[Figure, Axes]:
    """An empty page that holds all boxes and a line of text above them; its units are inches."""
    from matplotlib.figure import Figure

    x, y = zip(*(place.xy for place in places), strict=True)
    left, right = min(x) - _BOX[0] / 2 - _MARGIN, max(x) + _BOX[0] / 2 + _MARGIN
    bottom, top = min(y) - _BOX[1] / 2 - _MARGIN, max(y) + _BOX[1] / 2 + 2 * _MARGIN
    figure = Figure(figsize=(right - left, top - bottom))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.set_axis_off()
    return figure, axes


def _title(model: keras.Model) -> str:
    return f"{model.name}: {model.count_params():,} parameters"


# --------------------------------------------------------------------------- places


def _kind(name: str) -> str:
    """What a stage is: ``encoder`` of ``encoder_2``; ``input`` where the name says nothing else."""
    kind = name.split("_")[0]
    return kind if kind in _KINDS else "input"


def _number(name: str) -> int:
    """2 of ``guide_2``; 0 where there is none."""
    number = name.split("_")[-1]
    return int(number) if number.isdecimal() else 0


def _places(stages: Mapping[str, Stage]) -> dict[str, _Place]:
    """Encoder down the left, decoder up the right, guides further left, heads further right."""
    guides = sorted((name for name in stages if _kind(name) == "guide"), key=_number)
    first = float(len(guides))
    columns = {"encoder": first, "bottleneck": first + 1, "decoder": first + 2, "head": first + 3}
    places: dict[str, _Place] = {}
    for name, stage in stages.items():
        if _kind(name) in columns:
            places[name] = _Place(columns[_kind(name)], _line(stage))
    places |= {name: _Place(float(k), _line(stages[name])) for k, name in enumerate(guides)}
    return _inputs(stages, places) | places


def _line(stage: Stage) -> float:
    """Halvings: 0 for the full size."""
    return float((1 / stage.share).numerator.bit_length() - 1)


def _inputs(stages: Mapping[str, Stage], places: Mapping[str, _Place]) -> dict[str, _Place]:
    """Inputs stand above what they feed, in the middle where that is more than one stage."""
    found = {}
    for name in stages:
        if name not in places:
            fed = [
                places[stage.name].column for stage in stages.values() if name in stage.sources and stage.name in places
            ]
            found[name] = _Place(sum(fed) / len(fed) if fed else 0.0, -1.0)
    return found


# --------------------------------------------------------------------------- ink


def _draw_box(axes: Axes, stage: Stage, place: _Place) -> None:
    from matplotlib.patches import FancyBboxPatch

    kind = _kind(stage.name)
    corner, style = place.side(-1, 1), "round,pad=0,rounding_size=0.08"
    fill = (_FILLS.get(kind, "white"), _FILL_OPACITY)
    axes.add_patch(FancyBboxPatch(corner, *_BOX, boxstyle=style, facecolor="white", edgecolor="none", zorder=2))
    axes.add_patch(FancyBboxPatch(corner, *_BOX, boxstyle=style, facecolor=fill, edgecolor="0.3", zorder=3))
    axes.text(*place.xy, "\n".join(_label(stage)), ha="center", va="center", fontsize=8, linespacing=1.35, zorder=4)


def _label(stage: Stage) -> list[str]:
    kind = _kind(stage.name)
    one, many = {"input": ("channel", "channels"), "head": ("class", "classes")}.get(kind, ("feature", "features"))
    size = "full size" if stage.share == 1 else f"{stage.share} size"
    lines = [stage.name.replace("_", " "), f"{stage.features} {one if stage.features == 1 else many} · {size}"]
    return [*lines, "attention gate"] if any("attention" in layer for layer in stage.layers) else lines


def _draw_link(axes: Axes, source: str, target: str, places: Mapping[str, _Place]) -> None:
    from matplotlib.patches import FancyArrowPatch

    from_kind, to_kind = _kind(source), _kind(target)
    begin, end, bend = _route(from_kind, to_kind, places[source], places[target])
    fused = (from_kind, to_kind) == ("encoder", "decoder") and places[source].line != places[target].line
    look: dict[str, Any] = (
        {"color": "0.6", "linewidth": 0.7, "zorder": 0} if fused else {"color": "0.25", "linewidth": 1.1}
    )
    arrow = FancyArrowPatch(
        begin, end, arrowstyle="-|>", mutation_scale=9, shrinkA=0, shrinkB=0, connectionstyle=bend, **look
    )
    axes.add_patch(arrow)


def _route(from_kind: str, to_kind: str, source: _Place, target: _Place) -> tuple[_Point, _Point, str]:
    """From which edge to which, and how the arrow bends."""
    down = 1 if target.line > source.line else -1
    right = 1 if target.column > source.column else -1
    if from_kind == "input" or source.column == target.column:
        return source.side(0, down), target.side(0, -down), "arc3"
    if to_kind == "bottleneck" or (from_kind == "guide" and down == 1):  # down, then across
        return source.side(0, 1), target.side(-right, 0), "angle,angleA=-90,angleB=180,rad=8"
    if from_kind == "bottleneck" and to_kind == "decoder":  # across, then up
        return source.side(right, 0), target.side(0, 1), "angle,angleA=0,angleB=90,rad=8"
    return source.side(right, 0), target.side(-right, 0), "arc3"
