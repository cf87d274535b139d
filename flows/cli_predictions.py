"""The commands below ``unetseg predictions``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from flows.answers import WITH_QUARANTINE, finish, record
from flows.cli_options import CLUSTER, JSON, PROJECT
from flows.console import Console
from unetseg.errors import UnetsegError
from unetseg.words import counted, in_project

if TYPE_CHECKING:  # they would load NumPy, which `--help` does not need
    from unetseg.predictions import Prediction
    from unetseg.predictions_redo import Redone
    from unetseg.project import Project

__all__ = ["predictions", "say_redo"]

_FAILED = 1
_COLUMNS = ["scans", "outputs", "scans by model", "missing", "quarantined", "changed since", "scan is gone"]


@click.group()
def predictions() -> None:
    """List where the project predicted, and predict there again."""


@predictions.command("list")
@PROJECT
@click.option("--model", default="", help="Only folders with outputs of this version.")
@JSON
def list_(project: str, model: str, as_json: bool) -> None:
    """Folders of outputs, and which models made what is there."""
    from unetseg.prediction_notes import read_notes
    from unetseg.predictions_redo import list_predictions
    from unetseg.project import load_project

    console, loaded = Console(as_json=as_json), load_project(project)
    notes = read_notes(loaded.folder)
    found = list_predictions(loaded, model=model, notes=notes)
    rows = [
        [item.about.folder, item.about.out, _models(item.models)]
        + [_count(number) for number in (item.missing, item.quarantined, item.out_of_date, item.gone)]
        for item in found
    ]
    if found:
        console.table("", _COLUMNS, rows)
    elif not notes.unreadable:
        told = f"no predictions with outputs of {model}" if notes.remembered else "no predictions yet"
        console.say(f"{told}; next: {in_project('unetseg predict FOLDER OUT', project)}")
    for item in found:
        if item.problem:
            words = ["unetseg", "predictions", "forget", item.about.out, "--scans", item.about.folder]
            forget = in_project(shlex.join(words), project)
            console.say(f"{_named(item)}: {item.problem}{f'; to forget it: {forget}' if item.folder_gone else ''}")
    if any(item.gone for item in found):
        console.say("outputs of scans that are gone stay until you delete them")
    answer = {"predictions": [_plain(item) for item in found], "redo": _say_wanting(console, loaded, found)}
    finish(console, answer, bad=notes.unreadable, unreadable_notes=notes.unreadable)


@predictions.command()
@PROJECT
@click.option(
    "--model", default="", help="Make outputs of this version again; else all that are not of --with, or out of date."
)
@click.option("--with", "by", default="production", show_default=True, help="The model that makes them.")
@CLUSTER
@JSON
def redo(project: str, model: str, by: str, cluster: str, as_json: bool) -> None:
    """Predict again wherever there are outputs of a model, with the settings of then.

    To be called after `unetseg models rollback`. Runs here, also where a server is set.
    """
    from unetseg.predictions_redo import redo as again
    from unetseg.project import load_project

    console = Console(as_json=as_json)
    with console.progress("predict") as progress:
        done = again(load_project(project), model=model, by=by, cluster=cluster, progress=progress, tell=console.say)
    if not done:
        console.say("nothing to do: no remembered folder has such outputs")
    console.finish({"redone": [record(item) for item in done]})
    sys.exit(_status(done))


@predictions.command()
@click.argument("out")
@click.option("--scans", default="", metavar="FOLDER", help="Only those that were made of this folder of scans.")
@PROJECT
@JSON
def forget(out: str, scans: str, project: str, as_json: bool) -> None:
    """Remember the outputs in OUT no more; the files stay. OUT may be a damaged note, too."""
    from unetseg.prediction_notes import forget as drop
    from unetseg.project import load_project
    from unetseg.storage import locate

    console, folder = Console(as_json=as_json), locate(out)
    drop(load_project(project).folder, folder, folder=locate(scans) if scans else None)
    console.say(f"forgotten: {folder}")
    console.finish({"forgotten": folder})


def say_redo(console: Console, project: str) -> list[str]:
    """After production moved: where there are outputs that it would make otherwise, and the command that mends it.

    Returns:
        The folders of these outputs.
    """
    from unetseg.predictions_redo import list_predictions
    from unetseg.project import load_project

    try:
        loaded = load_project(project)
        return _say_wanting(console, loaded, list_predictions(loaded))
    except (UnetsegError, OSError) as error:  # production has moved, whatever is wrong with what is remembered
        console.say(f"which outputs are not made by production cannot be told: {error}")
        return []


def _say_wanting(console: Console, project: Project, found: Sequence[Prediction]) -> list[str]:
    from unetseg.registry import read_aliases

    production = read_aliases(project.models).production
    if not production:
        return []
    wanting = [item for item in found if item.wants_redo(production)]
    for item in wanting:
        if item.holds_others_than(production):
            console.say(f"not made by production, {production}: {_named(item)} ({_models(item.models)})")
        else:
            console.say(f"changed since they were made: {_named(item)} ({counted(item.out_of_date or 0, 'scan')})")
    if wanting:
        console.say(f"to make them again: {in_project('unetseg predictions redo', project.folder)}")
    return list(dict.fromkeys(item.about.out for item in wanting))


def _named(item: Prediction) -> str:
    return f"{item.about.folder} -> {item.about.out}"


def _models(models: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(models.items())) or "none"


def _count(number: int | None) -> str:
    return "–" if number is None else str(number)


def _plain(item: Prediction) -> dict[str, Any]:
    """A line for programs: what is remembered, and what is there."""
    from unetseg.config import to_plain

    plain = to_plain(item)
    return {**plain.pop("about"), **plain}


def _status(done: list[Redone]) -> int:
    """1 where a folder failed, 3 where scans were set aside, else 0."""
    results = [item.result for item in done]
    if None in results:
        return _FAILED
    return WITH_QUARANTINE if any(item.quarantined or item.failed for item in results if item) else 0
