"""Which scans belong together."""

from __future__ import annotations

import pytest

from unetseg.scan_groups import group_of
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
