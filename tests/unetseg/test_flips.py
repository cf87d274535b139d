"""The mean over flips, with engines that see a difference between left and right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from unetseg.bundle import Bundle, BundleInfo, load_bundle, save_bundle
from unetseg.config import ModelConfig, PredictConfig, Settings
from unetseg.dataset import open_dataset
from unetseg.engines import engine_for, open_engine
from unetseg.evaluate import evaluate
from unetseg.flips import FLIPS, Flipped
from unetseg.inference import predict_band, predict_tiles
from unetseg.json_files import read_json
from unetseg.model import build_unet
from unetseg.nightly import nightly
from unetseg.predict import predict
from unetseg.project import Project, override
from unetseg.scoring import score_split
from unetseg.tiling import bands_of

SOME = [name for name in FLIPS if name != "none"]
TURNED = {"horizontal": [np.fliplr], "vertical": [np.flipud], "both": [np.fliplr, np.flipud, lambda x: x[::-1, ::-1]]}


class Lopsided:
    """Sums from the top left corner: image and guides, so that each flip gives something else."""

    name, precision, pixel_bytes = "lopsided", "float32", 7.0

    def __call__(self, inputs: Any) -> NDArray[np.float32]:
        return inputs["image"].cumsum(1).cumsum(2) + 0.5 * inputs["guides"].cumsum(2)


@pytest.mark.parametrize("flips", SOME)
def test_the_mean_over_pictures_that_are_turned_and_turned_back(flips: Any):
    random = np.random.default_rng(0)
    image, guides = random.random((6, 9, 1), np.float32), random.random((6, 9, 1), np.float32)

    def seen(turn: Any) -> NDArray[np.float32]:
        return turn(Lopsided()({"image": turn(image)[None], "guides": turn(guides)[None]})[0])

    expected = np.mean([seen(turn) for turn in (lambda x: x, *TURNED[flips])], axis=0)
    engine = Flipped(Lopsided(), flips)
    np.testing.assert_allclose(engine({"image": image[None], "guides": guides[None]})[0], expected, rtol=1e-5)
    assert (engine.name, engine.precision, engine.pixel_bytes) == ("lopsided", "float32", 7.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network of two outputs with a guide, and with depth, so that pooling minds where a tile begins."""
    import keras

    keras.utils.set_random_seed(2)
    config = ModelConfig(depth=2, width=4, outputs=2)
    info = BundleInfo(("a",), ("g",), ("grey",), Settings(model=config), None, "d", "t", 0.5, {})
    return load_bundle(save_bundle(tmp_path_factory.mktemp("models"), build_unet(config, classes=1, guides=1), info))


@pytest.fixture(scope="module")
def scan() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Sides that are no multiples of the stride, so that what is padded is flipped too."""
    random = np.random.default_rng(0)
    return random.random((173, 218, 1)).astype(np.float32), random.integers(0, 2, (173, 218, 1), np.uint8)


def put_together(pieces: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    found = np.full(shape, np.nan, np.float32)
    for window, probabilities in pieces:
        found[window] = probabilities
    return found


@pytest.mark.parametrize("name", ["keras", "openvino"])
@pytest.mark.parametrize("flips", SOME)
def test_tiles_and_bands_equal_the_whole_scan(flips: Any, name: Any, bundle: Bundle, scan: Any):
    image, guides = scan
    info = bundle.info
    engine = engine_for(bundle.folder, PredictConfig(engine=name, flips=flips, precision="float32"))
    ((_, whole),) = predict_tiles(engine, info, image, guides, tile=4096)
    plain = open_engine(bundle.folder, name)
    ((_, unflipped),) = predict_tiles(plain, info, image, guides, tile=4096)
    assert np.abs(whole - unflipped).max() > 1e-3
    tile = 2 * info.halo + 40
    tiled = put_together(predict_tiles(engine, info, image, guides, tile=tile), whole.shape)
    assert np.abs(tiled - whole).max() <= 1e-5
    for span in bands_of(173, rows=64, halo=info.halo, stride=info.stride):
        rows = slice(*span.outer)
        pieces = predict_band(engine, info, image[rows], guides[rows], rows=span, tile=tile)
        band = put_together(pieces, (span.inner[1] - span.inner[0], *whole.shape[1:]))
        assert np.abs(band - whole[slice(*span.inner)]).max() <= 1e-5


def test_evaluate_scores_what_predict_does_with_the_same_flips(trained: Project):
    bundle, dataset = load_bundle(trained.models / "0001"), open_dataset(trained.dataset)
    found = score_split(bundle, dataset, "test", PredictConfig(flips="horizontal"))
    scan = found.scans[0]
    image, engine = dataset.image(scan), open_engine(bundle.folder)
    mean = (engine({"image": image[None]})[0] + engine({"image": image[None, :, ::-1]})[0][:, ::-1]) / 2
    marked, truth = mean >= bundle.thresholds, dataset.masks(scan)
    positives = [int((marked & (truth == 1))[..., k].sum()) for k in range(3)]
    assert found.counts[0][:, 0].tolist() == positives


def test_flips_are_recorded_told_of_and_evaluated_anew(trained: Project, eyes: Path, tmp_path: Path):
    model = trained.models / "0001"

    def warned(flips: Any, out: str) -> list[str]:
        result = predict(eyes / "scans", tmp_path / out, bundle=model, config=PredictConfig(flips=flips))
        return [text for text in result.warnings if "predict.flips" in text]

    assert not warned("none", "plain")
    assert "evaluated with predict.flips=none" in warned("both", "before")[0]
    flipped = replace(trained, settings=override(trained.settings, ["predict.flips=both"]))
    night = nightly(flipped)  # nothing is trained, but it is evaluated as it predicts, and meets the gate again
    assert (night.outcome, night.version) == ("kept", "0001")
    record = read_json(model / "evaluation/evaluation.json")
    assert record["inference"] == {"flips": "both", "tile": None, "precision": "float32", "change": None}
    assert "mirror images (flips: both)" in (model / "evaluation/MODEL_CARD.md").read_text()
    assert not warned("both", "after")
    assert len(warned("none", "plain")) == 1
    evaluate(trained)
    assert read_json(model / "evaluation/evaluation.json")["inference"]["flips"] == "none"
