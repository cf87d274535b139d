"""The reference that is made from the code: all of it is there. What a site is made of needs no Sphinx."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import yaml

import unetseg
from deployments.cli import main
from docs import generate
from unetseg.config import Settings, to_plain

ROOT = Path(__file__).parents[1]


def rows(page: str) -> dict[str, list[str]]:
    """The cells of each row of a page's tables, by the first one."""
    lines = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in page.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in lines}


def test_every_setting_has_a_row():
    plain = to_plain(Settings())
    found = [name for name in rows(generate.settings_page()) if "." in name]
    assert found == [f"{section}.{name}" for section, fields in plain.items() for name in fields]


def test_a_row_tells_values_limits_default_and_meaning():
    found = rows(generate.settings_page())
    assert found["gate.tolerance"] == [
        "number at least 0, at most 1", "`0.02`", "No class may lose more than this of the score."
    ]  # fmt: skip
    assert found["evaluate.confidence"][0] == "number above 0.5, below 1"
    assert found["model.block"][:2] == ["`plain`, `residual`", "`plain`"]
    assert found["model.upsampling"][:2] == ["list of: `nearest`, `bilinear`, `transposed`", '`["nearest"]`']
    assert found["augment.flips"][:2] == ["`true`, `false`", "`true`"]
    assert found["predict.guides"][:2] == ["text", '`""`']


def test_every_field_of_sources_has_a_row():
    found = rows(generate.settings_page())
    assert {"channels", "group", "table", "encoding", "values", "pattern"} <= set(found)
    assert found["path"][1] == "must be given"


def test_every_cell_of_a_table_says_something():
    for page in (generate.settings_page(), generate.flows_page()):
        assert all(cell.strip() for cells in rows(page).values() for cell in cells)


def test_every_command_shows_its_help():
    page = generate.commands_page()
    for name, command in main.commands.items():
        assert f"\n## unetseg {name}\n" in page
        for part in getattr(command, "commands", {}):
            assert f"\n## unetseg {name} {part}\n" in page
    assert page.count("Usage: unetseg") == page.count("## unetseg")


def test_every_deployment_shows_its_parameters():
    content = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text(encoding="utf-8"))
    page = generate.flows_page()
    assert re.findall(r"^## (.+)$", page, flags=re.MULTILINE) == [item["name"] for item in content["deployments"]]
    predict = rows(page.partition("## predict")[2].partition("\n## ")[0])
    assert predict["folder"][0] == "must be given"
    assert predict["model"] == ["`production`", "A version number, latest, production or previous."]
    assert predict["settings"][0] == "[those of the project](settings.md)"


def test_every_public_name_is_shown_in_the_library():
    shown = {name for names in generate.LIBRARY.values() for name in names}
    assert {name for name in shown if "." not in name} == set(unetseg.__all__) - {"__version__"}


def test_other_names_that_the_library_shows_are_public():
    for name in (name for names in generate.LIBRARY.values() for name in names if "." in name):
        module, _, item = name.rpartition(".")
        assert item in importlib.import_module(module).__all__, name


def test_pages_ask_for_what_can_be_generated():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    assert sorted(re.findall(r"<!-- generate: (\w+) -->", text)) == sorted(generate.PAGES)
