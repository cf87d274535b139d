"""What is told of injected faults."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from tests.faults import told

pytest_plugins = ["pytester"]


def report(*noted: tuple[str, int], when: str = "call") -> SimpleNamespace:
    return SimpleNamespace(when=when, user_properties=[("injected", one) for one in noted])


def words(lines: list[str]) -> list[str]:
    return [re.sub(r"\s+", " ", line) for line in lines]


def test_faults_of_all_tests_are_counted_and_those_that_a_test_failed_after_are_told():
    passed = [
        report(("disk full", 1), ("run killed", 3)),
        report(("run killed", 2)),
        report(("run killed", 9), when="setup"),
    ]
    assert words(told(passed, [report(("disk full", 1))])) == [
        "disk full 2 1 of them in drills that failed",
        "run killed 5 nothing lost",
        "all 7 1 of them in drills that failed",
    ]


def test_without_faults_nothing_is_told():
    assert told([report()], []) == []


def test_a_run_of_drills_ends_with_the_table(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        def test_survives(injected):
            injected("disk full")
            injected("run killed", 2)

        def test_does_not(injected):
            injected("disk full")
            assert False
        """
    )
    result = pytester.runpytest_inprocess("-p", "tests.faults")
    result.stdout.re_match_lines(
        [
            r".*faults injected.*",
            r"disk full +2 +1 of them in drills that failed",
            r"run killed +2 +nothing lost",
            r"all +4 .*",
        ]
    )
