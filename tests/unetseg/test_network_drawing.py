"""The stages of built networks, their drawing and their table."""

from __future__ import annotations

import os
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import keras
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image

from unetseg.config import ModelConfig
from unetseg.model import build_unet
from unetseg.network_drawing import draw_network, write_summary
from unetseg.network_stages import network_stages


@pytest.fixture(scope="module")
def plain() -> keras.Model:
    return build_unet(ModelConfig(depth=2, width=4), classes=3)


@pytest.fixture(scope="module")
def rich() -> keras.Model:
    """Everything at once."""
    config = ModelConfig(
        depth=3, width=4, block="residual", attention=True, fusion=1, outputs=2, head="softmax", dropout=0.1
    )
    return build_unet(config, classes=2, guides=2)


def saved(model: keras.Model, path: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure of a drawing."""
    figures: list[Figure] = []
    original = Figure.savefig

    def savefig(self: Figure, *arguments: Any, **named: Any) -> None:
        figures.append(self)
        original(self, *arguments, **named)

    monkeypatch.setattr(Figure, "savefig", savefig)
    draw_network(path, model)
    return figures[0]


# --------------------------------------------------------------------------- stages


def test_plain_network_is_a_u(plain: keras.Model):
    found = {name: (s.features, s.share, set(s.sources)) for name, s in network_stages(plain).items()}
    half, quarter = Fraction(1, 2), Fraction(1, 4)
    assert found == {
        "image": (1, 1, set()),
        "encoder_1": (4, 1, {"image"}),
        "encoder_2": (8, half, {"encoder_1"}),
        "bottleneck": (16, quarter, {"encoder_2"}),
        "decoder_2": (8, half, {"bottleneck", "encoder_2"}),
        "decoder_1": (4, 1, {"decoder_2", "encoder_1"}),
        "head": (3, 1, {"decoder_1"}),
    }


def test_every_layer_belongs_to_one_stage(rich: keras.Model):
    layers = [layer for stage in network_stages(rich).values() for layer in stage.layers]
    assert len(layers) == len(set(layers))
    assert {layer.name for layer in rich.layers} <= set(layers)


def test_guides_join_after_the_first_pooling(rich: keras.Model):
    stages = network_stages(rich)
    assert stages["guides"].features == 2
    assert stages["guide_1"].sources == stages["guide_2"].sources == ("guides",)
    assert set(stages["encoder_2"].sources) == {"encoder_1", "guide_1", "guide_2"}


def test_fusion_and_scales_are_links_of_their_own(rich: keras.Model):
    stages = network_stages(rich)
    assert set(stages["decoder_2"].sources) == {"decoder_3", "encoder_1", "encoder_2", "encoder_3"}
    assert stages["head_2"].sources == ("decoder_2",)
    assert stages["head_2"].share == Fraction(1, 2)
    assert stages["head"].features == 2  # without softmax' background


def test_transposed_convolutions_double():
    model = build_unet(ModelConfig(depth=1, width=2, upsampling="transposed"))
    assert network_stages(model)["decoder_1"].share == 1


def test_sides_that_are_padded_and_cut_again_leave_the_stages_as_they_are():
    stages = network_stages(build_unet(ModelConfig(depth=2, width=2), input_shape=(31, 45, 3)))
    assert stages["image"].features == 3
    assert stages["bottleneck"].share == Fraction(1, 4)
    assert stages["head"].sources == ("decoder_1",)


# --------------------------------------------------------------------------- drawing


def test_each_stage_is_a_box_and_each_link_an_arrow(rich: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    figure = saved(rich, tmp_path / "network.png", monkeypatch)
    stages = network_stages(rich)
    patches = figure.axes[0].patches
    boxes = {patch.get_bbox().p0.tobytes() for patch in patches if isinstance(patch, FancyBboxPatch)}
    assert len(boxes) == len(stages)
    assert sum(isinstance(patch, FancyArrowPatch) for patch in patches) == sum(len(s.sources) for s in stages.values())
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "decoder 2\n8 features · 1/2 size\nattention gate" in texts
    assert "head 2\n2 classes · 1/2 size" in texts
    assert "guides\n2 channels · full size" in texts
    assert f"unet: {rich.count_params():,} parameters" in texts


@pytest.mark.parametrize("depth", [1, 7])
def test_labels_fit_into_their_boxes_and_boxes_on_the_page(depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = build_unet(ModelConfig(depth=depth, width=2), guides=3, classes=1)
    figure = saved(model, tmp_path / "network.png", monkeypatch)
    figure.set_dpi(110)  # as it was saved: text is still measured in its pixels
    page, title, *labels = [figure.bbox, *(text.get_window_extent() for text in _title_first(figure))]
    boxes = [patch.get_window_extent() for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)][::2]
    assert len(labels) == len(boxes)
    assert all(_within(label, box) for label, box in zip(labels, boxes, strict=True))
    assert all(_within(box, page) for box in (*boxes, title))
    assert not any(a.overlaps(b) for a, b in combinations((*boxes, title), 2))


def _title_first(figure: Figure) -> list[Any]:
    return sorted(figure.axes[0].texts, key=lambda text: "parameters" not in text.get_text())


def _within(inner: Any, outer: Any) -> bool:
    return outer.x0 < inner.x0 < inner.x1 < outer.x1 and outer.y0 < inner.y0 < inner.y1 < outer.y1


def test_drawing_is_a_picture_of_the_kind_that_its_name_says(plain: keras.Model, tmp_path: Path):
    draw_network(tmp_path / "network.png", plain)
    draw_network(tmp_path / "network.svg", plain)
    with Image.open(tmp_path / "network.png") as picture:
        assert picture.format == "PNG"
    assert "<svg" in (tmp_path / "network.svg").read_text()


# --------------------------------------------------------------------------- table


def test_table_has_every_layer_in_full_as_plain_text(
    rich: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    write_summary(tmp_path / "network.txt", rich)
    text = (tmp_path / "network.txt").read_text()
    for layer in rich.layers:
        assert f" {layer.name} (" in text
    assert f"Total params: {rich.count_params():,}" in text
    assert "\x1b" not in text
    assert "…" not in text
    assert os.environ["COLUMNS"] == "60"


def test_table_leaves_the_environment_as_it_was(plain: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    write_summary(tmp_path / "network.txt", plain)
    assert "COLUMNS" not in os.environ
