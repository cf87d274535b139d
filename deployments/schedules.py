"""The schedules of deployments: switched on and off, and otherwise left as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from deployments.environment import deployed
from unetseg.errors import UsageError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["Nights", "local_zone", "scheduled", "switch"]


@dataclass(frozen=True)
class Nights:
    """What is asked of the schedules.

    Attributes:
        on: switch them on or off; None leaves them as they are.
        cron: when; empty leaves it as it is.
        timezone: of ``cron``; empty leaves it as it is.
    """

    on: bool | None = None
    cron: str = ""
    timezone: str = ""

    def check(self) -> None:
        """Refuse what Prefect would refuse later.

        Raises:
            UsageError: no such time zone, or no cron.
        """
        if self.timezone and not _is_zone(self.timezone):
            raise UsageError(f"--timezone {self.timezone}: no such time zone; write one such as Europe/Berlin")
        if (self.cron or self.timezone) and not self.on:
            raise UsageError("--timezone: goes with --schedule, which switches the nights on")
        if self.cron:
            from prefect.client.schemas.schedules import CronSchedule

            try:
                CronSchedule(cron=self.cron)
            except ValueError:
                raise UsageError(
                    f"--schedule {self.cron!r}: must be minute, hour, day, month and weekday, such as '0 2 * * *'"
                ) from None


def scheduled() -> dict[str, dict[str, Any]]:
    """The schedule that ``prefect.yaml`` has for an entry, by the entry's name."""
    return {item["name"]: item["schedules"][0] for item in deployed()["deployments"] if item.get("schedules")}


def local_zone() -> str:
    """The name of this machine's time zone; UTC where it tells none."""
    from tzlocal import get_localzone_name

    try:
        name = get_localzone_name()
    except Exception:  # each system tells it in another way, and fails in another way
        return "Etc/UTC"
    return name if name and _is_zone(name) else "Etc/UTC"


def switch(client: SyncPrefectClient, project: str, nights: Nights) -> None:
    """Switch a project's schedules on or off; cron and time zone change only where they are given."""
    from prefect.client.schemas.schedules import CronSchedule

    for entry, usual in scheduled().items():
        deployment = client.read_deployment_by_name(f"{entry}/{project}")
        found = [item for item in deployment.schedules if item.slug == usual["slug"]]
        old = found[0].schedule if found else CronSchedule(cron=usual["cron"], timezone=local_zone())
        new = _changed(old, nights)
        if found:
            client.update_deployment_schedule(deployment.id, found[0].id, active=nights.on, schedule=new)
        elif nights.on:
            client.create_deployment_schedules(deployment.id, [(new or old, True)], slug=usual["slug"])


def _changed(old: Any, nights: Nights) -> Any:  # noqa: ANN401 (Prefect's three kinds)
    """The schedule that was asked for; None where the old one stays."""
    from prefect.client.schemas.schedules import CronSchedule

    if not (nights.cron or nights.timezone):
        return None
    cron = nights.cron or getattr(old, "cron", "")
    if not cron:
        raise UsageError("--timezone: this schedule is no cron any more; say when, with --schedule '0 2 * * *'")
    return CronSchedule(cron=cron, timezone=nights.timezone or old.timezone or local_zone())


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
