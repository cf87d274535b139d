"""Pages of the reference, made from the code when the site is made: they cannot tell of what is not there.

Settings and flows are read from the schemas that check them, commands from the command itself, and the library's names
from its ``__all__``. Nothing here imports Keras.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["LIBRARY", "PAGES", "commands_page", "flows_page", "library_page", "modules", "settings_page"]

ROOT = Path(__file__).parents[1]
_WIDTH = 100  # columns of the texts of --help

LIBRARY: Mapping[str, tuple[str, ...]] = {
    "Stages": (
        "unetseg.init.init",
        "unetseg.ingest.ingest",
        "unetseg.plan.make_plan",
        "unetseg.train.train",
        "unetseg.evaluate.evaluate",
        "unetseg.evaluate_on.evaluate_on",
        "unetseg.nightly.nightly",
        "unetseg.predict.predict",
    ),
    "Network": ("build_unet", "main_output", "output_scales", "scaled_targets", "predict_any_size", "receptive_field"),
    "Losses and metrics": ("CompositeLoss", "Recall", "Precision", "DiceScore", "IoU"),
    "Curves and thresholds": ("unetseg.histograms.Histograms", "unetseg.thresholds.choose_threshold"),
    "Projects, datasets, models": ("load_project", "Project", "open_dataset", "load_bundle", "open_engine"),
    "Settings": (
        "Settings",
        "IngestConfig",
        "ModelConfig",
        "TrainConfig",
        "EvaluateConfig",
        "GateConfig",
        "PredictConfig",
    ),
    "Other": ("UnetsegError", "write_eyes"),
}
"""What the page of the library shows, by subject: names of `unetseg`, or paths of others that people call."""


# --------------------------------------------------------------------------- settings


def settings_page() -> str:
    """Every setting with its type, limits, default and meaning, a table per section of ``unetseg.yaml``."""
    from pydantic import TypeAdapter

    from unetseg.config import Settings, Sources

    parts = []
    schema = TypeAdapter(Settings).json_schema()
    for name, field in schema["properties"].items():
        config = schema["$defs"][field["$ref"].rpartition("/")[2]]
        parts += [f"## {name}", config["description"], _table(f"{name}.", config)]
    sources = TypeAdapter(Sources).json_schema()["$defs"]
    for name, kind in (("scans", "ScanSource"), ("classes", "ClassSource"), ("guides", "GuideSource")):
        each = "" if name == "scans" else " A list; each entry has these."
        parts += [f"## sources.{name}", _paragraph(sources[kind]["description"]) + each, _table("", sources[kind])]
    return "\n\n".join(parts)


def _table(prefix: str, config: Mapping[str, Any]) -> str:
    rows = [
        (f"`{prefix}{name}`", _kind(field), _default(name, field, config), field.get("description", "Its name."))
        for name, field in config["properties"].items()
    ]
    return markdown_table(("setting", "values", "default", "meaning"), rows)


def _default(name: str, field: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    if name in config.get("required", ()):
        return "must be given"
    return f"`{_plain(field['default'])}`"


def _plain(value: object) -> str:
    """A value as YAML takes it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) and value else json.dumps(value)


def _kind(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        return f"list of: {_kind(field['items'])}"
    words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    return " ".join([words[field["type"]], *_limits(field)])


def _limits(field: Mapping[str, Any]) -> Iterator[str]:
    named = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
        "maxLength": "of at most so many characters:",
    }
    limits = [f"{words} {_plain(field[key])}" for key, words in named.items() if key in field]
    if limits:
        yield ", ".join(limits)


# --------------------------------------------------------------------------- commands


def commands_page() -> str:
    """Each command with its ``--help``."""
    import click

    from deployments.cli import main

    def walk(command: click.Command, words: str, parent: click.Context | None) -> Iterator[str]:
        options = {**command.context_settings, "terminal_width": _WIDTH}
        context = click.Context(command, info_name=words.split()[-1], parent=parent, **options)
        yield f"## {words}\n\n```text\n{command.get_help(context)}\n```"
        for name, part in sorted(getattr(command, "commands", {}).items()):
            yield from walk(part, f"{words} {name}", context)

    return "\n\n".join(walk(main, "unetseg", None))


# --------------------------------------------------------------------------- flows


def flows_page() -> str:
    """Each deployment with the parameters of its flow."""
    from importlib import import_module

    import yaml

    content = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text(encoding="utf-8"))
    parts = []
    for item in content["deployments"]:
        module, _, name = item["entrypoint"].partition(":")
        schema = getattr(import_module(module), name).parameters
        queue = item["work_pool"].get("work_queue_name")
        where = f"Pool `{item['work_pool']['name']}`" + (f", queue `{queue}`." if queue else ".")
        rows = [
            (f"`{key}`", _flow_default(key, field, schema), field.get("description", ""))
            for key, field in schema.properties.items()
        ]
        parts += [f"## {item['name']}", f"{item['description'].strip()} {where}"]
        parts.append(markdown_table(("parameter", "default", "meaning"), rows))
    return "\n\n".join(parts)


def _flow_default(name: str, field: Mapping[str, Any], schema: Any) -> str:  # noqa: ANN401 (Prefect's)
    if name in schema.required:
        return "must be given"
    if "$ref" in field or "allOf" in field:
        return "[those of the project](settings.md)"
    return f"`{_plain(field.get('default'))}`"


# --------------------------------------------------------------------------- library


def library_page() -> str:
    """The directives that show signatures and docstrings of the public names."""
    return "\n\n".join(f"## {title}\n\n" + "\n\n".join(map(_directive, names)) for title, names in LIBRARY.items())


def modules() -> set[str]:
    """The modules of `unetseg` that hold these names: nothing else needs to be read."""
    return {_path(name).split(".")[1] for names in LIBRARY.values() for name in names}


def _path(name: str) -> str:
    import unetseg

    return name if "." in name else f"unetseg.{unetseg._HOMES[name]}.{name}"


def _directive(name: str) -> str:
    path = _path(name)
    kind = "class" if name.rpartition(".")[2][0].isupper() else "function"
    return f"```{{eval-rst}}\n.. autoapi{kind}:: {path}\n```"


def markdown_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table; what would end a cell is escaped."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_paragraph(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _paragraph(text: str) -> str:
    return " ".join(text.split())


PAGES: Mapping[str, Callable[[], str]] = {
    "commands": commands_page,
    "flows": flows_page,
    "library": library_page,
    "settings": settings_page,
}
"""By the name that a page's comment gives, such as ``<!-- generate: settings -->``."""
