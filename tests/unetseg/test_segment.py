"""One scan in memory, with an engine that gives back its input as probabilities."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from unetseg.decisions import Decision
from unetseg.segment import Segmenter
from unetseg.tiling import bands_of


class Echo:
    """The image's only channel is the probability of the only class; sizes that it saw are kept."""

    name = "echo"

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, inputs: Any) -> NDArray[np.float32]:
        self.seen.append(inputs["image"].shape[1:3])
        return np.asarray(inputs["image"][..., :1], np.float32)


def segmenter(engine: Echo, *, tile: int = 256, threshold: float = 0.5) -> Segmenter:
    info: Any = SimpleNamespace(classes=("object",), guides=(), stride=4, halo=0, exact=True)
    return Segmenter(engine, info, Decision("thresholds", (threshold,)), tile)


def test_masks_are_decided_tile_by_tile_as_on_the_whole():
    image = np.random.default_rng(0).random((300, 270, 1)).astype(np.float32)
    engine = Echo()
    found = segmenter(engine)(image, probabilities=True)
    assert len(engine.seen) > 1
    assert np.array_equal(found.masks[0], (image[..., 0] >= 0.5).astype(np.uint8))
    assert np.array_equal(found.probabilities[0], np.rint(image[..., 0] * 255))


def test_levels_count_the_pixels_by_their_probability():
    image = np.zeros((8, 8, 1), np.float32)
    image[0, :4, 0] = [1.0, 0.5, 0.75, 0.04]
    found = segmenter(Echo())(image)
    assert found.probabilities is None
    # In steps of 1/255: one half is 128 of them, three quarters 191.
    assert {level: int(found.levels[0, level]) for level in np.flatnonzero(found.levels[0])} == {
        0: 60, 10: 1, 128: 1, 191: 1, 255: 1,
    }  # fmt: skip


@pytest.mark.parametrize("kept", [False, True], ids=["masks", "probabilities-too"])
def test_masks_keep_no_memory_but_their_own(kept: bool):
    masks = segmenter(Echo())(np.zeros((8, 12, 1), np.float32), probabilities=kept).masks
    assert (masks if masks.base is None else masks.base).nbytes == 1 * 8 * 12


@pytest.mark.parametrize("rows", [4, 20, 64])
def test_bands_put_together_are_the_whole(rows: int):
    image = np.random.default_rng(1).random((61, 70, 1)).astype(np.float32)
    run = segmenter(Echo(), tile=32)
    spans = bands_of(61, rows=rows, halo=8, stride=4)
    bands = [run.band(image[slice(*span.outer)], None, span, probabilities=True) for span in spans]
    whole = segmenter(Echo())(image, probabilities=True)
    np.testing.assert_array_equal(np.concatenate([band.masks for band in bands], axis=1), whole.masks)
    np.testing.assert_array_equal(np.concatenate([band.probabilities for band in bands], axis=1), whole.probabilities)
    np.testing.assert_array_equal(sum(band.levels for band in bands), whole.levels)


@pytest.mark.parametrize("columns", [5, 16, 70, 100])
def test_strips_put_together_are_the_band(columns: int):
    image = np.random.default_rng(2).random((16, 70, 1)).astype(np.float32)
    run, (span,) = segmenter(Echo(), tile=32), bands_of(16, rows=16, halo=8, stride=4)
    band = run.band(image, None, span, probabilities=True)
    found = list(run.strips(image, None, span, columns=columns, probabilities=True))
    assert [left for left, _ in found] == list(range(0, 70, columns))
    assert {strip.masks.shape[2] for _, strip in found[:-1]} <= {columns}
    np.testing.assert_array_equal(np.concatenate([strip.masks for _, strip in found], axis=2), band.masks)
    np.testing.assert_array_equal(
        np.concatenate([strip.probabilities for _, strip in found], axis=2), band.probabilities
    )
    np.testing.assert_array_equal(sum(strip.levels for _, strip in found), band.levels)
    assert next(run.strips(image, None, span, columns=columns))[1].probabilities is None


def test_a_rescaled_scan_is_run_at_the_model_s_size_and_comes_back_at_its_own():
    image = np.zeros((64, 96, 1), np.float32)
    image[16:48, 24:72] = 1.0
    engine = Echo()
    found = segmenter(engine)(image, zoom=(0.5, 0.25))
    assert engine.seen == [(32, 24)]
    assert found.masks.shape == (1, 64, 96)
    inner, outer = found.masks[0, 20:44, 32:64], found.masks[0].astype(bool)
    assert inner.all()
    assert not outer[:12].any()
    assert not outer[:, :16].any()
    assert abs(int(outer.sum()) - 32 * 48) <= 2 * (32 + 48)  # within a pixel along the outline
