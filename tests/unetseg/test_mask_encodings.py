"""Encodings that spread a scan's classes over pages, bits or files, and that all encodings hold the same masks."""

import shutil

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from unetseg.config import ClassSource, GuideSource
from unetseg.errors import BadFileError, MissingMaskError, UsageError
from unetseg.masks import class_names, mask_files, read_masks
from unetseg.readers import ScanRef

SHAPE = (2, 3)
SCAN = ScanRef("s", "s.tif")
stacks = arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6))


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(array).save(path)
    else:
        tifffile.imwrite(path, array, photometric="minisblack")
    return path


def sources(folder, encoding, values=None, count=0):
    values = [(str(k),) for k in range(count)] if values is None else values
    return [ClassSource(f"c{k}", str(folder), encoding=encoding, values=claim) for k, claim in enumerate(values)]


def read(classes, shape=SHAPE, scan=SCAN):
    return read_masks(scan, classes, shape)


# --------------------------------------------------------------------------- every encoding holds the same masks


def as_binary(folder, masks):
    classes = [ClassSource(f"c{k}", str(folder / f"c{k}")) for k in range(masks.shape[-1])]
    for k, source in enumerate(classes):
        write(folder / source.name / "s.png", masks[..., k].astype(np.uint8) * 255)
    return classes


def as_pages(folder, masks):
    with tifffile.TiffWriter(folder / "s.tif") as file:
        for k in range(masks.shape[-1]):
            file.write(masks[..., k].astype(np.uint8) * 255, photometric="minisblack", metadata=None)
    return sources(folder, "pages", count=masks.shape[-1])


def as_bits(folder, masks):
    write(folder / "s.tif", (masks * 2 ** np.arange(masks.shape[-1])).sum(axis=-1).astype(np.uint16))
    return sources(folder, "bits", count=masks.shape[-1])


def as_objects(folder, masks):
    """Each class as four pieces, of which neighbours overlap by a row."""
    classes = [ClassSource(f"c{k}", str(folder), f"{{id}}/c{k}/*", encoding="objects") for k in range(masks.shape[-1])]
    for k, source in enumerate(classes):
        for piece in range(4):
            part = np.zeros(masks.shape[:2], np.uint8)
            rows = slice(piece, piece + 2) if piece < 3 else slice(piece, None)
            part[rows] = masks[rows, :, k] * 255
            write(folder / "s" / source.name / f"{piece}.png", part)
    return classes


def as_labels(folder, masks):
    write(folder / "s.tif", (masks * np.arange(1, masks.shape[-1] + 1)).sum(axis=-1).astype(np.uint8))
    return sources(folder, "labels", [(str(k + 1),) for k in range(masks.shape[-1])])


def as_colours(folder, masks):
    palette = np.array([[0, 0, 0]] + [[40 * k, 255 - k, k] for k in range(masks.shape[-1])], np.uint8)
    write(folder / "s.png", palette[(masks * np.arange(1, masks.shape[-1] + 1)).sum(axis=-1)])
    return sources(folder, "colours", [("#" + colour.tobytes().hex(),) for colour in palette[1:]])


@pytest.mark.parametrize("as_files", [as_binary, as_pages, as_bits, as_objects, as_labels, as_colours])
@given(masks=stacks, data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_masks_come_back_as_they_were_written(tmp_path, as_files, masks, data):
    if as_files in (as_labels, as_colours):  # one value per pixel: the first class alone
        masks = masks & (masks.cumsum(axis=-1) == 1)
    folder = tmp_path / as_files.__name__
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    classes = data.draw(st.permutations(as_files(folder, masks)))
    order = [int(name.removeprefix("c")) for name in class_names(classes)]
    np.testing.assert_array_equal(read(classes, masks.shape[:2]), masks[..., order])


# --------------------------------------------------------------------------- pages


@pytest.fixture
def paged(tmp_path):
    write(
        tmp_path / "s.tif", np.array([[[1, 0, 0], [0, 0, 0]], [[1, 1, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]], np.uint8)
    )
    return tmp_path


def test_a_class_of_two_pages_is_their_union(paged):
    found = read(sources(paged, "pages", [("0", "2"), ("1",)]))
    assert found.sum(axis=(0, 1)).tolist() == [2, 2]


def test_a_page_of_two_classes_is_in_both(paged):
    found = read(sources(paged, "pages", [("0", "1"), ("1", "2")]))
    assert found[..., 0].tolist() == [[1, 1, 0], [0, 0, 0]]
    assert found[..., 1].tolist() == [[1, 1, 0], [0, 0, 1]]


def test_a_page_can_be_ignored(paged):
    ignore = ClassSource("ignore", str(paged), encoding="pages", values=("2",))
    assert read([*sources(paged, "pages", count=2), ignore])[1, 2].tolist() == [-1, -1]


def test_an_unclaimed_page_is_named_with_its_pixels(paged):
    with pytest.raises(BadFileError, match=r"s\.tif: pages that no class claims: 1 \(2 pixels\); add them to a class"):
        read(sources(paged, "pages", [("0",), ("2",)]))


def test_an_unclaimed_page_of_labels_is_named_as_a_page(tmp_path):
    write(tmp_path / "s.tif", np.array([np.ones(SHAPE), [[0, 1, 2], [0, 0, 0]]], np.uint8))
    with pytest.raises(BadFileError, match=r"pages that no class claims: 1 \(2 pixels\)"):
        read(sources(tmp_path, "pages", count=1))


def test_an_unclaimed_black_page_says_nothing(tmp_path):
    write(tmp_path / "s.tif", np.stack([np.ones(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)]))
    assert read(sources(tmp_path, "pages", count=1)).all()


def test_a_page_beyond_the_last_names_class_and_count(paged):
    with pytest.raises(BadFileError, match=r"class 'c3' is page 3, but the file has 3 pages, counted from 0"):
        read(sources(paged, "pages", count=4))


def test_pages_of_a_stack_of_scans_are_no_classes(tmp_path):
    write(tmp_path / "vol.tif", np.ones((3, *SHAPE), np.uint8))
    with pytest.raises(BadFileError, match=r"scan vol\.p0001: encoding 'pages' needs a mask file of its own"):
        read(sources(tmp_path, "pages", count=3), scan=ScanRef("vol.p0001", tmp_path / "x.tif", 1))


# --------------------------------------------------------------------------- bits


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32])
def test_bits_may_overlap(tmp_path, dtype):
    write(tmp_path / "s.tif", np.array([[0, 1, 4], [5, 0, 5]], dtype))
    found = read(sources(tmp_path, "bits", [("0",), ("2",)]))
    assert found.tolist() == [[[0, 0], [1, 0], [0, 1]], [[1, 1], [0, 0], [1, 1]]]


def test_the_highest_bit(tmp_path):
    write(tmp_path / "s.tif", np.full(SHAPE, 2**31, np.uint32))
    assert read(sources(tmp_path, "bits", [("31",)])).all()


def test_a_bit_can_be_background_or_ignored(tmp_path):
    write(tmp_path / "s.tif", np.array([[1, 3, 5], [0, 0, 0]], np.uint8))
    others = [
        ClassSource(name, str(tmp_path), encoding="bits", values=(bit,))
        for name, bit in (("background", "1"), ("ignore", "2"))
    ]
    assert read([*sources(tmp_path, "bits", count=1), *others])[0, :, 0].tolist() == [1, 1, -1]


def test_unclaimed_bits_are_named_with_their_pixels(tmp_path):
    path = write(tmp_path / "s.tif", np.array([[1, 3, 2], [129, 0, 0]], np.uint8))
    with pytest.raises(BadFileError) as error:
        read(sources(tmp_path, "bits", count=1))
    assert str(error.value).startswith(f"{path}: bits that no class claims: 1 (2 pixels), 7 (1 pixels); add them")


@pytest.mark.parametrize(
    ("pixels", "message"),
    [(np.full(SHAPE, -1, np.int16), "no negative values, got -1"), (np.full(SHAPE, 0.5, np.float32), "bits are whole")],
)
def test_what_is_no_bit_field_is_refused(tmp_path, pixels, message):
    write(tmp_path / "s.tif", pixels)
    with pytest.raises(BadFileError, match=message):
        read(sources(tmp_path, "bits", count=1))


@pytest.mark.parametrize(("encoding", "value"), [("bits", "64"), ("bits", "-1"), ("pages", "-1"), ("pages", "one")])
def test_values_that_cannot_be_read_are_refused(encoding, value):
    with pytest.raises(UsageError, match=f"class 'c0': value '{value}' is not one of {encoding}; write it like '0'"):
        class_names(sources("m", encoding, [(value,)]))


# --------------------------------------------------------------------------- objects


@pytest.fixture
def objects(tmp_path):
    write(tmp_path / "s/masks/a.png", np.array([[255, 255, 0], [0, 0, 0]], np.uint8))
    write(tmp_path / "s/masks/b.tif", np.array([[0, 7, 0], [7, 0, 0]], np.uint16))
    return tmp_path


def test_objects_are_joined_and_other_files_passed_over(objects):
    (objects / "s/masks/notes.txt").write_text("by hand")
    (objects / "s/masks/.hidden.png").write_text("")
    source = ClassSource("cell", str(objects), "{id}/masks/*", encoding="objects")
    assert read([source])[..., 0].tolist() == [[1, 1, 0], [1, 0, 0]]
    assert [path.name for path in mask_files(source, "s")] == ["a.png", "b.tif"]


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_folder_is_a_missing_mask(tmp_path, exists):
    if exists:
        (tmp_path / "s/masks").mkdir(parents=True)
    with pytest.raises(MissingMaskError, match=r"scan s: no object files for cell: looked for .*one black mask"):
        read([ClassSource("cell", str(tmp_path), "{id}/masks/*", encoding="objects")])


def test_an_object_of_another_size_is_refused(objects):
    write(objects / "s/masks/c.png", np.zeros((5, 7), np.uint8))
    with pytest.raises(BadFileError, match=r"c\.png has 5x7 pixels, the scan 2x3"):
        read([ClassSource("cell", str(objects), "{id}/masks/*", encoding="objects")])


def test_objects_need_a_folder(objects):
    with pytest.raises(BadFileError, match="needs a folder with one file per object"):
        read([ClassSource("cell", str(objects / "s/masks/a.png"), encoding="objects")])


def test_other_encodings_have_one_file(objects):
    assert mask_files(GuideSource("lid", str(objects), "{id}/masks/a.*"), "s") == [objects / "s/masks/a.png"]


def test_a_folder_of_the_id_can_be_replaced(tmp_path):
    write(tmp_path / "p/images/masks/a.png", np.ones(SHAPE, np.uint8))
    source = ClassSource("cell", str(tmp_path), "{folder:images=masks}{name}.*")
    assert read([source], scan=ScanRef("p/images/images/a", tmp_path / "x.png")).all()
    with pytest.raises(MissingMaskError):
        read([source], scan=ScanRef("p/raw/a", tmp_path / "x.png"))
