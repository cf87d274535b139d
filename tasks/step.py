"""The decorator that all steps share: retries on I/O errors only, nothing persisted but what the step itself writes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.utilities.annotations import quote

from unetseg.storage import is_disk_error

__all__ = ["TRIED", "is_io_error", "shown", "step", "unseen"]

logger = logging.getLogger("unetseg.shown")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

TRIED = "a step within this one has tried again, as often as it may"
"""Note on an error, for which the step around it shall not begin anew."""

_RETRY_DELAYS = [2.0, 10.0, 60.0]  # seconds: a busy disk, a lost mount, a store that restarts


# Prefect shows the lines of PREFECT_LOGGING_EXTRA_LOGGERS, but leaves it to the program which levels they have.
logging.getLogger("unetseg").setLevel(logging.INFO)


async def is_io_error(task: Any, run: Any, state: Any) -> bool:  # noqa: ANN401 (Prefect's objects)
    """Whether trying again can help: a lost connection or a busy disk, never a full one or a wrong setting."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, OSError) and not is_disk_error(error) and TRIED not in getattr(error, "__notes__", ())


def unseen(value: T) -> T:
    """An argument of a task as it is: Prefect would look through all of it for results of other tasks."""
    return cast(T, quote(value))  # Prefect takes the wrapping off


def shown(show: Callable[[T], None], result: T, *, of: str, where: object) -> None:
    """Show a result in the UI; a server that does not take it must not fail, or begin anew, what is done.

    Args:
        show: makes the artifacts.
        result: of a step.
        of: the step.
        where: the result lies.
    """
    try:
        show(result)
    except Exception:
        logger.warning("%s: the results are not shown; they are in %s", of, where, exc_info=True)


def step(name: str, run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a task of a function.

    Args:
        name: of the task.
        run_name: of its runs; may name parameters, as in ``train {project.folder.name}``.
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        decorated: Task[P, R] = task(
            name=name,
            task_run_name=run_name,
            retries=len(_RETRY_DELAYS),
            retry_delay_seconds=_RETRY_DELAYS,
            retry_condition_fn=is_io_error,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(function)
        return decorated

    return decorate
