import os
import time

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from unetseg import mask_layers
from unetseg.bit_fields import unpack_guides
from unetseg.config import ClassSource, GuideSource
from unetseg.errors import BadFileError, UsageError
from unetseg.masks import class_names, find_mask, guide_names, open_guides, open_masks, read_masks
from unetseg.readers import ScanRef

SHAPE = (2, 3)
SCAN = ScanRef("s", "s.tif")
# Files are rewritten for each example in one folder: that is the point here.
ONE_FOLDER = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
plane = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
planes = arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5))


def write(folder, array, name="s.tif"):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    if name.endswith("png"):
        Image.fromarray(array).save(folder / name)
    else:
        tifffile.imwrite(folder / name, array, photometric="minisblack")
    return folder / name


def read(sources, shape=SHAPE, scan=SCAN):
    return read_masks(scan, sources, shape)


def read_guides(guides):
    """Planes ``(H, W, G)`` of the guides of a scan."""
    with open_guides(SCAN, guides, SHAPE) as rows:
        return unpack_guides(rows.whole(), len(guides))


# --------------------------------------------------------------------------- names


def test_reserved_names_are_no_classes():
    sources = [ClassSource(name, "m", encoding="labels", values=("1",)) for name in ("b", "ignore", "a", "background")]
    assert class_names(sources) == ("b", "a")


@pytest.mark.parametrize("name", ["micro", "macro", "weighted"])
def test_names_of_score_rows_are_refused(name):
    with pytest.raises(UsageError, match=name):
        class_names([ClassSource(name, "m")])


def test_a_name_given_twice_is_refused():
    with pytest.raises(UsageError, match=r"^sources\.classes: class 'a' is given 2 times"):
        class_names([ClassSource("a", "m"), ClassSource("a", "n")])


@pytest.mark.parametrize(
    ("encoding", "values", "message"),
    [
        ("labels", (), r"^sources\.classes: class 'a': encoding 'labels' needs values"),
        ("labels", ("#ff0000",), r"^sources\.classes: class 'a': value '#ff0000' is not one of labels"),
        ("colours", ("red",), "'red' is not one of colours"),
    ],
)
def test_values_that_cannot_be_read_are_refused(encoding, values, message):
    with pytest.raises(UsageError, match=message):
        class_names([ClassSource("a", "m", encoding=encoding, values=values)])


# --------------------------------------------------------------------------- finding


@pytest.mark.parametrize(
    ("pattern", "scan_id", "file"),
    [
        ("{id}.*", "ab", "ab.png"),
        ("{id}.*", "AB", "AB.PNG"),
        ("{id}.*", "ab", "ab.ome.tif"),
        ("{id}.*", "p1/ab", "p1/ab.png"),
        ("{name}.*", "p1/ab", "ab.png"),
        ("{id}_mask.*", "ab", "ab_mask.png"),
        ("{folder}mask_{name}.*", "p1/ab", "p1/mask_ab.png"),
        ("{id}.png", "ab", "ab.png"),
        ("*/{id}.*", "ab", "deep/ab.png"),
        ("{id}.*", "a[1]*?", "a[1]*?.png"),
        ("*/{id}.*", "a[1]", "deep/a[1].png"),
        ("{id:_image=_mask}.*", "p1/ab_image", "p1/ab_mask.png"),
        ("{id}.*", "ab.c", "ab.c.png"),
    ],
)
def test_pattern_finds_the_file(tmp_path, pattern, scan_id, file):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert find_mask(GuideSource("a", str(tmp_path), pattern), scan_id) == (path, None)


@pytest.mark.parametrize(
    ("pattern", "scan_id", "file"),
    [
        ("{id}.*", "ab", "ab_2.png"),
        ("{id}.*", "ab", "ab.2.png"),
        ("{id}.*", "ab", "ab.txt"),
        ("*/{id}.*", "ab", "deep/ab.2.png"),
        ("{id}.*", "a[1]", "a1.png"),
        ("{id:_image=_mask}.*", "ab", "ab.png"),
    ],
)
def test_other_files_are_not_taken(tmp_path, pattern, scan_id, file):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(BadFileError, match=r"no mask for iris: looked for .*\{id"):
        find_mask(ClassSource("iris", str(tmp_path), pattern), scan_id)


@pytest.mark.parametrize("age", [0, 3600], ids=["changed just now", "changed an hour ago"])
def test_a_mask_that_is_added_or_removed_is_seen(tmp_path, age):
    def change(action):
        action()
        at = time.time() - age + next(ticks)
        os.utime(tmp_path, (at, at))

    ticks = iter(range(3))
    source = ClassSource("iris", str(tmp_path))
    change((tmp_path / "ab.png").touch)
    assert find_mask(source, "ab") == (tmp_path / "ab.png", None)
    change((tmp_path / "cd.TIF").touch)
    assert find_mask(source, "cd") == (tmp_path / "cd.TIF", None)
    change((tmp_path / "ab.png").unlink)
    with pytest.raises(BadFileError, match="no mask for iris"):
        find_mask(source, "ab")


def test_two_masks_are_refused(tmp_path):
    (tmp_path / "ab.png").touch()
    (tmp_path / "ab.tif").touch()
    with pytest.raises(BadFileError, match=r"scan ab: 2 masks for iris \(ab\.png, ab\.tif\)"):
        find_mask(GuideSource("iris", str(tmp_path)), "ab")


@pytest.mark.parametrize(("pattern", "scan_id"), [("../{id}.*", "ab"), ("{id}.*", "../ab"), ("{id}.*", "/etc/ab")])
def test_nothing_outside_the_folder(tmp_path, pattern, scan_id):
    (tmp_path / "in").mkdir()
    (tmp_path / "ab.png").touch()
    with pytest.raises(BadFileError, match="leaves the folder"):
        find_mask(GuideSource("a", str(tmp_path / "in"), pattern), scan_id)


def test_a_page_has_a_page_or_a_file_of_its_own(tmp_path):
    source = GuideSource("a", str(tmp_path))
    (tmp_path / "vol.tif").touch()
    assert find_mask(source, "vol.p0007") == (tmp_path / "vol.tif", 7)
    (tmp_path / "vol.p0007.png").touch()
    assert find_mask(source, "vol.p0007") == (tmp_path / "vol.p0007.png", None)
    assert find_mask(GuideSource("a", str(tmp_path / "vol.tif")), "other.p0007") == (tmp_path / "vol.tif", 7)


# --------------------------------------------------------------------------- encodings


@given(mask=plane, white=st.sampled_from([1, 7, 100, 128, 255]), dtype=st.sampled_from(["uint8", "uint16", "float32"]))
@ONE_FOLDER
def test_binary_of_any_white(tmp_path, mask, white, dtype):
    write(tmp_path, (mask * white).astype(dtype))
    np.testing.assert_array_equal(read([ClassSource("a", str(tmp_path))], mask.shape)[..., 0], mask)


@given(mask=plane)
@ONE_FOLDER
def test_binary_of_one_bit(tmp_path, mask):
    write(tmp_path, mask, "s.png")
    np.testing.assert_array_equal(read([ClassSource("a", str(tmp_path))], mask.shape)[..., 0], mask)


@given(mask=planes)
@ONE_FOLDER
def test_colours_hold_exclusive_classes(tmp_path, mask):
    index = mask.argmax(axis=-1) + mask.any(axis=-1)  # 0: none
    colours = np.random.default_rng(0).choice(2**24 - 1, mask.shape[-1], replace=False) + 1
    rgb = np.array([[0, 0, 0], *((c >> 16, c >> 8 & 255, c & 255) for c in colours)], np.uint8)[index]
    write(tmp_path, rgb, "s.png")
    sources = [
        ClassSource(f"c{k}", str(tmp_path), encoding="colours", values=(f"#{colour:06x}",))
        for k, colour in enumerate(colours)
    ]
    expected = index[..., None] == np.arange(1, mask.shape[-1] + 1)
    np.testing.assert_array_equal(read(sources, mask.shape[:2]), expected)


@given(mask=planes, dtype=st.sampled_from(["uint8", "int16", "uint16", "float32"]))
@ONE_FOLDER
def test_labels_hold_overlaps_as_values_of_their_own(tmp_path, mask, dtype):
    bits = (mask * 2 ** np.arange(mask.shape[-1])).sum(axis=-1)
    write(tmp_path, bits.astype(dtype))
    every = range(1, 2 ** mask.shape[-1])
    sources = [
        ClassSource(f"c{k}", str(tmp_path), encoding="labels", values=tuple(str(v) for v in every if v >> k & 1))
        for k in range(mask.shape[-1])
    ]
    np.testing.assert_array_equal(read(sources, mask.shape[:2]), mask)


@given(labels=arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=9)))
@ONE_FOLDER
def test_instances_are_all_but_0(tmp_path, labels):
    write(tmp_path, labels)
    found = read([ClassSource("a", str(tmp_path), encoding="instances")], labels.shape)
    np.testing.assert_array_equal(found[..., 0], labels > 0)


@given(mask=planes)
@ONE_FOLDER
def test_one_file_per_class(tmp_path, mask):
    for k in range(mask.shape[-1]):
        write(tmp_path / f"c{k}", mask[..., k].astype(np.uint8) * 255, "s.png")
    sources = [ClassSource(f"c{k}", str(tmp_path / f"c{k}")) for k in range(mask.shape[-1])]
    np.testing.assert_array_equal(read(sources, mask.shape[:2]), mask)


def test_result_is_int8_in_the_order_of_the_names(tmp_path):
    write(tmp_path, np.array([[0, 1, 2], [2, 2, 0]], np.uint8))
    sources = [ClassSource(f"c{v}", str(tmp_path), encoding="labels", values=(v,)) for v in "21"]
    found = read(sources)
    assert found.dtype == np.int8
    assert found.tolist() == [[[0, 0], [0, 1], [1, 0]], [[1, 0], [1, 0], [0, 0]]]


def test_soft_edges_are_cut_at_half(tmp_path):
    write(tmp_path, np.array([[0, 100, 127], [128, 200, 255]], np.uint8))
    assert read([ClassSource("a", str(tmp_path))])[..., 0].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_white_of_255_in_16_bits(tmp_path):
    write(tmp_path, np.array([[0, 100, 127], [128, 200, 255]], np.uint16))
    assert read([ClassSource("a", str(tmp_path))])[..., 0].tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        (np.uint16, [0, 2000, 2047, 2048, 4000, 4095], [0, 0, 0, 1, 1, 1]),  # 12 bits
        (np.uint16, [0, 4095, 8191, 8192, 16000, 16383], [0, 0, 0, 1, 1, 1]),
        (np.uint16, [0, 1000, 1999, 2001, 3000, 4000], [0, 0, 0, 0, 1, 1]),  # near 4095, whose half is 2047.5
        (np.uint16, [0, 100, 130, 131, 200, 260], [0, 0, 0, 1, 1, 1]),  # 255, and a little more by interpolation
        (np.uint8, [0, 1, 127, 128, 250, 254], [0, 0, 0, 1, 1, 1]),  # JPEG
        (np.uint8, [0, 50, 63, 64, 100, 127], [0, 0, 0, 1, 1, 1]),
        (np.uint8, [0, 50, 100, 101, 150, 200], [0, 0, 0, 1, 1, 1]),
        (np.uint32, [0, 10**6, 10**6, 3 * 10**6, 3 * 10**6, 4 * 10**6], [0, 0, 0, 1, 1, 1]),
        (np.float32, [0, 0.25, 0.5, 0.75, 0.9, 1], [0, 0, 0, 1, 1, 1]),
        (np.float32, [0, 100, 127, 128, 200, 255], [0, 0, 0, 1, 1, 1]),
    ],
)
def test_white_is_the_full_scale_that_is_near_else_the_maximum(tmp_path, dtype, values, expected):
    write(tmp_path, np.reshape(values, SHAPE).astype(dtype))
    assert read([ClassSource("a", str(tmp_path))]).ravel().tolist() == expected


def test_fractions_far_below_1_are_background_and_told(tmp_path):
    write(tmp_path, np.array([[0, 0.01, 0.02], [0, 0.03, 0.05]], np.float32))
    with open_masks(SCAN, [ClassSource("a", str(tmp_path))], SHAPE) as masks:
        assert not masks.whole().any()
        assert masks.soft == ("a",)


@pytest.mark.parametrize(
    ("dtype", "values", "named"),
    [
        (np.uint8, [0, 1, 2, 0, 0, 0], "0, 1, 2 look"),
        (np.uint8, [1, 1, 2, 2, 1, 1], "1, 2 look"),
        (np.float32, [0, 1, 3, 0, 0, 0], "0, 1, 3 look"),
        (np.uint16, [0, 5, 25, 0, 0, 0], "0, 5, 25 look"),
    ],
)
def test_labels_are_not_taken_for_black_and_white(tmp_path, dtype, values, named):
    write(tmp_path, np.reshape(values, SHAPE).astype(dtype))
    with pytest.raises(BadFileError, match=f"{named} like labels, .* set the encoding of 'a' to 'labels'"):
        read([ClassSource("a", str(tmp_path))])


def test_binary_in_colour_without_alpha(tmp_path):
    rgba = np.zeros((*SHAPE, 4), np.uint8)
    rgba[..., 3] = 255
    rgba[0, 1, 1] = 255
    write(tmp_path, rgba, "s.png")
    assert read([ClassSource("a", str(tmp_path))])[..., 0].tolist() == [[0, 1, 0], [0, 0, 0]]


def test_palettes_mean_colours_not_indices(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2], [1, 1, 0]], np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255] + [0] * (253 * 3))
    image.save(tmp_path / "s.png")
    sources = [
        ClassSource(name, str(tmp_path), encoding="colours", values=(value,))
        for name, value in (("red", "#FF0000"), ("blue", "#0000ff"))
    ]
    assert read(sources).tolist() == [[[0, 0], [1, 0], [0, 1]], [[1, 0], [1, 0], [0, 0]]]


@pytest.mark.parametrize(
    ("values", "soft"),
    [
        ([0, 100, 127, 128, 200, 255], ("a",)),
        ([0, 1, 9, 250, 254, 255], ()),  # as JPEG leaves black and white
        ([0, 0, 0, 7, 7, 7], ()),
        ([0, 0, 0, 0, 0, 0], ()),
        ([0, 50, 99, 101, 150, 200], ("a",)),
        ([0, 1, 9, 195, 199, 200], ()),
    ],
)
def test_greys_between_black_and_white_are_told(tmp_path, values, soft):
    write(tmp_path, np.reshape(values, SHAPE).astype(np.uint8))
    with open_masks(SCAN, [ClassSource("a", str(tmp_path))], SHAPE) as masks:
        assert masks.soft == soft


def test_a_shared_file_is_read_once(tmp_path, monkeypatch):
    write(tmp_path, np.array([[0, 1, 2], [2, 2, 0]], np.uint8))
    seen = []
    original = mask_layers.open_plane
    monkeypatch.setattr(mask_layers, "open_plane", lambda path, *a, **k: seen.append(path) or original(path, *a, **k))
    read([ClassSource(f"c{v}", str(tmp_path), encoding="labels", values=(v,)) for v in "12"])
    assert seen == [tmp_path / "s.tif"]


# --------------------------------------------------------------------------- ignore and unclaimed


def test_ignore_is_minus_1_on_all_classes(tmp_path):
    write(tmp_path / "labels", np.array([[0, 1, 255], [0, 0, 255]], np.uint8))
    write(tmp_path / "b", np.array([[1, 1, 1], [0, 0, 0]], np.uint8))
    sources = [
        ClassSource("a", str(tmp_path / "labels"), encoding="labels", values=("1",)),
        ClassSource("ignore", str(tmp_path / "labels"), encoding="labels", values=("255",)),
        ClassSource("b", str(tmp_path / "b")),
    ]
    assert read(sources).tolist() == [[[0, 1], [1, 1], [-1, -1]], [[0, 0], [0, 0], [-1, -1]]]


def test_background_claims_values(tmp_path):
    write(tmp_path, np.array([[9, 1, 9], [0, 0, 9]], np.uint8))
    sources = [
        ClassSource("a", str(tmp_path), encoding="labels", values=("1",)),
        ClassSource("background", str(tmp_path), encoding="labels", values=("9",)),
    ]
    assert read(sources)[..., 0].tolist() == [[0, 1, 0], [0, 0, 0]]


def test_0_can_be_a_class(tmp_path):
    write(tmp_path, np.array([[0, 1, 1], [0, 0, 1]], np.uint8))
    sources = [ClassSource(f"c{v}", str(tmp_path), encoding="labels", values=(v,)) for v in "01"]
    assert read(sources)[..., 0].tolist() == [[1, 0, 0], [1, 1, 0]]


def test_unclaimed_labels_name_value_count_and_file(tmp_path):
    path = write(tmp_path, np.array([[0, 1, 300], [300, 0, 7]], np.uint16))
    with pytest.raises(BadFileError) as error:
        read([ClassSource("a", str(tmp_path), encoding="labels", values=("1",))])
    assert str(error.value).startswith(f"{path}: values that no class claims: 7 (1 pixels), 300 (2 pixels);")


def test_unclaimed_colours_are_named_as_colours(tmp_path):
    write(tmp_path, np.array([[[255, 0, 0], [1, 2, 3], [0, 0, 0]]], np.uint8), "s.png")
    with pytest.raises(BadFileError, match=r"#010203 \(1 pixels\)"):
        read([ClassSource("a", str(tmp_path), encoding="colours", values=("#ff0000",))], (1, 3))


def test_labels_in_colour_are_refused(tmp_path):
    write(tmp_path, np.array([[[255, 0, 0], [1, 2, 3], [0, 0, 0]]], np.uint8), "s.png")
    with pytest.raises(BadFileError, match="encoding 'colours'"):
        read([ClassSource("a", str(tmp_path), encoding="labels", values=("1",))], (1, 3))


def test_fractions_are_no_labels(tmp_path):
    write(tmp_path, np.full(SHAPE, 0.5, np.float32))
    with pytest.raises(BadFileError, match="whole numbers"):
        read([ClassSource("a", str(tmp_path), encoding="labels", values=("1",))])


@pytest.mark.parametrize("label", [1e20, -1e20])
def test_labels_beyond_what_doubles_tell_apart_are_refused(tmp_path, label):
    write(tmp_path, np.array([[0, 1, 1], [0, 0, label]], np.float64))
    with pytest.raises(BadFileError, match=r"exact up to 9007199254740992, but the file has 1e\+20; save it as"):
        read([ClassSource("a", str(tmp_path), encoding="labels", values=("1", "-9223372036854775808"))])


def test_the_largest_exact_float_label(tmp_path):
    write(tmp_path, np.full(SHAPE, 2.0**53))
    assert read([ClassSource("a", str(tmp_path), encoding="labels", values=(str(2**53),))]).all()


def test_negative_values_are_not_binary(tmp_path):
    write(tmp_path, np.array([[-1, 0, 1], [0, 0, 0]], np.int16))
    with pytest.raises(BadFileError, match="negative"):
        read([ClassSource("a", str(tmp_path))])


def test_other_size_names_both(tmp_path):
    write(tmp_path, np.zeros((5, 7), np.uint8))
    with pytest.raises(BadFileError, match="has 5x7 pixels, the scan 2x3"):
        read([ClassSource("a", str(tmp_path))])


def test_a_stack_is_no_mask_of_one_scan(tmp_path):
    write(tmp_path, np.zeros((5, *SHAPE), np.uint8))
    with pytest.raises(BadFileError, match="holds 5 pages"):
        read([ClassSource("a", str(tmp_path))])


def test_pages_of_stacks_pair(tmp_path):
    stack = np.arange(5 * 6, dtype=np.uint8).reshape(5, *SHAPE)
    write(tmp_path, stack, "vol.tif")
    write(tmp_path, stack, "scan.tif")
    scan = ScanRef("vol.p0003", tmp_path / "scan.tif", 3)
    sources = [ClassSource("a", str(tmp_path), encoding="labels", values=tuple(map(str, range(18, 24))))]
    assert read(sources, scan=scan).all()


@pytest.mark.parametrize("pages", [pytest.param(3, id="one-too-few"), pytest.param(7, id="surplus")])
@pytest.mark.parametrize("page", [0, 3], ids=["first", "last"])
def test_a_mask_stack_of_another_length_is_refused_for_all_pages_alike(tmp_path, pages, page):
    write(tmp_path, np.zeros((pages, *SHAPE), np.uint8), "vol.tif")
    write(tmp_path / "scans", np.zeros((4, *SHAPE), np.uint8), "vol.tif")
    scan = ScanRef(f"vol.p{page:04d}", tmp_path / "scans/vol.tif", page)
    with pytest.raises(BadFileError) as caught:
        read([ClassSource("a", str(tmp_path))], scan=scan)
    assert str(caught.value) == (
        f"scan vol: mask {tmp_path / 'vol.tif'} holds {pages} pages, the scan 4, so none of them is used; make them "
        "equal, or give each page that has a mask a file of its own, named as the page: vol.p0000"
    )


def test_a_mask_of_one_page_is_that_of_no_page_of_a_stack(tmp_path):
    write(tmp_path, np.zeros(SHAPE, np.uint8), "vol.tif")
    write(tmp_path / "scans", np.zeros((4, *SHAPE), np.uint8), "vol.tif")
    with pytest.raises(BadFileError, match="holds 1 page, the scan 4"):
        read([ClassSource("a", str(tmp_path))], scan=ScanRef("vol.p0000", tmp_path / "scans/vol.tif", 0))


def test_a_page_with_a_mask_file_of_its_own_needs_no_other(tmp_path):
    write(tmp_path, np.full(SHAPE, 255, np.uint8), "vol.p0002.png")
    write(tmp_path, np.zeros((7, *SHAPE), np.uint8), "vol.tif")
    write(tmp_path / "scans", np.zeros((4, *SHAPE), np.uint8), "vol.tif")
    assert read([ClassSource("a", str(tmp_path))], scan=ScanRef("vol.p0002", tmp_path / "scans/vol.tif", 2)).all()


def test_a_file_that_is_named_as_a_page_has_no_pages_to_count(tmp_path):
    write(tmp_path, np.full((7, *SHAPE), 255, np.uint8), "vol.tif")
    write(tmp_path / "scans", np.zeros(SHAPE, np.uint8), "vol.p0002.png")
    assert read([ClassSource("a", str(tmp_path))], scan=ScanRef("vol.p0002", tmp_path / "scans/vol.p0002.png")).all()


def test_classes_as_pages_of_a_mask_of_one_page_of_a_stack(tmp_path):
    planes = np.stack([np.full(SHAPE, 255, np.uint8), np.zeros(SHAPE, np.uint8)])
    write(tmp_path, planes, "vol.p0002.tif")
    write(tmp_path / "scans", np.zeros((4, *SHAPE), np.uint8), "vol.tif")
    sources = [ClassSource(name, str(tmp_path), encoding="pages", values=(str(k),)) for k, name in enumerate("ab")]
    found = read(sources, scan=ScanRef("vol.p0002", tmp_path / "scans/vol.tif", 2))
    assert found.reshape(-1, 2).any(axis=0).tolist() == [True, False]


# --------------------------------------------------------------------------- guides


def test_guides_are_binary_planes(tmp_path):
    write(tmp_path / "g", np.array([[0, 255, 255], [0, 0, 0]], np.uint8))
    write(tmp_path / "h", np.array([[1, 0, 0], [0, 0, 1]], np.uint8))
    found = read_guides([GuideSource("g", str(tmp_path / "g")), GuideSource("h", str(tmp_path / "h"))])
    assert found.dtype == np.uint8
    assert found.tolist() == [[[0, 1], [1, 0], [1, 0]], [[0, 0], [0, 0], [0, 1]]]


def test_no_guides_are_no_planes():
    assert read_guides([]).shape == (2, 3, 0)


def guides_of(folder, masks, names):
    """One file per guide, in folders by number."""
    for number, mask in enumerate(masks):
        write(folder / str(number), np.asarray(mask, np.uint8) * 255)
    return [GuideSource(name, str(folder / str(number))) for number, name in enumerate(names)]


@pytest.mark.parametrize("names", [("ignore", "g"), ("g", "background"), ("micro", "ignore"), ("background", "ignore")])
def test_no_name_of_a_guide_is_reserved(tmp_path, names):
    masks = np.array([[[0, 1, 1], [0, 0, 0]], [[1, 1, 0], [0, 0, 1]]])
    guides = guides_of(tmp_path, masks, names)
    assert guide_names(guides) == names
    np.testing.assert_array_equal(read_guides(guides), np.moveaxis(masks, 0, -1))


@pytest.mark.parametrize("count", [1, 7, 8, 16])
def test_all_guides_may_be_set_at_once(tmp_path, count):
    masks = np.random.default_rng(count).integers(0, 2, (count, *SHAPE))
    masks[:, 0, 0] = 1
    guides = guides_of(tmp_path, masks, [f"g{number}" for number in range(count)])
    np.testing.assert_array_equal(read_guides(guides), np.moveaxis(masks, 0, -1))
    with open_guides(SCAN, guides, SHAPE) as rows:
        assert rows.rows(0, 1)[0, 0] == 2**count - 1


def test_guides_may_share_a_file(tmp_path):
    write(tmp_path, np.array([[0, 255, 255], [0, 0, 0]], np.uint8))
    found = read_guides([GuideSource(name, str(tmp_path)) for name in ("g", "ignore")])
    assert found[0].tolist() == [[0, 0], [1, 1], [1, 1]]


def test_a_guide_given_twice_is_refused(tmp_path):
    guides = guides_of(tmp_path, np.ones((2, *SHAPE)), ("g", "g"))
    for use in (guide_names, lambda guides: read_guides(guides)):
        with pytest.raises(
            UsageError, match=r"^sources\.guides: guide 'g' is given 2 times; give each guide its own name"
        ):
            use(guides)


def test_missing_guide_names_scan_and_guide(tmp_path):
    with pytest.raises(BadFileError, match="scan s: no mask for region"):
        read_guides([GuideSource("region", str(tmp_path))])
