"""The report page, parsed as a browser would: numbers, words, tables and pictures."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unetseg.bundle import Bundle
from unetseg.config import IngestConfig
from unetseg.dataset import Dataset
from unetseg.dataset_index import Index
from unetseg.histograms import Histograms
from unetseg.report import ErrorPicture, ReportPage, report_page
from unetseg.scan_record import Part, ScanRecord

MakeBundle = Callable[..., Bundle]
CLASSES = ("iris", "pupil")


class Page(HTMLParser):
    """What a test wants to know of a page.

    Attributes:
        rows: of all tables, each a list of texts of its cells.
        texts: of all elements.
        tags: every element's name and attributes.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self._in_cell = True
        if tag == "small" and self._in_cell:
            self.rows[-1][-1] += " | "

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._in_cell:
            self.rows[-1][-1] += data

    def row(self, name: str) -> list[list[str]]:
        """All rows that begin with a name, without it."""
        return [row[1:] for row in self.rows if row and row[0] == name]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def scan(name: str, split: str, iris: int) -> ScanRecord:
    """A scan of 100 pixels."""
    return ScanRecord(
        id=name, key=name, group=name, shape=(10, 10), chunk=16, image=Part(), masks=Part(), guides=Part(), scales=(),
        intensities=(), combinations=((0, 100 - iris), (1, iris)), class_pixels={"iris": iris, "pupil": 0}, split=split,
    )  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    scans = [scan("t1", "train", 30), scan("t2", "train", 10), scan("v1", "validation", 0), scan("e1", "test", 20)]
    index = Index(CLASSES, (), ("grey",), IngestConfig(), scans={item.id: item for item in scans})
    return Dataset(tmp_path, index)


@pytest.fixture
def histograms() -> Histograms:
    truth, probabilities = np.zeros((8, 2), np.int8), np.zeros((8, 2), np.float32)
    truth[:4, 0] = 1
    probabilities[:, 0] = (0.9, 0.8, 0.3, 0.2, 0.4, 0.1, 0.1, 0.0)
    found = Histograms.empty(2)
    found.add(truth, probabilities)
    return found


@pytest.fixture
def picture() -> ErrorPicture:
    """Of iris 4 x 4 pixels of which the left half was found, and as much again was invented."""
    masks, found = np.zeros((12, 12, 2), np.int8), np.zeros((12, 12, 2), bool)
    masks[4:8, 4:8, 0] = 1
    found[4:8, 2:6, 0] = True
    return ErrorPicture("worst: s1", np.random.default_rng(0).random((12, 12, 1), np.float32), masks, found)


@pytest.fixture
def show(make_bundle: MakeBundle, dataset: Dataset, histograms: Histograms) -> Callable[..., Page]:
    """Writes the page of a made-up evaluation with some changes, and parses it."""

    def written(pictures: tuple[ErrorPicture, ...] = (), **change: Any) -> Page:
        bundle = make_bundle()
        evaluation = copy.deepcopy(bundle.evaluation) | change
        return Page(report_page(ReportPage(bundle, dataset, evaluation, histograms, pictures)))

    return written


def test_scores_and_intervals_are_those_of_the_record(show: Callable[..., Page]):
    page = show()
    pixels, outlines = page.row("iris")[:2]
    assert pixels == ["0.501", "0.602", "0.703 | 0.611 to 0.799", "0.804", "0.205", "0.906", "4"]
    assert outlines == ["12.3 | 9.87 to 15.0", "0.407", "0.998", "1.23 %", "0"]
    assert "Hausdorff 95 (µm)" in page.text


def test_what_is_not_measurable_is_a_dash_and_the_page_says_what_a_dash_is(show: Callable[..., Page]):
    page = show()
    assert page.row("pupil")[0] == ["–"] * 6 + ["0"]
    assert page.row("pupil")[1] == ["–", "–", "1.000", "–", "4"]
    assert "–: not measurable" in page.text
    assert "pupil: no curve, for no scan holds it" in page.text


def test_not_a_number_in_a_fresh_record_is_shown_as_none_in_a_stored_one(show: Callable[..., Page]):
    row = {"id": "s1", "group": "g1", "counts": [[10, 0, 10, 80], [0, 0, 0, 100]], "mean_f1": 0.5}
    fresh, stored = (show(scans=[row | {"f1": {"iris": 0.5, "pupil": value}}]) for value in (math.nan, None))
    assert fresh.row("s1") == stored.row("s1") == [["g1", "0.500", "0.500", "–"]]


def test_an_evaluation_of_schema_1_is_shown(show: Callable[..., Page], make_bundle: MakeBundle):
    old = make_bundle("0009").evaluation
    for row in old["scores"].values():
        del row["hausdorff95"], row["surface_dice"]
    page = show(**{"scores": old["scores"], "unit": "pixels"})
    assert page.row("iris")[1] == ["0.998", "1.23 %", "0"]
    assert "Hausdorff" not in page.text


def test_keys_that_schema_1_lacks_may_be_missing(make_bundle: MakeBundle, dataset: Dataset, histograms: Histograms):
    bundle = make_bundle()
    new = {"decision", "unit", "data", "production", "test_fingerprint"}
    evaluation = {key: value for key, value in bundle.evaluation.items() if key not in new}
    assert "Hausdorff 95 (pixels)" in report_page(ReportPage(bundle, dataset, evaluation, histograms, ()))


def test_warnings_stand_above_the_scores(show: Callable[..., Page]):
    text = show().text
    assert text.index("pupil: only 0 test scans hold it") < text.index("Scores", text.index("Trained"))


def test_thresholds_come_with_their_reasons(show: Callable[..., Page]):
    assert show().row("iris")[-1] == ["0.2500", "best for iris"]


def test_class_statistics_are_those_of_the_dataset(show: Callable[..., Page]):
    page = show()
    assert page.row("train") == [["2", "2", "20.00%", "2", "0.00%", "0"]]
    assert page.row("validation") == [["1", "1", "0.00%", "0", "0.00%", "0"]]
    assert page.row("test") == [["1", "1", "20.00%", "1", "0.00%", "0"]]


def test_curve_tells_its_average_precision_and_has_one_picture_per_measurable_class(
    show: Callable[..., Page], histograms: Histograms
):
    page = show()
    assert f"AP {histograms.curve(0).average_precision:.3f}" in page.text
    labels = [found["aria-label"] for tag, found in page.tags if tag == "div" and found.get("role") == "img"]
    assert [label.split(";")[0] for label in labels[:-1]] == ["precision over recall of iris"]


def test_scores_of_single_scans_are_drawn_for_the_scans_that_hold_the_class(show: Callable[..., Page]):
    text = show().text
    assert "iris (4)" in text
    assert "pupil (0)" in text


def test_without_single_scans_there_is_no_list_of_them(show: Callable[..., Page]):
    text = show(scans=[], intervals={}).text
    assert "Worst first" not in text
    assert "Data" in text


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        pytest.param(0.01, 0.09, "+0.050 (95 % interval +0.010 to +0.090): better.", id="better"),
        pytest.param(-0.2, -0.01, "+0.050 (95 % interval -0.200 to -0.010): worse.", id="worse"),
        pytest.param(-0.1, 0.2, "+0.050 (95 % interval -0.100 to +0.200): no difference", id="undecided"),
        pytest.param(None, None, "+0.050; no interval over groups, for fewer than two hold a class.", id="no-interval"),
    ],
)
def test_the_difference_to_production_is_told_in_words(
    low: float | None, high: float | None, words: str, show: Callable[..., Page]
):
    difference = {"score": "f1", "low": low, "high": high, "difference": 0.05}
    production = {"version": "0007", "scores": {"iris": {"f1": 0.5}, "macro": {"f1": 0.6}}, "difference": difference}
    page = show(production=production)
    assert "Model 0007, which was in production" in page.text
    assert words in page.text
    assert ["0.500 → 0.703"] in page.row("iris")
    assert ["0.600 → 0.703"] in page.row("macro")


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        pytest.param({"unit": "µm", "settings": {"surface_tolerance": 2.0}}, {"hausdorff95", "surface"}, id="same"),
        pytest.param({"unit": "pixels", "settings": {"surface_tolerance": 2.0}}, {"surface"}, id="other-unit"),
        pytest.param({"unit": "µm", "settings": {"surface_tolerance": 3.0}}, {"hausdorff95"}, id="other-tolerance"),
        pytest.param({}, set(), id="schema-2"),
    ],
)
def test_distances_stand_beside_those_of_production_only_where_they_are_measured_alike(
    change: dict[str, Any], shown: set[str], show: Callable[..., Page]
):
    row = {"f1": 0.5, "hausdorff95": 20.0, "surface_dice": 0.25}
    cells = {"hausdorff95": "20.0 → 12.3", "surface": "0.250 → 0.407"}
    page = show(production={"version": "0007", "scores": {"iris": row}, "difference": None} | change)
    beside = next(cells for cells in page.row("iris") if "0.500 → 0.703" in cells)
    assert {name for name, cell in cells.items() if cell in beside} == shown
    assert len(beside) == 1 + len(shown)


@pytest.mark.parametrize("measured", [True, False], ids=["measured-now", "stored"])
def test_production_that_was_scored_for_the_comparison_is_told_of(measured: bool, show: Callable[..., Page]):
    production = {"version": "0007", "measured": measured, "scores": {"iris": {"f1": 0.5}}, "difference": None}
    page = show(production=production)
    assert ("It was not evaluated on exactly these scans in this way (flips, blended tiles)" in page.text) == measured


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"decision": "argmax"}, "each pixel is the most probable of them and background", id="argmax"),
        pytest.param(
            {"data": {"scans": "/s", "masks": "/m"}},
            "other scans than the project's: /s, with the masks in /m",
            id="data",
        ),
        pytest.param({}, "Thresholds were chosen on the validation split", id="thresholds"),
    ],
)
def test_the_page_says_how_and_on_what_it_was_measured(change: dict[str, Any], words: str, show: Callable[..., Page]):
    assert words in show(**change).text


def test_pictures_show_errors_with_the_scan_s_own_score(show: Callable[..., Page], picture: ErrorPicture):
    page = show((picture,))
    captions = [found["alt"] for tag, found in page.tags if tag == "img"]
    names = ["scan", "truth", "prediction", "errors: iris, F1 0.500", "errors: pupil, F1 –"]
    assert captions == [f"{name}, worst: s1" for name in names]
    assert "missed (striped)" in page.text


def test_a_picture_of_a_large_scan_is_thinned_but_its_score_is_of_all_pixels(show: Callable[..., Page]):
    masks, found = np.zeros((8, 4000, 2), np.int8), np.zeros((8, 4000, 2), bool)
    masks[:, ::3, 0], found[:, 1::3, 0] = 1, True  # of each three columns one is missed and one is invented
    image = np.zeros((8, 4000, 1), np.float32)
    page = show((ErrorPicture("worst: wide", image, masks, found),))
    assert any("F1 0.000" in str(found.get("alt")) for tag, found in page.tags if tag == "img")


def test_page_is_complete_in_itself_and_can_be_read_aloud(show: Callable[..., Page], picture: ErrorPicture):
    page = show((picture,))
    addresses = [
        value for _, found in page.tags for key, value in found.items() if key in {"src", "href", "xlink:href"}
    ]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not any(tag in {"script", "link", "iframe"} for tag, _ in page.tags)
    assert all(found.get("scope") in {"col", "row"} for tag, found in page.tags if tag == "th")
    assert all(found.get("alt") for tag, found in page.tags if tag == "img")
    assert not re.search(r"url\((?!#)", " ".join(str(found) for _, found in page.tags))


def test_names_cannot_put_markup_into_the_page(show: Callable[..., Page]):
    row = {"id": "<script>x</script>", "group": "<b>", "counts": [[1, 0, 0, 1]] * 2, "f1": {"iris": 1.0, "pupil": 1.0}}
    page = show(scans=[row | {"mean_f1": 1.0}], warnings=["<script>"])
    assert not any(tag in {"script", "b"} for tag, _ in page.tags)
    assert page.row("<script>x</script>")


def test_thresholds_are_not_shown_where_the_most_probable_class_wins(show: Callable[..., Page]):
    assert "best for iris" in show().text
    text = show(decision="argmax").text
    assert "each pixel is the most probable of them and background" in text
    assert "best for iris" not in text
