"""The page about a dataset: what it says, what it shows, and that it reads little of large scans."""

from __future__ import annotations

import base64
import io
import logging
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from unetseg import data_check
from unetseg.class_pictures import ClassPicture
from unetseg.config import ClassSource, IngestConfig, LossConfig, ScanSource, Settings, Sources
from unetseg.cutouts import IGNORED_COLOUR, central_window, draw_cutout, find_cutout, random_window, sides
from unetseg.data_check import write_data_check
from unetseg.dataset import Dataset, open_dataset
from unetseg.ingest import ingest
from unetseg.intensities import QUANTILES, ChannelIntensities
from unetseg.intensity_check import Histogram, chart_of, intensity_histograms, intensity_rows
from unetseg.places import DATA_CHECK
from unetseg.project import Project
from unetseg.readers import BadFile

EVIL = "<script>alert(1)"
SHAPE = (40, 48)


class Page(HTMLParser):
    """What a browser would see of a page: its tables as text, its texts, its pictures and its scripts."""

    def __init__(self, path: Path):
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.pictures: list[dict[str, str]] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.in_cell = False
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.addresses += [found[name] for name in ("src", "href") if name in found]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.in_cell = True
        elif tag == "img":
            self.pictures.append(found)

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.in_cell = False

    def handle_data(self, data):
        self.words.append(data)
        if self.in_cell:
            self.tables[-1][-1][-1] += data.strip()

    def table(self, first: str) -> list[list[str]]:
        """The rows of the table whose first cell says this."""
        return next(table for table in self.tables if table[0] and table[0][0] == first)


def pixels_of(source: str) -> np.ndarray:
    """The pixels of a picture in a page."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2]))))


def make_project(folder: Path, ids: list[str], shape: tuple[int, int] = SHAPE, **settings) -> Project:
    """Scans of noise; `big` is their left half, `small` a square of 8 pixels within it, `never` nowhere."""
    random = np.random.default_rng(0)
    masks = {name: np.zeros(shape, np.uint8) for name in ("big", "small", "never")}
    masks["big"][:, : shape[1] // 2] = 255
    masks["small"][4:12, 4:12] = 255
    for name in ids:
        write(folder / "scans" / f"{name}.tif", random.integers(0, 60000, shape).astype(np.uint16))
        for kind, mask in masks.items():
            write(folder / "masks" / kind / f"{name}.tif", mask)
    classes = tuple(ClassSource(name, str(folder / "masks" / name)) for name in masks)
    config = IngestConfig(**{"chunk": 16, "workers": 2} | settings)
    return Project(folder / "lab", Sources(ScanSource(str(folder / "scans")), classes), Settings(ingest=config))


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="minisblack")


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Project:
    """Six scans, one of an evil name; another that cannot be read, and one without masks."""
    folder = tmp_path_factory.mktemp("check")
    project = make_project(folder, ["a", "b", "c", "d", "e", EVIL], max_failed_fraction=0.5)
    write(folder / "scans" / "bare <b>.tif", np.zeros(SHAPE, np.uint8))
    (folder / "scans" / f"broken {EVIL}.tif").write_bytes(b"II*\0")
    ingest(project)
    return project


@pytest.fixture(scope="module")
def page(stored: Project) -> Page:
    return Page(stored.folder / DATA_CHECK)


@pytest.fixture
def dataset(stored: Project) -> Dataset:
    return open_dataset(stored.dataset)


def with_index(dataset: Dataset, **changes) -> Dataset:
    return replace(dataset, index=replace(dataset.index, **changes))


# --------------------------------------------------------------------------- what the page says


def test_header_tells_what_is_in_the_dataset(page: Page, dataset: Dataset):
    facts = dict(page.table("scans"))
    assert facts == {
        "scans": "6 scans of 6 groups: train 4 (4 groups), validation 1 (1 group), test 1 (1 group)",
        "channels": "grey",
        "guides": "none",
        "size": "40 × 48 pixels (height × width)",
        "pixel size": "unknown (6 scans)",
        "normalisation": "percentiles 0.5 and 99.5 become 0 and 1, per scan and channel, stored as float16",
        "fingerprint of the data": dataset.index.fingerprint[:12],
    }
    assert "lab: data check" in page.text


def test_class_table_has_pixels_shares_and_the_weights_of_every_rule(page: Page):
    rows = page.table("class")
    assert rows[0] == [
        "class", "scans with", "without", "pixels", "share",
        "weight: none", "weight: total over class", "weight: inverse frequency",
    ]  # fmt: skip
    by_split = dict(
        zip((row[0] for row in rows[1::4]), zip(rows[2::4], rows[3::4], rows[4::4], strict=True), strict=True)
    )
    assert list(by_split) == [
        "train: 4 scans, 7,680 pixels that count, 0 ignored",
        "validation: 1 scan, 1,920 pixels that count, 0 ignored",
        "test: 1 scan, 1,920 pixels that count, 0 ignored",
        "all: 6 scans, 11,520 pixels that count, 0 ignored",
    ]
    assert by_split["all: 6 scans, 11,520 pixels that count, 0 ignored"] == (
        ["big", "6", "0", "5,760", "50.00%", "1.00", "2.00", "1.00"],
        ["small", "6", "0", "384", "3.33%", "1.00", "5.00", "5.00"],
        ["never", "0", "6", "0", "0.00%", "1.00", "1.00", "1.00"],
    )


def test_weights_are_capped_as_the_settings_of_the_training_say(dataset: Dataset, tmp_path: Path):
    found = Page(write_data_check(dataset, tmp_path / DATA_CHECK, config=LossConfig(max_class_weight=12.5)))
    assert found.table("class")[-2][-2:] == ["12.50", "12.50"]
    assert "loss.max_class_weight = 12.5" in found.text


def test_overlaps_are_shares_of_the_class_on_the_left(page: Page):
    assert page.table("of") == [
        ["of", "big", "small", "never"],
        ["big", "100.00%", "6.67%", "0.00%"],
        ["small", "100.00%", "100.00%", "0.00%"],
        ["never", "–", "–", "–"],
    ]


def test_one_class_has_no_overlaps(dataset: Dataset, tmp_path: Path):
    scans = {
        name: replace(scan, combinations=scan.combinations[:1], class_pixels={"big": scan.class_pixels["big"]})
        for name, scan in dataset.index.scans.items()
    }
    found = Page(write_data_check(with_index(dataset, classes=("big",), scans=scans), tmp_path / DATA_CHECK))
    assert "Overlaps" not in found.text


def test_quarantine_and_scans_without_masks_are_listed_with_reasons(page: Page, dataset: Dataset):
    (item,) = dataset.index.quarantine
    assert page.table("file") == [["file", "why"], [item.path, item.reason]]
    assert "1 without masks of any class bare <b>" in page.text
    assert "1 file in quarantine" in page.text


def test_vanished_scans_are_named_and_counted_nowhere_else(dataset: Dataset, tmp_path: Path):
    scans = dataset.index.scans | {"a": replace(dataset.index.scans["a"], vanished=True)}
    found = Page(write_data_check(with_index(dataset, scans=scans), tmp_path / DATA_CHECK))
    assert "1 whose files are gone, or can no longer be used a" in found.text
    assert dict(found.table("scans"))["scans"].startswith("5 scans of 5 groups")
    assert all(not picture["alt"].endswith(" on a") for picture in found.pictures)


def test_scans_that_lost_their_masks_are_named_as_such_and_not_as_vanished(dataset: Dataset, tmp_path: Path):
    lost = replace(dataset.index.scans["a"], vanished=True)
    changed = with_index(dataset, scans=dataset.index.scans | {"a": lost}, unlabelled=("a", "bare"))
    found = Page(write_data_check(changed, tmp_path / DATA_CHECK))
    assert "2 without masks, 0 vanished" in found.text
    assert "2 without masks of any class a, bare" in found.text
    assert f"1 of them had masks at an earlier ingest a ({lost.split})" in found.text
    assert "whose files are gone" not in found.text


def test_suspicions_come_with_sentences_and_a_thumbnail(dataset: Dataset, tmp_path: Path):
    odd = {EVIL: ("its <i>mask</i> is odd", "so are its pixels"), "b": ("it is like a",)}
    found = Page(write_data_check(with_index(dataset, suspicions=odd), tmp_path / DATA_CHECK))
    split = dataset.index.scans[EVIL].split
    rows = found.table("scan")
    assert rows[1] == [EVIL, split, "", "its <i>mask</i> is oddso are its pixels"]
    assert [row[0] for row in rows[1:]] == [EVIL, "b"]
    thumbnails = [picture for picture in found.pictures if picture["alt"].startswith("middle of")]
    assert [picture["alt"] for picture in thumbnails] == [f"middle of {EVIL}", "middle of b"]
    assert pixels_of(thumbnails[0]["src"]).shape == (*SHAPE, 3)
    assert "2 scans to look at" in found.text


def test_long_lists_are_cut_and_say_how_many_there_are(dataset: Dataset, tmp_path: Path):
    bad = tuple(BadFile(f"{number:04d}.tif", "broken") for number in range(1234))
    odd = dict.fromkeys(dataset.index.scans, ("odd",))
    bare = tuple(f"u{n}" for n in range(203))
    short = with_index(dataset, quarantine=bad, suspicions=odd, unlabelled=bare)
    found = Page(write_data_check(short, tmp_path / DATA_CHECK))
    assert len(found.table("file")) == 201
    assert "1,034 more are in dataset.zarr/quarantine.json" in found.text
    assert "u199 and 3 more" in found.text


def test_nothing_that_was_read_from_files_becomes_markup(dataset: Dataset, tmp_path: Path):
    odd, channels = {EVIL: (f"{EVIL} is odd",)}, (f"grey {EVIL}",)
    found = Page(write_data_check(with_index(dataset, suspicions=odd, channels=channels), tmp_path / DATA_CHECK))
    assert "script" not in found.tags
    assert f"{EVIL} is odd" in found.text
    assert f"grey {EVIL}" in found.text
    assert f"middle of {EVIL}" in [picture["alt"] for picture in found.pictures]


def test_page_needs_nothing_from_elsewhere(page: Page):
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in page.addresses)
    assert {"#suspicions", "#quarantine", "#left-out"} <= set(page.addresses)
    assert "link" not in page.tags


def test_same_dataset_gives_the_same_page(dataset: Dataset, tmp_path: Path):
    pages = [write_data_check(dataset, tmp_path / name).read_bytes() for name in ("1.html", "2.html")]
    assert pages[0] == pages[1]


def test_dataset_without_scans_has_a_page(dataset: Dataset, tmp_path: Path):
    found = Page(write_data_check(with_index(dataset, scans={}), tmp_path / DATA_CHECK))
    assert dict(found.table("scans"))["size"] == "no scan"
    assert not found.pictures


# --------------------------------------------------------------------------- pictures


def test_a_caption_tells_the_part_of_the_scan_only_where_it_is_not_all_of_it(dataset: Dataset):
    scan = next(iter(dataset.index.scans.values()))
    whole, part = (slice(0, SHAPE[0]), slice(0, SHAPE[1])), (slice(8, 24), slice(0, 16))
    assert ClassPicture(scan, whole, "").caption == ""
    assert ClassPicture(scan, part, "").caption == "rows 8–24 of 40, columns 0–16 of 48"


def test_every_class_is_shown_from_every_split(page: Page, dataset: Dataset):
    shown = [picture["alt"].split(" on ", 1) for picture in page.pictures if " on " in picture["alt"]]
    for kind in ("big", "small"):
        splits = [dataset.index.scans[name].split for found, name in shown if found == kind]
        assert splits == ["train", "validation", "test", "train"]
    assert all(kind != "never" for kind, _ in shown)
    assert "No scan holds never." in page.text


def test_picture_has_the_class_colour_on_the_outline_of_the_mask_only(dataset: Dataset):
    scan = dataset.index.scans["a"]
    source = draw_cutout(dataset, scan, central_window(scan), side=512, only=0)
    colours = pixels_of(source).astype(int)
    tinted = np.ptp(colours, axis=-1) > 60  # the scan itself is grey; JPEG blurs colours by a few pixels
    assert tinted[:, 0].mean() > 0.9
    assert tinted[:, 23].mean() > 0.9
    assert not tinted[:, 30:].any()


def test_masks_of_all_classes_are_drawn_unless_told_otherwise(dataset: Dataset):
    scan = dataset.index.scans["a"]
    both, first = (draw_cutout(dataset, scan, central_window(scan), side=512, only=only) for only in (None, 0))
    assert both != first
    assert draw_cutout(dataset, scan, central_window(scan), side=512, only=2) != first


def test_a_scan_that_cannot_be_read_costs_only_its_pictures(stored: Project, tmp_path: Path, caplog):
    shutil.copytree(stored.dataset, tmp_path / "dataset.zarr")
    copy = open_dataset(tmp_path / "dataset.zarr")
    (test,) = copy.scans("test")
    shutil.rmtree(copy.folder / "scans" / test.key / "labels")
    with caplog.at_level(logging.WARNING, "unetseg"):
        found = Page(write_data_check(copy, tmp_path / DATA_CHECK))
    assert len([picture for picture in found.pictures if picture["alt"].startswith("big on")]) == 4
    assert not [picture for picture in found.pictures if picture["alt"].endswith(f" on {test.id}")]
    assert f"no picture of {test.id}" in caplog.text


def test_many_classes_share_the_pictures(dataset: Dataset, tmp_path: Path):
    names = tuple(f"class {k}" for k in range(40))
    scans = {
        name: replace(scan, class_pixels=dict.fromkeys(names, 0) | {"class 0": 960})
        for name, scan in dataset.index.scans.items()
    }
    found = Page(write_data_check(with_index(dataset, classes=names, scans=scans), tmp_path / DATA_CHECK))
    assert len(found.pictures) == 1


# --------------------------------------------------------------------------- windows


class Counting(Dataset):
    """A dataset that notes the largest window of an image that was read."""

    largest = 0

    def image(self, scan, window=(slice(None), slice(None))):
        pixels = super().image(scan, window)
        type(self).largest = max(self.largest, pixels.shape[0] * pixels.shape[1])
        return pixels


def test_large_scans_are_read_in_windows_only(tmp_path: Path):
    project = make_project(tmp_path, ["a", "b", "c"], (2600, 1000), chunk=256)
    ingest(project)
    opened = open_dataset(project.dataset)
    Counting.largest = 0
    write_data_check(Counting(opened.folder, opened.index), tmp_path / DATA_CHECK)
    assert 0 < Counting.largest <= 512 * 512
    scan, random = opened.index.scans["a"], np.random.default_rng(0)
    small = find_cutout(opened, scan, 1, random)
    assert small == (slice(0, 256), slice(0, 256))
    big = find_cutout(opened, scan, 0, random)
    assert sides(big) == (512, 512)
    assert big[1].start < 500 < big[1].stop  # its right border, before column 500, is in the picture
    assert find_cutout(opened, scan, 2, random) is None
    assert central_window(scan) == (slice(788, 1812), slice(0, 1000))


def test_an_outline_is_shown_rather_than_the_inside(tmp_path: Path):
    project = make_project(tmp_path, ["a", "b", "c"], (1500, 900), chunk=64)
    for name in "abc":
        write(tmp_path / "masks" / "big" / f"{name}.tif", np.full((1500, 900), 255, np.uint8))
        wide = np.full((1500, 900), 255, np.uint8)
        wide[1400, 450] = 0  # the upper tile, of 1024 rows, is covered
        write(tmp_path / "masks" / "small" / f"{name}.tif", wide)
    ingest(project)
    opened = open_dataset(project.dataset)
    scan = opened.index.scans["a"]
    for seed in range(4):
        rows, columns = find_cutout(opened, scan, 1, np.random.default_rng(seed))
        assert rows.start <= 1400 < rows.stop
        assert columns.start <= 450 < columns.stop
        assert sides(find_cutout(opened, scan, 0, np.random.default_rng(seed))) == (512, 512)


def test_ignored_pixels_are_drawn_in_a_colour_of_their_own(tmp_path: Path):
    project = make_project(tmp_path, ["a", "b", "c"])
    for name in "abc":
        labels = np.zeros(SHAPE, np.uint8)
        labels[:, :24], labels[:20, 24:] = 1, 2
        write(tmp_path / "labels" / f"{name}.tif", labels)
    classes = tuple(
        ClassSource(name, str(tmp_path / "labels"), encoding="labels", values=(value,))
        for name, value in (("left", "1"), ("ignore", "2"))
    )
    project = replace(project, sources=replace(project.sources, classes=classes))
    ingest(project)
    opened = open_dataset(project.dataset)
    text = (project.folder / DATA_CHECK).read_text()
    assert f"background:#{IGNORED_COLOUR}" in text
    assert "1,440 ignored" in Page(project.folder / DATA_CHECK).table("class")[-2][0]
    source = draw_cutout(opened, opened.index.scans["a"], central_window(opened.index.scans["a"]), side=512, only=0)
    outline = pixels_of(source)[0, 27:].astype(int)  # the upper border of what is ignored
    assert outline.min() > 200


def test_random_windows_lie_within_the_scan(dataset: Dataset):
    random = np.random.default_rng(0)
    scan = dataset.index.scans["a"]
    windows = [random_window(scan, 16, random) for _ in range(200)]
    assert {sides(window) for window in windows} == {(16, 16)}
    assert min(window[0].start for window in windows) == 0
    assert max(window[0].stop for window in windows) == SHAPE[0]
    assert max(window[1].stop for window in windows) == SHAPE[1]
    assert sides(random_window(scan, 4096, random)) == SHAPE


# --------------------------------------------------------------------------- intensities


def test_pooled_statistics_are_those_of_all_pixels(dataset: Dataset):
    random = np.random.default_rng(1)
    parts = [random.normal(number, 1 + number, (10 + number, 7)) for number in range(3)]
    base = dataset.index.scans["a"]
    quantiles = [tuple(np.percentile(part, QUANTILES, method="inverted_cdf")) for part in parts]
    scans = [
        replace(base, shape=part.shape, intensities=(ChannelIntensities(part.mean(), part.std(), found),))
        for part, found in zip(parts, quantiles, strict=True)
    ]
    everything = np.concatenate([part.ravel() for part in parts])
    together, lowest, median, highest = intensity_rows(scans, ["grey"])
    assert (together.channel, together.of) == ("grey", "all pixels")
    assert together.mean == pytest.approx(everything.mean())
    assert together.deviation == pytest.approx(everything.std())
    assert together.quantiles == (everything.min(), *[None] * 7, everything.max())
    np.testing.assert_allclose(lowest.quantiles, np.min(quantiles, axis=0))
    np.testing.assert_allclose(median.quantiles, np.median(quantiles, axis=0))
    np.testing.assert_allclose(highest.quantiles, np.max(quantiles, axis=0))
    assert highest.mean == max(part.mean() for part in parts)


def test_histogram_shares_are_of_the_pixels_of_each_split(dataset: Dataset):
    (found,) = intensity_histograms(dataset)
    assert found.channel == "grey"
    assert list(found.shares) == ["train", "validation", "test"]
    for shares in found.shares.values():
        assert len(shares) == 64
        assert 0.97 < sum(shares) < 1 + 1e-9  # two pixels of a thousand lie outside of what is drawn
    assert -0.01 < found.low < 0.02
    assert 0.98 < found.high < 1.01


def test_constant_scans_have_a_histogram(tmp_path: Path):
    project = make_project(tmp_path, ["a", "b", "c"])
    for name in "abc":
        write(tmp_path / "scans" / f"{name}.tif", np.full(SHAPE, 7, np.uint8))
    ingest(project)
    (found,) = intensity_histograms(open_dataset(project.dataset))
    assert (found.low, found.high) == (-0.5, 0.5)
    assert all(max(shares) == 1.0 for shares in found.shares.values())


def test_chart_draws_each_split_and_round_numbers():
    chart = chart_of(Histogram("grey", -0.1, 1.1, {"train": (0.25, 0.5), "test": (0.5, 0.0)}))
    assert chart.lines == {"train": "160.0,100.0 480.0,0.0", "test": "160.0,0.0 480.0,200.0"}
    assert [text for _, text in chart.ticks] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert chart.ticks[0][0] == pytest.approx(640 * 0.1 / 1.2)


def test_page_draws_a_line_per_split(stored: Project):
    text = (stored.folder / DATA_CHECK).read_text()
    assert len(re.findall("<polyline ", text)) == 3


# --------------------------------------------------------------------------- by ingest


def test_ingest_writes_the_page_only_where_something_changed_or_it_is_missing(tmp_path: Path):
    project = make_project(tmp_path, ["a", "b", "c"])
    result = ingest(project)
    assert result.page == project.folder / DATA_CHECK
    first = result.page.stat().st_mtime_ns
    ingest(project)
    assert result.page.stat().st_mtime_ns == first
    result.page.unlink()
    ingest(project)
    assert "3 scans of 3 groups" in Page(result.page).text
    write(tmp_path / "masks" / "small" / "a.tif", np.full(SHAPE, 255, np.uint8) * (np.arange(48) < 9).astype(np.uint8))
    ingest(project)
    assert Page(result.page).table("class")[-2][3] == str(2 * 64 + 9 * 40)


def test_page_follows_scans_without_masks_also_where_training_would_see_the_same(tmp_path: Path):
    project = make_project(tmp_path, ["a", "b", "c"])
    ingest(project)
    write(tmp_path / "scans" / "bare.tif", np.zeros(SHAPE, np.uint8))
    assert "1 without masks of any class bare" in Page(ingest(project).page).text
    (tmp_path / "scans" / "bare.tif").unlink()
    assert "0 without masks" in Page(ingest(project).page).text


def test_page_that_cannot_be_written_does_not_fail_the_ingest(tmp_path: Path, monkeypatch, caplog):
    project = make_project(tmp_path, ["a", "b", "c"])
    page = ingest(project).page
    write(tmp_path / "masks" / "small" / "a.tif", np.zeros(SHAPE, np.uint8))

    def broken(*arguments, **named):
        raise RuntimeError("no page today")

    monkeypatch.setattr(data_check, "render", broken)
    with caplog.at_level(logging.WARNING, "unetseg"):
        assert ingest(project).done == 1
    assert "no page today" in caplog.text
    assert "Traceback" in caplog.text
    assert not page.exists()  # the old one would tell of another dataset
    monkeypatch.undo()
    assert ingest(project).done == 0
    assert page.exists()
