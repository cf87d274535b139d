"""The bar of a stage, for people who watch it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from unetseg import parallel

__all__ = ["bar"]

_SLOWEST_RATE = 0.1  # units a second, below which a rate would round to next to nothing


class _Left(ProgressColumn):
    """Time that is left, where it can be told."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        return Text("" if left is None else f"{timedelta(seconds=left)} left", style="progress.remaining")


@contextmanager
def bar(title: str, console: Console) -> Iterator[parallel.Progress]:
    """A bar with time, rate and what was done last; gone at its end.

    Args:
        title: of the bar.
        console: to draw it on.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), _Left(),
        TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[what]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(title, total=None, rate="", what="")

        def tell(done: int, total: int, what: str) -> None:
            speed = shown.tasks[task].speed or 0.0
            rate = f"{speed:.1f}/s" if speed >= _SLOWEST_RATE else ""
            shown.update(task, completed=done, total=total, what=what, rate=rate)

        yield tell
