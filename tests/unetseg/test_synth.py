from itertools import pairwise

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_recall_curve
from sklearn.tree import DecisionTreeClassifier

from unetseg.errors import UsageError
from unetseg.synth import CLASS_NAMES, GUIDE_NAMES, SMALLEST_SIDE, draw_eye, write_eyes

SUBJECTS, SCANS = range(1, 13), range(1, 5)  # the default set of write_eyes


def draw_all(**options):
    return [draw_eye(subject, scan, **options) for subject in SUBJECTS for scan in SCANS]


@pytest.fixture(scope="module")
def grey():
    return draw_all()


@pytest.fixture(scope="module")
def coloured():
    return draw_all(colour=True)


def best_threshold_dice(images, truth, *, brighter):
    """Dice pooled over all pixels, of the threshold that turns out best; from histograms."""
    step = -1 if brighter else 1
    everything = np.cumsum(np.bincount(images.ravel(), minlength=256)[::step])
    hits = np.cumsum(np.bincount(images[truth], minlength=256)[::step])
    return (2 * hits / (everything + truth.sum())).max()


def best_f1(y_true, scores):
    """F1 pooled over all pixels, of the cut that turns out best."""
    precision, recall, _ = precision_recall_curve(y_true, scores)
    return (2 * precision * recall / np.maximum(precision + recall, 1e-9)).max()


def pixels(eyes, every):
    colours = np.concatenate([eye.image.reshape(-1, 3)[::every] for eye in eyes]) / 255
    return colours, np.concatenate([eye.masks.reshape(-1, len(CLASS_NAMES))[::every] for eye in eyes])


# --------------------------------------------------------------------------- the same arguments, the same pixels


def test_same_arguments_give_the_same_scan():
    first, second = draw_eye(3, 2, seed=5), draw_eye(3, 2, seed=5)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.masks, second.masks)
    np.testing.assert_array_equal(first.guides, second.guides)


@pytest.mark.parametrize("other", [(3, 1, 5), (2, 2, 5), (3, 2, 6)])
def test_subject_scan_and_seed_each_change_the_scan(other):
    subject, scan, seed = other
    reference, changed = draw_eye(3, 2, seed=5), draw_eye(subject, scan, seed=seed)
    assert (reference.masks != changed.masks).any()
    assert (reference.image != changed.image).mean() > 0.5


def test_scan_does_not_depend_on_the_number_of_subjects_or_scans(tmp_path):
    few = write_eyes(tmp_path / "few", subjects=1, scans_per_subject=2)
    more = write_eyes(tmp_path / "more", subjects=2, scans_per_subject=3)
    assert (few.scans / "s01_2.tif").read_bytes() == (more.scans / "s01_2.tif").read_bytes()
    assert (few.masks / "pupil/s01_2.tif").read_bytes() == (more.masks / "pupil/s01_2.tif").read_bytes()


def test_masks_and_guides_do_not_depend_on_colour_and_depth():
    plain, rich = draw_eye(1, 1), draw_eye(1, 1, colour=True, bits=16)
    np.testing.assert_array_equal(plain.masks, rich.masks)
    np.testing.assert_array_equal(plain.guides, rich.guides)


def test_scans_of_a_subject_share_the_colour_of_the_iris_more_than_scans_of_different_subjects(coloured):
    def hue(eye):  # mean colour of the bare iris over that of the white: the lamps' colour cancels
        sclera, iris, pupil = np.moveaxis(eye.masks, -1, 0)
        ratio = eye.image[iris & ~pupil].mean(axis=0) / eye.image[sclera & ~iris].mean(axis=0)
        return ratio / ratio.sum()

    hues = np.array([hue(eye) for eye in coloured]).reshape(len(SUBJECTS), len(SCANS), 3)
    assert hues.mean(axis=1).std(axis=0).max() > 2 * hues.std(axis=1).mean(axis=0).max()


# --------------------------------------------------------------------------- what the scan is


@pytest.mark.parametrize(
    ("colour", "bits", "shape", "dtype"),
    [
        (False, 8, (192, 256), np.uint8),
        (True, 8, (192, 256, 3), np.uint8),
        (False, 16, (192, 256), np.uint16),
        (True, 16, (192, 256, 3), np.uint16),
    ],
)
def test_image_has_the_shape_and_type_asked_for(colour, bits, shape, dtype):
    eye = draw_eye(1, 1, colour=colour, bits=bits)
    assert (eye.image.shape, eye.image.dtype) == (shape, dtype)
    assert (eye.masks.shape, eye.masks.dtype) == ((192, 256, 3), bool)
    assert (eye.guides.shape, eye.guides.dtype) == ((192, 256, 2), bool)


def test_sixteen_bits_carry_the_same_picture_as_eight_with_finer_steps():
    coarse, fine = draw_eye(1, 1).image, draw_eye(1, 1, bits=16).image
    np.testing.assert_allclose(fine / 257, coarse, atol=0.51)
    assert len(np.unique(fine)) > 10 * len(np.unique(coarse))


@pytest.mark.parametrize("size", [(SMALLEST_SIDE, SMALLEST_SIDE), (100, 300), (384, 512)])
def test_any_size_shows_all_classes(size):
    eye = draw_eye(1, 1, size=size)
    assert eye.image.shape == size
    assert eye.masks.any(axis=(0, 1)).all()


def test_other_sizes_show_the_same_scene():
    small, large = draw_eye(2, 1).masks, draw_eye(2, 1, size=(384, 512)).masks
    np.testing.assert_allclose(small.mean(axis=(0, 1)), large.mean(axis=(0, 1)), rtol=0.03)


# --------------------------------------------------------------------------- the masks


def test_pupil_lies_in_the_iris_and_the_iris_in_the_sclera(grey):
    for outer, inner in pairwise(range(len(CLASS_NAMES))):
        for eye in grey:
            assert not (eye.masks[..., inner] & ~eye.masks[..., outer]).any()
            assert (eye.masks[..., outer] & ~eye.masks[..., inner]).any()


def test_pupil_is_rare_in_every_scan_and_missing_in_few(grey):
    shares = np.array([eye.masks[..., 2].mean() for eye in grey])
    assert shares.max() < 0.02
    assert shares.mean() > 0.002
    assert 1 <= (shares == 0).sum() <= 6  # 2.4 of 48 are expected


def test_closed_fraction_decides_whether_there_is_a_pupil():
    for subject in range(20):
        assert draw_eye(subject, 1, closed_fraction=0).masks[..., 2].any()
        sclera, iris, pupil = draw_eye(subject, 1, closed_fraction=1).masks.any(axis=(0, 1))
        assert (sclera, iris, pupil) == (True, True, False)


def test_lids_hide_parts_of_the_iris(grey):
    def roundness(iris):  # share of the bounding square; pi / 4 for a disc
        rows, columns = np.nonzero(iris)
        return iris.sum() / max(np.ptp(rows) + 1, np.ptp(columns) + 1) ** 2

    assert np.mean([roundness(eye.masks[..., 1]) < 0.74 for eye in grey]) > 0.5


@pytest.mark.parametrize(("index", "sign"), [(0, -1), (1, 1), (2, 1)], ids=CLASS_NAMES)
def test_outlines_stand_out_where_the_masks_say(grey, index, sign):
    def contrast(eye):  # of the two pixels outside the outline over the two inside; the lids' edges are dark
        inner = eye.masks[..., index]
        around = eye.masks[..., index - 1] if index else np.ones_like(inner)
        ring = ndimage.binary_dilation(inner, iterations=2) & ~inner & around
        rim = inner & ~ndimage.binary_erosion(inner, iterations=2)
        return sign * (np.median(eye.image[ring]) - np.median(eye.image[rim]))

    contrasts = [contrast(eye) for eye in grey if eye.masks[..., 2].any()]
    assert min(contrasts) > 10  # grey levels; the noise has a deviation of about 3


# --------------------------------------------------------------------------- the guides


def test_eye_region_contains_the_eye_and_is_larger_and_rougher(grey):
    for eye in grey:
        region, sclera = eye.guides[..., 0], eye.masks[..., 0]
        assert not (sclera & ~region).any()
        assert region.sum() > 1.2 * sclera.sum()
        assert region.mean() < 0.4
    margins = [ndimage.distance_transform_edt(~eye.masks[..., 0])[eye.guides[..., 0]].max() for eye in grey]
    assert np.std(margins) > 2  # pixels: no fixed dilation undoes it


def test_reflections_are_the_saturated_spots_on_the_eye():
    for subject in range(8):
        eye = draw_eye(subject, 1, closed_fraction=0)
        spots = eye.guides[..., 1]
        assert spots.any()
        assert not (spots & ~eye.masks[..., 0]).any()
        assert eye.image[spots].mean() > np.percentile(eye.image[eye.masks[..., 0]], 90)


# --------------------------------------------------------------------------- hard enough


@pytest.mark.parametrize("index", range(len(CLASS_NAMES)), ids=CLASS_NAMES)
@pytest.mark.parametrize("brighter", [True, False], ids=["above", "below"])
def test_no_threshold_finds_a_class(grey, index, brighter):
    images = np.stack([eye.image for eye in grey])
    truth = np.stack([eye.masks[..., index] for eye in grey])
    assert best_threshold_dice(images, truth, brighter=brighter) < 0.6


def test_best_threshold_dice_agrees_with_trying_all_thresholds(grey):
    images, truth = grey[0].image, grey[0].masks[..., 2]
    tried = [f1_score(truth.ravel(), (images <= threshold).ravel()) for threshold in range(0, 256, 1)]
    assert best_threshold_dice(images, truth, brighter=False) == pytest.approx(max(tried))


@pytest.mark.parametrize("index", range(len(CLASS_NAMES)), ids=CLASS_NAMES)
@pytest.mark.parametrize(
    "rule", [LogisticRegression(), DecisionTreeClassifier(max_depth=10, min_samples_leaf=20, random_state=0)]
)
def test_no_colour_rule_finds_a_class_in_new_subjects(coloured, index, rule):
    seen, new = coloured[: 8 * len(SCANS)], coloured[8 * len(SCANS) :]
    x_train, y_train = pixels(seen, every=17)
    x_test, y_test = pixels(new, every=7)
    rule.fit(x_train, y_train[:, index])
    assert best_f1(y_test[:, index], rule.predict_proba(x_test)[:, 1]) < 0.7


# --------------------------------------------------------------------------- files


def test_files_lie_as_a_user_would_have_them(tmp_path):
    folders = write_eyes(tmp_path, subjects=2, scans_per_subject=2, seed=4, size=(64, 96))
    names = {"s01_1.tif", "s01_2.tif", "s02_1.tif", "s02_2.tif"}
    expected = [folders.scans, *(folders.masks / n for n in CLASS_NAMES), *(folders.guides / n for n in GUIDE_NAMES)]
    assert (folders.scans, folders.masks, folders.guides) == tuple(tmp_path / n for n in ("scans", "masks", "guides"))
    assert {path.parent for path in tmp_path.rglob("*.*")} == set(expected)
    assert all({path.name for path in folder.iterdir()} == names for folder in expected)


@pytest.mark.parametrize(("colour", "bits"), [(False, 8), (True, 16)])
def test_files_hold_what_draw_eye_draws(tmp_path, colour, bits):
    folders = write_eyes(tmp_path, subjects=2, scans_per_subject=1, seed=4, size=(64, 96), colour=colour, bits=bits)
    eye = draw_eye(2, 1, seed=4, size=(64, 96), colour=colour, bits=bits)
    np.testing.assert_array_equal(tifffile.imread(folders.scans / "s02_1.tif"), eye.image)
    for index, name in enumerate(CLASS_NAMES):
        written = tifffile.imread(folders.masks / name / "s02_1.tif")
        np.testing.assert_array_equal(written, np.where(eye.masks[..., index], 255, 0).astype(np.uint8), strict=True)
    for index, name in enumerate(GUIDE_NAMES):
        written = tifffile.imread(folders.guides / name / "s02_1.tif")
        np.testing.assert_array_equal(written, np.where(eye.guides[..., index], 255, 0).astype(np.uint8), strict=True)


def test_files_carry_no_metadata(tmp_path):
    folders = write_eyes(tmp_path, subjects=1, scans_per_subject=1, size=(64, 96))
    with tifffile.TiffFile(folders.scans / "s01_1.tif") as tiff:
        assert not {"ImageDescription", "Software", "DateTime"} & set(tiff.pages[0].tags.keys())
        assert not any((tiff.is_imagej, tiff.is_ome, tiff.is_shaped))


# --------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subject": -1}, "subject must be at least 0, got -1"),
        ({"scan": -2}, "scan must be at least 0, got -2"),
        ({"seed": -3}, "seed must be at least 0, got -3"),
        ({"size": (63, 256)}, r"size must be .* at least 64 .* got \(63, 256\)"),
        ({"size": (192, 256, 3)}, r"size must be \(height, width\)"),
        ({"bits": 12}, "bits must be 8 or 16, got 12"),
        ({"closed_fraction": 1.5}, r"closed_fraction must lie in \[0, 1\], got 1.5"),
        ({"closed_fraction": float("nan")}, "closed_fraction .* got nan"),
    ],
)
def test_draw_eye_refuses_bad_arguments(options, message):
    with pytest.raises(UsageError, match=message):
        draw_eye(**({"subject": 1, "scan": 1} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subjects": 0}, "subjects must be at least 1, got 0"),
        ({"scans_per_subject": 0}, "scans_per_subject must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"size": (192, 20)}, "size must be"),
        ({"bits": 32}, "bits must be 8 or 16, got 32"),
    ],
)
def test_write_eyes_refuses_bad_arguments_before_it_writes(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        write_eyes(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
