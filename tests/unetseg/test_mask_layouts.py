"""What `inspect` makes of layouts of files: scans and masks in one folder, files per object, pages per class."""

import shlex

import numpy as np
import pytest
import tifffile
from PIL import Image

from unetseg.errors import UsageError
from unetseg.ingest import ingest
from unetseg.init import init
from unetseg.inspection import inspect
from unetseg.masks import read_masks
from unetseg.object_folders import find_folder_patterns
from unetseg.pairing import find_patterns
from unetseg.project import load_project
from unetseg.readers import list_scans

SIDE = 32
IDS = ("s1", "s2", "s3", "s4", "s5")


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, array, photometric="minisblack")
    else:
        Image.fromarray(array).save(path)


def scan(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE), np.uint8)


def block(at, size=8, value=255):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[at : at + size, at : at + size] = value
    return mask


def masks_of(findings):
    """Of each scan by its id: the pixels of each class."""
    refs, bad = list_scans(findings.sources.scans)
    assert bad == []
    return {ref.id: read_masks(ref, findings.sources.classes, (SIDE, SIDE)).sum(axis=(0, 1)).tolist() for ref in refs}


def only_class(findings):
    (source,) = findings.sources.classes
    return source.name, source.encoding, source.pattern


# --------------------------------------------------------------------------- objects


@pytest.fixture
def per_scan(tmp_path):
    """``ID/images/ID.png`` and ``ID/masks/*.png``, with names that say nothing; objects overlap by four pixels."""
    for number, name in enumerate(IDS):
        write(tmp_path / "cells" / name / "images" / f"{name}.png", scan(number))
        for at in (0, 6, 20):
            write(tmp_path / "cells" / name / "masks" / f"{7919 * (100 * number + at + 1):06x}.png", block(at))
    return tmp_path / "cells"


def test_a_folder_per_scan_with_a_file_per_object(per_scan):
    findings = inspect(per_scan, per_scan)
    assert only_class(findings) == ("cell", "objects", "{folder:images=masks}*.*")
    assert findings.sources.scans.pattern == "**/images/*"
    assert masks_of(findings) == {f"{name}/images/{name}": [188] for name in IDS}
    rows = dict(findings.rows)
    assert rows["scans"] == "5"
    assert rows["class cell"] == "all files of a scan together; 18.36% of the pixels"


def test_ingest_takes_them_as_they_are_and_sees_a_new_object(per_scan, tmp_path):
    init(per_scan, per_scan, project=tmp_path / "p")
    result = ingest(load_project(tmp_path / "p"))
    assert (result.done, result.unlabelled, result.quarantined) == (5, (), ())
    write(per_scan / "s1/masks/zz.png", block(28, 4))
    result = ingest(load_project(tmp_path / "p"))
    assert (result.done, result.skipped) == (1, 4)


def test_ingest_sees_an_object_that_moves_to_the_next_class(per_scan, tmp_path):
    for name in IDS:
        write(per_scan / name / f"dots/{name}x.png", block(28, 2))
    init(per_scan, per_scan, project=tmp_path / "p", overwrite=True)
    ingest(load_project(tmp_path / "p"))
    last = max((per_scan / "s1/masks").iterdir())
    last.rename(per_scan / "s1/dots/0.png")
    result = ingest(load_project(tmp_path / "p"))
    assert [source.name for source in load_project(tmp_path / "p").sources.classes] == ["dots", "masks"]
    assert (result.done, result.skipped) == (1, 4)


def test_masks_per_scan_beside_a_folder_of_scans(tmp_path):
    for number, name in enumerate(IDS):
        write(tmp_path / "nuclei/images" / f"{name}.png", scan(number))
        for at in range(number + 1):
            write(tmp_path / "nuclei/masks" / name / f"{at}.png", block(at, 1))
    expected = {name: [number + 1] for number, name in enumerate(IDS)}
    findings = inspect(tmp_path / "nuclei/images", tmp_path / "nuclei/masks")
    assert only_class(findings) == ("nucleus", "objects", "{id}/*.*")
    assert masks_of(findings) == expected
    findings = inspect(tmp_path / "nuclei", tmp_path / "nuclei")
    assert only_class(findings) == ("nucleus", "objects", "masks/{name}/*.*")
    assert masks_of(findings) == {f"images/{name}": found for name, found in expected.items()}


def test_a_scan_without_objects_is_named(per_scan):
    for path in (per_scan / "s2/masks").iterdir():
        path.unlink()
    findings = inspect(per_scan, per_scan)
    assert dict(findings.rows)["without mask"] == "1: s2/images/s2"


def test_labels_in_several_files_of_a_scan_are_refused(per_scan):
    for path in per_scan.glob("*/masks/*.png"):
        write(path, block(0, value=1) + block(10, value=2) + block(20, value=1))
    with pytest.raises(UsageError, match="hold one object each in black and white, but they hold labels: 2 values"):
        inspect(per_scan, per_scan)


def test_a_folder_per_scan_with_a_file_per_class(tmp_path):
    for number, name in enumerate(IDS):
        write(tmp_path / "scans" / f"{name}.png", scan(number))
        write(tmp_path / "m" / name / "iris.png", block(0))
        write(tmp_path / "m" / name / "pupil.png", block(3, 2))
    findings = inspect(tmp_path / "scans", tmp_path / "m")
    assert [source.name for source in findings.sources.classes] == ["iris", "pupil"]
    assert masks_of(findings)["s1"] == [64, 4]


@pytest.mark.parametrize(
    ("ids", "names", "patterns"),
    [
        (["a", "b"], ["a/1", "a/2", "b/1"], ("{id}/*.*",)),
        (["p/a", "p/b"], ["a/1", "b/1", "b/2"], ("{name}/*.*",)),
        (["a", "b"], ["a/cells/1", "b/cells/x"], ("{name}/cells/*.*",)),
        (["a", "b"], ["cells/a/1", "cells/b/2", "dots/a/1", "dots/b/2"], ("cells/{name}/*.*", "dots/{name}/*.*")),
        (["a/image", "b/image"], ["a/dots/1", "b/dots/2"], ("{folder}dots/*.*",)),
        (["a[1]", "b"], ["x/a[1]/1", "x/b/2"], ("x/{name}/*.*",)),
        (["p/a", "p/b"], ["p/masks/x", "p/masks/y"], ()),  # one folder for two scans
        (["a", "b"], ["x", "y"], ()),
    ],
)
def test_patterns_of_folders(ids, names, patterns):
    assert find_folder_patterns(ids, names) == patterns


# --------------------------------------------------------------------------- scans and masks in one folder


@pytest.mark.parametrize(
    ("scan_name", "mask_name", "pattern"),
    [
        ("{}.png", "{}_mask.png", "**/* but not **/*_mask.*"),
        ("{}.tif", "{}_mask.png", "**/*.tif"),
        ("{}.png", "mask_{}.png", "**/* but not **/mask_*"),
        ("{}.png", "{}_cell.png", "**/* but not **/*_cell.*"),
        ("img_{}.png", "mask_{}.png", "**/img_*"),
        ("{}_image.png", "{}_mask.png", "**/*_image.*"),
        ("images/{}.png", "masks/{}.png", "images/**/*"),
        ("images/{}.png", "cells/{}.png", "images/**/*"),
        ("{0}/images/{0}.png", "{0}/masks/{0}.png", "**/images/*"),
        ("{}/image.png", "{}/mask.png", "**/image*"),
        ("{}.png", "masks/{}.png", "*"),
    ],
)
def test_scans_and_masks_in_one_folder(tmp_path, scan_name, mask_name, pattern):
    for number, name in enumerate("abcde"):
        write(tmp_path / "d" / scan_name.format(name), scan(number))
        write(tmp_path / "d" / mask_name.format(name), block(0))
    findings = inspect(tmp_path / "d", tmp_path / "d")
    source = findings.sources.scans
    assert " but not ".join(filter(None, (source.pattern, source.exclude))) == pattern
    assert dict(findings.rows)["scan files"] == f"{pattern}: masks lie below the same folder"
    assert list(masks_of(findings).values()) == [[64]] * 5
    assert not any("scans and masks" in text for text in findings.warnings)


def test_a_new_scan_of_another_name_is_found_beside_masks(tmp_path):
    for name in ("left", "right", "top"):
        write(tmp_path / "d" / f"{name}.png", scan())
        write(tmp_path / "d" / f"{name}_mask.png", block(0))
    init(tmp_path / "d", tmp_path / "d", project=tmp_path / "p")
    write(tmp_path / "d/mask of Zorro.png", scan())
    source = load_project(tmp_path / "p").sources.scans
    assert [ref.id for ref in list_scans(source)[0]] == ["left", "mask of Zorro", "right", "top"]


def test_masks_among_the_scans_of_a_folder_given_once_are_told_of(tmp_path):
    lab = tmp_path / "my lab"
    for number, name in enumerate(IDS):
        write(lab / f"{name}_img.png", scan(number))
        write(lab / f"{name}_seg.png", block(0))
    once = init(lab, None, project=tmp_path / "p", overrides=("train.epochs=5",))
    assert not once.sources.classes
    half, first = len(IDS), f"{sorted(IDS)[0]}_seg.png"
    (told,) = [text for text in once.warnings if "look like masks" in text]
    said, _, command = told.partition("? give it twice: ")
    assert said == (
        f"{half} of {2 * half} files look like masks of the others, such as {first}; masks in the same folder"
    )
    program, what, *paths, overwrite, option, setting, at, place = shlex.split(command)
    assert (program, what, overwrite, option, setting) == ("unetseg", "init", "--overwrite", "--set", "train.epochs=5")
    assert (at, place, paths) == ("--project", str(tmp_path / "p"), [str(lab), str(lab)])
    twice = init(lab, lab, project=tmp_path / "p", overwrite=True)
    assert len(masks_of(twice)) == half
    assert not any("look like masks" in text for text in twice.warnings)


def test_masks_in_a_folder_beside_the_scans_are_told_of_with_both_folders(tmp_path):
    for number, name in enumerate(IDS):  # as nnU-Net has them
        write(tmp_path / "nn/imagesTr" / f"{name}_0000.png", scan(number))
        write(tmp_path / "nn/labelsTr" / f"{name}.png", block(0))
    write(tmp_path / "nn/imagesTs" / "new_0000.png", scan(0))
    (told,) = init(tmp_path / "nn", None, project=tmp_path / "p").warnings
    said, _, command = told.partition("; is this what you mean? ")
    assert (
        said == f"{tmp_path / 'nn'} holds folders of scans and of masks, imagesTr and labelsTr: all are taken for scans"
    )
    both = [str(tmp_path / "nn" / name) for name in ("imagesTr", "labelsTr")]
    assert shlex.split(command) == ["unetseg", "init", *both, "--overwrite", "--project", str(tmp_path / "p")]


def test_folders_of_scans_alone_are_not_asked_about(tmp_path):
    for place in ("day", "night", "segments of the coast"):
        for number, name in enumerate(IDS):
            write(tmp_path / "d" / place / f"{name}.png", scan(number))
    assert not any("folders of scans" in text for text in init(tmp_path / "d", None, project=tmp_path / "p").warnings)


@pytest.mark.parametrize("names", [IDS, [f"{name}_dapi" for name in IDS]], ids=["others", "second channel"])
def test_scans_among_scans_are_not_taken_for_masks(tmp_path, names):
    for number, name in enumerate(dict.fromkeys([*IDS, *names])):
        write(tmp_path / "d" / f"{name}.png", scan(number))
    found = init(tmp_path / "d", None, project=tmp_path / "p")
    assert not any("look like masks" in text for text in found.warnings)


def test_scans_that_end_in_digits_are_told_by_them(tmp_path):
    for number, name in enumerate(IDS):
        write(tmp_path / f"{name}.png", scan(number))
        for kind in ("iris", "pupil"):
            write(tmp_path / f"{name}_{kind}.png", block(0))
    findings = inspect(tmp_path, tmp_path)
    assert findings.sources.scans.pattern == "**/*[0-9].*"
    assert [source.name for source in findings.sources.classes] == ["iris", "pupil"]


def test_masks_below_the_scans_are_no_scans(tmp_path):
    for number, name in enumerate(IDS):
        write(tmp_path / f"{name}.png", scan(number))
        write(tmp_path / "iris" / f"{name}.png", block(0))
    findings = inspect(tmp_path, tmp_path / "iris")
    assert findings.sources.scans.pattern == "*"
    assert masks_of(findings) == {name: [64] for name in IDS}


def test_folders_that_cannot_be_told_apart_get_a_way_out(tmp_path):
    for number, name in enumerate(["left", "right", "top"]):
        write(tmp_path / f"{name}.png", scan(number))
        for kind in ("iris", "pupil"):
            write(tmp_path / f"{name}_{kind}.png", block(0))
    with pytest.raises(UsageError, match=r"no file pattern finds the scans alone; move the masks to a folder"):
        inspect(tmp_path, tmp_path)


@pytest.mark.parametrize("names", [["a", "b", "c"], ["mask1", "mask2"], ["a", "a_2", "b", "b_2"]])
def test_names_that_do_not_tell_get_a_way_out(tmp_path, names):
    for number, name in enumerate(names):
        write(tmp_path / f"{name}.png", scan(number))
    with pytest.raises(UsageError, match="in one place, and names do not tell which is which"):
        inspect(tmp_path, tmp_path)


def test_a_folder_of_the_path_is_replaced():
    ids = ["p1/images/a", "p2/images/b"]
    assert find_patterns(ids, ["p1/masks/a", "p2/masks/b"]) == ("{folder:images=masks}{name}.*",)
    assert find_patterns(ids, ["p1/x/a", "p1/y/a", "p2/x/b", "p2/y/b"]) == (
        "{folder:images=x}{name}.*",
        "{folder:images=y}{name}.*",
    )


# --------------------------------------------------------------------------- pages


def test_pages_of_a_mask_are_classes(tmp_path):
    for number, name in enumerate(IDS):
        write(tmp_path / "scans" / f"{name}.png", scan(number))
        write(tmp_path / "m" / f"{name}.tif", np.stack([block(0), block(3, 2), block(20, 3)]))
    findings = inspect(tmp_path / "scans", tmp_path / "m")
    found = [(source.name, source.encoding, source.values) for source in findings.sources.classes]
    assert found == [(f"class{page}", "pages", (str(page),)) for page in range(3)]
    assert masks_of(findings) == {name: [64, 4, 9] for name in IDS}
    assert dict(findings.rows)["class class1"] == "page 1; 0.39% of the pixels"
    assert "rename the classes class0 to class2" in findings.warnings[0]


def test_one_scan_and_the_file_of_its_classes(tmp_path):
    write(tmp_path / "a.png", scan())
    write(tmp_path / "labels.tif", np.stack([block(0), block(3, 2)]))
    findings = inspect(tmp_path / "a.png", tmp_path / "labels.tif")
    assert masks_of(findings) == {"a": [64, 4]}


def test_pages_that_are_not_binary_are_refused(tmp_path):
    for number, name in enumerate(IDS):
        write(tmp_path / "scans" / f"{name}.png", scan(number))
        labels = block(0, value=1) + block(10, value=2) + block(20, value=1)
        write(tmp_path / "m" / f"{name}.tif", np.stack([block(0), labels]))
    with pytest.raises(UsageError, match=r"has 2 pages for one scan.*page 1 holds labels"):
        inspect(tmp_path / "scans", tmp_path / "m")


def test_masks_with_other_numbers_of_pages_are_refused(tmp_path):
    for number, name in enumerate(IDS):
        write(tmp_path / "scans" / f"{name}.png", scan(number))
        write(tmp_path / "m" / f"{name}.tif", np.stack([block(0)] * (2 + number)))
    with pytest.raises(UsageError, match="holds 2 pages"):
        inspect(tmp_path / "scans", tmp_path / "m")


# --------------------------------------------------------------------------- the printed table


@pytest.mark.parametrize(
    ("mask", "meaning"),
    [
        (block(0), "above half of white"),
        (block(0, value=2) + block(10, value=5) + block(20, value=2), "value 2"),
        (np.dstack([block(0), block(40), block(40)]), "colour #ff0000"),
        (sum(block(4 * at, 3, at + 1) for at in range(8)), "every value but 0"),
    ],
)
def test_the_table_says_what_a_value_means(tmp_path, mask, meaning):
    write(tmp_path / "scans/a.png", scan())
    write(tmp_path / "m/a.png", mask)
    rows = inspect(tmp_path / "scans", tmp_path / "m").rows
    assert next(found for subject, found in rows if subject.startswith("class ")).startswith(f"{meaning}; ")


@pytest.mark.data
def test_real_nuclei_per_object_need_no_editing(real_scans):
    folder = real_scans / "nuclei_per_object"
    findings = inspect(folder, folder)
    assert only_class(findings) == ("nucleus", "objects", "{folder:images=masks}*.*")
    refs, bad = list_scans(findings.sources.scans)
    assert (len(refs), bad) == (10, [])
    assert findings.warnings == ()
