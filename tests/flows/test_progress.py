"""What people see of a stage while it is at work."""

from __future__ import annotations

import io
import re
import sys

import pytest
from rich.console import Console as RichConsole

from flows.bar import bar
from flows.console import Console, log_to_stderr


def drawn(*told: tuple[int, int, str]) -> str:
    """All that a terminal was sent."""
    stream = io.StringIO()
    with bar("train", RichConsole(file=stream, force_terminal=True, width=120, color_system=None)) as tell:
        for item in told:
            tell(*item)
    return stream.getvalue()


def test_a_bar_tells_elapsed_time_while_nothing_is_known():
    assert re.search(r"train .* 0/\? \d:\d\d:\d\d ", drawn())
    assert "left" not in drawn()


def test_a_bar_tells_what_was_done_last_as_it_is_called():
    said = drawn((1, 2, "a[b]/c"))
    assert re.search(r"train .* 1/2 \d:\d\d:\d\d ", said)
    assert "a[b]/c" in said


def test_a_bar_tells_what_is_left_where_that_is_known():
    assert re.search(r" 2/2 \d:\d\d:\d\d 0:00:00 left ", drawn((1, 2, "a"), (2, 2, "b")))


def test_without_a_terminal_epochs_are_lines_of_the_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    log_to_stderr()
    with Console(as_json=False).progress("train", epochs=True) as tell:
        for epoch in (1, 2, 3):
            tell(epoch, 3, "loss 0.5, validation 0.250")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "epoch 1 of about 3: loss 0.5, validation 0.250",
        "epoch 3 of about 3: loss 0.5, validation 0.250",
    ]
