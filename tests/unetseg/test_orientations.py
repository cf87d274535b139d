"""Masks and guides that lie otherwise in space than their scan: told, and used as they are stored."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
from PIL import Image

from unetseg import formats
from unetseg.config import ClassSource, GuideSource, IngestConfig, ScanSource, Settings, Sources
from unetseg.dataset import open_dataset
from unetseg.formats import orientation
from unetseg.ingest import ingest
from unetseg.inspection import inspect
from unetseg.orientations import axis_codes
from unetseg.project import Project

SHAPE = (12, 10, 3)  # x, y, z
RAS = np.diag([1.0, 1.0, 1.0, 1.0])
LPS = np.diag([-0.7, -0.7, 3.0, 1.0])
NAMES = ("a", "b", "c", "d")
THREE = "masks/a.nii.gz, masks/b.nii.gz, masks/c.nii.gz"
VOLUME = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.int16)


def nifti(path, volume, affine=RAS, sform=2, qform=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(volume, affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    nibabel.save(image, path)
    return path


def scan(seed):
    return np.random.default_rng(50 + seed).integers(0, 999, SHAPE).astype(np.int16)


def label(seed):
    """A mask with pixels in each plane."""
    return (np.random.default_rng(seed).random(SHAPE) < 0.3).astype(np.uint8)


def flipped(volume, affine):
    """The same anatomy at the same places in the world, stored from the other end of x."""
    turn = np.diag([-1.0, 1.0, 1.0, 1.0])
    turn[0, 3] = volume.shape[0] - 1
    return volume[::-1], affine @ turn


def told(kind, codes, own, names):
    return (
        f"{kind} stored as {codes}, its scan as {own} (expected: alike): {names}; voxels are taken as they are stored, "
        f"so that the {kind} may lie mirrored or turned on the scan; if it does, reorient both alike, such as with "
        "nibabel.as_closest_canonical"
    )


class Ward:
    """A project of four volumes with a mask each; files can be replaced."""

    def __init__(self, folder):
        self.folder = folder
        self.scans, self.masks, self.guides = folder / "scans", folder / "masks", folder / "guides"
        self.project = Project(
            folder / "project",
            Sources(ScanSource(str(self.scans), group=r"(.*)\.p"), (ClassSource("organ", str(self.masks)),)),
            Settings(ingest=IngestConfig(chunk=16, workers=1)),
        )
        for seed, name in enumerate(NAMES):
            nifti(self.scans / f"{name}.nii.gz", scan(seed), RAS)
            nifti(self.masks / f"{name}.nii.gz", label(seed), RAS)

    def add_guides(self):
        for seed, name in enumerate(NAMES):
            nifti(self.guides / f"{name}.nii.gz", label(9 + seed), RAS)
        guides = (GuideSource("region", str(self.guides)),)
        self.project = replace(self.project, sources=replace(self.project.sources, guides=guides))

    def suspicions(self):
        """All sentences of an ingest."""
        return [text for texts in ingest(self.project).suspicions.values() for text in texts]

    def warnings(self, guides=None):
        """What `init` says, of orientations alone."""
        return [text for text in inspect(self.scans, self.masks, guides).warnings if "stored as" in text]


@pytest.fixture
def ward(tmp_path):
    return Ward(tmp_path)


# --------------------------------------------------------------------------- what files say


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "SLA", "ARI"])
def test_axis_codes_are_those_of_nibabel(codes):
    image = nibabel.Nifti1Image(VOLUME, RAS).as_reoriented(nibabel.orientations.axcodes2ornt(codes))
    assert axis_codes(image.affine[:3, :3]) == "".join(nibabel.aff2axcodes(image.affine))


@pytest.mark.parametrize("number", [0.0, np.nan, np.inf, 1e300])
def test_numbers_that_are_no_directions_say_nothing(number):
    assert axis_codes(np.full((3, 3), number)) == ""


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("forms", [(1, 0), (0, 1), (2, 1)], ids=["sform", "qform", "both"])
def test_a_volume_says_how_it_lies(tmp_path, suffix, forms):
    assert orientation(nifti(tmp_path / f"a{suffix}", VOLUME, LPS, *forms)) == "LPS"
    assert orientation(nifti(tmp_path / f"b{suffix}", *flipped(VOLUME, LPS), *forms)) == "RPS"


def test_without_codes_a_volume_says_nothing(tmp_path):
    assert orientation(nifti(tmp_path / "a.nii", VOLUME, LPS, 0, 0)) == ""


def test_of_a_single_plane_the_third_axis_is_not_said(tmp_path):
    assert orientation(nifti(tmp_path / "a.nii", VOLUME[..., :1], LPS)) == "LP"
    assert orientation(nifti(tmp_path / "b.nii", VOLUME[..., 0], LPS)) == "LP"


def test_other_and_broken_files_say_nothing(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.nii").write_bytes(b"hello")
    (tmp_path / "c.nii.gz").write_bytes(nifti(tmp_path / "whole.nii.gz", VOLUME).read_bytes()[:40])
    (tmp_path / "d.nii").write_bytes(b"")
    assert [orientation(tmp_path / name) for name in ("a.png", "b.nii", "c.nii.gz", "d.nii")] == [""] * 4


def test_a_volume_that_changed_is_asked_again(tmp_path):
    assert orientation(nifti(tmp_path / "a.nii.gz", VOLUME, RAS)) == "RAS"
    assert orientation(nifti(tmp_path / "a.nii.gz", VOLUME, LPS)) == "LPS"


# --------------------------------------------------------------------------- what is told


def test_where_all_lie_alike_nothing_is_said(ward):
    assert ward.suspicions() == []
    assert ward.warnings() == []


def test_a_mask_that_was_flipped_with_its_affine_is_told_and_stored_as_it_is(ward):
    nifti(ward.masks / "b.nii.gz", *flipped(label(1), RAS))
    result = ingest(ward.project)
    expected = told("mask", "LAS", "RAS", "masks/b.nii.gz")
    ((shown, sentences),) = result.suspicions.items()
    assert sentences == (expected,)
    pages = [label(1)[::-1, :, page].T for page in range(3)]
    assert shown == f"b.p{np.argmax([page.sum() for page in pages]):04d}"
    assert expected in result.page.read_text()
    assert ward.warnings() == [expected]
    assert not result.quarantined
    dataset = open_dataset(result.dataset)
    for number, page in enumerate(pages):
        np.testing.assert_array_equal(dataset.masks(dataset.index.scans[f"b.p{number:04d}"])[..., 0], page)


def test_when_the_volumes_are_reoriented_alike_nothing_is_said_any_more(ward):
    path = nifti(ward.masks / "b.nii.gz", *flipped(label(1), RAS))
    assert len(ward.suspicions()) == 1
    nibabel.save(nibabel.as_closest_canonical(nibabel.load(path)), ward.folder / "b.nii.gz")
    (ward.folder / "b.nii.gz").replace(path)
    assert ward.suspicions() == []
    dataset = open_dataset(ward.project.dataset)
    np.testing.assert_array_equal(dataset.masks(dataset.index.scans["b.p0000"])[..., 0], label(1)[..., 0].T)


def test_axes_in_another_order_are_told(ward):
    for seed, name in enumerate(NAMES):
        nifti(ward.scans / f"{name}.nii.gz", scan(seed), RAS[:, [1, 0, 2, 3]])
    assert ward.suspicions() == [told("mask", "RAS", "ARS", f"{THREE} and 1 more")]


def test_masks_with_an_identity_affine_on_other_scans_are_told_once(ward):
    for seed, name in enumerate(NAMES):
        nifti(ward.scans / f"{name}.nii.gz", scan(seed), LPS)
    assert ward.suspicions() == [told("mask", "RAS", "LPS", f"{THREE} and 1 more")]
    assert ward.warnings() == [told("mask", "RAS", "LPS", f"{THREE} and 1 more of those looked at")]


def test_scans_whose_masks_say_nothing_are_not_asked(ward, monkeypatch):
    for path in list(ward.masks.iterdir()):
        path.unlink()
    for seed, name in enumerate(NAMES):
        for page in range(3):
            Image.fromarray(label(seed)[..., page].T * 255).save(ward.masks / f"{name}.p{page:04d}.png")
    monkeypatch.setattr(formats, "_orientation", lambda *_: pytest.fail("was opened"))
    assert ward.suspicions() == []


@pytest.mark.parametrize("which", ["scans", "masks"])
def test_without_codes_nothing_is_said(ward, which):
    for path in getattr(ward, which).iterdir():
        nifti(path, np.asarray(nibabel.load(path).dataobj), LPS, 0, 0)
    assert ward.suspicions() == []
    assert ward.warnings() == []


def test_another_origin_scale_or_tilt_is_no_other_orientation(ward):
    for seed, name in enumerate(NAMES):
        affine = np.diag([2.0, 0.5, 4.0, 1.0])
        affine[:3, 3] = 10, -20, 30
        affine[0, 1] = 0.01
        nifti(ward.masks / f"{name}.nii.gz", label(seed), affine)
    assert ward.suspicions() == []
    assert ward.warnings() == []


def test_a_guide_that_lies_otherwise_is_told_as_a_guide(ward):
    ward.add_guides()
    nifti(ward.guides / "c.nii.gz", *flipped(label(11), RAS))
    expected = told("guide", "LAS", "RAS", "guides/c.nii.gz")
    assert ward.suspicions() == [expected]
    assert ward.warnings(ward.guides) == [expected]
    assert [text for text in inspect(ward.scans, None, ward.guides).warnings if "stored as" in text] == [expected]


def test_guides_that_lie_as_their_scans_are_no_trouble(ward):
    ward.add_guides()
    assert ward.suspicions() == []
    assert ward.warnings(ward.guides) == []


# --------------------------------------------------------------------------- later runs


def test_unchanged_volumes_are_not_opened_again_and_still_told(ward, monkeypatch):
    nifti(ward.masks / "b.nii.gz", *flipped(label(1), RAS))
    before = ward.suspicions()
    monkeypatch.setattr(formats, "_orientation", lambda *_: pytest.fail("was opened"))
    result = ingest(ward.project)
    assert (result.done, result.skipped) == (0, 12)
    assert [text for texts in result.suspicions.values() for text in texts] == before


def test_a_scan_that_is_turned_later_is_told_with_masks_that_stay(ward):
    ingest(ward.project)
    nifti(ward.scans / "d.nii.gz", *flipped(scan(3), RAS))
    assert ward.suspicions() == [told("mask", "RAS", "LAS", "masks/d.nii.gz")]
