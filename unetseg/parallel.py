"""Run many independent units on threads of this process or on a Dask cluster that already runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from unetseg.errors import UsageError

__all__ = ["Progress", "cores", "run_units", "silent"]

Unit = TypeVar("Unit")
Result = TypeVar("Result")

Progress = Callable[[int, int, str], None]
"""Called with units done, units in all, and what was done last."""

_UNITS_AHEAD = 4  # units queued per worker: enough to keep it busy, few enough to keep memory bounded


def silent(done: int, total: int, what: str) -> None:
    """Progress for nobody."""


def run_units(
    function: Callable[[Unit], Result], units: Iterable[Unit], *, workers: int = 0, cluster: str = ""
) -> Iterator[tuple[Unit, Result | Exception]]:
    """Apply a function to every unit and yield each unit with its result, or its error, as soon as it is there.

    Args:
        function: called once per unit; must be importable by name when a cluster is used.
        units: drawn lazily, a few ahead of the workers.
        workers: how many units at once; 0: one per processor core (or per thread of the cluster).
        cluster: address of a running Dask scheduler, such as ``tcp://127.0.0.1:8786``; empty: threads.

    Raises:
        UsageError: the cluster does not answer.
    """
    with _executor(cluster, workers) as (executor, count):
        waiting: dict[Future[Result], Unit] = {}
        source = iter(units)
        try:
            for unit in islice(source, count * _UNITS_AHEAD):
                waiting[executor.submit(function, unit)] = unit
            while waiting:
                finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    unit = waiting.pop(future)
                    for following in islice(source, 1):
                        waiting[executor.submit(function, following)] = following
                    yield unit, _outcome(future)
        finally:
            _cancel(waiting)


def _cancel(waiting: Iterable[Future[Any]]) -> None:
    """What has not begun shall not, when the caller stops early: a full disk, an interrupt."""
    for future in waiting:
        future.cancel()


def _outcome(future: Future[Any]) -> Any:  # noqa: ANN401 (whatever the units return)
    try:
        return future.result()
    except Exception as error:  # a unit's error is its result: the caller decides whether the batch goes on
        return error


@contextmanager
def _executor(cluster: str, workers: int) -> Iterator[tuple[Executor, int]]:
    if not cluster:
        count = workers or cores()
        with ThreadPoolExecutor(count, thread_name_prefix="unetseg") as executor:
            yield executor, count
        return
    from distributed import Client

    try:
        client = Client(cluster, timeout="10s")
    except (OSError, ValueError) as error:
        message = f"--cluster {cluster}: no Dask scheduler answers there ({error}); start one, or leave it out"
        raise UsageError(message) from error
    with client:
        count = workers or max(1, sum(client.nthreads().values()))
        yield client.get_executor(pure=False), count


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
