"""The commands of the stages: ingest, train, evaluate, thresholds, nightly, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.answers import finish, say_aside, say_evaluation, say_nightly, say_predict, say_training
from flows.cli_options import CLUSTER, JSON, MODEL, PROCESSES, PROJECT, RESOURCE, SET, run_stage
from flows.console import Console, import_keras_quietly
from flows.dry_run import dry_run_predict
from flows.ingest_summary import say_ingest
from unetseg.words import in_project

__all__ = ["STAGES"]


@click.command()
@PROJECT
@SET
@CLUSTER
@JSON
def ingest(project: str, overrides: tuple[str, ...], cluster: str, as_json: bool) -> None:
    """Bring the dataset up to date with scans and masks."""
    console = Console(as_json=as_json)

    def call() -> Any:  # noqa: ANN401
        from unetseg.ingest import ingest as stage
        from unetseg.project import load_project

        with console.progress("ingest") as tell:
            return stage(load_project(project, overrides), progress=tell, cluster=cluster)

    result = run_stage("ingest", call, project=project, cluster=cluster, overrides=overrides)
    say_ingest(console, result)
    console.say(f"next: {in_project('unetseg nightly', project)}")
    finish(console, result, bad=result.aside)


@click.command()
@PROJECT
@SET
@JSON
def train(project: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Train a new model, also where nothing changed.

    A training that was killed goes on. `unetseg nightly` trains only where data or settings are others.
    """
    console = Console(as_json=as_json)

    def call() -> Any:  # noqa: ANN401
        from unetseg.dataset import check_dataset
        from unetseg.project import load_project
        from unetseg.train import train as stage

        loaded = load_project(project, overrides)
        check_dataset(loaded.dataset)  # before Keras, which takes seconds
        import_keras_quietly()
        with console.progress("train", epochs=True) as tell:
            return stage(loaded, progress=tell)

    result = run_stage("train", call, project=project, overrides=overrides)
    say_training(console, result)
    console.say(f"next: {in_project('unetseg evaluate', project)}")
    finish(console, result)


@click.command()
@PROJECT
@click.option("--model", default="", help="A version; else the latest one, and with --on production.")
@click.option("--on", "scans", default="", metavar="SCANS", help="Score other scans instead; thresholds stay.")
@click.option("--masks", default="", help="With --on: the folder of their masks.")
@click.option("--guides", default="", help="With --on: the folder with one sub-folder per guide.")
@click.option("--name", default="", help="With --on: what these scans are called; else as their folder.")
@SET
@JSON
def evaluate(
    project: str,
    model: str,
    scans: str,
    masks: str,
    guides: str,
    name: str,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Choose thresholds of the latest model, and score it."""
    console = Console(as_json=as_json)
    other = {"scans": scans, "masks": masks, "guides": guides, "name": name}
    elsewhere = any(other.values())
    model = model or ("production" if elsewhere else "latest")

    def call() -> Any:  # noqa: ANN401
        from unetseg.evaluate import evaluate as stage
        from unetseg.evaluate_on import evaluate_on
        from unetseg.project import load_project

        with console.progress("evaluate") as tell:
            if elsewhere:
                return evaluate_on(load_project(project, overrides), **other, model=model, progress=tell)
            return stage(load_project(project, overrides), model=model, progress=tell)

    flow, more = ("evaluate_on", other) if elsewhere else ("evaluate", {})
    result = run_stage(flow, call, project=project, model=model, **more, overrides=overrides)
    say_evaluation(console, result)
    if not elsewhere:
        _say_what_to_do_with(console, result.version, project)
    finish(console, result, bad=result.quarantined)


def _say_what_to_do_with(console: Console, version: str, project: str) -> None:
    """What follows an evaluation: use the model where it is production, else make it that, once it was looked at."""
    from unetseg.project import load_project
    from unetseg.registry import read_aliases

    loaded = load_project(project)
    production = read_aliases(loaded.models).production
    following = f"unetseg models promote {version}"
    if production == version:
        guides = " --set predict.guides=GUIDES" if loaded.sources.guides and not loaded.prediction.guides else ""
        following = f"unetseg predict FOLDER OUT{guides}"
    elif production:
        console.say(
            f"{production} is production; both: {in_project(f'unetseg models compare {production} {version}', project)}"
        )
    console.say(f"next: {in_project(following, project)}")


@click.command()
@PROJECT
@MODEL
@click.option(
    "--set",
    "criteria",
    multiple=True,
    metavar="CLASS=CRITERION",
    help="Such as iris=recall_at_precision:0.95, pupil=f_beta:2, sclera=dice or iris=fixed:0.3.",
)
@JSON
def thresholds(project: str, model: str, criteria: tuple[str, ...], as_json: bool) -> None:
    """Choose thresholds of production anew, from its curves.

    The network does not run. --model names another version, such as the latest.
    """
    console = Console(as_json=as_json)

    def call() -> Any:  # noqa: ANN401
        from unetseg.operating_point import set_thresholds
        from unetseg.project import load_project

        return set_thresholds(load_project(project), criteria, model=model)

    result = run_stage("thresholds", call, project=project, model=model, criteria=criteria)
    say_evaluation(console, result)
    _say_what_to_do_with(console, result.version, project)
    finish(console, result)


@click.command()
@PROJECT
@SET
@CLUSTER
@JSON
def nightly(project: str, overrides: tuple[str, ...], cluster: str, as_json: bool) -> None:
    """Ingest, train if anything changed, score, promote if better."""
    console = Console(as_json=as_json)

    def call() -> Any:  # noqa: ANN401
        from flows.night_with_bars import night_with_bars

        return night_with_bars(console, project, overrides, cluster=cluster)

    result = run_stage("nightly", call, project=project, cluster=cluster, overrides=overrides)
    say_nightly(console, result)
    finish(console, result, bad=say_aside(console, result))


@click.command()
@click.argument("folder")
@click.argument("out")
@PROJECT
@click.option("--bundle", default="", help="Folder of a model, instead of the project's.")
@MODEL
@click.option("--engine", type=click.Choice(["auto", "openvino", "keras"]), help="What runs the network.")
@PROCESSES
@CLUSTER
@RESOURCE
@click.option("--dry-run", is_flag=True, help="Say what would be done and what it would cost.")
@click.option("--overwrite", is_flag=True, help="Also do scans again that are up to date; killed, the same goes on.")
@SET
@JSON
def predict(
    folder: str,
    out: str,
    project: str,
    bundle: str,
    model: str,
    engine: str | None,
    processes: int | None,
    cluster: str,
    resource: str | None,
    dry_run: bool,
    overwrite: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Segment every scan of FOLDER into OUT.

    FOLDER may also be a list of paths (.txt, .csv).
    """
    from unetseg.storage import locate

    console = Console(as_json=as_json)
    given = {"engine": engine, "processes": processes, "resource": resource}
    overrides += tuple(f"predict.{name}={value}" for name, value in given.items() if value is not None)
    chosen, config = _model_to_use(project, bundle, model, overrides)
    scans, target = locate(folder), locate(out)
    whose: dict[str, Any] = {"project": None if bundle else locate(project), "cluster": cluster, "overwrite": overwrite}
    if dry_run:
        dry_run_predict(console, scans, target, chosen, config, **whose)
        return

    def call() -> Any:  # noqa: ANN401
        from unetseg.predict import predict as stage

        with console.progress("predict") as tell:
            return stage(scans, target, bundle=chosen, config=config, progress=tell, **whose)

    parameters = {"project": project, "folder": folder, "out": out, "model": model, "cluster": cluster}
    more = {"overwrite": overwrite, "overrides": overrides}
    result = call() if bundle else run_stage("predict", call, **parameters, **more)
    say_predict(console, result)
    finish(console, result, bad=result.aside)


def _model_to_use(project: str, bundle: str, model: str, overrides: tuple[str, ...]) -> tuple[Path, Any]:
    """The bundle's folder and the settings to predict with: the project's, or the bundle's own."""
    from unetseg.bundle import load_bundle
    from unetseg.project import load_project, override
    from unetseg.registry import model_folder
    from unetseg.storage import locate

    if bundle:
        folder = locate(bundle)
        return folder, override(load_bundle(folder).info.settings, overrides).predict
    loaded = load_project(project, overrides)
    return model_folder(loaded.models, model), loaded.prediction


STAGES = (ingest, train, evaluate, thresholds, nightly, predict)
