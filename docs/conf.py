"""How Sphinx makes the site: ``make docs``.

The source is the root of the repository, so a link between two files means the same here and where the files are looked
at. The side bar follows docs/index.md. Between comments such as ``<!-- generate: settings -->`` and
``<!-- generated -->`` a page gets what `docs.generate` makes of the code.
"""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from docs import generate  # noqa: E402

project = "unetseg"
author = "the authors of unetseg"
root_doc = "README"
extensions = ["myst_parser", "autoapi.extension", "sphinx.ext.napoleon", "sphinx_copybutton"]
include_patterns = ["*.md", "docs/**.md", "deployments/README.md"]
exclude_patterns = [".*", "build", "demo", "dist", "site", "unetseg", "tests", "benchmarks"]
nitpicky = False  # types of other projects in signatures are not looked up: that would ask the net
smartquotes = False
default_role = "code"  # single backticks in docstrings name things

myst_heading_anchors = 4
suppress_warnings = ["autoapi.python_import_resolution"]  # of modules that are not read, below

autoapi_dirs = [str(ROOT / "unetseg")]
autoapi_ignore = [
    path.as_posix() for path in (ROOT / "unetseg").glob("[!_]*.py") if path.stem not in generate.modules()
]
autoapi_generate_api_docs = False
autoapi_add_toctree_entry = False
autodoc_typehints = "description"

html_theme = "furo"
html_title = "unetseg"
html_static_path: list[str] = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
templates_path = ["templates"]
html_additional_pages = {"index": "start.html"}  # what a browser opens first leads to the README
copybutton_prompt_text = "$ "


def navigation() -> str:
    """The side bar: the sections of docs/index.md, their pages under the names that it gives them."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    parts = ["```{toctree}\n:hidden:\nOverview <docs/index>\n```"]
    for title, text in re.findall(r"^## ([^\n]+)$(.*?)(?=^## |\Z)", index, flags=re.MULTILINE | re.DOTALL):
        links = re.findall(r"\[([^\]]+)\]\(([^)#]+)\.md\)", text)
        lines = [f"{name} <{_from_root(target)}>" for name, target in links if target != "../README"]
        parts.append("\n".join(["```{toctree}", ":hidden:", f":caption: {title}", *lines, "```"]))
    return "\n\n".join(parts)


def _from_root(target: str) -> str:
    return (ROOT / "docs" / target).resolve().relative_to(ROOT).as_posix()


def fill(_app: object, name: str, source: list[str]) -> None:
    """Put what is generated into a page."""
    if name == root_doc:
        source[0] += f"\n{navigation()}\n"
    source[0] = re.sub(
        r"<!-- generate: (\w+) -->.*<!-- generated -->",
        lambda found: generate.PAGES[found[1]](),
        source[0],
        flags=re.DOTALL,
    )


def setup(app: Any) -> None:  # noqa: ANN401 (Sphinx)
    """Called by Sphinx."""
    app.connect("source-read", fill)
