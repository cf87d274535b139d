"""From ``prefect.yaml`` to deployments of each project, through Prefect's own ``deploy``.

What is deployed is written into the home first: there one can read it, or deploy it by hand.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import yaml

from deployments.environment import deployed, environment
from deployments.home import Home
from deployments.processes import tail
from deployments.projects import forgotten, known, remember
from deployments.schedules import Nights, local_zone, switch
from unetseg.errors import UnetsegError
from unetseg.storage import locked, write_bytes

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["deploy", "deployments", "entries", "said_first"]

_LONGEST = 600  # seconds; each deployment takes a few tenths

_HEADER = (
    "# Written by `unetseg up` from its own prefect.yaml, anew at each start. Nothing that you change here stays.\n"
)


def entries(projects: Mapping[str, str], there: Collection[str]) -> list[dict[str, Any]]:
    """The deployments of all projects.

    One that is there already is deployed without its schedules, and so keeps those it has: what was switched on, or
    changed, in the UI stays. Forms show the settings of the project (docs/adr/0014-what-a-form-shows.md).

    Args:
        projects: folder by name.
        there: the deployments that the server has, such as ``nightly/eyes``.

    Raises:
        UsageError: a folder is no project.
    """
    return [
        _entry(item, name, folder, fresh=f"{item['name']}/{name}" not in there)
        for name, folder in projects.items()
        for item in deployed()["deployments"]
    ]


def said_first(projects: Iterable[str]) -> str:
    """What people are told before deployments are made, which takes a while."""
    return f"deploying {', '.join(projects) or 'nothing: there is no project'}"


def deploy(
    client: SyncPrefectClient,
    home: Home,
    url: str,
    projects: Mapping[str, str],
    nights: Nights,
    nights_of: Sequence[str],
) -> None:
    """Deploy all projects, and remember them; remove the deployments of those that were forgotten.

    Args:
        client: of the server.
        home: where all is kept.
        url: of the server.
        projects: folder by name.
        nights: what becomes of the schedules, ...
        nights_of: ... of which projects.

    Raises:
        UnetsegError: Prefect refuses; with the end of what it said.
    """
    with locked(home.deploying):
        for name in forgotten(home):
            _undeploy(client, name)
        remember(home, {**known(home), **projects})  # also those that cannot be opened today
        content = {"name": "unetseg", "pull": [], "deployments": entries(projects, _there(client))}
        write_bytes(home.prefect_file, (_HEADER + yaml.safe_dump(content, sort_keys=False, width=110)).encode())
        if projects:
            _run_prefect(home, url)
        if nights.on is not None:
            for name in nights_of:
                switch(client, name, nights)


def _entry(item: Mapping[str, Any], name: str, folder: str, *, fresh: bool) -> dict[str, Any]:
    entry = {key: value for key, value in item.items() if key != "schedules"}
    if fresh and "schedules" in item:
        entry["schedules"] = [schedule | {"timezone": local_zone()} for schedule in item["schedules"]]
    return entry | {
        "name": name,
        "tags": [*item["tags"], name],
        "parameters": item["parameters"] | _shown(item["entrypoint"], folder),
    }


def _shown(entrypoint: str, folder: str) -> dict[str, Any]:
    """What the form of a flow shows for a project."""
    from flows.parameters import form_values  # with Prefect, whose settings are made by then

    module, _, function = entrypoint.partition(":")
    return form_values(getattr(import_module(module), function), folder)


def _run_prefect(home: Home, url: str) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file"]
    log = home.logs / "deploy.log"
    with log.open("wb") as output, _in_time():
        done = subprocess.run(
            [*command, str(home.prefect_file)],
            cwd=home.folder,
            env=environment(home, url),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_LONGEST,
            check=False,
            start_new_session=True,  # Ctrl-C in the terminal is not for this
        )
    if done.returncode:
        raise UnetsegError(f"the deployments were refused. Prefect said:\n{tail(log)}\nAll of it: {log}")


@contextmanager
def _in_time() -> Iterator[None]:
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise UnetsegError(f"the deployments took longer than {error.timeout:.0f} s") from None


def _undeploy(client: SyncPrefectClient, name: str) -> None:
    """Remove the deployments of a project; its runs stay to be looked at."""
    mine = {f"{item['name']}/{name}" for item in deployed()["deployments"]}
    for deployment_id, full_name in deployments(client).items():
        if full_name in mine:
            client.delete_deployment(deployment_id)


def _there(client: SyncPrefectClient) -> set[str]:
    return set(deployments(client).values())


def deployments(client: SyncPrefectClient) -> dict[Any, str]:
    """Full names of all that there are, such as ``nightly/eyes``, by id."""
    flows = {flow.id: flow.name for flow in _pages(client.read_flows)}
    return {item.id: f"{flows.get(item.flow_id)}/{item.name}" for item in _pages(client.read_deployments)}


def _pages(read: Any) -> list[Any]:  # noqa: ANN401 (Prefect's methods)
    found: list[Any] = []
    while page := read(offset=len(found)):
        found += page
    return found
