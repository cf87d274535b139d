"""What runs, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments import pools, projects, runs
from deployments.deploying import deployments
from deployments.home import Home, Record, as_option
from deployments.processes import belonging_to, is_alive
from deployments.schedules import scheduled
from deployments.server import answers, client
from flows.console import Console

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["look", "say_status"]

_SHOWN = 5  # runs that wait, for people; the JSON has all

_WORDS = {
    "up": "up",
    "starting": "starting",
    "stopping": "stopping",
    "silent": "the server does not answer; unetseg up tries to start it again",
    "unwatched": "unetseg up was killed, what it started runs on; unetseg up puts it right, unetseg down ends it",
    "down": "nothing runs",
}


def look(home: Home) -> dict[str, Any]:
    """Everything that `unetseg status --json` prints."""
    record = home.read_record() if home.exists else None
    state = _state(home, record)
    found: dict[str, Any] = {"up": state == "up", "state": state, "home": str(home.folder)}
    if record is None or state == "down":
        return found
    found |= {"server": record.url, "version": record.version, "pid": record.watcher.pid}
    found["processes"] = [
        {"name": item.name, "pid": item.pid, "alive": is_alive(item)} for item in (record.watcher, *record.processes)
    ]
    if answers(record.url):
        with client(home, record.url) as server:
            found |= _ask(server, home)
    return found


def say_status(console: Console, found: Mapping[str, Any]) -> None:
    """The same in words."""
    console.say(f"{_WORDS[found['state']]}  (home: {found['home']})")
    if found["state"] == "down":
        console.say(f"start it with: unetseg up{as_option(Home(Path(found['home'])))}")
    if "server" not in found:
        return
    console.say(f"server    {found['server']}")
    for item in found["processes"]:
        console.say(f"process   {item['name']}, {item['pid']}{'' if item['alive'] else ', not running'}")
    for item in found.get("pools", ()):
        limit = "any number" if item["limit"] is None else item["limit"]
        paused = ", paused" if item["paused"] else ""
        console.say(f"pool      {item['name']}: {item['used']} of {limit} in use, workers {item['online']}{paused}")
    for item in found.get("projects", ()):
        console.say(f"project   {item['name']}  {item['folder']}  nights {_nights(item['schedules'])}")
    for item in found.get("running", ()):
        console.say(f"running   {item['name']}  {item['state']} since {_local(item['since'])}")
    waiting = found.get("waiting", ())
    for item in waiting[:_SHOWN]:
        console.say(f"waiting   {item['deployment'] or item['name']}  {item['state']}, {_local(item['when'])}")
    if len(waiting) > _SHOWN:
        console.say(f"          and {len(waiting) - _SHOWN} more")


def _local(time: str) -> str:
    """A time as the clock of this machine shows it; programs get UTC."""
    return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M %Z}"


def _state(home: Home, record: Record | None) -> str:
    if not home.exists:
        return "down"
    if home.is_held():
        if record is None:
            return "starting"
        silent = record.state == "up" and not answers(record.url)
        return "silent" if silent else record.state
    return "unwatched" if belonging_to(home) else "down"


def _ask(server: SyncPrefectClient, home: Home) -> dict[str, Any]:
    names = deployments(server)
    return {
        "pools": [
            _pool(server, name) for name in pools.POOLS if name in {pool.name for pool in server.read_work_pools()}
        ],
        "projects": [
            {"name": name, "folder": folder, "schedules": _schedules(server, name)}
            for name, folder in projects.known(home).items()
        ],
        "running": [
            {"id": str(run.id), "name": run.name, "state": run.state.name, "since": str(run.start_time or run.created)}
            for run in runs.in_progress(server)
        ],
        "waiting": [
            {
                "id": str(run.id),
                "name": run.name,
                "deployment": names.get(run.deployment_id, ""),
                "state": run.state.name,
                "when": str(run.next_scheduled_start_time or run.created),
            }
            for run in runs.waiting(server)
        ],
    }


def _pool(server: SyncPrefectClient, name: str) -> dict[str, Any]:
    pool, used = server.read_work_pool(name), server.read_work_pool_concurrency_status(name)
    workers = server.read_workers_for_work_pool(name)
    return {
        "name": name,
        "limit": pool.concurrency_limit,
        "used": used.active_slots,
        "paused": bool(pool.is_paused),
        "online": sum(1 for worker in workers if worker.status and worker.status.value == "ONLINE"),
    }


def _schedules(server: SyncPrefectClient, project: str) -> list[dict[str, Any]]:
    from prefect.exceptions import ObjectNotFound

    found = []
    for entry in scheduled():
        try:
            deployment = server.read_deployment_by_name(f"{entry}/{project}")
        except ObjectNotFound:  # it was deleted in the UI, or is not made yet
            continue
        for item in deployment.schedules:
            when = item.schedule.model_dump(mode="json")
            found.append({"deployment": f"{entry}/{project}", "active": item.active, **when})
    return found


def _nights(schedules: list[Mapping[str, Any]]) -> str:
    active = [item for item in schedules if item["active"]]
    return ", ".join(f"{item.get('cron') or 'on'} {item.get('timezone') or ''}".strip() for item in active) or "off"
