"""Who takes turns when, and what is made of the times."""

from __future__ import annotations

from benchmarks.timing import in_turns, median_of_ratios


def test_sides_take_turns_and_change_who_begins():
    order = []
    taken = in_turns({name: lambda name=name: order.append(name) for name in "abc"}, rounds=3)
    assert "".join(order) == "abc" + "cba" + "abc"
    assert {name: len(times) for name, times in taken.items()} == {"a": 3, "b": 3, "c": 3}


def test_ratios_are_those_within_a_round():
    assert median_of_ratios([1.0, 10.0, 2.0], [3.0, 20.0, 20.0]) == 3.0
