"""What a race leaves, and its table."""

from __future__ import annotations

import re

import numpy as np

from benchmarks.peers.comparison import Comparison, Row, largest_difference, race


def test_a_race_tells_how_far_each_side_is_off_and_that_the_first_is_itself():
    calls = []
    sides = {"ours": lambda: calls.append("ours") or np.array([0.5, 0.25]), "theirs": lambda: np.array([0.5, 0.75])}
    rows = race(sides, largest_difference(np.array([0.5, 0.25])), rounds=3, warm_up=True)
    assert [(row.who, row.difference) for row in rows] == [("ours", 0.0), ("theirs", 0.5)]
    assert rows[0].times_first == 1
    assert len(calls) == 4


def test_a_faster_peer_stands_in_the_table():
    rows = [Row("unetseg", 2.0, 1.0, 0.0), Row("peer", 1.0, 0.5, 0.25)]
    page = Comparison("Title", "this.", "that.", "largest difference", 3, rows).markdown()
    assert re.findall(r"^## (.+)$", page, flags=re.MULTILINE) == ["Title"]
    assert "Equal: this." in page
    assert "Not equal: that." in page
    assert "| peer | 1 | 0.50 | 0.25 |" in page
