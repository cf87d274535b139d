"""The commands below ``unetseg models``."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from flows.answers import number, record, say_comparison, say_notes, say_plan, say_production, say_scores
from flows.cli_options import JSON, PROJECT, run_stage
from flows.console import Console
from unetseg.words import in_project

if TYPE_CHECKING:  # they would load NumPy, which `--help` does not need
    from unetseg.bundle import Bundle

__all__ = ["models"]


@click.group()
def models() -> None:
    """Look at versions, compare, promote, roll back, clean."""


@models.command("list")
@PROJECT
@JSON
def list_(project: str, as_json: bool) -> None:
    """All versions with their scores, oldest first."""
    from unetseg.model_list import list_models
    from unetseg.project import load_project

    console = Console(as_json=as_json)
    found = list_models(load_project(project).models)
    rows = [
        [
            item.version,
            item.alias,
            item.created,
            number(item.validation_score),
            number((item.scores or {}).get("macro", {}).get("f1")),
        ]
        for item in found
    ]
    if found:
        console.table("", ["version", "alias", "created", "validation score", "test F1"], rows)
    else:
        console.say(f"no models yet; next: {in_project('unetseg nightly', project)}")
    for item in found:
        if item.damaged:
            console.say(f"{item.version} is damaged: {item.damaged}")
    console.finish({"models": [asdict(item) for item in found]})


@models.command()
@click.argument("version", default="production")
@PROJECT
@JSON
def show(version: str, project: str, as_json: bool) -> None:
    """What is known of one VERSION (a number, production, previous or latest)."""
    from unetseg.bundle import load_bundle
    from unetseg.config import to_plain
    from unetseg.model_list import alias_of
    from unetseg.project import load_project
    from unetseg.registry import model_folder, read_aliases

    console, folder = Console(as_json=as_json), load_project(project).models
    bundle = load_bundle(model_folder(folder, version))
    alias = alias_of(read_aliases(folder), bundle.version)
    _say_model(console, bundle, alias)
    say_plan(console, bundle.info.plan)
    say_notes(console, bundle.info.notes)
    if bundle.evaluation:
        say_scores(console, "", bundle.evaluation["scores"])
    console.finish(
        {
            "version": bundle.version,
            "alias": alias,
            "digest": bundle.digest,
            "info": to_plain(bundle.info),
            "evaluation": bundle.evaluation,
        }
    )


def _say_model(console: Console, bundle: Bundle, alias: str) -> None:
    """What a model is, what it may be used for, and where it cuts."""
    info, card = bundle.info, bundle.info.settings.card
    rows = {
        "version": bundle.version,
        "status": alias or "neither production nor previous",
        "created": info.created,
        "folder": str(bundle.folder),
        "digest (SHA-256)": bundle.digest or "none: its schema is older than 3",
        "classes": ", ".join(info.classes),
        "channels": ", ".join(info.channels),
        "guides": ", ".join(info.guides) or "none",
        **_deciding(bundle),
        "licence": card.licence or "not stated (card.licence)",
        "intended use": card.intended_use or "not stated (card.intended_use)",
        "limitations": card.limitations or "not stated (card.limitations)",
        "authors": card.authors or "not stated (card.authors)",
    }
    console.table("", ["model", ""], [list(row) for row in rows.items()])


def _deciding(bundle: Bundle) -> dict[str, str]:
    """What makes a pixel a class; thresholds only where they do."""
    unknown = "" if bundle.evaluation else " (not evaluated yet)"
    if bundle.decision.rule == "argmax":
        return {"a pixel is": f"its most probable class{unknown}"}
    cuts = zip(bundle.info.classes, bundle.decision.thresholds, strict=True)
    listed = ", ".join(f"{name} {cut:.3f}" for name, cut in cuts)
    return {"a pixel is": "each class above its threshold", "thresholds": f"{listed}{unknown}"}


@models.command()
@click.argument("version")
@PROJECT
@click.option("--why", default="promoted by hand", show_default=True, help="Kept in the history.")
@JSON
def promote(version: str, project: str, why: str, as_json: bool) -> None:
    """Make VERSION production."""
    from flows.cli_predictions import say_redo
    from unetseg.project import load_project
    from unetseg.registry import promote as move

    models_folder = load_project(project).models
    result = run_stage(
        "promote", lambda: move(models_folder, version, why=why), project=project, version=version, why=why
    )
    console = Console(as_json=as_json)
    say_production(console, result)
    console.finish(record(result) | {"redo": say_redo(console, project)})


@models.command()
@PROJECT
@click.option("--why", default="rolled back by hand", show_default=True, help="Kept in the history.")
@click.option("--of", default="", metavar="VERSION", help="Only where this one is production: twice is then as once.")
@JSON
def rollback(project: str, why: str, of: str, as_json: bool) -> None:
    """Make the previous version production again."""
    from flows.cli_predictions import say_redo
    from unetseg.project import load_project
    from unetseg.registry import rollback as move

    models_folder = load_project(project).models
    result = run_stage("rollback", lambda: move(models_folder, why=why, of=of or None), project=project, why=why, of=of)
    console = Console(as_json=as_json)
    say_production(console, result)
    console.finish(record(result) | {"redo": say_redo(console, project)})


@models.command()
@PROJECT
@JSON
def history(project: str, as_json: bool) -> None:
    """What was promoted, rolled back and removed, when, by whom and why; oldest first."""
    from unetseg.project import load_project
    from unetseg.registry import history as read

    console, lines = Console(as_json=as_json), read(load_project(project).models)
    rows = [
        [item["time"], item.get("who", ""), item["production"] or "", ", ".join(item.get("removed", ())), item["why"]]
        for item in lines
    ]
    console.table("", ["time", "who", "production", "removed", "why"], rows)
    console.finish({"history": list(lines)})


@models.command()
@click.option("--keep", type=click.IntRange(min=1), required=True, help="So many of the newest versions stay.")
@PROJECT
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@JSON
def clean(keep: int, project: str, dry_run: bool, as_json: bool) -> None:
    """Remove the oldest versions, but neither production nor previous."""
    from unetseg.project import load_project
    from unetseg.registry_cleaning import clean as remove

    console, loaded = Console(as_json=as_json), load_project(project)
    remove_old = partial(remove, loaded.models, keep=keep, runs=loaded.runs)
    removed = remove_old(dry_run=True) if dry_run else run_stage("clean", remove_old, project=project, keep=keep)
    console.say(f"{'would remove' if dry_run else 'removed'}: {', '.join(removed) or 'none'}")
    console.finish({"removed": list(removed), "dry_run": dry_run})


@models.command()
@click.argument("before")
@click.argument("after")
@PROJECT
@click.option("--out", default="", help="HTML file; else comparisons/BEFORE-AFTER.html of the project.")
@click.option(
    "--score",
    is_flag=True,
    help="Score what was not scored on today's test scans with today's flips and blended tiles; thresholds stay. Runs "
    "here, also where a server is set.",
)
@JSON
def compare(before: str, after: str, project: str, out: str, score: bool, as_json: bool) -> None:
    """What is better and worse in version AFTER than in version BEFORE, on the same test scans."""
    from unetseg.bundle import load_bundle
    from unetseg.comparison_page import write_comparison
    from unetseg.config import to_plain
    from unetseg.measured_now import measured_today
    from unetseg.project import load_project
    from unetseg.registry import model_folder
    from unetseg.storage import locate

    console, loaded = Console(as_json=as_json), load_project(project)
    a, b = (load_bundle(model_folder(loaded.models, name)) for name in (before, after))
    page = locate(out) if out else loaded.comparisons / f"{a.version}-{b.version}.html"
    today = {}
    if score:
        with console.progress("score") as tell:
            today = measured_today(loaded, (a, b), progress=tell)
    found = write_comparison(page, a, b, config=loaded.settings.evaluate, today=today)
    say_comparison(console, found)
    for sentence in found.why_anew:
        console.say(sentence)
    console.say(f"page: {page}")
    console.finish({"page": page, "comparison": to_plain(found)})
