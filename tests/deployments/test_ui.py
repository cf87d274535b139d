"""What somebody does in a browser: a form is filled, a run watched, its results looked at. Real server, real Chromium.

Runs where Playwright and a Chromium are (``make test-ui``). ``UNETSEG_SCREENSHOTS`` names a folder for pictures of all
pages. What the pages ask of other machines is refused, so nothing here depends on them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deployments.machine import Machine

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

pytestmark = [pytest.mark.ui, pytest.mark.slow]

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 90_000  # milliseconds, for a page on a busy machine
CHECKED = 10_000  # milliseconds, for the form to look at its values
CLICKS = 5
A_RUN = 400_000  # milliseconds, until it has ended


@dataclass
class Site:
    """Prefect's UI in a browser."""

    page: Page
    url: str
    take: Callable[[Page, str], object]

    def picture(self, name: str) -> None:
        self.take(self.page, name)

    def sees(self, found: Locator, *, within: int = PATIENCE) -> Locator:
        from playwright.sync_api import expect

        expect(found.first).to_be_visible(timeout=within)
        return found.first

    def open_form(self, flow: str) -> None:
        """As one comes to it: the list of deployments, the deployment, Run, Custom run."""
        self.page.goto(f"{self.url}/v2/deployments")
        row = self.page.get_by_role("row").filter(has=self.page.get_by_text(flow, exact=True))
        self.sees(row)
        self.picture("deployments")
        row.get_by_role("link", name="eyes").click()
        self.page.get_by_role("button", name="Run").click()
        self.picture(f"{flow}-deployment")
        self.page.get_by_role("menuitem", name="Custom run").click()
        self.sees(self.page.get_by_role("button", name="Submit"))
        self.picture(f"{flow}-form")

    def field(self, kind: str, label: str) -> Locator:
        """By its label, which says of most that they are optional."""
        return self.page.get_by_role(kind, name=re.compile(rf"^{label}( \(Optional\))?$")).first  # type: ignore[arg-type]

    def start(self) -> None:
        """Submit, and go to the run's page; a click before the form has looked at what was typed sends nothing."""
        from playwright.sync_api import TimeoutError

        for _ in range(CLICKS):
            try:
                with self.page.expect_request("**/create_flow_run", timeout=CHECKED):
                    self.page.get_by_role("button", name="Submit").click()
                break
            except TimeoutError:
                continue
        self.page.get_by_role("link", name="View run").click()

    def watch(self, name: str) -> None:
        """Look at the run until it has ended: under its own name, completed."""
        ended = self.page.get_by_text(re.compile("^(Completed|Failed|Crashed|Cancelled|Unchanged)$"))
        assert self.sees(ended, within=A_RUN).inner_text() == "Completed"
        self.sees(self.page.get_by_text(re.compile(rf"^{name} \d{{4}}-\d\d-\d\d$")))

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def artifact(self, key: str) -> Locator:
        """What an artifact of this run shows: from the run's tab, by its card and its latest version."""
        back = self.page.url
        self.tab("Artifacts")
        self.page.get_by_role("link").filter(has=self.page.get_by_role("heading", name=key, exact=True)).click()
        self.page.get_by_role("link", name=re.compile("^[0-9a-f]{8}$")).first.click()
        shown = self.sees(self.page.get_by_role("tabpanel", name="Artifact"))
        self.sees(shown.get_by_role("paragraph"))
        self.picture(f"artifact-{key}")
        self._back = back
        return shown

    def back(self) -> None:
        """To the run's page, after an artifact was looked at."""
        self.page.goto(self._back)

    def file(self, path: Path) -> None:
        """A file that an artifact names: a page from a server may not open it, a person may."""
        self.page.goto(path.as_uri())
        self.picture(path.stem)


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser's program."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed; make test-ui does")
    found = shutil.which(os.environ.get("CHROMIUM") or "chromium")
    if found is None:
        pytest.skip("no chromium here: apt-get install chromium, or CHROMIUM=/path/to/one")
    return found


@pytest.fixture
def site(chromium: str, machine: Machine) -> Iterator[Site]:
    """The UI in a fresh browser, which reaches this server only."""
    from playwright.sync_api import sync_playwright

    record = machine.home.read_record()
    assert record is not None
    url = record.url

    def only_here(route: Route) -> None:
        if route.request.url.startswith((f"{url}/", "file:", "data:", "blob:")):
            route.continue_()
        else:
            route.abort()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        context.set_default_timeout(PATIENCE)
        context.route("**/*", only_here)
        yield Site(context.new_page(), url, picture)
        browser.close()


def picture(page: Page, name: str) -> None:
    """Of the whole page, where a folder for it is named."""
    if folder := os.environ.get("UNETSEG_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def runs(machine: Machine) -> int:
    return int(machine.ask("POST", "/flow_runs/count", {}))


def test_bad_values_are_refused_by_the_form(site: Site, machine: Machine) -> None:
    before = runs(machine)
    site.open_form("nightly")
    epochs = site.field("spinbutton", "Epochs")
    epochs.fill("-1")
    site.page.get_by_role("button", name="Submit").click()
    assert "greater than or equal to 0" in epochs.evaluate("field => field.validationMessage")
    site.open_form("predict")
    site.page.get_by_role("button", name="Submit").click()
    site.sees(site.page.get_by_text("'folder' is a required property", exact=True))
    site.sees(site.page.get_by_text("'out' is a required property", exact=True))
    site.picture("predict-refused")
    assert runs(machine) == before


def test_a_night_is_started_watched_and_looked_at(site: Site, machine: Machine) -> None:
    site.open_form("nightly")
    site.field("spinbutton", "Epochs").fill("3")
    for text in ("model.width=6", "train.seed=5"):
        site.page.get_by_role("button", name="Add item").last.click()
        site.page.get_by_role("textbox").last.fill(text)
    site.picture("nightly-filled")
    site.start()
    site.watch("nightly eyes")
    for line in ("model.width = 6 for this run (4 in the project)", "train.epochs = 3 for this run (6 in the project)"):
        site.sees(site.page.get_by_role("log").get_by_text(line))
    site.sees(site.page.get_by_role("log").get_by_text(re.compile("epoch 1 of about 3: loss")))
    site.picture("nightly-run")
    site.tab("Details")
    site.sees(site.page.get_by_text(re.compile(r"^promoted 0001: macro f1 0\.\d+ reaches the floor of 0\.0$")))
    scores = site.artifact("scores")
    for name in ("iris", "pupil", "sclera"):
        site.sees(scores.get_by_role("row", name=re.compile(rf"^{name} [01]\.\d\d\d")))
    pictures = scores.get_by_role("img")
    assert pictures.count() >= 6
    assert all(found.evaluate("image => image.naturalWidth") for found in pictures.all())
    site.back()
    assert site.artifact("training").get_by_role("img", name="curves").evaluate("image => image.naturalWidth")
    site.back()
    site.sees(site.artifact("train-progress").get_by_text(re.compile("100")))
    site.back()
    site.sees(site.artifact("outcome").get_by_text(re.compile("promoted 0001")))
    site.back()
    report = machine.project / "models" / "0001" / "evaluation" / "report.html"
    site.sees(site.artifact("report").get_by_text(str(report)))
    site.file(report)
    site.sees(site.page.get_by_role("heading", name="Model 0001"))


def test_a_folder_is_segmented_from_the_form(site: Site, machine: Machine, eyes: Path) -> None:
    out = machine.home.folder.parent / "out"
    site.open_form("predict")
    site.field("textbox", "folder").fill(str(eyes / "scans"))
    site.field("textbox", "out").fill(str(out))
    site.start()
    site.watch("predict scans")
    site.tab("Details")
    site.sees(site.page.get_by_text(re.compile("^segmented 16 scans with model 0001")))
    site.picture("predict-run")
    shown = site.artifact("prediction")
    site.sees(shown.get_by_role("row", name=re.compile("^iris ")))
    site.sees(shown.get_by_text(str(out / "gallery.html")))
    site.file(out / "gallery.html")
    site.sees(site.page.get_by_role("img"))
    assert site.page.get_by_role("img").first.evaluate("image => image.naturalWidth")
