"""What Prefect's automations may act on: production has changed."""

from __future__ import annotations

from pathlib import Path

from prefect.events import emit_event

from unetseg.registry import Aliases

__all__ = ["PROMOTED", "ROLLED_BACK", "tell_production"]

PROMOTED = "unetseg.model.promoted"
"""A version became production."""

ROLLED_BACK = "unetseg.model.rolled-back"
"""The version before is production again."""


def tell_production(project: Path, event: str, before: Aliases, after: Aliases, sentence: str) -> None:
    """Emit an event where production is another version than before; the resource is the project.

    Prefect logs, and raises nothing, where the server takes no events.

    Args:
        project: its folder.
        event: `PROMOTED` or `ROLLED_BACK`.
        before: the aliases before the step.
        after: the aliases now.
        sentence: for people.
    """
    if after.production == before.production:
        return
    emit_event(
        event,
        resource={"prefect.resource.id": f"unetseg.project.{project.name}", "prefect.resource.name": project.name},
        payload={
            "project": str(project),
            "version": after.production,
            "previous": before.production,
            "sentence": sentence,
        },
    )
