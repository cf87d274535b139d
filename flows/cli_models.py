"""The commands below ``unetseg models``."""

from __future__ import annotations

from dataclasses import asdict

import click

from flows.answers import number, say_aliases, say_plan, say_scores
from flows.cli_options import JSON, PROJECT, run_stage
from flows.console import Console

__all__ = ["models"]


@click.group()
def models() -> None:
    """List, show, promote and roll back models."""


@models.command("list")
@PROJECT
@JSON
def list_(project: str, as_json: bool) -> None:
    """All versions with their scores, oldest first."""
    from unetseg.project import load_project
    from unetseg.registry import list_models

    console = Console(as_json=as_json)
    found = list_models(load_project(project).models)
    rows = [
        [
            item.version,
            item.alias,
            item.created,
            f"{item.validation_score:.3f}",
            number((item.scores or {}).get("macro", {}).get("f1")),
        ]
        for item in found
    ]
    console.table("", ["version", "alias", "created", "validation score", "test F1"], rows)
    console.finish({"models": [asdict(item) for item in found]})


@models.command()
@click.argument("version", default="production")
@PROJECT
@JSON
def show(version: str, project: str, as_json: bool) -> None:
    """What is known of one VERSION (a number, production, previous or latest)."""
    from unetseg.bundle import load_bundle
    from unetseg.config import to_plain
    from unetseg.project import load_project
    from unetseg.registry import model_folder

    console = Console(as_json=as_json)
    bundle = load_bundle(model_folder(load_project(project).models, version))
    info = bundle.info
    console.say(f"model {bundle.version}, created {info.created}, in {bundle.folder}")
    console.say(f"classes {', '.join(info.classes)}; channels {', '.join(info.channels)}")
    console.say(f"guides {', '.join(info.guides) or 'none'}")
    say_plan(console, info.plan)
    for note in info.notes:
        console.say(f"note: {note}")
    if bundle.evaluation:
        say_scores(console, "", bundle.evaluation["scores"])
    console.finish({"version": bundle.version, "info": to_plain(info), "evaluation": bundle.evaluation})


@models.command()
@click.argument("version")
@PROJECT
@click.option("--why", default="promoted by hand", show_default=True, help="Kept in the history.")
@JSON
def promote(version: str, project: str, why: str, as_json: bool) -> None:
    """Make VERSION production."""
    from unetseg.project import load_project
    from unetseg.registry import promote as move

    models_folder = load_project(project).models
    result = run_stage(
        "promote", lambda: move(models_folder, version, why=why), project=project, version=version, why=why
    )
    say_aliases(Console(as_json=as_json), result)


@models.command()
@PROJECT
@click.option("--why", default="rolled back by hand", show_default=True, help="Kept in the history.")
@JSON
def rollback(project: str, why: str, as_json: bool) -> None:
    """Make the previous version production again."""
    from unetseg.project import load_project
    from unetseg.registry import rollback as move

    models_folder = load_project(project).models
    result = run_stage("rollback", lambda: move(models_folder, why=why), project=project, why=why)
    say_aliases(Console(as_json=as_json), result)
