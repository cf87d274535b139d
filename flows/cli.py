"""The `unetseg` command: every stage, on one project.

With ``PREFECT_API_URL`` set, stages run as flows of that server and show in its UI; without, as plain library calls,
so that no server has to start. Either way the settings, the files and the results are the same.

Exit status: 0 done, 1 failed, 2 wrong usage or settings, 3 finished with quarantined scans.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from flows.answers import finish, say_nightly, say_plan, say_predict
from flows.cli_models import models
from flows.cli_options import JSON, PROJECT, SET, way_out
from flows.cli_predictions import predictions
from flows.cli_stages import STAGES
from flows.console import Console, end_if_unread, import_keras_quietly, log_to_stderr
from unetseg.errors import UnetsegError, UsageError
from unetseg.freed_memory import one_heap
from unetseg.words import in_project

__all__ = ["main"]

FAILED, WRONG_USAGE = 1, 2

_TRAIN = ("demo", "train", "nightly")
_GO_ON = ("demo", "ingest", "train", "nightly", "predict")
"""Commands that lose nothing when they are ended."""


class _Group(click.Group):
    """Turns the library's errors into one line and an exit status, and into JSON where that was asked for."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.meta["unetseg.json"] = "--json" in args
        try:
            return super().parse_args(context, args)
        except click.NoSuchOption as error:
            raise click.UsageError(error.format_message() + way_out(error), context) from error

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        missing = args[0] not in self.commands and not context.resilient_parsing
        for group in (models, predictions) if missing else ():
            if args[0] in group.commands:
                context.fail(f"No such command {args[0]!r}. Did you mean '{group.name} {args[0]}'?")
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:  # noqa: ANN401 (click)
        try:
            return super().invoke(context)
        except (UnetsegError, OSError) as error:
            end_if_unread(error)
            status, message = WRONG_USAGE if isinstance(error, UsageError) else FAILED, _in_words(error)
            click.echo(f"error: {message}", err=True)
            self._answer(context, message, status)
            context.exit(status)
        except KeyboardInterrupt:
            if context.invoked_subcommand in _GO_ON:
                click.echo("\nended by you; the same command goes on where it was", err=True)
            raise
        except click.UsageError as error:
            hint = way_out(error)
            message = error.format_message() + hint
            self._answer(context, message, WRONG_USAGE)
            if hint:
                raise click.UsageError(message, error.ctx) from error
            raise

    @staticmethod
    def _answer(context: click.Context, message: str, status: int) -> None:
        Console(as_json=context.meta["unetseg.json"]).finish({"error": message, "status": status})


def _in_words(error: Exception) -> str:
    """What went wrong; the system names a file of which nobody knows that it must be written."""
    if not isinstance(error, PermissionError) or not error.filename:
        return str(error)
    return (
        f"{error.filename}: permission denied; the folder of a project, and one of outputs, must be yours to write into"
    )


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="unetseg")
@click.pass_context
def main(context: click.Context) -> None:
    """From a folder of scans and masks to a U-Net that retrains itself every night.

    Begin with `unetseg demo`; then `unetseg init SCANS MASKS --project P`, `unetseg nightly --project P` and `unetseg
    predict FOLDER OUT --project P` on your own folders.
    """
    log_to_stderr()
    if context.invoked_subcommand in _TRAIN:
        one_heap()


for command in (*STAGES, models, predictions):
    main.add_command(command)


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
    """Look at SCANS and MASKS, and write unetseg.yaml."""
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
    console.say(f"wrote {folder / 'unetseg.yaml'}; {_after_init(project, masks)}")
    sources = to_plain(found.sources)
    console.finish({"project": folder, "sources": sources, "rows": found.rows, "warnings": found.warnings})


def _after_init(project: str, masks: str | None) -> str:
    """What to type next; it survives a copy into a shell, also with spaces in names."""
    if not masks:
        return f"nothing can be trained without masks: {in_project('unetseg init SCANS MASKS --overwrite', project)}"
    return f"next: {in_project('unetseg nightly', project)}"


# --------------------------------------------------------------------------- looking, and the demo


@main.command()
@PROJECT
@JSON
def settings(project: str, as_json: bool) -> None:
    """Every setting: value here, default, meaning and choices."""
    from flows.settings_table import settings_rows

    console = Console(as_json=as_json)
    rows = settings_rows(project)
    table = [[row.name, row.value, row.default, row.meaning_and_choices] for row in rows]
    console.table("", ["setting", "value", "default", "meaning"], table)
    console.finish({"settings": [asdict(row) for row in rows]})


@main.command()
@PROJECT
@SET
@JSON
def plan(project: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """What training would choose from data and machine, and why."""
    from unetseg.dataset import check_dataset
    from unetseg.project import load_project

    console, loaded = Console(as_json=as_json), load_project(project, overrides)
    check_dataset(loaded.dataset)  # before Keras, which takes seconds
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


if __name__ == "__main__":
    main()
