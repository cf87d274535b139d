import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05 import Image

from unetseg.bit_fields import count_fields, pack
from unetseg.config import IngestConfig
from unetseg.dataset import GUIDES, IMAGE, MASKS, Dataset, Planes, open_dataset
from unetseg.dataset_index import Index
from unetseg.errors import DataError, UsageError
from unetseg.intensities import ChannelIntensities
from unetseg.normalise import ChannelScale
from unetseg.readers import BadFile
from unetseg.scan_record import Part, ScanRecord
from unetseg.scan_writer import HashedArray, describe_scan
from unetseg.sources import SourceFile

FEW = settings(max_examples=25, deadline=None)
INDEX = Index(("iris", "pupil"), (), ("grey",), IngestConfig(chunk=16))


def record_of(planes, scan_id="s", **values):
    classes = {name: int((planes.masks[..., k] == 1).sum()) for k, name in enumerate(INDEX.classes)}
    values = {
        "key": scan_id,
        "group": scan_id,
        "shape": planes.image.shape[:2],
        "chunk": 16,
        "image": Part((SourceFile("/a/s.tif", 3, 1_700_000_000_123_456_789, "ab"),), "rule", "content", ("LPS",)),
        "masks": Part((SourceFile("/m/s.tif", 4, 1_700_000_000_123_456_789, "cd"),), "rule", "content"),
        "guides": Part(),
        "scales": (ChannelScale(0.1, 2.5),) * planes.image.shape[-1],
        "intensities": (ChannelIntensities(1.5, 0.5, (0.0, 1.0, 1.0, 1.0, 1.5, 2.0, 2.0, 2.0, 3.0)),),
        "combinations": tuple(sorted(count_fields(pack(planes.masks)).items())),
        "class_pixels": classes,
        "ignored_pixels": int((planes.masks < 0).any(axis=-1).sum()),
    } | values
    return ScanRecord(id=scan_id, **values)


def make_planes(seed, shape=(20, 30), channels=1, guides=0, ignore=True):
    random = np.random.default_rng(seed)
    masks = random.integers(0, 2, (*shape, 2)).astype(np.int8)
    if ignore:
        masks[random.random(shape) < 0.2] = -1
    return Planes(
        random.normal(0, 2, (*shape, channels)).astype(np.float16),
        random.integers(0, 2, (*shape, guides)).astype(np.uint8),
        masks,
    )


def write_scan(folder, record, planes, index):
    """A scan as ingest leaves it."""
    arrays = {IMAGE: planes.image, MASKS: pack(planes.masks)} | ({GUIDES: planes.guides} if index.guides else {})
    for name, values in arrays.items():
        HashedArray(folder / name, values.shape, values.dtype, chunk=record.chunk).write(0, values)
    describe_scan(folder, record, index)


def make_dataset(folder, scans, **names):
    """A dataset of ``{record: planes}``."""
    index = replace(INDEX, scans={record.id: record for record, _ in scans}, **names)
    for record, planes in scans:
        write_scan(folder / "scans" / record.key, record, planes, index)
    index.save(folder)
    return open_dataset(folder)


slices = st.tuples(st.integers(0, 19), st.integers(1, 20)).map(lambda pair: slice(pair[0], pair[0] + pair[1]))


@FEW
@given(
    st.integers(0, 2**20),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 3),
    st.integers(0, 2),
    st.booleans(),
    st.tuples(slices, slices),
)
def test_what_is_written_is_read_back_whole_and_in_windows(seed, shape, channels, guides, ignore, window):
    planes = make_planes(seed, shape, channels, guides, ignore)
    with tempfile.TemporaryDirectory() as folder:
        names = {"guides": ("a", "b")[:guides], "channels": ("x", "y", "z")[:channels]}
        dataset = make_dataset(Path(folder), [(record_of(planes), planes)], **names)
        record = dataset.index.scans["s"]
        for part in ((slice(None), slice(None)), window):
            found = dataset.read(record, part)
            for name in ("image", "guides", "masks"):
                expected = getattr(planes, name)[part]
                np.testing.assert_array_equal(getattr(found, name), expected)
                assert getattr(found, name).dtype == expected.dtype


def test_float32_is_kept(tmp_path):
    planes = replace(make_planes(0), image=np.full((20, 30, 1), 1 / 3, np.float32))
    dataset = make_dataset(tmp_path, [(record_of(planes), planes)])
    assert dataset.image(dataset.index.scans["s"])[0, 0, 0] == np.float32(1 / 3)


def full_index():
    planes = make_planes(0)
    scans = [
        record_of(planes, "b/2", key="b__2", split="train", pixel_size=(0.5, 0.25)),
        record_of(planes, "a", split="test", vanished=True),
    ]
    return Index(
        ("iris", "pupil"),
        ("lid",),
        ("red", "green"),
        IngestConfig(normalisation="zscore", chunk=64),
        {"b/2": "train", "a": "test", "old": "validation"},
        {scan.id: scan for scan in scans},
        (BadFile("/x.tif", "broken"),),
        {"a": ("iris: covers nothing",)},
        ("a", "z"),
    )


def test_the_index_comes_back_as_it_was_saved(tmp_path):
    full_index().save(tmp_path)
    assert Index.load(tmp_path) == full_index()


def test_an_index_of_a_version_that_did_not_list_scans_without_masks_is_read(tmp_path):
    full_index().save(tmp_path)
    plain = json.loads((tmp_path / "index.json").read_text())
    assert plain.pop("unlabelled") == ["a", "z"]
    (tmp_path / "index.json").write_text(json.dumps(plain))
    assert Index.load(tmp_path) == replace(full_index(), unlabelled=())


def test_an_index_of_a_version_that_did_not_know_how_volumes_lie_is_read(tmp_path):
    full_index().save(tmp_path)
    plain = json.loads((tmp_path / "index.json").read_text())
    for scan in plain["scans"]:
        assert [scan[part].pop("orientations") for part in ("image", "masks", "guides")] == [["LPS"], [], []]
    (tmp_path / "index.json").write_text(json.dumps(plain | {"schema_version": 2}))
    index = Index.load(tmp_path)
    assert [scan.image.orientations for scan in index.scans.values()] == [(), ()]
    assert index.fingerprint == full_index().fingerprint


def test_a_scan_that_lost_its_masks_is_not_among_those_that_vanished():
    scans = full_index().scans | {"gone": replace(full_index().scans["a"], id="gone")}
    index = replace(full_index(), scans=scans)
    assert (index.lost_masks, index.vanished) == (("a",), ("gone",))


def test_the_root_is_a_zarr_group_that_says_what_is_in_it(tmp_path):
    full_index().save(tmp_path)
    header = zarr.open_group(tmp_path, mode="r").attrs["unetseg"]
    assert header["schema_version"] == 3
    assert (header["classes"], header["guides"], header["channels"]) == (["iris", "pupil"], ["lid"], ["red", "green"])
    assert header["ingest"]["normalisation"] == "zscore"
    assert json.loads((tmp_path / "index.json").read_text())["fingerprint"] == full_index().fingerprint


def scan_of_test(**change):
    return replace(record_of(make_planes(0), "t", split="test", group="g", pixel_size=(0.5, 0.25)), **change)


def index_with(*scans, **change):
    return replace(full_index(), scans={scan.id: scan for scan in scans}, **change)


TRAIN = record_of(make_planes(1), "b/2", split="train")


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(index_with(scan_of_test()), id="training-scan-gone"),
        pytest.param(index_with(TRAIN, scan_of_test()), id="order"),
        pytest.param(index_with(scan_of_test(), replace(TRAIN, group="other", pixel_size=(1, 1))), id="training-group"),
        pytest.param(index_with(scan_of_test(), TRAIN, scan_of_test(id="v", vanished=True)), id="vanished"),
        pytest.param(index_with(scan_of_test(key="elsewhere", chunk=16), TRAIN), id="chunk"),
    ],
)
def test_the_test_fingerprint_stays_while_the_test_scans_do(changed):
    assert changed.test_fingerprint == index_with(scan_of_test(), TRAIN).test_fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(index_with(scan_of_test(id="u")), id="id"),
        pytest.param(index_with(scan_of_test(group="h")), id="group"),
        pytest.param(index_with(scan_of_test(image=Part(content="other"))), id="image"),
        pytest.param(index_with(scan_of_test(masks=Part(content="other"))), id="masks"),
        pytest.param(index_with(scan_of_test(guides=Part(content="other"))), id="guides"),
        pytest.param(index_with(scan_of_test(pixel_size=(0.25, 0.5))), id="pixel-size"),
        pytest.param(index_with(scan_of_test(pixel_size=None)), id="no-pixel-size"),
        pytest.param(index_with(scan_of_test(), scan_of_test(id="u")), id="more"),
        pytest.param(index_with(scan_of_test(vanished=True)), id="vanished"),
        pytest.param(index_with(scan_of_test(split="train")), id="split"),
        pytest.param(index_with(scan_of_test(), classes=("iris", "lens")), id="class"),
    ],
)
def test_the_test_fingerprint_changes_with_what_is_scored(changed):
    assert changed.test_fingerprint != index_with(scan_of_test()).test_fingerprint


def test_the_test_fingerprint_is_the_same_once_the_index_is_stored(tmp_path):
    index = index_with(scan_of_test(), TRAIN)
    index.save(tmp_path)
    assert Index.load(tmp_path).test_fingerprint == index.test_fingerprint


def test_saving_the_index_leaves_the_scans(tmp_path):
    planes = make_planes(0)
    dataset = make_dataset(tmp_path, [(record_of(planes), planes)])
    dataset.index.save(tmp_path)
    np.testing.assert_array_equal(dataset.image(dataset.index.scans["s"]), planes.image)


def test_where_there_is_no_dataset_ingest_is_named(tmp_path):
    assert Index.load(tmp_path) is None
    with pytest.raises(UsageError, match=f"no dataset yet; run ingest first: unetseg ingest --project {tmp_path}$"):
        open_dataset(tmp_path / "dataset.zarr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"schema_version": 3', '"schema_version": 7'), "schema version 7, .* reads 3"),
        (lambda text: text[:-20], r"index\.json: damaged \(DamagedFileError\); delete index.json and run ingest"),
        (lambda text: "{}", r"damaged \(KeyError\)"),
        (lambda text: text.replace('"sha256"', '"sha"'), r"damaged \(TypeError\)"),
        (lambda text: text.replace('"zscore"', '"magic"'), r"damaged \(ValidationError\)"),
    ],
)
def test_an_index_that_cannot_be_read_says_what_to_do(tmp_path, change, message):
    full_index().save(tmp_path)
    path = tmp_path / "index.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message):
        Index.load(tmp_path)


def test_scans_of_a_split_are_sorted_and_without_those_that_vanished():
    planes = make_planes(0)
    scans = [
        record_of(planes, name, split=split, vanished=name == "d")
        for name, split in [("c", "train"), ("a", "train"), ("b", "test"), ("d", "train")]
    ]
    index = replace(INDEX, scans={scan.id: scan for scan in scans})
    assert [scan.id for scan in Dataset(Path(), index).scans("train")] == ["a", "c"]
    assert index.split_sizes() == {"train": 2, "validation": 0, "test": 1}


def test_fractions_are_of_the_pixels_that_count_in_the_split():
    planes = make_planes(0, (10, 10))
    scans = [
        record_of(planes, "a", split="train", class_pixels={"iris": 30, "pupil": 0}, ignored_pixels=20),
        record_of(planes, "b", split="train", class_pixels={"iris": 15, "pupil": 9}, ignored_pixels=0),
        record_of(planes, "c", split="test", class_pixels={"iris": 99, "pupil": 99}),
        record_of(planes, "d", split="train", vanished=True, class_pixels={"iris": 99, "pupil": 99}),
    ]
    dataset = Dataset(Path(), replace(INDEX, scans={scan.id: scan for scan in scans}))
    np.testing.assert_allclose(dataset.class_fractions(), [45 / 180, 9 / 180])
    np.testing.assert_array_equal(dataset.class_fractions("validation"), [0, 0])


def test_a_scan_opens_with_other_tools_as_an_image_with_labels(tmp_path):
    planes = make_planes(3)
    make_dataset(tmp_path, [(record_of(planes, pixel_size=(0.5, 0.25)), planes)])
    nodes = {Path(node.zarr.path).name: node for node in Reader(parse_url(tmp_path / "scans" / "s"))()}
    assert set(nodes) == {"s", "labels", "classes"}
    np.testing.assert_array_equal(np.asarray(nodes["s"].data[0])[0], planes.image[..., 0])
    fields = np.asarray(nodes["classes"].data[0])
    for k in range(2):
        np.testing.assert_array_equal((fields & 1 << k) > 0, planes.masks[..., k] == 1)
    np.testing.assert_array_equal(fields == 4, planes.masks[..., 0] == -1)
    names = {value: found["class"] for value, found in nodes["classes"].metadata["properties"].items()}
    assert names == {1: "iris", 2: "pupil", 3: "iris + pupil", 4: "ignore"}


def test_a_scan_is_valid_ome_zarr(tmp_path):
    planes = make_planes(3, guides=1)
    make_dataset(tmp_path, [(record_of(planes), planes)], guides=("lid",))
    image = Image.from_zarr(zarr.open_group(tmp_path / "scans" / "s", mode="r"))
    assert image.labels.attributes.ome.labels == ["classes"]
    assert image.ome_attributes.multiscales[0].name == "s"


def test_a_scan_is_seven_files_or_nine_with_guides(tmp_path):
    planes = make_planes(3, guides=2)
    make_dataset(tmp_path / "a", [(record_of(planes), planes)])
    make_dataset(tmp_path / "b", [(record_of(planes), planes)], guides=("lid", "lash"))
    assert [sum(path.is_file() for path in (tmp_path / name / "scans/s").rglob("*")) for name in "ab"] == [7, 9]


def test_the_record_stands_beside_the_pixels(tmp_path):
    planes = make_planes(3)
    record = record_of(planes, pixel_size=(0.5, 0.25))
    make_dataset(tmp_path, [(record, planes)])
    attributes = zarr.open_group(tmp_path / "scans" / "s", mode="r").attrs["unetseg"]
    assert ScanRecord.from_plain(attributes) == record
