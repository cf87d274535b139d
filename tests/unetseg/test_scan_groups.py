"""Which scans belong together."""

from __future__ import annotations

import pytest

from unetseg.errors import UsageError
from unetseg.scan_groups import fixed_splits, group_of, groups_of
from unetseg.scan_table import read_scan_table


@pytest.mark.parametrize(
    ("scan_id", "pattern", "group"),
    [
        ("p1/left", "", "p1/left"),
        ("p1/left", r"^([^/]+)/", "p1"),
        ("p1/left", r"p\d", "p1"),
        ("x/left", r"p\d", "x/left"),
        ("x/left", r"(p\d)?", "x/left"),
        ("x/left", r"^(p\d+/)?x", "x/left"),
    ],
)
def test_the_group_is_what_the_pattern_finds_else_the_scan(scan_id, pattern, group):
    assert group_of(scan_id, pattern) == group


def test_the_word_of_a_table_goes_before_the_pattern(tmp_path):
    path = tmp_path / "scans.csv"
    path.write_text("scan,group\np1/left,ann\n")
    table = read_scan_table(str(path))
    assert [group_of(name, r"p\d", table) for name in ("p1/left", "p2/left")] == ["ann", "p2"]


def test_a_pattern_that_fits_no_scan_is_refused_with_a_way_out():
    with pytest.raises(UsageError) as caught:
        groups_of(["Maus 1/left", "Maus 2/left"], "^(Mouse [0-9]+)")
    assert str(caught.value) == (
        "sources.scans.group: '^(Mouse [0-9]+)' must be found in the ids of scans, found in none of 2 scans, such as "
        "'Maus 1/left', so that scans of one patient would come into several splits; correct the expression, or leave "
        "it empty if every scan is its own group"
    )


@pytest.mark.parametrize(
    ("pattern", "must_fit", "said"),
    [
        pytest.param(r"^(p\d)", True, r"'^(p\\d)' is not found in 2 of 3 scans, such as 'x'", id="some"),
        pytest.param("q", False, "'q' is not found in 3 of 3 scans, such as 'p1/left'", id="none-may"),
    ],
)
def test_scans_that_the_pattern_does_not_fit_are_told_and_groups_of_their_own(caplog, pattern, must_fit, said):
    found = groups_of(["p1/left", "x", "y"], pattern, must_fit=must_fit)
    assert (found["x"], found["y"]) == ("x", "y")
    assert caplog.messages == [f"sources.scans.group: {said}: each of these is a group of its own"]


@pytest.mark.parametrize("pattern", ["", r"^p\d"])
def test_a_pattern_that_fits_all_is_not_talked_about(caplog, pattern):
    groups_of(["p1/left", "p2/left"], pattern)
    assert caplog.messages == []


def test_scans_whose_group_the_table_tells_need_no_pattern(tmp_path, caplog):
    path = tmp_path / "scans.csv"
    path.write_text("scan,group\nx,ann\ny,ben\n")
    table = read_scan_table(str(path))
    assert groups_of(["x", "y"], r"p\d", table) == {"x": "ann", "y": "ben"}
    assert groups_of(["x", "y", "p1"], r"p\d", table)["p1"] == "p1"
    assert caplog.messages == []
    with pytest.raises(UsageError, match="in none of 3 scans, such as 'z'"):
        groups_of(["x", "y", "z"], r"p\d", table)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        pytest.param("s99,train\n", "1 row fits no scan: s99", id="one"),
        pytest.param("s98,train\ns99,train\n", "2 rows fit no scan: s98, s99", id="two"),
    ],
)
def test_rows_of_a_table_that_fit_no_scan_are_told(tmp_path, caplog, rows, said):
    path = tmp_path / "t.csv"
    path.write_text(f"scan,split\n{rows}a,test\n")
    fixed_splits(read_scan_table(str(path)), {"a": "a"})
    assert caplog.messages == [f"{path}: {said}"]
