"""The documentation: links lead somewhere, commands are commands, settings are settings, Python runs."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

import click
import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from deployments.cli import main
from unetseg.config import MaskEncoding, Settings, Sources, to_plain
from unetseg.project import override

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deployments").glob("*.md")])
SLOW_PAGES = {"recipes.md"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def blocks(path: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(path.read_text(encoding="utf-8")) if kind == language]


def shell_commands(program: str) -> list[list[str]]:
    """The words of every line of the shell blocks that calls a program, each line once."""
    lines = [line for path in PAGES for text in blocks(path, "sh") for line in text.splitlines()]
    found = [shlex.split(line, comments=True) for line in dict.fromkeys(lines)]
    return [words[1:] for words in found if words[:1] == [program]]


def with_mark(path: Path) -> object:
    """A page; those whose Python trains five networks take a minute, and run with the drills."""
    return pytest.param(path, marks=pytest.mark.drill) if path.name in SLOW_PAGES else path


def flow_parameters(name: str) -> set[str]:
    """Parameters of a flow, read from its source: Prefect is not needed for that."""
    tree = ast.parse((ROOT / "flows" / f"{name}.py").read_text(encoding="utf-8"))
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return {argument.arg for argument in function.args.args}


def run_python(path: Path) -> dict[str, object]:
    """Run the Python of a page, and give back what it has defined."""
    names: dict[str, object] = {"__name__": path.stem}
    for text in blocks(path, "python"):
        exec(compile(text, str(path), "exec"), names)
    return names


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def parse(words: list[str]) -> click.Context:
    """Parse a command line as the command would, without running it."""
    context, command = click.Context(main, info_name="unetseg"), main
    while isinstance(command, click.Group):
        _, command, words = command.resolve_command(context, words)
        context = click.Context(command, parent=context, info_name=command.name)
    command.parse_args(context, list(words))
    return context


@page
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), target
        assert found.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(found), target


@page
def test_pages_of_docs_can_be_found_from_the_index(path: Path) -> None:
    if ROOT / "docs" not in path.parents or path.name == "index.md" or path.parent.name == "benchmarks":
        return
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert f"({path.relative_to(ROOT / 'docs').as_posix()})" in index


@pytest.mark.parametrize("words", shell_commands("unetseg"), ids=" ".join)
def test_commands_parse(words: list[str]) -> None:
    context = parse(words)
    override(Settings(), context.params.get("overrides", ()))


def test_a_wrong_command_does_not_parse() -> None:
    with pytest.raises(click.UsageError, match="No such option"):
        parse(["nightly", "--projects", "here"])
    with pytest.raises(click.UsageError, match="No such command"):
        parse(["nightly-ish"])
    with pytest.raises(click.UsageError, match="Missing parameter: out"):
        parse(["predict", "scans"])


@pytest.mark.parametrize("words", shell_commands("make"), ids=" ".join)
def test_targets_of_make_exist(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{words[0]}:", makefile, flags=re.MULTILINE)


@pytest.mark.parametrize("words", [words for words in shell_commands("prefect") if "run" in words], ids=" ".join)
def test_runs_of_deployments_name_deployments_and_parameters(words: list[str]) -> None:
    flow, _, name = words[words.index("run") + 1].partition("/")
    content = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text(encoding="utf-8"))
    assert flow == name
    assert name in {item["name"] for item in content["deployments"]}
    given = {words[at + 1].partition("=")[0] for at, word in enumerate(words) if word == "--param"}
    assert given <= flow_parameters(name)


@page
def test_examples_of_the_project_file_are_valid(path: Path) -> None:
    for text in blocks(path, "yaml"):
        content = yaml.safe_load(text)
        if "sources" in content:
            assert content.pop("schema_version") == 1
            TypeAdapter(Sources).validate_python(content.pop("sources"))
        TypeAdapter(Settings).validate_python(content)


@pytest.mark.parametrize(
    "path", [with_mark(path) for path in PAGES if blocks(path, "python")], ids=lambda path: path.name
)
def test_python_of_a_page_runs_from_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_python(path)


def test_the_prediction_from_python_gives_an_output_of_each_scan(
    trained_folder: Path, eyes: Path, tmp_path: Path
) -> None:
    segment = cast("Callable[..., list[str]]", run_python(ROOT / "docs" / "faq.md")["segment"])
    names = segment(str(eyes / "scans"), str(tmp_path / "out"), str(trained_folder / "models" / "0001"))
    assert names == ["iris", "pupil", "sclera"]
    assert len(list((tmp_path / "out").glob("*.probabilities.ome.zarr"))) == 16


def test_each_mask_encoding_means_what_its_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unetseg.masks import read_masks
    from unetseg.readers import ScanRef

    path = ROOT / "docs" / "howto" / "mask-encodings.md"
    monkeypatch.chdir(tmp_path)
    names = run_python(path)
    shown = [TypeAdapter(Sources).validate_python(yaml.safe_load(text)["sources"]) for text in blocks(path, "yaml")]
    assert {source.encoding for sources in shown for source in sources.classes} == set(get_args(MaskEncoding))
    for sources in shown:
        found = read_masks(ScanRef("a", Path("scans/a.png")), sources.classes, (64, 64))
        assert (found == np.stack([names["cell"], names["nucleus"]], axis=-1)).all()


@pytest.mark.parametrize("text", [text for path in PAGES for text in blocks(path, "diff")], ids=lambda text: text[4:40])
def test_what_a_page_would_change_is_there(text: str) -> None:
    head, *lines = text.splitlines()
    before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    assert head.startswith("--- ")
    assert before in (ROOT / head[4:]).read_text(encoding="utf-8")


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, command in main.commands.items():
        assert f"unetseg {name}" in text
        for part in getattr(command, "commands", {}):
            assert f"`{part}`" in text or f"`unetseg {name} {part}`" in text


def test_settings_that_pages_name_exist() -> None:
    known = {f"{section}.{name}" for section, items in to_plain(Settings()).items() for name in items}
    sections = "|".join(to_plain(Settings()))
    for path in PAGES:
        if path.parent.name == "benchmarks":  # written by `make bench`; its rows name other libraries' functions
            continue
        named = re.findall(rf"`(?:--set )?((?:{sections})\.[a-z_]+)", path.read_text(encoding="utf-8"))
        files = {name for name in named if name.rpartition(".")[2] in {"json", "keras", "py", "yaml"}}
        assert set(named) - files <= known, path.name
