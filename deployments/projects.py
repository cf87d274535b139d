"""Which projects are deployed, and what they are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deployments.home import Home
from unetseg.errors import UsageError
from unetseg.json_files import write_json
from unetseg.places import PROJECT_FILE
from unetseg.project import load_project
from unetseg.storage import locate

__all__ = ["choose", "forget", "forgotten", "known", "name_of", "remember", "usable"]

_UNFIT = re.compile(r"[/%&<>{}\"']+")  # what Prefect takes in no name, or would read as a template


def name_of(folder: str) -> str:
    """What the deployments of a project are called: as its folder."""
    return _UNFIT.sub("-", folder.rstrip("/").rpartition("/")[2])


def known(home: Home) -> dict[str, str]:
    """The projects of last time: folder by name."""
    return dict(home.remembered(home.projects).get("projects", {}))


def choose(
    home: Home, named: Sequence[str], here: Path, *, say: Callable[[str], object], empty: bool = False
) -> dict[str, str]:
    """The projects to deploy: those of last time and those that are named; the first time, this folder.

    Args:
        home: what remembers them.
        named: folders or addresses, as typed.
        here: the folder where it was typed.
        say: tells which project has moved.
        empty: whether there may be none.

    Raises:
        UsageError: a folder that is no project, two of one name, or none at all.
    """
    chosen = known(home)
    if not (named or empty or home.projects.exists()):
        if not (here / PROJECT_FILE).exists():
            raise UsageError(
                "no project: name one with --project DIR; unetseg init SCANS MASKS --project DIR makes a new one"
            )
        named = (str(here),)
    for text in named:
        folder = str(load_project(text).folder)
        _add(chosen, name_of(folder), folder, say)
    return chosen


def usable(chosen: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Of the projects of last time those that can be opened, and what is wrong with the others."""
    fine, wrong = {}, []
    for name, folder in chosen.items():
        try:
            load_project(folder)
            fine[name] = folder
        except (UsageError, OSError) as error:
            wrong.append(f"project {name} is left as it was: {error}; to be rid of it: unetseg up --forget {name}")
    return fine, wrong


def remember(home: Home, chosen: Mapping[str, str]) -> None:
    """Keep for the next time."""
    _write(home, chosen, [])


def forget(home: Home, texts: Sequence[str]) -> list[str]:
    """Forget projects, by name or folder; their names. Their deployments are removed with the next `unetseg up`.

    Raises:
        UsageError: there is no such project.
    """
    chosen, gone = known(home), []
    for text in texts:
        name = text if text in chosen else name_of(str(locate(text)))
        if name not in chosen:
            raise UsageError(f"--forget {text}: no such project; there are: {', '.join(chosen) or 'none'}")
        del chosen[name]
        gone.append(name)
    if gone:
        _write(home, chosen, [*forgotten(home), *gone])
    return gone


def forgotten(home: Home) -> list[str]:
    """Names of the projects whose deployments are to be removed."""
    return list(home.remembered(home.projects).get("forgotten", []))


def _write(home: Home, chosen: Mapping[str, str], gone: Sequence[str]) -> None:
    write_json(home.projects, {"schema_version": 1, "projects": dict(chosen), "forgotten": list(gone)})


def _add(chosen: dict[str, str], name: str, folder: str, say: Callable[[str], object]) -> None:
    before = chosen.get(name, folder)
    if before != folder and _is_gone(before):
        say(f"project {name} has moved: no project is in {before} any more; its schedules go on with {folder}")
    elif before != folder:
        raise UsageError(
            f"--project {folder}: another project is called {name} too: {chosen[name]}. Deployments are called as the "
            f"folder of their project: rename one, or be rid of the other with: unetseg up --forget {name}"
        )
    chosen[name] = folder


def _is_gone(folder: str) -> bool:
    """Whether it is known that no project is there."""
    try:
        return not (locate(folder) / PROJECT_FILE).exists()
    except (UsageError, OSError):
        return False
