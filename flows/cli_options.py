"""What the commands share: their options, and how a stage is run."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from unetseg.errors import UnetsegError
from unetseg.words import without_login

__all__ = ["CLUSTER", "JSON", "MODEL", "PROCESSES", "PROJECT", "RESOURCE", "SET", "run_stage", "way_out"]

PROJECT = click.option("--project", default=".", show_default="this folder", help="Folder of the project.")


def _from_here(_context: click.Context, _option: click.Parameter, overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Paths that are typed are relative to where they are typed; settings know none but those of the project."""
    return tuple(_absolute(text) for text in overrides)


def _absolute(text: str) -> str:
    name, equals, path = text.partition("=")
    if name.strip() != "predict.guides" or not path.strip():
        return text
    from unetseg.storage import locate

    return f"{name}{equals}{locate(path.strip())}"


SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.FIELD=VALUE",
    callback=_from_here,
    help="Change a setting for this run.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON result on standard output.")
CLUSTER = click.option("--cluster", default="", metavar="ADDRESS", help="A Dask scheduler that already runs.")
RESOURCE = click.option(
    "--cluster-resource", "resource", metavar="NAME=N", help="Work only for workers that announce it, such as GPU=1."
)
PROCESSES = click.option(
    "--processes", type=click.IntRange(min=0), metavar="N", help="Processes that share the work; 0: threads of one."
)
MODEL = click.option(
    "--model", default="production", show_default=True, help="A version number, latest, production or previous."
)


def run_stage(flow: str, call: Callable[[], Any], **parameters: Any) -> Any:  # noqa: ANN401
    """Run a stage: as a flow of the server that the environment names, else as a library call.

    Raises:
        UnetsegError: that server cannot be reached, or refuses.
    """
    if not os.environ.get("PREFECT_API_URL"):
        return call()
    from importlib import import_module

    _check_server()
    return getattr(import_module(f"flows.{flow}"), flow)(**parameters)


def _check_server() -> None:
    """Before any work, and in one sentence: Prefect tells of a lost server in a hundred lines."""
    from httpx import HTTPError
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            client.hello()
    except HTTPError as error:
        url, why = (without_login(text) for text in (os.environ["PREFECT_API_URL"], " ".join(str(error).split())))
        raise UnetsegError(
            f"PREFECT_API_URL={url}: the server cannot be reached, or refuses ({why}); start it, mend PREFECT_API_URL "
            "or PREFECT_API_AUTH_STRING, or unset PREFECT_API_URL, which runs the command without a server"
        ) from None


def way_out(error: click.UsageError) -> str:
    """What helps where an option is not known: how a setting such as ``--epochs`` is given, and where ``--project`` is.

    Empty for others.
    """
    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return ""
    if error.option_name == "--project":
        of_group = isinstance(error.ctx.command, click.Group)
        return " It is given after the command." if of_group else " This is about all projects of the machine."
    if not any(option.name == "overrides" for option in error.ctx.command.params):
        return ""
    from unetseg.project import settings_named

    named = [f"--set {name}=..." for name in settings_named(error.option_name.lstrip("-"))]
    return f" It is a setting: {' or '.join(named)}" if named else ""
