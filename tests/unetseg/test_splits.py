import logging
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetseg.config import IngestConfig
from unetseg.errors import DataError
from unetseg.splits import SPLITS, Move, assign_splits

FEW = settings(max_examples=60, deadline=None)
names = st.sets(st.text("abcdef0123", min_size=1, max_size=6), min_size=3, max_size=40)
fractions = st.floats(0.001, 0.499)
splits = st.sampled_from(SPLITS)


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


@FEW
@given(st.integers(3, 60), fractions, fractions)
def test_fresh_splits_are_within_one_group_of_the_wish(total, validation, test):
    config = IngestConfig(validation_fraction=validation, test_fraction=test)
    counts = Counter(assign_splits([f"g{i}" for i in range(total)], {}, config).values())
    assert abs(counts["validation"] - validation * total) <= 1
    assert abs(counts["test"] - test * total) <= 1


@FEW
@given(names, st.lists(names, max_size=4))
def test_a_group_that_goes_and_comes_back_is_where_it_was(first, nights):
    splits = before = assign_splits(first, {}, IngestConfig())
    for present in nights:
        try:
            splits = assign_splits(present, splits, IngestConfig())
        except DataError:
            continue  # only groups of the same split are there tonight
    assert {name: assign_splits(first, splits, IngestConfig())[name] for name in before} == before


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


def test_a_split_that_scans_left_with_their_groups_is_told_as_such():
    known = {"p1": "train", "p2": "train", "p3": "train", "old": "validation", "t": "test"}
    moves = [Move("p1 left", "p1", "validation", "train"), Move("p2 left", "p2", "test", "train")]
    with pytest.raises(DataError) as caught:
        assign_splits({"p1", "p2", "p3", "t"}, known, IngestConfig(), moves=moves)
    assert str(caught.value) == (
        "splits: no group is left in validation, because its scans would move: sources.scans.group, or the table, "
        "defines groups anew: p1 left with 'p1' to train; define the groups as they were, or delete dataset.zarr to "
        "decide the splits anew"
    )


def test_two_splits_without_groups_have_a_reason_each():
    known = {"p1": "train", "p2": "train", "p3": "train", "v": "validation", "t": "test"}
    with pytest.raises(DataError) as caught:
        assign_splits({"p1", "p2", "p3"}, known, IngestConfig(), moves=[Move("v", "p1", "validation", "train")])
    assert str(caught.value) == (
        "splits: no group is left in validation, because its scans would move: sources.scans.group, or the table, "
        "defines groups anew: v with 'p1' to train; define the groups as they were; no group is left in test, because "
        "its scans vanished, lost their masks or cannot be read; bring them back, or delete dataset.zarr to decide the "
        "splits anew"
    )


# --------------------------------------------------------------------------- with a table


@FEW
@given(names, st.dictionaries(st.text("abcdef0123", min_size=1, max_size=6), splits, max_size=20), st.data())
def test_the_table_wins_and_all_others_stay(groups, known, data):
    fixed = data.draw(st.dictionaries(st.sampled_from(sorted(groups | {"absent"})), splits))
    try:
        found = assign_splits(groups, known, IngestConfig(), fixed)
    except DataError:
        return  # no group was free to fill a split: see below
    assert set(found) == groups | set(known)
    for name in found:
        assert found[name] == fixed.get(name, known.get(name, found[name]))
    assert {found[name] for name in groups} == set(SPLITS)


@FEW
@given(names, st.data())
def test_free_groups_fill_what_the_table_leaves_empty(groups, data):
    fixed = data.draw(st.dictionaries(st.sampled_from(sorted(groups)), splits, max_size=len(groups)))
    empty = set(SPLITS) - set(fixed.values())
    if len(groups) - len(fixed) >= len(empty):
        assert set(assign_splits(groups, {}, IngestConfig(), fixed).values()) == set(SPLITS)
    else:
        with pytest.raises(DataError, match="none is free to fill it"):
            assign_splits(groups, {}, IngestConfig(), fixed)


@FEW
@given(names, st.data())
def test_neither_order_of_groups_nor_of_the_table_matters(groups, data):
    fixed = data.draw(st.dictionaries(st.sampled_from(sorted(groups)), splits, max_size=len(groups) - 3))
    turned = dict(reversed(fixed.items()))
    one = assign_splits(sorted(groups), {}, IngestConfig(), fixed)
    assert one == assign_splits(sorted(groups, reverse=True), {}, IngestConfig(), turned)


def test_the_shares_count_what_the_table_has_given():
    groups = [f"g{i}" for i in range(100)]
    fixed = {f"g{i}": "test" for i in range(15)} | {f"g{i}": "train" for i in range(15, 40)}
    assert Counter(assign_splits(groups, {}, IngestConfig(), fixed).values()) == {
        "train": 70,
        "validation": 15,
        "test": 15,
    }


def test_groups_that_the_table_moves_are_said_once(caplog):
    known = dict.fromkeys("abcdefgh", "train") | {"v": "validation", "t": "test"}
    fixed = dict.fromkeys("gfedcb", "test") | {"v": "validation", "new": "train", "absent": "test"}
    with caplog.at_level(logging.WARNING):
        found = assign_splits({*known, "new"}, known, IngestConfig(), fixed)
    assert found == known | dict.fromkeys("bcdefg", "test") | {"new": "train"}
    assert [record.getMessage() for record in caplog.records] == [
        "splits: the table moves 6 groups: b from train to test, c from train to test, d from train to test, e from "
        "train to test, f from train to test, and 1 more; scores of models trained before do not compare with new ones"
    ]


def test_a_table_that_moves_nothing_is_not_talked_about(caplog):
    known = {"a": "train", "v": "validation", "t": "test"}
    with caplog.at_level(logging.WARNING):
        assert assign_splits(known, known, IngestConfig(), known) == known
    assert not caplog.records


def test_a_vanished_group_is_moved_too():
    known = {"a": "train", "v": "validation", "t": "test", "gone": "train"}
    found = assign_splits({"a", "v", "t"}, known, IngestConfig(), {"gone": "test"})
    assert found == known | {"gone": "test"}


@pytest.mark.parametrize(
    ("fixed", "empty"),
    [
        ({"a": "train", "b": "train", "c": "test"}, "validation"),
        ({"a": "test", "b": "test", "c": "test"}, "train and validation"),
    ],
)
def test_a_table_that_leaves_a_split_empty_is_an_error_with_a_way_out(fixed, empty):
    message = (
        rf"no group is in {empty}, and none is free to fill it: the table sources\.scans\.table puts 3 groups .*; "
        r"give groups of the table the split .*, or leave the split of some new groups empty"
    )
    with pytest.raises(DataError, match=message):
        assign_splits("abc", {}, IngestConfig(), fixed)


def test_a_table_cannot_make_up_for_too_few_groups():
    with pytest.raises(DataError, match="at least 3 groups"):
        assign_splits("ab", {}, IngestConfig(), {"a": "train", "b": "test", "absent": "validation"})
