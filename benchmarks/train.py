"""A training step in ``fit``, fed from Zarr, against the same step on one batch held in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import median_ratio
from unetseg.config import ModelConfig, TrainConfig
from unetseg.dataset import open_dataset
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.project import load_project
from unetseg.synth import write_eyes

_STEPS = 30
_TARGET = 0.95


def measure(folder: Path) -> Iterator[tuple[str, float, str, str, bool | None]]:
    """Default augmentation, patches of 192 x 256, batch 4, width 8."""
    from unetseg.fitting import compile_model
    from unetseg.model import build_unet
    from unetseg.patches import PatchBatches, PatchReader

    eyes = write_eyes(folder / "eyes", subjects=8)
    init(eyes.scans, eyes.masks, project=folder / "project")
    project = load_project(folder / "project")
    ingest(project)
    dataset, config = open_dataset(project.dataset), TrainConfig(batch=4)
    model = build_unet(ModelConfig(width=8), classes=3)
    compile_model(model, config, [1.0, 1.0, 1.0])
    batches = PatchBatches(PatchReader(dataset, dataset.scans("train")), config, (192, 256), steps=_STEPS)
    inputs, masks = batches[0]
    model.fit(batches, verbose=0)  # compiles, and fills the cache of scans

    def in_memory() -> None:
        for _ in range(_STEPS):
            model.train_on_batch(inputs, masks)

    in_memory()
    ratio = median_ratio(lambda: model.fit(batches, shuffle=False, verbose=0), in_memory)
    yield (
        "training step in fit, data from Zarr, of the speed on one batch in memory",
        ratio,
        "x",
        f">= {_TARGET}",
        ratio >= _TARGET,
    )
