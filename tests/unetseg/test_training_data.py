"""What a bundle tells of the scans that made it, from records that are written by hand and from a real dataset."""

from __future__ import annotations

import numpy as np
import pytest

from unetseg.bundle import load_bundle
from unetseg.dataset import open_dataset
from unetseg.intensities import ChannelIntensities
from unetseg.intensity_distance import KNOTS, distance, even, pooled
from unetseg.normalise import ChannelScale
from unetseg.project import Project
from unetseg.scan_record import Part, ScanRecord
from unetseg.training_data import ClassAreas, describe_training_data

CLASSES = ("iris", "pupil")


def record(number: int, *, shift: float = 0.0, pixels: tuple[tuple[int, int], ...] = ((0, 10),)) -> ScanRecord:
    """A scan whose intensities are even from 100 + shift to 200 + shift."""
    quantiles = tuple(100.0 + shift + percent for percent in (0, 1, 5, 25, 50, 75, 95, 99, 100))
    return ScanRecord(
        id=f"patient{number}", key=str(number), group="", shape=(2, 5), chunk=64, image=Part(), masks=Part(),
        guides=Part(), scales=(ChannelScale(100.0, 0.01),),
        intensities=(ChannelIntensities(150.0 + shift, 29.0, quantiles),), combinations=pixels, class_pixels={},
    )  # fmt: skip


def test_a_scan_is_compared_with_all_others():
    scans = [record(0), record(1), record(2, shift=30.0)]
    (found,) = describe_training_data(scans, ["grey"], CLASSES).intensities
    assert found.channel == "grey"
    profiles = [tuple((percent + shift) / 100 for percent in KNOTS) for shift in (0, 0, 30)]
    assert found.distribution == pytest.approx(pooled(profiles))
    # From the others: the shifted one 0.3, each of the others half as far, since one of two is shifted.
    assert found.distances == pytest.approx((0.15, 0.15, 0.3), abs=0.01)


def test_areas_are_shares_of_the_pixels_that_count():
    scans = [
        record(0, pixels=((0, 6), (1, 4))),
        record(1, pixels=((0, 3), (1, 1), (3, 1), (4, 5))),  # bit 2: ignored
        record(2, pixels=((0, 10),)),
        record(3, pixels=((4, 10),)),  # nothing counts: neither with nor without
    ]
    assert describe_training_data(scans, ["grey"], CLASSES).areas == (
        ClassAreas("iris", 2, 1, (0.4, 0.4)),
        ClassAreas("pupil", 1, 2, (0.2,)),
    )


def test_of_many_scans_percentiles_are_kept():
    scans = [record(i, pixels=((0, 1000 - i), (1, i))) for i in range(1, 202)]
    (iris, _), (grey,) = (lambda told: (told.areas, told.intensities))(describe_training_data(scans, ["grey"], CLASSES))
    assert iris.fractions == pytest.approx([number / 1000 for number in range(1, 202, 2)])
    assert len(grey.distances) == 101


def test_one_scan_has_no_others():
    assert describe_training_data([record(0)], ["grey"], CLASSES).intensities[0].distances == ()


def test_training_leaves_it_in_the_bundle_and_it_agrees_with_the_stored_pixels(trained: Project):
    dataset, info = open_dataset(trained.dataset), load_bundle(trained.models / "0001").info
    told = info.training_data
    scans = [*dataset.scans("train"), *dataset.scans("validation")]
    assert told is not None
    assert told.scans == len(scans) == len(told.intensities[0].distances)
    profiles = [tuple(np.percentile(dataset.image(scan).astype(float), KNOTS).tolist()) for scan in scans]
    assert told.intensities[0].distribution == pytest.approx(pooled(profiles), abs=0.02)
    assert np.array(told.intensities[0].distribution).shape == even(profiles)[0].shape
    alone = sorted(distance(item, pooled(profiles)) * len(scans) / (len(scans) - 1) for item in profiles)
    assert told.intensities[0].distances == pytest.approx(alone, abs=0.01)
    for k, areas in enumerate(told.areas):
        fractions = [float((dataset.masks(scan)[..., k] == 1).mean()) for scan in scans]
        assert areas.fractions == pytest.approx(sorted(fraction for fraction in fractions if fraction))
        assert areas.scans_with + areas.scans_without == len(scans)


def test_it_names_no_scan(trained: Project):
    dataset = open_dataset(trained.dataset)
    text = repr(load_bundle(trained.models / "0001").info.training_data)
    assert not any(scan.id in text or scan.group in text for scan in dataset.index.scans.values())
