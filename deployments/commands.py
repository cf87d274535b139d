"""`unetseg up`, `unetseg down`, `unetseg status` and `unetseg notify`."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli_options import JSON
from flows.console import Console, say_if_read

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["down", "notify", "status", "up"]

_NOT_UP = 1  # exit status of `status`

HOME = click.option("--home", "folder", default="", help="Where all is kept; else UNETSEG_HOME, else ~/.unetseg.")


@click.command()
@HOME
@click.option("--project", "named", multiple=True, metavar="DIR", help="A project to add; may be given several times.")
@click.option("--forget", "forgotten", multiple=True, metavar="NAME", help="Remove the deployments of a project.")
@click.option("--port", default=4200, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option(
    "--schedule",
    "cron",
    is_flag=False,
    flag_value="",
    metavar="[CRON]",
    help="Switch the nights on, at 2 o'clock unless told otherwise, such as --schedule '30 1 * * *'.",
)
@click.option("--no-schedule", "off", is_flag=True, help="Switch the nights off.")
@click.option(
    "--timezone", default="", metavar="ZONE", help="Of --schedule, such as Europe/Berlin; else this machine's."
)
@click.option("--detach", is_flag=True, help="Go on in the background.")
def up(
    folder: str,
    named: tuple[str, ...],
    forgotten: tuple[str, ...],
    port: int,
    cron: str | None,
    off: bool,
    timezone: str,
    detach: bool,
) -> None:
    """Start server, workers and deployments on this machine.

    They are watched, and started again where they end by themselves; Ctrl-C stops all.

    Without --project: the projects of last time; the first time, the folder you are in. While it runs, the same command
    in another terminal adds projects and deploys anew. Schedules stay as they are, unless --schedule or --no-schedule
    is given: for the projects that are named, or for all.
    """
    from deployments.home import find_home, open_home
    from deployments.projects import choose, forget, name_of, usable
    from deployments.schedules import Nights
    from deployments.up import Wish, bring_up
    from unetseg.errors import UsageError
    from unetseg.full_disk import disk_errors_name
    from unetseg.storage import locate

    if off and cron is not None:
        raise UsageError("--no-schedule: goes not with --schedule")
    nights = Nights(on=False if off else None if cron is None else True, cron=cron or "", timezone=timezone)
    nights.check()
    home = find_home(folder)
    with disk_errors_name(home.folder):
        open_home(home)
        forget(home, forgotten)
        named = tuple(str(locate(text)) for text in named)
        projects, wrong = usable(choose(home, named, Path.cwd(), say=say_if_read, empty=bool(forgotten)))
        for sentence in wrong:
            click.echo(sentence, err=True)
        of = tuple(name_of(text) for text in named) or tuple(projects)
        bring_up(home, Wish(projects, named, nights, of, port), detach=detach, say=say_if_read)


@click.command()
@HOME
def down(folder: str) -> None:
    """Stop what `unetseg up` has started.

    Runs first, which can go on later, then all else.
    """
    from deployments.home import find_home
    from deployments.up import bring_down

    bring_down(find_home(folder), say_if_read)


@click.command()
@HOME
@JSON
@click.pass_context
def status(context: click.Context, folder: str, as_json: bool) -> None:
    """What runs, what is next. Exit status 0: all is up; 1: it is not."""
    from deployments.home import find_home
    from deployments.status import look, say_status

    console, found = Console(as_json=as_json), look(find_home(folder))
    say_status(console, found)
    console.finish(found)
    context.exit(0 if found["up"] else _NOT_UP)


@click.command()
@HOME
@click.argument("url", required=False)
@click.option("--off", is_flag=True, help="Tell no more.")
def notify(folder: str, url: str | None, off: bool) -> None:
    """Tell a webhook at URL of failed runs and new production.

    The server is that of `unetseg up`, or, with PREFECT_API_URL set and without --home, the one that it names.
    """
    from deployments.automations import tell, tell_no_more
    from unetseg.errors import UsageError

    if off == bool(url):
        raise UsageError("unetseg notify: give the address of a webhook, or --off")
    with _server(folder) as server:
        if url:
            tell(server, url)
        else:
            tell_no_more(server)
    click.echo("failures and promotions are told" if url else "nothing is told any more")


def _server(folder: str) -> AbstractContextManager[SyncPrefectClient]:
    """That of a home; of none in particular, the one that the environment names is meant."""
    from deployments.home import find_home
    from deployments.server import client, client_of_settings
    from deployments.up import server_of

    if os.environ.get("PREFECT_API_URL") and not folder:
        return client_of_settings()
    home = find_home(folder)
    return client(home, server_of(home))
