"""How a run ends: one sentence for people, in its final state and on its page."""

from __future__ import annotations

from typing import TypeVar

from prefect import State
from prefect.states import Completed

__all__ = ["ended"]

R = TypeVar("R")


def ended(result: R, sentence: str, *, name: str = "Completed") -> State[R]:
    """The final state of a run that did what it was asked for.

    Args:
        result: of the flow.
        sentence: what came of it.
        name: of the state; automations that wait for ``Completed`` do not see another one.
    """
    state: State[R] = Completed(name=name, data=result, message=sentence)
    return state
