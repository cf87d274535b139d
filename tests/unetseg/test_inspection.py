import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from unetseg.errors import UsageError
from unetseg.inspection import inspect
from unetseg.masks import read_masks
from unetseg.pairing import find_group_rule, find_patterns, numbered_rule, stack_rule
from unetseg.readers import list_scans, read_header
from unetseg.recognise import class_name, recognise_masks, valid_name
from unetseg.scan_groups import groups_of

SIDE = 32
NUMBERS = range(4)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, array, photometric="rgb" if array.ndim == 3 and array.shape[-1] == 3 else "minisblack")
    else:
        Image.fromarray(array).save(path)


def scan(seed=0, channels=()):
    return np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, *channels), np.uint8)


def block(at, value=1, size=8, dtype=np.uint8):
    mask = np.zeros((SIDE, SIDE), dtype)
    mask[at : at + size, at : at + size] = value
    return mask


@pytest.fixture
def scans(tmp_path):
    for number in NUMBERS:
        write(tmp_path / "scans" / f"{number}.tif", scan(number))
    return tmp_path / "scans"


def classes_of(findings):
    return [(source.name, source.encoding, source.values) for source in findings.sources.classes]


def read_all(findings):
    """What ingest will read: (N, H, W, K)."""
    refs, _ = list_scans(findings.sources.scans)
    headers = [read_header(ref) for ref in refs]
    masks = [
        read_masks(ref, findings.sources.classes, (header.height, header.width))
        for ref, header in zip(refs, headers, strict=True)
    ]
    return np.stack(masks)


# --------------------------------------------------------------------------- encodings


@pytest.mark.parametrize("white", [1, 255])
def test_black_and_white_is_one_class(scans, tmp_path, white):
    for number in NUMBERS:
        write(tmp_path / "iris" / f"{number}.png", block(number, white))
    findings = inspect(scans, tmp_path / "iris")
    assert classes_of(findings) == [("iris", "binary", ())]
    np.testing.assert_array_equal(read_all(findings)[..., 0], [block(number) for number in NUMBERS])


def test_a_generic_folder_names_no_class(scans, tmp_path):
    for number in NUMBERS:
        write(tmp_path / "masks" / f"{number}.png", block(number, 255))
    assert classes_of(inspect(scans, tmp_path / "masks")) == [("foreground", "binary", ())]


def test_soft_edges_are_binary(scans, tmp_path):
    for number in NUMBERS:
        mask = block(8, 255, size=16)
        mask[7, 8:24] = np.arange(16) * 13 + 20
        write(tmp_path / "cell" / f"{number}.png", mask)
    findings = inspect(scans, tmp_path / "cell")
    assert classes_of(findings) == [("cell", "binary", ())]
    assert "overlap" not in dict(findings.rows)


def test_one_bit_beside_grey_files_is_binary(scans, tmp_path):
    for number in NUMBERS:
        mask = block(number, 255)
        write(tmp_path / "cell" / f"{number}.png", mask > 0 if number % 2 else mask)
    assert classes_of(inspect(scans, tmp_path / "cell")) == [("cell", "binary", ())]


def test_the_same_few_values_are_labels(scans, tmp_path):
    for number in NUMBERS:
        write(tmp_path / "m" / f"{number}.png", block(0, 2) + block(10, 5) + block(20, 2))
    findings = inspect(scans, tmp_path / "m")
    assert classes_of(findings) == [("class_2", "labels", ("2",)), ("class_5", "labels", ("5",))]
    assert (read_all(findings).sum(axis=(0, 1, 2)) == [4 * 128, 4 * 64]).all()
    assert "model.head: softmax" in dict(findings.rows)["overlap"]


def test_one_class_per_scan_is_labels(scans, tmp_path):
    for number in NUMBERS:
        write(tmp_path / "m" / f"{number}.png", block(number, 1 + number % 2))
    found = inspect(scans, tmp_path / "m")
    assert [source.values for source in found.sources.classes] == [("1",), ("2",)]
    assert found.warnings == (
        "the values of a mask have no names: rename the classes class_1 and class_2 in unetseg.yaml before you train",
    )


def test_numbered_objects_are_one_class_named_after_the_folder_above(tmp_path):
    for number in NUMBERS:
        write(tmp_path / "nuclei/images" / f"{number}.png", scan(number))
        objects = sum(block(5 * k, k + 1, size=3, dtype=np.uint16) for k in range(number + 1))
        write(tmp_path / "nuclei/masks" / f"{number}.tif", objects)
    findings = inspect(tmp_path / "nuclei/images", tmp_path / "nuclei/masks")
    assert classes_of(findings) == [("nucleus", "instances", ())]
    assert (read_all(findings).sum(axis=(1, 2, 3)) == [9, 18, 27, 36]).all()


def test_colours_are_named_and_black_is_background(scans, tmp_path):
    for number in NUMBERS:
        mask = np.dstack([block(0, 255), block(10, 255), block(20, 18)])
        write(tmp_path / "m" / f"{number}.png", mask)
    assert classes_of(inspect(scans, tmp_path / "m")) == [
        ("colour_000012", "colours", ("#000012",)),
        ("green", "colours", ("#00ff00",)),
        ("red", "colours", ("#ff0000",)),
    ]


def test_palettes_are_colours(scans, tmp_path):
    for number in NUMBERS:
        image = Image.fromarray(block(3, 1) + block(20, 2)).convert("P")
        image.putpalette([0, 0, 0, 255, 255, 0, 0, 0, 255] + [0] * (253 * 3))
        (tmp_path / "m").mkdir(exist_ok=True)
        image.save(tmp_path / "m" / f"{number}.png")
    assert [source.name for source in inspect(scans, tmp_path / "m").sources.classes] == ["blue", "yellow"]


def test_too_many_colours_get_a_way_out(scans, tmp_path):
    smooth = np.repeat(np.arange(SIDE * 8, dtype=np.uint8).reshape(-1, 8), 4, axis=1)[:SIDE]
    for number in NUMBERS:
        write(tmp_path / "m" / f"{number}.png", np.dstack([smooth, 255 - smooth, smooth]))
    with pytest.raises(UsageError, match=r"256 colours, more than 32.*without interpolation"):
        inspect(scans, tmp_path / "m")


def test_scans_are_not_masks(scans, tmp_path):
    for number in NUMBERS:
        write(tmp_path / "more" / f"{number}.tif", scan(10 + number))
    with pytest.raises(UsageError, match="looks like a scan"):
        inspect(scans, tmp_path / "more")


def test_255_beside_small_labels_is_pointed_out():
    pixels = (block(0, 1) + block(10, 2) + block(20, 255) + block(20, 0))[..., None]
    assert "ignore" in recognise_masks([(Path("a.png"), pixels)], ["m", "n"]).warnings[0]


# --------------------------------------------------------------------------- folders


def test_a_folder_per_class_beside_the_scans(tmp_path):
    for number in NUMBERS:
        write(tmp_path / "raw" / f"{number}.tif", scan(number))
        write(tmp_path / "unlabelled" / f"{number}.tif", scan(10 + number))
        write(tmp_path / "notes" / f"other{number}.tif", scan(number))
        write(tmp_path / "b" / f"{number}.png", block(4, 255))
        write(tmp_path / "a" / f"{number}.png", block(0, 255) > 0)
    findings = inspect(tmp_path / "raw", tmp_path)
    assert classes_of(findings) == [("a", "binary", ()), ("b", "binary", ())]
    assert [warning.split()[0] for warning in findings.warnings] == ["notes", "unlabelled"]
    np.testing.assert_array_equal(read_all(findings)[0], np.dstack([block(0), block(4)]))


def test_a_folder_of_labels_gives_its_name_to_them(scans, tmp_path):
    for number in NUMBERS:
        write(tmp_path / "m/tissue" / f"{number}.png", block(0, 1) + block(10, 2) + block(20, 1))
        write(tmp_path / "m/ink" / f"{number}.png", block(4, 255))
    findings = inspect(scans, tmp_path / "m")
    assert [source.name for source in findings.sources.classes] == ["ink", "tissue_class_1", "tissue_class_2"]


def test_stack_pairs_with_stack(tmp_path):
    write(tmp_path / "volume.tif", np.stack([scan(number) for number in range(5)]))
    write(tmp_path / "labels.tif", np.stack([block(number, 255) for number in range(5)]))
    findings = inspect(tmp_path / "volume.tif", tmp_path / "labels.tif")
    assert classes_of(findings) == [("foreground", "binary", ())]
    np.testing.assert_array_equal(read_all(findings)[..., 0], [block(number) for number in range(5)])
    assert findings.warnings == (
        "pages of one stack are neighbours and much alike: scores on its test pages flatter; add stacks: from three "
        "on, each is a group",
    )


def test_a_long_stack_is_told_how_to_keep_neighbouring_pages_together(tmp_path):
    write(tmp_path / "volume.tif", np.stack([scan(number) for number in range(23)]))
    write(tmp_path / "labels.tif", np.stack([block(number, 255) for number in range(23)]))
    (told,) = inspect(tmp_path / "volume.tif", tmp_path / "labels.tif").warnings
    assert told.endswith("before the first ingest, which keeps ten pages in a row in one split")
    groups = groups_of([f"volume.p{page:04}" for page in range(23)], told.split("'")[1])
    assert list(dict.fromkeys(groups.values())) == ["volume.p000", "volume.p001", "volume.p002"]
    assert not inspect(tmp_path / "volume.tif", None).warnings


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        pytest.param([f"v{v}.p{k:04}" for v in range(2) for k in range(11)] + ["one"], "each stack", id="two-and-one"),
        pytest.param([f"v{v}.p{k:04}" for v in range(2) for k in range(11)], "ten pages in a row", id="two-of-eleven"),
        pytest.param([f"v{v}.p{k:04}" for v in range(2) for k in range(10)], "", id="two-of-ten"),
    ],
)
def test_the_rule_for_few_stacks_leaves_as_many_groups_as_splits_need(ids, kept):
    rule, found = stack_rule(ids)
    assert found == kept
    assert bool(rule) == bool(kept)
    assert not rule or len(set(groups_of(ids, rule).values())) >= 3


@pytest.mark.parametrize("lengths", [(4, 7, 4), (4, 3, 4)], ids=["surplus", "one-too-few"])
def test_a_mask_stack_of_another_length_is_told(tmp_path, lengths):
    for number, length in enumerate(lengths):
        write(tmp_path / f"s/v{number}.tif", np.stack([scan(page) for page in range(4)]))
        write(tmp_path / f"m/v{number}.tif", np.stack([block(page, 255) for page in range(length)]))
    findings = inspect(tmp_path / "s", tmp_path / "m")
    (told,) = findings.warnings
    assert told.startswith("1 of the sampled masks cannot be used; the first: scan v1: mask ")
    assert f"holds {lengths[1]} pages, the scan 4" in told
    assert dict(findings.rows)["groups"].startswith("stack: 3 groups")


def test_mask_stacks_of_which_none_has_the_length_of_its_scan_are_refused(tmp_path):
    for number in range(3):
        write(tmp_path / f"s/v{number}.tif", np.stack([scan(page) for page in range(4)]))
        write(tmp_path / f"m/v{number}.tif", np.stack([block(page, 255) for page in range(7)]))
    with pytest.raises(UsageError, match=r"no mask fits its scan; first: scan v0: mask .*v0\.tif holds 7 pages"):
        inspect(tmp_path / "s", tmp_path / "m")


def test_stacks_in_folders_pair_by_page(tmp_path):
    write(tmp_path / "s/a.tif", np.stack([scan(number) for number in range(5)]))
    write(tmp_path / "m/a_seg.tif", np.stack([block(number, 255) for number in range(5)]))
    found = read_all(inspect(tmp_path / "s", tmp_path / "m"))
    np.testing.assert_array_equal(found[..., 0], [block(number) for number in range(5)])


def test_stacks_of_other_length_are_refused(tmp_path):
    write(tmp_path / "volume.tif", np.stack([scan()] * 5))
    write(tmp_path / "labels.tif", np.stack([block(0)] * 6))
    with pytest.raises(UsageError, match="6 masks for 5 scans"):
        inspect(tmp_path / "volume.tif", tmp_path / "labels.tif")


def test_several_masks_per_scan_by_their_affix(scans, tmp_path):
    for number in NUMBERS:
        write(tmp_path / "m" / f"{number}_cell.png", block(0, 255))
        write(tmp_path / "m" / f"{number}_nucleus.png", block(3, 255, size=2))
    findings = inspect(scans, tmp_path / "m")
    assert [source.name for source in findings.sources.classes] == ["cell", "nucleus"]
    np.testing.assert_array_equal(read_all(findings)[1], np.dstack([block(0), block(3, size=2)]))


def test_guides_are_found(scans, tmp_path):
    for number in NUMBERS:
        write(tmp_path / "g/region" / f"{number}.png", block(0, 255))
        write(tmp_path / "g/light" / f"{number}.png", block(9, 255))
    guides = inspect(scans, None, tmp_path / "g").sources.guides
    assert [(guide.name, guide.path) for guide in guides] == [
        ("light", str(tmp_path / "g/light")),
        ("region", str(tmp_path / "g/region")),
    ]
    assert [guide.name for guide in inspect(scans, None, tmp_path / "g/region").sources.guides] == ["region"]


# --------------------------------------------------------------------------- pairing


@pytest.mark.parametrize(
    ("ids", "names", "pattern"),
    [
        (["a", "b"], ["a", "b"], "{id}.*"),
        (["p/a", "p/b"], ["p/a", "p/b"], "{id}.*"),
        (["p/a", "p/b"], ["a", "b"], "{name}.*"),
        (["a", "b"], ["a_mask", "b_mask"], "{name}_mask.*"),
        (["a", "b"], ["mask_a", "mask_b"], "mask_{name}.*"),
        (["a", "b"], ["x-a-seg", "x-b-seg"], "x-{name}-seg.*"),
        (["p/a", "p/b"], ["p/mask_a", "p/mask_b"], "{folder}mask_{name}.*"),
        (["1", "11"], ["1_m", "11_m"], "{name}_m.*"),
        (["image_001", "image_002"], ["mask_001", "mask_002"], "{name:image_=mask_}.*"),
        (["21_training", "22_training"], ["21_manual1", "22_manual1"], "{name:_training=_manual1}.*"),
        (["p/1_img", "q/2_img"], ["p/1_seg", "q/2_seg"], "{id:_img=_seg}.*"),
        (["v.p0000", "v.p0001"], ["v_mask"], "{name}_mask.*"),
    ],
)
def test_pattern_from_names(ids, names, pattern):
    assert find_patterns(ids, names) == (pattern,)


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (["a"], ["b"]),
        (["1", "2", "3", "4"], ["11", "21"]),
        ([f"{n:02}" for n in range(20)], ["x00", "xx01", "03y", "z"]),
    ],
)
def test_names_that_do_not_pair(ids, names):
    assert find_patterns(ids, names) == ()


def test_unpaired_scans_are_named(scans, tmp_path):
    for number in (0, 2):
        write(tmp_path / "m" / f"{number}.png", block(0, 255))
    findings = inspect(scans, tmp_path / "m")
    assert dict(findings.rows)["paired"].startswith("2 of 4 scans")
    assert dict(findings.rows)["without mask"] == "2: 1, 3"


def test_nothing_pairs_shows_both_names(scans, tmp_path):
    write(tmp_path / "m/other.png", block(0))
    with pytest.raises(UsageError, match="scans are named like '0' and masks like 'other'"):
        inspect(scans, tmp_path / "m")


@pytest.mark.parametrize("beside", ["", "notes.txt"])
def test_a_folder_without_masks_is_told_of_as_that(scans, tmp_path, beside):
    (tmp_path / "m").mkdir()
    if beside:
        (tmp_path / "m" / beside).write_text("no image")
    with pytest.raises(
        UsageError, match=r"m: no masks there, since it holds no image files but scans; look at the path"
    ):
        inspect(scans, tmp_path / "m")


def test_files_of_a_channel_each_are_told_from_misnamed_ones(tmp_path):
    for name in ("cell_000_0000", "cell_000_0001", "cell_001_0000", "cell_001_0001"):  # as nnU-Net names them
        write(tmp_path / "s" / f"{name}.png", block(0, 200))
    for name in ("cell_000", "cell_001"):
        write(tmp_path / "m" / f"{name}.png", block(0))
    with pytest.raises(
        UsageError, match="such as 'cell_000_0000' and 'cell_000_0001'; if they are channels of one scan"
    ):
        inspect(tmp_path / "s", tmp_path / "m")


def test_masks_of_another_size_are_refused(scans, tmp_path):
    for number in NUMBERS:
        write(tmp_path / "m" / f"{number}.png", np.zeros((16, 16), np.uint8))
    with pytest.raises(UsageError, match=r"16x16 pixels, the scan 32x32; .* set ingest\.resize_masks=true"):
        inspect(scans, tmp_path / "m")


def test_masks_that_are_resized_are_recognised(scans, tmp_path):
    for number in NUMBERS:
        write(tmp_path / "m" / f"{number}.png", block(number)[::2, ::2])
    found = inspect(scans, tmp_path / "m", resize_masks=True)
    assert [source.encoding for source in found.sources.classes] == ["binary"]
    assert not found.warnings
    for number in NUMBERS:
        write(tmp_path / "m" / f"{number}.png", block(number)[::2])
    with pytest.raises(UsageError, match="it has other proportions"):
        inspect(scans, tmp_path / "m", resize_masks=True)


def test_missing_folders(scans, tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        inspect(tmp_path / "nowhere", None)
    with pytest.raises(UsageError, match="nowhere"):
        inspect(scans, tmp_path / "nowhere")
    with pytest.raises(UsageError, match="in one place"):
        inspect(scans, scans)


# --------------------------------------------------------------------------- scans


def test_only_scans(scans):
    findings = inspect(scans, None)
    assert findings.sources.classes == ()
    assert findings.sources.scans.path == str(scans)
    rows = dict(findings.rows)
    assert rows["scans"] == "4"
    assert rows["size"] == "32 x 32"
    assert rows["masks"] == "none given: for prediction only"


@pytest.mark.parametrize(
    ("channels", "expected"), [((), ("grey",)), ((3,), ("red", "green", "blue")), ((4,), ("red", "green", "blue"))]
)
def test_channels(tmp_path, channels, expected):
    write(tmp_path / "s/a.png", scan(0, channels))
    assert inspect(tmp_path / "s", None).sources.scans.channels == expected


def test_grey_saved_as_colour_is_grey(tmp_path):
    write(tmp_path / "s/a.png", np.dstack([scan()] * 3))
    assert inspect(tmp_path / "s", None).sources.scans.channels == ("grey",)


def test_grey_and_colour_is_colour_with_a_warning(tmp_path):
    write(tmp_path / "s/a.png", scan())
    write(tmp_path / "s/b.png", scan(0, (3,)))
    findings = inspect(tmp_path / "s", None)
    assert findings.sources.scans.channels == ("red", "green", "blue")
    assert "1 grey and 1 colour" in findings.warnings[0]


def test_five_channels_are_numbered(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 8, 8), np.uint8), imagej=True, metadata={"axes": "CYX"})
    assert inspect(tmp_path, None).sources.scans.channels == tuple(f"channel_{k}" for k in range(1, 6))


def test_a_broken_scan_is_counted_not_fatal(scans):
    (scans / "9.tif").write_bytes(b"II*\0broken")
    findings = inspect(scans, None)
    assert dict(findings.rows)["unreadable"] == "1: 9.tif"


@pytest.mark.parametrize(
    ("ids", "rule"),
    [
        ([f"p{p}/{k}" for p in range(3) for k in range(2)], r"^([^/]+)/"),
        ([f"s{s:02}_{k}" for s in range(5) for k in range(2)], r"^([A-Za-z]*\d+[A-Za-z]*)[_-]"),
        ([f"P{s:02} {k}" for s in range(5) for k in range(2)], r"^([A-Za-z]*\d+[A-Za-z]*) "),
        ([f"v{v}.p{k:04}" for v in range(5) for k in range(3)], r"^(.+)\.p\d{4,}$"),
        ([f"v{v}.p{k:04}" for v in range(3) for k in range(3)], r"^(.+)\.p\d{4,}$"),
        ([f"v{v}.p{k:04}" for v in range(2) for k in range(3)], ""),
        ([f"s{s:02}_{k}" for s in range(4) for k in range(2)], ""),
        ([f"s{s:02}_1" for s in range(9)], ""),
        ([f"{k}" for k in range(9)], ""),
    ],
)
def test_group_rule(ids, rule):
    assert find_group_rule(ids)[0] == rule


@pytest.mark.parametrize(
    ("folders", "one_object", "expected"),
    [
        (["masks", "nuclei"], True, "nucleus"),
        (["masks", "cells"], True, "cell"),
        (["train_labels", "mitochondria"], True, "mitochondrion"),
        (["masks", "data"], True, "object"),
        (["mask2d", "glass"], True, "glass"),
        (["masks", "nuclei"], False, "foreground"),
        (["iris", "eyes"], False, "iris"),
    ],
)
def test_class_is_named_after_its_folder(folders, one_object, expected):
    assert class_name(folders, one_object=one_object) == expected


@pytest.mark.parametrize(("text", "name"), [("ignore", "ignore_class"), ("Zähne", "Zähne"), ("...", "foreground")])
def test_names_are_made_valid(text, name):
    assert valid_name(text) == name


# --------------------------------------------------------------------------- real data


@pytest.mark.data
@pytest.mark.parametrize(
    ("scans", "masks", "expected"),
    [
        ("nuclei/images", "nuclei/masks", {"nucleus": "instances"}),
        ("em_vnc/raw", "em_vnc", {"membranes": "binary", "mitochondria": "binary", "synapses": "binary"}),
        ("sandstone/images", "sandstone/masks", dict.fromkeys(["blue", "green", "red", "yellow"], "colours")),
        ("em_membrane/train-volume.tif", "em_membrane/train-labels.tif", {"foreground": "binary"}),
        ("stacks/img2d.tif", "stacks/mask2d.tif", {"object": "instances"}),
        ("stacks/img3d.tif", "stacks/mask3d.tif", {"object": "instances"}),
    ],
)
def test_real_sets_need_no_editing(real_scans, scans, masks, expected):
    findings = inspect(real_scans / scans, real_scans / masks)
    assert {source.name: source.encoding for source in findings.sources.classes} == expected
    refs, bad = list_scans(findings.sources.scans)
    assert bad == []
    for ref in (refs[0], refs[-1]):
        header = read_header(ref)
        found = read_masks(ref, findings.sources.classes, (header.height, header.width))
        assert found.shape == (header.height, header.width, len(expected))
        assert found.any()


# --------------------------------------------------------------------------- what a person should look at


def test_a_mask_with_a_misspelt_name_is_named(scans, tmp_path):
    for name in ("0", "1", "2", "drei"):
        write(tmp_path / "masks" / f"{name}.png", block(4, 255))
    (told,) = [text for text in inspect(scans, tmp_path / "masks").warnings if "misspelt" in text]
    assert "holds 1 file that" in told
    assert ": drei;" in told


def test_masks_that_all_pair_are_not_told_of(scans, tmp_path):
    for number in NUMBERS:
        for name in ("iris", "pupil"):
            write(tmp_path / "masks" / f"{number}_{name}.png", block(4, 255))
    assert not [text for text in inspect(scans, tmp_path / "masks").warnings if "misspelt" in text]


def test_names_that_differ_by_a_last_number_are_asked_about(tmp_path):
    for name in ("Jörg", "Änne", "Zoë"):
        for number in (1, 2):
            write(tmp_path / "scans" / f"{name} {number}.tif", scan(number))
            write(tmp_path / "masks" / f"{name} {number}.png", block(4, 255))
    (told,) = [text for text in inspect(tmp_path / "scans", tmp_path / "masks").warnings if "patient" in text]
    rule = told.split("'")[1]
    assert {re.search(rule, f"{name} 12")[1] for name in ("Jörg", "Änne")} == {"Jörg", "Änne"}
    assert not inspect(tmp_path / "scans", None).warnings


@pytest.mark.parametrize(
    "ids",
    [
        pytest.param(["1", "2", "3", "4", "5", "6"], id="numbers-alone"),
        pytest.param(["image 1", "image 2", "image 3", "image 4"], id="one-name"),
        pytest.param(["a 1", "b 1", "c 1", "d 1"], id="one-scan-each"),
        pytest.param(["a 1", "a 2", "b 1", "b 2", "c 1", "c 2", "rest"], id="one-without-a-number"),
    ],
)
def test_other_names_are_not_asked_about(ids):
    assert numbered_rule(ids) == ""


@pytest.mark.parametrize(("coloured", "channels"), [(False, ("grey",)), (True, ("red", "green", "blue"))])
def test_the_one_scan_of_three_channels_decides_whether_all_are_grey(tmp_path, coloured, channels):
    for number in range(30):
        write(tmp_path / f"{number:02}.tif", scan(number))
    odd = scan(17)
    write(tmp_path / "17.tif", scan(17, (3,)) if coloured else np.stack([odd] * 3, -1))
    found = inspect(tmp_path, None)
    assert found.sources.scans.channels == channels
    assert ("all are read as grey" in found.warnings[0]) is not coloured
