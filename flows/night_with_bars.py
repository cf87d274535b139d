"""The nightly stages as library calls, each with its progress bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from flows.console import Console, import_keras_quietly
from unetseg import nightly as library
from unetseg.evaluate import evaluate
from unetseg.ingest import IngestResult, ingest
from unetseg.project import Project, load_project
from unetseg.train import TrainResult, train

__all__ = ["night_with_bars"]


def night_with_bars(
    console: Console, project: str, overrides: Sequence[str], *, cluster: str = ""
) -> library.NightlyResult:
    """Run one night.

    Args:
        console: shows the bars.
        project: folder of the project.
        overrides: settings to change, such as ``train.epochs=5``.
        cluster: address of a running Dask scheduler, for ingest; empty: threads.
    """
    steps = library.Steps(
        ingest=partial(_told_ingest, console, cluster),
        train=partial(_quiet_train, console),
        evaluate=_with_bar(console, "evaluate", evaluate),
        predict=_with_bar(console, "predict", library.predict_after),
    )
    return library.nightly(load_project(project, overrides), steps)


def _told_ingest(console: Console, cluster: str, project: Project) -> IngestResult:
    """Say what was found before anything is trained on it, which may take hours."""
    result: IngestResult = _with_bar(console, "ingest", ingest)(project, cluster=cluster)
    console.say(result.sentence)
    return result


def _quiet_train(console: Console, project: Project) -> TrainResult:
    import_keras_quietly()
    result: TrainResult = _with_bar(console, "train", train, epochs=True)(project)
    return result


def _with_bar(console: Console, title: str, stage: Callable[..., Any], *, epochs: bool = False) -> Callable[..., Any]:
    def shown(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 (whatever the stage takes and gives)
        with console.progress(title, epochs=epochs) as tell:
            return stage(*arguments, progress=tell, **named)

    return shown
