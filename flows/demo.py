"""The demo: synthetic eyes through everything that a user would do with scans of their own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flows.console import Console, import_keras_quietly
from unetseg.init import init
from unetseg.nightly import NightlyResult
from unetseg.places import DATA_CHECK, PROJECT_FILE
from unetseg.predict import PredictResult, predict
from unetseg.project import load_project
from unetseg.registry import model_folder
from unetseg.storage import is_remote, locate
from unetseg.synth import write_eyes

__all__ = ["DemoResult", "run_demo"]

_NEW_SCANS_SEED = 1  # other eyes than those that trained: bulk prediction is for scans without masks

# Two cores must see the end of it within minutes; a real project keeps the defaults. Epochs, not minutes, decide how
# well it learns, so that a busy machine shows the same scores later; the minutes only keep it from taking for ever.
_QUICK = ("model.width=8", "train.batch=4", "train.epochs=12", "train.steps_per_epoch=24", "train.max_minutes=3")
_SIZE = (144, 192)  # of the eyes: as easy to learn as larger ones, in half the time

_THEIRS = ("PREFECT_API_URL", "PREFECT_PROFILE")  # either names a server, or a profile, that the user wants


@dataclass(frozen=True)
class DemoResult:
    """What the demo left."""

    nightly: NightlyResult
    predict: PredictResult
    look_at: dict[str, Path]


def run_demo(project: str | Path, console: Console) -> DemoResult:
    """Draw eyes, write a project, run the nightly flow, and segment a folder of eyes that nobody annotated."""
    folder = locate(project)
    drawn, new = folder / "eyes", folder / "new_eyes"
    if not (folder / PROJECT_FILE).exists():
        console.say(f"drawing eyes of 16 people into {drawn}")
        eyes = write_eyes(drawn, subjects=16, size=_SIZE)
        write_eyes(new, subjects=4, seed=_NEW_SCANS_SEED, size=_SIZE)
        found = init(eyes.scans, eyes.masks, project=folder, overrides=_QUICK)
        console.table("what `unetseg init` found", ["found", ""], [list(row) for row in found.rows])
    console.say(
        "running the nightly flow: ingest, train, evaluate, promote (about two minutes on two cores; "
        "the first half minute starts a Prefect server and Keras)"
    )
    night = _nightly_flow(folder)
    loaded = load_project(folder)
    bundle, out = model_folder(loaded.models), folder / "segmented"
    with console.progress("predict") as tell:
        segmented = predict(new / "scans", out, bundle=bundle, config=loaded.prediction, project=folder, progress=tell)
    look_at = {
        "data_check": folder / DATA_CHECK,
        "report": Path(night.report),
        "gallery": segmented.gallery,
        "table": out / "table.csv",
        "masks": out,
    }
    return DemoResult(night, segmented, look_at)


def _nightly_flow(folder: Path) -> NightlyResult:
    """The Prefect flow, on a server that lives only as long as the run."""
    for name, value in _prefect(folder).items():
        os.environ.setdefault(name, value)
    from flows.nightly import nightly

    import_keras_quietly()
    return cast(NightlyResult, nightly(project=str(folder)))  # called so, a flow gives the result of its final state


def _prefect(folder: Path) -> dict[str, str]:
    """What Prefect is told where the user has said nothing of it; its files stay with the demo."""
    settings = {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }
    if is_remote(folder) or not os.environ.keys().isdisjoint(_THEIRS):  # no database goes into an object store
        return settings
    return settings | {"PREFECT_HOME": str(folder / "prefect")}
