"""How peers are called: where no tiling is involved, or it is exact, all give what the scan gives in one piece."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of their own imports
    for name in ("torch", "monai.inferers", "csbdeep"):
        pytest.importorskip(name, reason=f"{name} is not installed: make test-monai has it")

    from benchmarks.peers import large_scan
    from benchmarks.peers.same_network import SameNetwork
    from benchmarks.peers.torch_unet import TorchUnet
from unetseg.bundle import BundleInfo
from unetseg.config import ModelConfig, Settings
from unetseg.field_of_view import receptive_field
from unetseg.model import build_unet

SHAPE = (320, 192, 1)  # larger than one band, and than one tile


@pytest.fixture(scope="module")
def same() -> SameNetwork:
    """A small network that has learnt nothing, which matters not."""
    config = ModelConfig(depth=2, width=4)
    model = build_unet(config, classes=2)
    info = BundleInfo(
        classes=("a", "b"),
        guides=(),
        channels=("grey",),
        settings=Settings(model=config),
        pixel_size=None,
        dataset_fingerprint="",
        training_fingerprint="",
        validation_score=0.0,
        software={},
        **vars(receptive_field(model)),
    )
    engine = lambda inputs: np.asarray(model.predict_on_batch(inputs))  # noqa: E731 (an engine is called)
    return SameNetwork(Path(), info, engine, model, TorchUnet(model), off=0.0)


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def test_pieces_by_torch_and_keras_are_the_same(same, image):
    whole = same.by_torch(image)
    assert whole.shape == (*SHAPE[:2], 2)
    assert whole.std() > 1e-3
    np.testing.assert_allclose(same.by_keras(image), whole, atol=1e-5)


def test_our_bands_and_tiles_are_exact(same, image, monkeypatch):
    monkeypatch.setattr(large_scan, "tile_side", lambda info: 96)
    np.testing.assert_allclose(large_scan.ours(same, image), same.by_torch(image), atol=1e-5)


def test_csbdeep_is_exact_with_the_overlap_of_its_table(same, image):
    found = large_scan.csbdeep(same, image, 3)
    np.testing.assert_allclose(found, same.by_torch(image), atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # MONAI's own
def test_monai_is_exact_where_the_window_holds_the_scan_and_not_where_it_is_cut(same, image):
    square = image[:192]
    whole = same.by_torch(square)
    np.testing.assert_allclose(large_scan.slide(same, square, 192), whole, atol=1e-5)
    assert np.abs(large_scan.slide(same, square, 64) - whole).max() > 1e-4
