"""What faults the tests have injected, how often, and how many of them a test failed after; told at the end of a run.

A drill that injects a fault asserts by itself that nothing is lost by it: one that passed has lost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

_PROPERTY = "injected"

Injected = Callable[..., None]
"""Called with the name of a fault, and how often it was injected: once, unless said."""


@pytest.fixture
def injected(request: pytest.FixtureRequest) -> Injected:
    """Note that a fault is injected now."""

    def note(fault: str, times: int = 1) -> None:
        request.node.user_properties.append((_PROPERTY, (fault, times)))

    return note


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [terminalreporter.stats.get(outcome, []) for outcome in ("passed", "failed")]
    if lines := told(*reports):
        terminalreporter.section("faults injected")
        for line in lines:
            terminalreporter.write_line(line)


def told(passed: Sequence[Any], failed: Sequence[Any]) -> list[str]:
    """A line per fault, and one of all together."""
    survived, suspect = _count(passed), _count(failed)
    every = survived + suspect
    lines = [_line(fault, every[fault], suspect[fault]) for fault in sorted(every)]
    return [*lines, _line("all", every.total(), suspect.total())] if lines else []


def _count(reports: Sequence[Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for fault, times in _noted(reports):
        found[fault] += times
    return found


def _noted(reports: Sequence[Any]) -> Iterator[tuple[str, int]]:
    """What each test has noted, once: the reports of its setup and of its end hold the same."""
    for report in reports:
        if getattr(report, "when", "") == "call":
            yield from (value for name, value in report.user_properties if name == _PROPERTY)


def _line(fault: str, times: int, suspect: int) -> str:
    lost = f"{suspect} of them in drills that failed" if suspect else "nothing lost"
    return f"{fault:<48}{times:>5}   {lost}"
