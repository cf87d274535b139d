from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetseg.config import IngestConfig
from unetseg.errors import DataError
from unetseg.splits import SPLITS, assign_splits

FEW = settings(max_examples=60, deadline=None)
names = st.sets(st.text("abcdef0123", min_size=1, max_size=6), min_size=3, max_size=40)
fractions = st.floats(0.001, 0.499)


@FEW
@given(names, fractions, fractions)
def test_every_split_is_filled_from_three_groups_up(groups, validation, test):
    config = IngestConfig(validation_fraction=validation, test_fraction=test)
    found = assign_splits(groups, {}, config)
    assert set(found) == groups
    assert set(found.values()) == set(SPLITS)


@FEW
@given(names, names, fractions, st.data())
def test_no_group_ever_moves(first, later, fraction, data):
    before = assign_splits(first, {}, IngestConfig())
    gone = data.draw(st.sets(st.sampled_from(sorted(first)), max_size=len(first) - 1))
    try:
        after = assign_splits((first - gone) | later, before, IngestConfig(test_fraction=fraction))
    except DataError:
        return  # a split lost its last group: nothing was decided
    assert {name: after[name] for name in before} == before
    assert set(after) == first | later


@FEW
@given(names)
def test_the_order_of_the_groups_does_not_matter(groups):
    assert assign_splits(sorted(groups), {}, IngestConfig()) == assign_splits(
        sorted(groups, reverse=True), {}, IngestConfig()
    )


@pytest.mark.parametrize("total", [20, 100, 400])
def test_the_shares_are_those_of_the_settings(total):
    config = IngestConfig(validation_fraction=0.2, test_fraction=0.1)
    counts = Counter(assign_splits([f"g{i}" for i in range(total)], {}, config).values())
    assert counts == {"train": 0.7 * total, "validation": 0.2 * total, "test": 0.1 * total}


def test_shares_hold_while_groups_join_night_by_night():
    splits = {}
    for night in range(1, 11):
        splits = assign_splits([f"g{i}" for i in range(10 * night)], splits, IngestConfig())
    counts = Counter(splits.values())
    # 15 % of 100, give or take the rounding of the nights
    assert abs(counts["validation"] - 15) <= 1
    assert abs(counts["test"] - 15) <= 1


def test_which_groups_test_is_not_told_by_their_order():
    found = assign_splits([f"g{i:03d}" for i in range(300)], {}, IngestConfig())
    tested = [int(name[1:]) for name, split in found.items() if split == "test"]
    # 45 of 300 at random: their mean has a standard deviation of about 12
    assert abs(sum(tested) / len(tested) - 149.5) < 50


@pytest.mark.parametrize("groups", [set(), {"a"}, {"a", "b"}])
def test_fewer_than_three_groups_are_refused(groups):
    with pytest.raises(DataError, match=rf"at least 3 groups .* found {len(groups)} .*scans\.group"):
        assign_splits(groups, {}, IngestConfig())


def test_a_split_that_lost_all_its_groups_is_filled_with_new_ones_first():
    known = {"a": "train", "b": "train", "c": "train", "v": "validation", "t": "test"}
    found = assign_splits({"a", "b", "c", "v", "new"}, known, IngestConfig())
    assert found["new"] == "test"


def test_a_split_that_lost_all_its_groups_for_good_is_an_error_with_a_way_out():
    known = {"a": "train", "b": "train", "c": "train", "v": "validation", "t": "test"}
    with pytest.raises(DataError, match=r"no group is left in test.*bring them back, or delete dataset\.zarr"):
        assign_splits({"a", "b", "c", "v"}, known, IngestConfig())
