"""What a prediction is about to do: model, settings and scans, checked as far as that goes before work starts."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path

from unetseg.batches import file_weight, in_batches
from unetseg.bundle import Bundle, load_bundle
from unetseg.config import PredictConfig, ScanSource
from unetseg.errors import UsageError
from unetseg.known_masks import known_masks
from unetseg.outputs_folder import check_outputs_folder
from unetseg.places import OUTPUTS_COUNTED
from unetseg.plane_counts import PlaneCounts
from unetseg.predict_batches import PredictBatch
from unetseg.predict_job import Job, make_job
from unetseg.project import load_project
from unetseg.readers import BadFile, ScanRef, list_scans
from unetseg.same_scans import inference_of, inference_today, ran_otherwise
from unetseg.storage import refresh
from unetseg.words import counted

__all__ = ["Prediction", "doubts", "open_prediction"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """The scans of a folder and what is done with them.

    Attributes:
        folder: of the scans; or a list of scans, a plate, or one stack.
        out: folder of the outputs.
        model: the bundle.
        job: what all units share.
        config: the settings as they were given.
        refs: the scans.
        bad: files that cannot be scans, with reasons.
        counts: of the images in the files, to be saved at the end.
        cluster: address of a running Dask scheduler; empty: threads of this process.
        started: when, in seconds since 1970.
        project: its folder, where a project remembers what it segmented; None where it does not.
    """

    folder: Path
    out: Path
    model: Bundle
    job: Job
    config: PredictConfig
    refs: tuple[ScanRef, ...]
    bad: tuple[BadFile, ...]
    counts: PlaneCounts
    cluster: str
    started: float
    project: Path | None = None

    @property
    def name(self) -> str:
        """Of the folder of scans."""
        return self.folder.name

    def batches(self) -> list[PredictBatch]:
        """The scans in batches of about ``predict.batch``, and of fewer where they are large; no file is cut apart."""
        files: dict[Path, list[ScanRef]] = {}
        for ref in self.refs:
            files.setdefault(ref.path, []).append(ref)
        parts = [tuple(chain(*part)) for part in in_batches(files.values(), self._weight)]
        counts = [len({ref.stack for ref in part}) for part in parts]
        before, total = accumulate(counts, initial=0), sum(counts)
        return [
            PredictBatch(self.job, refs, self.name, number, len(parts), done + 1, total)
            for number, (refs, done) in enumerate(zip(parts, before, strict=False), start=1)
        ]

    def _weight(self, pages: list[ScanRef]) -> float:
        return file_weight(pages[0].path, len(pages) / self.job.config.batch)


def open_prediction(
    folder: Path, out: Path, *, bundle: Path, config: PredictConfig, cluster: str = "", project: Path | None = None
) -> Prediction:
    """Look at model, settings and folders.

    Args:
        folder: of scans; or a list of scans, a plate, or one stack.
        out: where the outputs go.
        bundle: folder of the model.
        config: the settings.
        cluster: address of a running Dask scheduler; empty: threads of this process.
        project: folder of the project that shall remember the outputs; its masks and guides are no scans.

    Raises:
        UsageError: a folder is missing or empty, settings do not fit the model, or guides are needed and not given.
        BundleError: the model is damaged.
    """
    started = time.time()
    model = load_bundle(bundle)
    _check_settings(model, config)
    refresh(folder)
    counts = PlaneCounts(out / OUTPUTS_COUNTED)
    source = ScanSource(str(folder), config.pattern, config.exclude, channels=model.info.channels)
    loaded = load_project(project) if project else None
    masks = known_masks(source, loaded.sources) if loaded else frozenset()
    refs, bad = list_scans(source, counts, without=masks)
    check_outputs_folder(out, folder, loaded)
    if masks:
        logger.info("%s: %s left out, which the project knows as masks or guides", folder, counted(len(masks), "file"))
    for warning in doubts(model, config):  # before the work, so that it can be stopped
        logger.warning(warning)
    return Prediction(
        folder=folder,
        out=out,
        model=model,
        job=make_job(model, out, config),
        config=config,
        refs=tuple(refs),
        bad=tuple(bad),
        counts=counts,
        cluster=cluster,
        started=started,
        project=project,
    )


def doubts(model: Bundle, config: PredictConfig) -> tuple[str, ...]:
    """Says that nobody knows how good the model is, or that its thresholds were chosen for other probabilities.

    Args:
        model: the bundle.
        config: the settings of the prediction.
    """
    if model.evaluation is None:
        cuts = "" if model.decision.rule == "argmax" else ", and the threshold of each class is one half, not chosen"
        return (f"model {model.version} was never evaluated: its scores are unknown{cuts}; run unetseg evaluate first",)
    then, now = inference_of(model.evaluation), inference_today(model.info, config)
    return tuple(
        f"model {model.version} was evaluated with predict.{name}={then[name]}: its scores and thresholds are not "
        f"those of predict.{name}={now[name]}; set it for unetseg evaluate too"
        for name in ran_otherwise(model.evaluation, {"inference": now})
    )


def _why_they_may(model: Bundle) -> str:
    """Why classes may overlap, and what would exclude it."""
    if model.info.settings.model.head == "softmax":
        again = f"unetseg evaluate --model {model.version} --set evaluate.decision=argmax"
        return f", since it was evaluated with evaluate.decision=thresholds; use planes, or run {again}"
    return "; use planes, or train with model.head=softmax"


def _check_settings(model: Bundle, config: PredictConfig) -> None:
    if model.info.guides and not config.guides:
        raise UsageError(
            f"predict.guides: model {model.version} needs the guides {', '.join(model.info.guides)}; give the folder "
            "that holds one sub-folder per guide: --set predict.guides=FOLDER"
        )
    if config.masks == "labels" and len(model.info.classes) > 1 and model.decision.rule != "argmax":
        raise UsageError(
            f"predict.masks: labels gives each pixel one class, but the classes of model {model.version} may overlap"
            f"{_why_they_may(model)}"
        )
    if config.masks == "labels" and len(model.info.classes) > 1 and config.fill_holes:
        raise UsageError(
            f"predict.fill_holes: {config.fill_holes} would give pixels of one class to the class around it as well, "
            "which labels cannot hold; use planes, or 0"
        )
