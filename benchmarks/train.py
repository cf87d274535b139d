"""A training step in ``fit``, fed from Zarr and augmented, against the same step on one batch held in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.timing import median_ratio
from unetseg.config import AugmentConfig, LossConfig, ModelConfig, TrainConfig
from unetseg.dataset import open_dataset
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.project import load_project
from unetseg.synth import write_eyes

if TYPE_CHECKING:
    import keras

    from unetseg.patches import PatchBatches

_STEPS = 30
_BATCH = 4
_SHAPE = (192, 256)
_ROUNDS = 7
_TARGET = 0.95


def measure(folder: Path) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """Default augmentation, patches of 192 x 256, batch 4, width 8, depth 4."""
    from unetseg.fitting import compile_model
    from unetseg.model import build_unet

    batches = _batches(folder)
    model = build_unet(ModelConfig(depth=4, width=8), classes=3)
    compile_model(model, batches.config, LossConfig(), [1.0, 1.0, 1.0])
    from_zarr, in_memory = _fitted(model, batches), _fitted(model, _repeated(batches))
    from_zarr()  # compiles, and reads the scans
    in_memory()
    ratio = median_ratio(from_zarr, in_memory, rounds=_ROUNDS)
    yield (
        "training step in fit, data from Zarr, of the speed on one batch in memory",
        ratio,
        "x",
        f">= {_TARGET}",
        ratio >= _TARGET,
    )


def _batches(folder: Path) -> PatchBatches:
    from unetseg.patch_reader import PatchReader
    from unetseg.patches import PatchBatches

    eyes = write_eyes(folder / "eyes", subjects=8)
    init(eyes.scans, eyes.masks, project=folder / "project")
    project = load_project(folder / "project")
    ingest(project)
    dataset = open_dataset(project.dataset)
    reader = PatchReader(dataset, dataset.scans("train"))
    return PatchBatches(reader, TrainConfig(batch=_BATCH, steps_per_epoch=_STEPS), AugmentConfig(), _SHAPE)


def _fitted(model: keras.Model, batches: keras.utils.PyDataset) -> Callable[[], object]:
    """One epoch of ``fit``: on both sides the same compiled step, fed in the same way."""

    def epoch() -> object:
        batches.epoch = getattr(batches, "epoch", 0) + 2  # the next one's first patches are prepared already
        return model.fit(batches, shuffle=False, verbose=0)

    return epoch


def _repeated(batches: PatchBatches) -> keras.utils.PyDataset:
    """A data source that gives the first of the batches again and again."""
    import keras

    first = batches[0]

    class Repeated(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return _STEPS

        def __getitem__(self, index: int) -> object:
            return first

    return Repeated()
