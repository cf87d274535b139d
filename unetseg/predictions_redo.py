"""After a rollback: make the outputs of a model again, with another, wherever the project predicted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from unetseg.errors import UnetsegError
from unetseg.parallel import Progress, silent
from unetseg.predict import PredictResult, predict
from unetseg.prediction_notes import Notes, read_notes
from unetseg.predictions import Prediction, look_at
from unetseg.project import Project
from unetseg.registry import model_folder
from unetseg.storage import locate
from unetseg.words import counted

__all__ = ["Redone", "list_predictions", "redo"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Redone:
    """What became of the outputs of one folder of scans, or of those that a note tells of that cannot be read.

    Attributes:
        folder: of the scans; empty where it is not known.
        out: of the outputs; empty where it is not known.
        result: of the prediction; None where it failed.
        problem: why it failed, or nothing.
    """

    folder: str
    out: str
    result: PredictResult | None
    problem: str = ""

    @property
    def sentence(self) -> str:
        """What became of it, in numbers."""
        where = f"{self.folder} -> {self.out}: " if self.out else ""
        if self.result is None:
            return f"{where}failed: {self.problem}"
        return (
            f"{where}{counted(self.result.done, 'scan')} done with model {self.result.model}, "
            f"{self.result.skipped} were up to date, {len(self.result.aside)} quarantined"
        )


def list_predictions(
    project: Project, *, model: str = "", not_as: str = "", notes: Notes | None = None
) -> list[Prediction]:
    """Where the project predicted, and which models' outputs are there now.

    What notes tell of that cannot be read is not among it (`unetseg.prediction_notes.Notes.unreadable`).

    Args:
        project: that remembers.
        model: only folders with outputs of this version.
        not_as: only folders with outputs that are not as this version would make them now.
        notes: what it remembers; None: read now.

    Raises:
        UsageError: there is no such alias.
    """
    known = notes or read_notes(project.folder)
    places = groupby(known.remembered, key=lambda about: about.out)
    found = [item for _, group in places for item in look_at(list(group), project)]
    if model:
        found = [item for item in found if item.holds(_version(project, model))]
    if not_as:
        found = [item for item in found if item.wants_redo(_version(project, not_as))]
    return found


def redo(
    project: Project,
    *,
    model: str = "",
    by: str = "production",
    cluster: str = "",
    progress: Progress = silent,
    tell: Callable[[str], None] = logger.info,
) -> list[Redone]:
    """Predict again, with the settings of then, wherever there are outputs of a model.

    Each folder of scans is done with its own settings, those into the same folder of outputs in the order of then. One
    that cannot be done does not stop the others; a call after one that was killed goes on. What a note tells of that
    cannot be read may have been made by any model, so it counts as not done.

    Args:
        project: that remembers.
        model: the version whose outputs are made again; empty: all that ``by`` would make otherwise now.
        by: the model that makes them, a version number or alias.
        cluster: address of a running Dask scheduler; empty: threads of this process.
        progress: told about every scan.
        tell: told what became of each folder, as soon as it is there.

    Raises:
        UsageError: there is no such model.
    """
    bundle = model_folder(project.models, by)
    notes = read_notes(project.folder)
    found = list_predictions(project, model=model, not_as="" if model else bundle.name, notes=notes)
    done = []
    for item in found:
        done.append(_predicted_again(project, item, bundle, cluster, progress))
        tell(done[-1].sentence)
    for note in notes.unreadable:
        done.append(Redone("", "", None, str(note)))
        tell(done[-1].sentence)
    return done


def _predicted_again(project: Project, item: Prediction, bundle: Path, cluster: str, progress: Progress) -> Redone:
    about = item.about
    try:
        result = predict(
            locate(about.folder),
            locate(about.out),
            bundle=bundle,
            config=about.settings,
            cluster=cluster,
            project=project.folder,
            progress=progress,
        )
    except (UnetsegError, OSError) as error:
        return Redone(about.folder, about.out, None, str(error))
    return Redone(about.folder, about.out, result)


def _version(project: Project, name: str) -> str:
    """The number that a name stands for; a version that was removed still has outputs."""
    return name.zfill(4) if name.isdigit() else model_folder(project.models, name).name
