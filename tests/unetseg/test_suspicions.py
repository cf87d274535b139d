import random
import re
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetseg.scan_record import Part
from unetseg.sources import SourceFile
from unetseg.suspicions import find_suspicions

NAMES = ("iris", "pupil")
PIXELS = 10_000
IGNORED = 1 << len(NAMES)
NO_FILE = Part()


@dataclass(frozen=True)
class Record:
    id: str
    combinations: tuple[tuple[int, int], ...]
    split: str = "train"
    content: str = ""
    soft_masks: tuple[str, ...] = ()
    vanished: bool = False
    image: Part = NO_FILE
    masks: Part = NO_FILE
    guides: Part = NO_FILE


def scan(name, iris=2000, pupil=500, **values):
    """A scan of 10,000 pixels; the classes lie apart from each other."""
    areas = ((0, PIXELS - iris - pupil), (1, iris), (2, pupil))
    return Record(name, tuple(pair for pair in areas if pair[1]), **values)


def usual(number):
    """Scans about which there is nothing to say: iris 20 % to 20.9 %, pupil 5 %."""
    return [scan(f"usual{i:02d}", iris=2000 + 10 * (i % 10)) for i in range(number)]


def test_scans_like_each_other_are_not_suspicious():
    assert find_suspicions(usual(40), NAMES) == {}


def test_no_scans_are_no_trouble():
    assert find_suspicions([], NAMES) == {}


# --------------------------------------------------------------------------- masks


def test_a_class_that_nearly_all_have_is_missed():
    found = find_suspicions([*usual(19), scan("odd", pupil=0)], NAMES)
    assert found == {
        "odd": (
            "pupil: covers 0 pixels (expected: at least 1, as in 19 of 20 scans); check that its mask is complete and "
            "belongs to this scan",
        )
    }


@pytest.mark.parametrize(("having", "lacking", "flagged"), [(10, 1, 1), (9, 1, 0), (18, 2, 2), (26, 3, 0)])
def test_a_class_is_missed_where_nine_in_ten_scans_and_ten_in_all_have_it(having, lacking, flagged):
    scans = usual(having) + [scan(f"odd{i}", pupil=0) for i in range(lacking)]
    assert len(find_suspicions(scans, NAMES)) == flagged


def test_scans_that_are_ignored_whole_have_no_say_in_what_is_usual():
    ignored = [Record(f"ignored{i}", ((IGNORED, PIXELS),)) for i in range(9)]
    found = find_suspicions([*usual(19), scan("odd", pupil=0), *ignored], NAMES)
    assert "as in 19 of 20 scans" in found["odd"][0]


def test_a_class_that_covers_everything_may_be_inverted():
    assert find_suspicions([scan("full", iris=PIXELS, pupil=0)], NAMES) == {
        "full": (
            "iris: covers all 10,000 pixels that count (expected: fewer); check whether its mask is inverted, or read "
            "with the wrong encoding",
        )
    }


def test_ignored_pixels_do_not_hide_that_a_class_covers_everything():
    found = find_suspicions([Record("full", ((1, 60), (IGNORED, 40)))], NAMES)
    assert found["full"][0].startswith("iris: covers all 60 pixels that count")


def test_a_full_class_is_said_once_however_odd_its_area_is():
    found = find_suspicions([*usual(20), Record("full", ((3, PIXELS),))], NAMES)
    assert [sentence.split(" (")[0] for sentence in found["full"]] == [
        "iris: covers all 10,000 pixels that count",
        "pupil: covers all 10,000 pixels that count",
    ]


def test_a_scan_without_any_class_gets_one_sentence_of_its_own():
    assert find_suspicions([*usual(19), scan("empty", iris=0, pupil=0)], NAMES) == {
        "empty": (
            "no class has a pixel, as in 1 of 20 scans (expected: at least one class); check that its masks are the "
            "right ones and complete; if nothing is there to mark, leave it",
        )
    }


def test_a_scan_that_is_ignored_whole_gets_one_sentence():
    assert find_suspicions([*usual(19), Record("blank", ((IGNORED, 4096),))], NAMES) == {
        "blank": (
            "all 4,096 pixels are ignored (expected: some that count), so that the scan neither trains nor is scored; "
            "check which values of its mask mean ignore, or remove the scan",
        )
    }


def test_an_area_far_from_the_others_names_value_and_range():
    # 20 areas alike, so that a factor of two is what is allowed
    scans = [scan(f"s{i:02d}") for i in range(20)] + [scan("small", pupil=20), scan("large", pupil=4000)]
    advice = "by the 22 scans that have it); check that mask and scan belong together and that the mask is complete"
    assert find_suspicions(scans, NAMES) == {
        "large": (f"pupil: covers 40 % of the pixels (expected: 2.5 % to 10 %, {advice}",),
        "small": (f"pupil: covers 0.2 % of the pixels (expected: 2.5 % to 10 %, {advice}",),
    }


@pytest.mark.parametrize(("area", "flagged"), [(251, False), (249, True), (999, False), (1001, True)])
def test_where_all_are_alike_a_factor_of_two_is_harmless(area, flagged):
    found = find_suspicions([*(scan(f"s{i:02d}") for i in range(20)), scan("odd", pupil=area)], NAMES)
    assert ("odd" in found) == flagged


@pytest.mark.parametrize(("factor", "flagged"), [(163, False), (172, True), (1 / 163, False), (1 / 172, True)])
def test_where_areas_differ_five_deviations_are_allowed(factor, flagged):
    # logarithms 0, 1 and 2 of base 2 about the middle: the deviation is log(2) * 1.4826, five of them a factor of 170
    million = 10**9
    areas = [million * 2**power for power in (-2, -1, -1, 0, 0, 0, 1, 1, 2, -2, 2)] + [million * factor]
    scans = [Record(f"s{i:02d}", ((0, 10**12 - int(area)), (1, int(area)))) for i, area in enumerate(areas)]
    assert ("s11" in find_suspicions(scans, NAMES)) == flagged


@pytest.mark.parametrize(("alike", "flagged"), [(8, False), (9, True)])
def test_ten_scans_with_the_class_are_needed_to_say_what_is_usual(alike, flagged):
    scans = [*(scan(f"s{i}") for i in range(alike)), scan("odd", pupil=5), *(scan(f"t{i}", pupil=0) for i in range(9))]
    assert ("odd" in find_suspicions(scans, NAMES)) == flagged


def test_masks_cut_at_half_are_said_once_per_class():
    scans = [scan("b", soft_masks=("iris",)), scan("a", soft_masks=("pupil", "iris", "pupil")), scan("c")]

    def said(name, others):
        return (
            f"{name}: the masks of this and {others} other scans are grey or have soft edges and were cut at half "
            "(expected: two values); if their border matters, export them again without smoothing or compression"
        )

    assert find_suspicions(scans, NAMES) == {"a": (said("pupil", 0), said("iris", 1))}


# --------------------------------------------------------------------------- twins


def test_equal_scans_name_each_other():
    scans = [scan("b", content="x"), scan("a", content="x"), scan("c", content="y")]
    advice = "(expected: each picture once); remove all but one, or check the export"
    assert find_suspicions(scans, NAMES) == {
        "a": (f"its pixels equal those of b (train) {advice}",),
        "b": (f"its pixels equal those of a (train) {advice}",),
    }


def test_equal_scans_in_different_splits_are_told_more_strongly():
    scans = [scan("a", content="x"), scan("b", content="x", split="test")]
    advice = "(expected: one split for all that are equal); remove all but one, or give them one group"
    strong = "the same picture trains and tests, so that scores are too good: its pixels equal those of"
    assert find_suspicions(scans, NAMES) == {
        "a": (f"{strong} b (test), while this one is in train {advice}",),
        "b": (f"{strong} a (train), while this one is in test {advice}",),
    }


def test_a_twin_in_another_split_is_named_however_many_share_the_split():
    scans = [scan(f"a{i}", content="x") for i in range(9)] + [scan("z", content="x", split="validation")]
    found = find_suspicions(scans, NAMES)
    assert len(found) == 10
    for i in range(9):
        assert re.match(r"the same picture trains and validates, .* z \(validation\) and \d more", found[f"a{i}"][0])
    assert "equal those of a0 (train), a1 (train) and 7 more, while this one is in validation" in found["z"][0]


def test_sentences_stay_short_when_a_thousand_scans_are_equal():
    found = find_suspicions([scan(f"s{i:04d}", content="black") for i in range(1000)], NAMES)
    assert len(found) == 1000
    assert "equal those of s0000 (train), s0001 (train) and 997 more" in found["s0999"][0]
    assert "equal those of s0001 (train) and 998 more" in found["s0000"][0]


def test_twins_that_have_no_split_yet_are_told_without_one():
    found = find_suspicions([scan("a", content="x", split=""), scan("b", content="x", split="")], NAMES)
    assert found["a"][0].startswith("its pixels equal those of b (expected: each picture once)")


def test_scans_of_unknown_content_are_no_twins():
    assert find_suspicions([scan("a"), scan("b")], NAMES) == {}


# --------------------------------------------------------------------------- volumes


def lying(*files):
    """A part made from files that say how they lie, given as path and axis codes."""
    return Part(tuple(SourceFile(path, 1, 1, "") for path, _ in files), orientations=tuple(codes for _, codes in files))


def turned(kind, codes, own, names):
    return (
        f"{kind} stored as {codes}, its scan as {own} (expected: alike): {names}; voxels are taken as they are stored, "
        f"so that the {kind} may lie mirrored or turned on the scan; if it does, reorient both alike, such as with "
        "nibabel.as_closest_canonical"
    )


def test_masks_that_lie_otherwise_are_told_once_for_all_that_do_so_alike():
    scans = [
        scan(f"v{i}", image=lying((f"/s/v{i}.nii", "RAS")), masks=lying((f"/d/m/v{i}.nii", "LAS"))) for i in range(5)
    ]
    scans.append(scan("w", image=lying(("/s/w.nii", "LPS")), masks=lying(("/d/m/w.nii", "RAS"))))
    assert find_suspicions(scans, NAMES) == {
        "v0": (turned("mask", "LAS", "RAS", "m/v0.nii, m/v1.nii, m/v2.nii and 2 more"),),
        "w": (turned("mask", "RAS", "LPS", "m/w.nii"),),
    }


def test_each_file_of_a_scan_is_compared_and_guides_are_told_as_such():
    masks = lying(("/m/iris/v.nii", "RAS"), ("/m/pupil/v.png", ""), ("/m/lid/v.nii", "RPS"))
    found = find_suspicions(
        [scan("v", image=lying(("/s/v.nii", "RAS")), masks=masks, guides=lying(("/g/v.nii", "ARS")))], NAMES
    )
    assert found == {"v": (turned("mask", "RPS", "RAS", "lid/v.nii"), turned("guide", "ARS", "RAS", "g/v.nii"))}


@pytest.mark.parametrize(
    ("own", "mask"),
    [
        pytest.param(lying(("s", "LPS")), lying(("m", "LPS")), id="alike"),
        pytest.param(lying(("s", "LPS")), lying(("m", "LP")), id="plane-of-a-volume"),
        pytest.param(lying(("s", "LPS")), lying(("m", "")), id="mask-says-nothing"),
        pytest.param(lying(("s", "")), lying(("m", "RAS")), id="scan-says-nothing"),
        pytest.param(Part(), lying(("m", "RAS")), id="scan-was-not-asked"),
        pytest.param(lying(("s", "RAS")), Part((SourceFile("m", 1, 1, ""),)), id="mask-was-not-asked"),
    ],
)
def test_nothing_is_said_of_masks_that_lie_alike_as_far_as_is_known(own, mask):
    assert find_suspicions([scan("v", image=own, masks=mask)], NAMES) == {}


def test_of_a_volume_the_page_with_the_largest_mask_is_shown_before_its_empty_pages():
    parts = {"image": lying(("/s/v.nii", "RAS")), "masks": lying(("/m/v.nii", "LAS"))}
    pages = [scan(f"v.p000{i}", iris=area, pupil=0, **parts) for i, area in enumerate((0, 50, 80, 80, 0))]
    found = find_suspicions([*usual(19), *pages], NAMES)
    assert list(found)[:3] == ["v.p0002", "v.p0000", "v.p0001"]
    assert found["v.p0002"][0] == turned("mask", "LAS", "RAS", "m/v.nii")
    assert not [name for name in found if name != "v.p0002" and "stored as" in " ".join(found[name])]


# --------------------------------------------------------------------------- all rules


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_neither_what_is_found_nor_its_order_depends_on_the_order_of_the_scans(rng: random.Random):
    scans = [
        *usual(20),
        scan("odd", pupil=0, content="x", soft_masks=("iris",)),
        scan("twin", iris=40, content="x", split="test"),
        scan("empty", iris=0, pupil=0),
        Record("blank", ((IGNORED, 9),)),
    ]
    expected = list(find_suspicions(scans, NAMES).items())
    assert [name for name, _ in expected] == ["blank", "empty", "odd", "twin"]
    assert [len(sentences) for _, sentences in expected] == [1, 1, 3, 2]
    rng.shuffle(scans)
    assert list(find_suspicions(iter(scans), NAMES).items()) == expected


def test_vanished_scans_are_neither_flagged_nor_compared_with():
    gone = [replace(item, id=f"gone{item.id}", vanished=True) for item in usual(40)]
    empty = scan("empty", iris=0, pupil=0, content="x", vanished=True)
    assert find_suspicions([*gone, empty, scan("odd", pupil=0, content="x")], NAMES) == {}
