"""The `unetseg` command: every stage, on one project.

With ``PREFECT_API_URL`` set, stages run as flows of that server and show in its UI; without, as plain library calls,
so that no server has to start. Either way the settings, the files and the results are the same.

Exit status: 0 done, 1 failed, 2 wrong usage or settings, 3 finished with quarantined scans.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.answers import finish, say_evaluation, say_nightly, say_plan, say_predict, say_training
from flows.cli_models import models
from flows.cli_options import CLUSTER, JSON, MODEL, PROCESSES, PROJECT, RESOURCE, SET, run_stage
from flows.cli_predictions import predictions
from flows.console import Console, end_if_unread, import_keras_quietly, log_to_stderr
from flows.dry_run import dry_run_predict
from flows.ingest_summary import say_ingest
from unetseg.errors import UnetsegError, UsageError

__all__ = ["main"]

FAILED, WRONG_USAGE = 1, 2


class _Group(click.Group):
    """Turns the library's errors into one line and an exit status, and into JSON where that was asked for."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.meta["unetseg.json"] = "--json" in args
        return super().parse_args(context, args)

    def invoke(self, context: click.Context) -> Any:  # noqa: ANN401 (click)
        try:
            return super().invoke(context)
        except (UnetsegError, OSError) as error:
            end_if_unread(error)
            status = WRONG_USAGE if isinstance(error, UsageError) else FAILED
            click.echo(f"error: {error}", err=True)
            self._answer(context, str(error), status)
            context.exit(status)
        except click.UsageError as error:
            self._answer(context, error.format_message(), WRONG_USAGE)
            raise

    @staticmethod
    def _answer(context: click.Context, message: str, status: int) -> None:
        Console(as_json=context.meta["unetseg.json"]).finish({"error": message, "status": status})


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="unetseg")
def main() -> None:
    """From a folder of scans and masks to a U-Net that retrains itself every night.

    Begin with `unetseg demo`; then `unetseg init SCANS MASKS --project P`, `unetseg nightly --project P` and `unetseg
    predict FOLDER OUT --project P` on your own folders.
    """
    log_to_stderr()


main.add_command(models)
main.add_command(predictions)


# --------------------------------------------------------------------------- from folders to a project


@main.command()
@click.argument("scans")
@click.argument("masks", required=False)
@PROJECT
@click.option("--guides", default="", help="Folder with one sub-folder per guide mask.")
@click.option("--overwrite", is_flag=True, help="Replace an unetseg.yaml that is there.")
@SET
@JSON
def init(
    scans: str,
    masks: str | None,
    project: str,
    guides: str,
    overwrite: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Look at folders of SCANS and MASKS, print what was found, write unetseg.yaml."""
    from unetseg.config import to_plain
    from unetseg.init import init as look
    from unetseg.storage import locate

    console, folder = Console(as_json=as_json), locate(project)
    found = look(
        locate(scans),
        locate(masks) if masks else None,
        project=folder,
        guides=locate(guides) if guides else None,
        overrides=overrides,
        overwrite=overwrite,
    )
    console.table("", ["found", ""], [list(row) for row in found.rows])
    for warning in found.warnings:
        console.say(f"look at this: {warning}")
    console.say(f"wrote {folder / 'unetseg.yaml'}; next: unetseg nightly --project {project}")
    sources = to_plain(found.sources)
    console.finish({"project": folder, "sources": sources, "rows": found.rows, "warnings": found.warnings})


# --------------------------------------------------------------------------- stages


@main.command()
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
    finish(console, result, bad=[*result.quarantined, *result.failed])


@main.command()
@PROJECT
@SET
@JSON
def train(project: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Train a new model on the dataset."""
    console = Console(as_json=as_json)

    def call() -> Any:  # noqa: ANN401
        from unetseg.project import load_project
        from unetseg.train import train as stage

        loaded = load_project(project, overrides)
        import_keras_quietly()
        with console.progress("train") as tell:
            return stage(loaded, progress=tell)

    result = run_stage("train", call, project=project, overrides=overrides)
    say_training(console, result)
    finish(console, result)


@main.command()
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
    """Choose a model's thresholds and score it on scans it never saw."""
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
    finish(console, result, bad=result.quarantined)


@main.command()
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
    """Choose thresholds of a model anew from its stored curves; the network does not run."""
    console = Console(as_json=as_json)

    def call() -> Any:  # noqa: ANN401
        from unetseg.operating_point import set_thresholds
        from unetseg.project import load_project

        return set_thresholds(load_project(project), criteria, model=model)

    result = run_stage("thresholds", call, project=project, model=model, criteria=criteria)
    say_evaluation(console, result)
    finish(console, result)


@main.command()
@PROJECT
@SET
@CLUSTER
@JSON
def nightly(project: str, overrides: tuple[str, ...], cluster: str, as_json: bool) -> None:
    """Ingest, train if anything changed, evaluate, promote if better."""
    console = Console(as_json=as_json)

    def call() -> Any:  # noqa: ANN401
        from flows.night_with_bars import night_with_bars

        return night_with_bars(console, project, overrides, cluster=cluster)

    result = run_stage("nightly", call, project=project, cluster=cluster, overrides=overrides)
    say_nightly(console, result)
    finish(console, result, bad=[*result.ingest.quarantined, *result.ingest.failed] if result.ingest else [])


@main.command()
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
    """Segment every scan of FOLDER, or of a list of paths (.txt, .csv), into OUT."""
    from unetseg.storage import locate

    console = Console(as_json=as_json)
    given = {"engine": engine, "processes": processes, "resource": resource}
    overrides += tuple(f"predict.{name}={value}" for name, value in given.items() if value is not None)
    chosen, config = _model_to_use(project, bundle, model, overrides)
    scans, target = locate(folder), locate(out)
    if dry_run:
        dry_run_predict(console, scans, target, chosen, config, cluster=cluster, overwrite=overwrite)
        return

    def call() -> Any:  # noqa: ANN401
        from unetseg.predict import predict as stage

        with console.progress("predict") as tell:
            return stage(
                scans,
                target,
                bundle=chosen,
                config=config,
                cluster=cluster,
                project=None if bundle else locate(project),
                overwrite=overwrite,
                progress=tell,
            )

    parameters = {"project": project, "folder": folder, "out": out, "model": model, "cluster": cluster}
    more = {"overwrite": overwrite, "overrides": overrides}
    result = call() if bundle else run_stage("predict", call, **parameters, **more)
    say_predict(console, result)
    finish(console, result, bad=[*result.quarantined, *result.failed])


@main.command()
@PROJECT
@JSON
def settings(project: str, as_json: bool) -> None:
    """Every setting: its value here, its default and its meaning."""
    from flows.settings_table import settings_rows

    console = Console(as_json=as_json)
    rows = settings_rows(project)
    console.table("", ["setting", "value", "default", "meaning"], [list(row) for row in rows])
    console.finish({"settings": [dict(zip(("name", "value", "default", "meaning"), row, strict=True)) for row in rows]})


@main.command()
@PROJECT
@SET
@JSON
def plan(project: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """What training would choose from data and machine, with its reasons."""
    from unetseg.project import load_project

    console, loaded = Console(as_json=as_json), load_project(project, overrides)
    import_keras_quietly()
    from unetseg.train import plan_training

    found = plan_training(loaded).choices
    say_plan(console, found)
    console.finish({"plan": found})


@main.command()
@click.option("--project", default="demo", show_default=True, help="Folder of the demo; made where it is missing.")
@JSON
def demo(project: str, as_json: bool) -> None:
    """Synthetic eyes: nightly flow, bulk prediction, report."""
    from flows.demo import run_demo

    console = Console(as_json=as_json)
    result = run_demo(project, console)
    say_nightly(console, result.nightly)
    say_predict(console, result.predict)
    console.say("look at these:")
    for name, path in result.look_at.items():
        console.say(f"  {name:<12}{path}")
    finish(console, result.predict, bad=[], scores=result.nightly.scores, nightly=result.nightly, **result.look_at)


# --------------------------------------------------------------------------- shared


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


if __name__ == "__main__":
    main()
