"""Overlapping tiles of networks that see the whole tile, against a slow second implementation."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal.windows import gaussian

from unetseg import engine_openvino, predict_scan, scan_rows
from unetseg.blending import blended_bands, importance, overlapping, shares
from unetseg.bundle import BundleInfo, load_bundle, save_bundle
from unetseg.config import ModelConfig, PredictConfig, Settings
from unetseg.engines import open_engine
from unetseg.errors import UsageError
from unetseg.inference import predict_band, predict_tiles
from unetseg.json_files import read_json
from unetseg.model import build_unet
from unetseg.outputs import FORMATS, PROBABILITIES
from unetseg.predict import predict

FEW = settings(max_examples=60, deadline=None)
STRIDE = 4


def about(**more: Any) -> BundleInfo:
    given = {"stride": STRIDE, "halo": 8, "exact": False} | more
    return BundleInfo(("a", "b"), (), ("grey",), Settings(), None, "d", "t", 0.5, {}, **given)


class Standardised:
    """What instance normalisation does: each tile by its own mean and deviation, then a probability of each class."""

    name, pixel_bytes = "standardised", 1.0

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, inputs: Any) -> NDArray[np.float32]:
        image = inputs["image"]
        self.seen.append(image.shape)
        scaled = (image - image.mean()) / (image.std() + 1e-3)
        return np.concatenate([1 / (1 + np.exp(-scaled)), 1 / (1 + np.exp(scaled / 2))], axis=-1)


@pytest.fixture(scope="module")
def image() -> NDArray[np.float32]:
    """Spots that get brighter to the right, so that tiles differ in what they see; sides are no multiples of 4."""
    random = np.random.default_rng(0)
    spots = 8 * ndimage.gaussian_filter(random.random((201, 278)), 4) * np.linspace(0.2, 1, 278)
    return spots.astype(np.float32)[..., None]


def put_together(pieces: Iterator[tuple[Any, NDArray[np.float32]]], shape: tuple[int, int]) -> NDArray[np.float32]:
    """The windows in their places; a pixel that comes twice, or never, is an error."""
    found = np.full((*shape, 2), np.nan, np.float32)
    for window, probabilities in pieces:
        assert np.isnan(found[window]).all()
        found[window] = probabilities
    assert not np.isnan(found).any()
    return found


def slowly_blended(engine: Any, image: NDArray[np.float32], tile: int) -> NDArray[np.float64]:
    """All weights and all weighted probabilities in whole images, as nnU-Net does it."""
    height, width = (-(-side // STRIDE) * STRIDE for side in image.shape[:2])
    padded = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), mode="edge")
    sums, weights = np.zeros((height, width, 2)), np.zeros((height, width, 1))
    window = np.outer(*[gaussian(tile, tile / 8)] * 2)[..., None]
    for y in [*range(0, height - tile, tile // 2), height - tile]:
        for x in [*range(0, width - tile, tile // 2), width - tile]:
            part = (slice(y, y + tile), slice(x, x + tile))
            sums[part] += window * engine({"image": padded[part][None]})[0]
            weights[part] += window
    return (sums / weights)[: image.shape[0], : image.shape[1]]


@pytest.mark.parametrize("tile", [64, 96, 200])
def test_blended_tiles_are_the_weighted_mean_over_all_tiles(tile: int, image: NDArray[np.float32]):
    found = put_together(predict_tiles(Standardised(), about(), image, tile=tile), image.shape[:2])
    assert np.abs(found - slowly_blended(Standardised(), image, tile)).max() <= 1e-6


@pytest.mark.parametrize("rows", [4, 32, 68, 300])
def test_bands_put_together_are_the_whole_to_the_last_bit(rows: int, image: NDArray[np.float32]):
    whole = put_together(predict_tiles(Standardised(), about(), image, tile=64), image.shape[:2])
    bands = []
    for span in blended_bands(len(image), rows=rows, tile=64, halo=8, stride=STRIDE):
        pieces = predict_band(Standardised(), about(), image[slice(*span.outer)], rows=span, tile=64)
        bands.append(put_together(pieces, (span.inner[1] - span.inner[0], image.shape[1])))
    np.testing.assert_array_equal(np.concatenate(bands), whole)


def test_a_scan_that_fits_into_a_tile_is_seen_once_and_left_as_it_is(image: NDArray[np.float32]):
    engine = Standardised()
    found = put_together(predict_tiles(engine, about(), image, tile=300), image.shape[:2])
    assert engine.seen == [(1, 204, 280, 1)]
    padded = np.pad(image, ((0, 3), (0, 2), (0, 0)), mode="edge")
    np.testing.assert_array_equal(found, engine({"image": padded[None]})[0][:201, :278])


def test_networks_that_are_exact_are_not_blended(image: NDArray[np.float32]):
    engine = Standardised()
    list(predict_tiles(engine, about(exact=True), image, tile=96))
    exact = len(engine.seen)
    list(predict_tiles(engine, about(), image, tile=96))
    assert len(engine.seen) - exact == 4 * 5  # of 48 pixels each: 0, 48, 96, 108 down and 0, 48, ..., 184 across
    assert exact == 3 * 4  # at most 80 kept of each


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """A side of a scan, a tile, a halo and a stride."""
    stride = draw(st.sampled_from([1, 2, 4, 8]))
    halo = stride * draw(st.integers(0, 3))
    return draw(st.integers(1, 150)), draw(st.integers(2 * halo + stride, 2 * halo + 40)), halo, stride


@FEW
@given(axes())
def test_tiles_have_one_size_overlap_by_half_and_their_shares_add_up_to_one(axis: tuple[int, int, int, int]):
    size, tile, halo, stride = axis
    whole = -(-size // stride) * stride
    tiles = overlapping((0, whole), tile=tile, halo=halo, stride=stride)
    assert len({stop - start for start, stop in tiles}) == 1
    total = np.zeros(whole)
    for (start, stop), share in zip(tiles, shares(tiles), strict=True):
        assert start % stride == stop % stride == 0
        total[start:stop] += share
    np.testing.assert_allclose(total, 1, atol=1e-6)
    length = tiles[0][1] - tiles[0][0]
    for before, after in pairwise(tiles):
        assert 0 < after[0] - before[0] <= max(length // 2, stride)


@FEW
@given(axes(), st.integers(1, 60))
def test_bands_begin_and_end_with_the_tiles_of_the_scan_that_touch_them(axis: tuple[int, int, int, int], rows: int):
    size, tile, halo, stride = axis
    cut = {"tile": tile, "halo": halo, "stride": stride}
    tiles = overlapping((0, -(-size // stride) * stride), **cut)
    bands = blended_bands(size, rows=rows, **cut)
    assert [row for band in bands for row in range(*band.inner)] == list(range(size))
    for band in bands:
        touching = [item for item in tiles if set(range(*item)) & set(range(*band.inner))]
        assert overlapping(band.outer, **cut) == touching


def test_weights_are_those_of_a_gaussian_of_an_eighth():
    np.testing.assert_allclose(importance(96), gaussian(96, 12), rtol=1e-12)


def test_a_tile_that_cannot_hold_the_halo_is_wrong_usage(image: NDArray[np.float32]):
    with pytest.raises(UsageError, match=r"predict\.tile: .*halo of 8 .*use at least 20"):
        list(predict_tiles(Standardised(), about(), image, tile=16))


# --------------------------------------------------------------------------- with a network


def untrained(seed: int) -> Any:
    """A network with instance normalisation that nobody trained."""
    import keras

    keras.utils.set_random_seed(seed)
    return build_unet(ModelConfig(depth=2, width=4, normalisation="instance"), classes=2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bundle(tmp_path_factory.mktemp("models"), untrained(1), about())


class Untrained:
    """Such a network as an engine, without the export that a bundle has."""

    name, pixel_bytes = "untrained", 1.0

    def __init__(self, seed: int) -> None:
        self.network = untrained(seed)

    def __call__(self, inputs: Any) -> NDArray[np.float32]:
        from keras import ops

        return ops.convert_to_numpy(self.network(inputs, training=False))


Seams = tuple[list[int], list[int]]


def across_seams(probabilities: NDArray[np.float32], seams: Seams) -> float:
    """Mean jump at the seams, in rows and in columns, by the mean jump two to four pixels beside each, as of spots."""
    ratios = []
    for axis, places in enumerate(seams):
        jumps = np.abs(np.diff(probabilities, axis=axis)).mean(axis=(1 - axis, 2))  # i: from pixel i to the next
        ratios += [jumps[at - 1] / jumps[[at + beside - 1 for beside in (-4, -3, -2, 2, 3, 4)]].mean() for at in places]
    return float(np.mean(ratios))


def seams_of_cut_and_blended(engine: Any, image: NDArray[np.float32]) -> tuple[float, float, float]:
    """Seams of tiles that are cut; the same places when they are blended; and where the blended tiles end."""
    pieces = list(predict_tiles(engine, about(exact=True), image, tile=96))
    rows, columns = ([window[axis].start for window, _ in pieces] for axis in (0, 1))
    seams = (sorted(set(rows) - {0}), sorted(set(columns) - {0}))
    cut = put_together(iter(pieces), image.shape[:2])
    blended = put_together(predict_tiles(engine, about(), image, tile=96), image.shape[:2])
    ends = ([48, 96, 108, 144, 192], [48, 96, 144, 184, 192, 240])  # of tiles at 0, 48, 96, 108; 0, 48, ..., 184
    return across_seams(cut, seams), across_seams(blended, seams), across_seams(blended, ends)


def test_seams_of_random_networks_are_gone(image: NDArray[np.float32]):
    found = [seams_of_cut_and_blended(Untrained(seed), image) for seed in range(4)]
    cut, blended, ends = np.mean(found, axis=0)
    assert cut > 1.5  # where nothing is blended, borders show: two to three times the jumps beside them
    assert blended < 1.2
    assert ends < 1.25  # less smooth than the seams, for here the weights of two tiles are least


def test_the_memory_of_a_network_that_is_not_exact_is_known(bundle: Path):
    assert not load_bundle(bundle).info.exact
    assert open_engine(bundle, "openvino").pixel_bytes > 0  # the sizes that it asks for are known once its own is


def test_blending_is_said_of_the_scans_that_it_is_done_to(bundle: Path, tmp_path: Path, image: NDArray[np.float32]):
    import tifffile

    (tmp_path / "scans").mkdir()
    pixels = np.uint8(255 * image[..., 0] / image.max())
    tifffile.imwrite(tmp_path / "scans/large.tif", pixels)
    tifffile.imwrite(tmp_path / "scans/small.tif", pixels[:60, :70])
    result = predict(tmp_path / "scans", tmp_path / "out", bundle=bundle, config=PredictConfig(tile=96))
    said = [text for text in result.warnings if "blended" in text]
    assert len(said) == 1
    assert "1 scan (large): " in said[0]
    assert said[0] in read_json(tmp_path / "out/run.json")["result"]["warnings"]


def test_predict_in_bands_gives_what_the_whole_scan_gives(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import tifffile

    (tmp_path / "scans").mkdir()
    pixels = np.random.default_rng(4).integers(0, 256, (700, 97), np.uint8)
    tifffile.imwrite(tmp_path / "scans/slide.tif", pixels, rowsperstrip=64)
    config = PredictConfig(tile=160, probabilities=True, engine="openvino", workers=1)
    monkeypatch.setattr(engine_openvino, "_LARGE", 1)  # as of large tiles: no call before its size is compiled for
    found = {}
    for name, largest_whole in (("whole", 1e9), ("bands", 0.0)):
        monkeypatch.setattr(scan_rows, "_WHOLE", largest_whole)
        predict(tmp_path / "scans", tmp_path / name, bundle=bundle, config=config)
        place = tmp_path / name / "slide.probabilities.ome.zarr"
        found[name] = FORMATS["ome-zarr"].read(place, kind=PROBABILITIES)
    assert len(predict_scan.wanted_bands(load_bundle(bundle).info, 160, 700)) == 2
    np.testing.assert_array_equal(found["bands"], found["whole"])
    assert (tmp_path / "bands/table.csv").read_text() == (tmp_path / "whole/table.csv").read_text()
