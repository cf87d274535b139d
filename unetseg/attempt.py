"""One attempt at a training: network, patches and loss from a plan, and the fit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import BundleInfo, load_bundle
from unetseg.checkpoint import FitOutcome
from unetseg.class_statistics import class_weights
from unetseg.config import Settings
from unetseg.dataset import Dataset
from unetseg.dataset_index import Index
from unetseg.devices import spread
from unetseg.engines import load_network
from unetseg.errors import BundleError, UsageError
from unetseg.fitting import Patches, compile_model, fit
from unetseg.heads import output_scales
from unetseg.model import build_unet
from unetseg.network_drawing import draw_network, write_summary
from unetseg.parallel import Progress
from unetseg.patch_reader import PatchReader
from unetseg.patches import PatchBatches, grid_patches
from unetseg.plan import Plan
from unetseg.project import Project
from unetseg.registry import model_folder, read_aliases

__all__ = ["attempt"]

logger = logging.getLogger(__name__)

# Validation patches an epoch: a part of those that it learns from, since scoring one costs a third of learning from it;
# half as many of the training split, which is enough to see overfitting.
_PROBED_SHARE = 6
_PROBED = (16, 64)


def attempt(
    project: Project, dataset: Dataset, plan: Plan, run: Path, progress: Progress
) -> tuple[keras.Model, FitOutcome]:
    """Build the network, the patches and the loss, and fit.

    Args:
        project: whose production model a warm start begins with.
        dataset: to learn from.
        plan: without gaps.
        run: folder of the checkpoint and the drawings.
        progress: told about every epoch.

    Returns:
        The network with its best weights, in float32 and on one device whatever it was trained in; and how it went.

    Raises:
        UsageError: settings and dataset do not fit each other.
        DataError: the loss became not-a-number.
    """
    settings = plan.settings
    keras.utils.set_random_seed(settings.train.seed)
    with _policy(settings.train.precision), spread(settings.train.devices):
        model = _build(dataset, settings)
        if settings.train.warm_start:
            _warm_start(model, project, dataset.index)
        _draw(run, model)
        weights = class_weights(dataset.class_fractions(), settings.loss)
        compile_model(model, settings.train, settings.loss, weights)
        patches = _patches(dataset, plan, model)
        try:
            outcome = fit(model, patches, settings.train, run, progress)
        finally:
            patches.batches.close()
    with _policy("float32"):  # engines on other machines know nothing of mixed precision
        trained = _build(dataset, settings)
    trained.set_weights(model.get_weights())
    return trained, outcome


@contextmanager
def _policy(name: str) -> Iterator[None]:
    """Keras' precision policy meanwhile; the caller's own afterwards."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _patches(dataset: Dataset, plan: Plan, model: keras.Model) -> Patches:
    config, scans = plan.settings.train, dataset.scans("train")
    reader = PatchReader(dataset, scans)
    batches = PatchBatches(
        reader,
        config,
        plan.settings.augment,
        plan.shape,
        scales=output_scales(model),
    )
    probed = min(max(config.steps_per_epoch * config.batch // _PROBED_SHARE, _PROBED[0]), _PROBED[1])
    validation = grid_patches(PatchReader(dataset, dataset.scans("validation"), held=False), plan.shape, probed)
    training = grid_patches(PatchReader(dataset, scans, held=False), plan.shape, probed // 2)
    logger.info("training on %d scans, patches of %d x %d, %d steps an epoch", len(scans), *plan.shape, len(batches))
    return Patches(batches, validation, training, dataset.index.classes)


def _build(dataset: Dataset, settings: Settings) -> keras.Model:
    index, fractions = dataset.index, dataset.class_fractions()
    return build_unet(
        settings.model,
        input_shape=(None, None, len(index.channels)),
        classes=len(index.classes),
        guides=len(index.guides),
        class_prior=fractions.tolist(),
    )


def _warm_start(model: keras.Model, project: Project, index: Index) -> None:
    """Take the weights of production, where they mean the same; else say why not."""
    production = read_aliases(project.models).production
    if production is None:
        logger.info("train.warm_start: there is no production model yet; training begins anew")
        return
    try:
        bundle = load_bundle(model_folder(project.models, production))
        weights = load_network(bundle.folder).get_weights()
    except (BundleError, UsageError) as error:  # a new model is the way out of a damaged one
        logger.warning("train.warm_start: model %s cannot be used (%s); training begins anew", production, error)
        return
    if difference := _difference(bundle.info, weights, model, index):
        logger.warning("train.warm_start: model %s %s; training begins anew", production, difference)
        return
    model.set_weights(weights)
    logger.info("training begins with the weights of model %s", production)


def _difference(info: BundleInfo, weights: list[NDArray[np.float32]], model: keras.Model, index: Index) -> str:
    """Why weights do not mean the same in this network; empty where they do."""
    for kind in ("classes", "channels", "guides"):
        if getattr(info, kind) != getattr(index, kind):
            return f"has other {kind}"
    same = [found.shape for found in weights] == [wanted.shape for wanted in model.get_weights()]
    return "" if same else "is another network"


def _draw(run: Path, model: keras.Model) -> None:
    """The network in words and as a picture, before it trains."""
    write_summary(run / "network.txt", model)
    draw_network(run / "network.png", model)
