"""A project folder and its ``unetseg.yaml``: where the scans are, and what differs from the defaults."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from unetseg.config import NightlyConfig, PredictConfig, ScanSource, Settings, Sources, to_plain
from unetseg.errors import UsageError
from unetseg.old_settings import renew_settings
from unetseg.places import COMPARISONS, DATA_CHECK, DATASET, EVALUATIONS, MODELS, PROJECT_FILE, RUNS
from unetseg.storage import find, is_remote, locate, read_bytes, refuse_password, stands_alone, write_bytes
from unetseg.words import in_project
from unetseg.yaml_text import parse_yaml

__all__ = [
    "SCHEMA_VERSION",
    "Project",
    "load_project",
    "merge_settings",
    "override",
    "save_project",
    "settings_named",
]

SCHEMA_VERSION = 1
_UNKNOWN = {"unexpected_keyword_argument", "extra_forbidden"}  # what pydantic calls a name that there is not
_HEADER = (
    "# Written by `unetseg init`. Settings that are not here have their defaults: `unetseg settings` lists them.\n"
)


@dataclass(frozen=True)
class Project:
    """A project folder with its sources and settings.

    Attributes:
        folder: the project's folder, absolute.
        sources: where scans, masks and guides are, with absolute paths.
        settings: what each stage uses: defaults, then ``unetseg.yaml``, then overrides.
    """

    folder: Path
    sources: Sources
    settings: Settings

    @property
    def dataset(self) -> Path:
        """The Zarr store that ingest leaves."""
        return self.folder / DATASET

    @property
    def data_check(self) -> Path:
        """The page about the dataset."""
        return self.folder / DATA_CHECK

    @property
    def models(self) -> Path:
        """The folder of trained models and their aliases."""
        return self.folder / MODELS

    @property
    def prediction(self) -> PredictConfig:
        """How scans are segmented; a relative folder of guides is one below the project's."""
        config = self.settings.predict
        return replace(config, guides=_lengthened(config.guides, self.folder)) if config.guides else config

    @property
    def nightly(self) -> NightlyConfig:
        """What a night does; relative folders are below the project's."""
        config = self.settings.nightly
        if not config.predict_folder:
            return config
        folder, out = (_lengthened(path, self.folder) for path in (config.predict_folder, config.predict_out))
        return replace(config, predict_folder=folder, predict_out=out)

    @property
    def runs(self) -> Path:
        """The folder with one sub-folder per training run."""
        return self.folder / RUNS

    @property
    def evaluations(self) -> Path:
        """The folder of evaluations on other scans."""
        return self.folder / EVALUATIONS

    @property
    def comparisons(self) -> Path:
        """The folder of pages that compare two models."""
        return self.folder / COMPARISONS


def load_project(folder: str | Path, overrides: Sequence[str] = ()) -> Project:
    """Read ``unetseg.yaml`` of a project and apply overrides such as ``train.epochs=5``.

    Raises:
        UsageError: no such project, or a setting that does not exist or is out of range.
    """
    folder = locate(folder)
    path = folder / PROJECT_FILE
    content = _read_yaml(path)
    given = content.pop("sources", {})
    # First: where the name "sources" itself is misspelt, that is why there are none.
    settings = _validate(Settings, renew_settings(content, str(path)), str(path))
    sources = _validate(Sources, given, f"{path}: sources")
    return Project(folder, _absolute(sources, folder), override(settings, overrides))


def save_project(project: Project) -> Path:
    """Write ``unetseg.yaml``: the sources, and the settings that differ from the defaults."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "sources": _without_defaults(_relative(project.sources, project.folder)),
    }
    content |= _difference(to_plain(project.settings), to_plain(Settings()))
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    path = project.folder / PROJECT_FILE
    write_bytes(path, (_HEADER + text).encode())
    return path


def override(settings: Settings, overrides: Sequence[str]) -> Settings:
    """Change settings by texts of the form ``section.field=value``.

    Raises:
        UsageError: a text of another form, an unknown setting, a value out of range.
    """
    plain = to_plain(settings)
    for text in overrides:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            raise UsageError(
                f"--set {text}: must look like section.field=value, for example train.epochs=20{_meant(name)}"
            )
        _known(section, plain, "section")
        _known(key, plain[section], f"setting of {section}")
        plain[section][key] = value.strip()  # not as YAML, where *.tif would be an alias; pydantic reads numbers
    result: Settings = _validate(Settings, plain, "--set")
    return result


def settings_named(name: str) -> list[str]:
    """Settings of a name without its section, in any of them; hyphens stand for underscores.

    >>> settings_named("max-minutes"), settings_named("seed")
    (['train.max_minutes'], ['train.seed', 'evaluate.seed'])
    """
    key = name.strip().replace("-", "_")
    return [f"{section}.{key}" for section, items in to_plain(Settings()).items() if key in items]


def _meant(name: str) -> str:
    found = settings_named(name)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def merge_settings(
    settings: Settings, section: str, changed: object, *, shown: object = None, given: Collection[str] | None = None
) -> Settings:
    """Take from ``changed`` (one stage's settings, as a form submits them) every field that somebody changed in it.

    A form always submits all fields; only what differs from what it showed is stronger than ``unetseg.yaml``.

    Args:
        settings: of the project.
        section: of the stage, such as ``train``.
        changed: its settings, as they were submitted.
        shown: its settings as the form showed them; None: the defaults.
        given: names of the fields that were submitted; None: all.
    """
    current = getattr(settings, section)
    before = type(current)() if shown is None else shown
    names = [item.name for item in fields(current) if given is None or item.name in given]
    chosen = {name: getattr(changed, name) for name in names if getattr(changed, name) != getattr(before, name)}
    return replace(settings, **{section: replace(current, **chosen)})


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(read_bytes(path).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UsageError(_no_project(path)) from None
    except ValueError as error:  # also of dates that there are not
        raise UsageError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: must hold sections such as 'sources:' and 'train:', found {type(content).__name__}")
    version = content.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise UsageError(f"{path}: schema_version must be {SCHEMA_VERSION}, found {version!r}; run unetseg init again")
    # A section whose lines are all commented out is None.
    return {name: {} if section is None else section for name, section in content.items()}


def _no_project(path: Path) -> str:
    """What to do where there is no ``unetseg.yaml``: mostly another folder is meant, so none is to be made there."""
    near = _near_project(path.parent)
    such = f", such as {quote(str(near))}" if near else ""
    return (
        f"{path}: no such file, so {path.parent} is no project; look at the path of --project, which names a project's "
        f"folder{such}; a new one is made with: {in_project('unetseg init SCANS MASKS', 'FOLDER')}"
    )


def _near_project(folder: Path) -> Path | None:
    """A project in a folder, or beside it with nearly its name; in a store, where that takes long, nobody looks."""
    if is_remote(folder):
        return None
    inside = sorted(path.parent for path in find(folder, f"*/{PROJECT_FILE}"))
    beside = {path.parent.name: path.parent for path in find(folder.parent, f"*/{PROJECT_FILE}")}
    found = inside or [beside[name] for name in difflib.get_close_matches(folder.name, list(beside))]
    return found[0] if found else None


def _validate(kind: type[Any], plain: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401 (the kind's type)
    """Build a settings class, with pydantic's findings as one line: setting, rule, value, way out."""
    try:
        made = TypeAdapter(kind).validate_python(plain)
        for text in _texts(to_plain(made)):  # settings are stored with each model
            refuse_password(text)
        return made
    except ValidationError as error:
        # A misspelt name comes first: it is why another one is missing.
        found = min(error.errors(), key=lambda item: item["type"] not in _UNKNOWN)
        place = [str(part) for part in found["loc"]]
        if found["type"] in _UNKNOWN:
            raise UsageError(_unknown_setting(kind, place, where)) from None
        value = "" if found["type"] in {"missing", "value_error"} else f", found {found['input']!r}"
        message = found["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list, such as ['a', 'b']")
        raise UsageError(f"{': '.join([where, *filter(None, ['.'.join(place)])])}: {message}{value}") from None


def _texts(plain: Any) -> Iterator[str]:  # noqa: ANN401 (JSON)
    """All texts in a value."""
    if isinstance(plain, str):
        yield plain
    elif isinstance(plain, dict | list | tuple):
        for item in plain.values() if isinstance(plain, dict) else plain:
            yield from _texts(item)


def _unknown_setting(kind: type[Any], place: list[str], where: str) -> str:
    names = _names_at(kind, place[:-1])
    if kind is Settings and len(place) == 1:
        names.append("sources")  # which stand beside the sections of settings
    return f"{where}: {'.'.join(place)}: no such setting{_suggest(place[-1], names)}"


def _names_at(kind: Any, place: Sequence[str]) -> list[str]:  # noqa: ANN401 (a type)
    """Names of the settings at a place such as ``classes.0`` of a settings class; none where others are free."""
    for part in place:
        # What is no settings class is a list of them, and the part a number.
        kind = get_type_hints(kind).get(part) if is_dataclass(kind) else next(iter(get_args(kind)), None)
    return [item.name for item in fields(kind)] if is_dataclass(kind) else []


def _known(name: str, names: Mapping[str, Any], what: str) -> None:
    if name not in names:
        raise UsageError(f"--set: {name!r} is no {what}{_suggest(name, names)}")


def _suggest(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return hint + (f" (there are: {', '.join(names)})" if names else "")


def _absolute(sources: Sources, folder: Path) -> Sources:
    return _with_paths(sources, lambda path: _lengthened(path, folder))


def _lengthened(path: str, folder: Path) -> str:
    return str(locate(path if stands_alone(path) else folder / path))


def _relative(sources: Sources, folder: Path) -> Sources:
    """Paths inside the project become relative, so that the folder can move; others stay where they are."""

    def shorten(path: str) -> str:
        full = locate(path)
        inside = is_remote(full) == is_remote(folder) and full.is_relative_to(folder)
        return full.relative_to(folder).as_posix() if inside else path

    return _with_paths(sources, shorten)


def _with_paths(sources: Sources, change: Any) -> Sources:  # noqa: ANN401 (str -> str)
    table = change(sources.scans.table) if sources.scans.table else ""
    return Sources(
        scans=replace(sources.scans, path=change(sources.scans.path), table=table),
        classes=tuple(replace(item, path=change(item.path)) for item in sources.classes),
        guides=tuple(replace(item, path=change(item.path)) for item in sources.guides),
    )


def _without_defaults(sources: Sources) -> dict[str, Any]:
    plain = to_plain(sources)
    defaults = to_plain(ScanSource(path="-"))
    plain["scans"] = {k: v for k, v in plain["scans"].items() if k in {"path", "channels"} or v != defaults[k]}
    return {key: value for key, value in plain.items() if value}


def _difference(plain: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    changed = {
        section: {key: value for key, value in items.items() if value != defaults[section][key]}
        for section, items in plain.items()
    }
    return {section: items for section, items in changed.items() if items}
