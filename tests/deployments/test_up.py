"""`unetseg up`, `status` and `down`, really: a server, two workers, runs, kills. Each test leaves all up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import psutil
import pytest

from deployments.home import Home
from deployments.processes import belonging_to
from tests.deployments.machine import SECRET, Machine
from tests.faults import Injected
from unetseg.init import init

pytestmark = [pytest.mark.server, pytest.mark.slow]


def test_a_run_that_is_clicked_completes(machine: Machine) -> None:
    run = machine.run("ingest/eyes")
    assert machine.wait(run, "Completed", "Failed", "Crashed")["type"] == "COMPLETED"
    assert (machine.project / "dataset.zarr" / "zarr.json").exists()


def test_status_tells_what_runs(machine: Machine) -> None:
    found = machine.status()
    assert (found["up"], found["state"]) == (True, "up")
    assert [item["name"] for item in found["processes"]] == ["up", "server", "worker cpu", "worker gpu"]
    assert all(item["alive"] for item in found["processes"])
    assert {item["name"]: item["limit"] for item in found["pools"]} == {"cpu": None, "gpu": 1}
    assert [item["online"] for item in found["pools"]] == [1, 1]
    (project,) = found["projects"]
    assert (project["name"], project["folder"]) == ("eyes", str(machine.project))
    assert [item["active"] for item in project["schedules"]] == [False]
    words = machine.unetseg("status")
    assert found["server"] in words
    assert "nights off" in words


def test_what_is_started_is_reached_by_this_machine_alone(machine: Machine) -> None:
    """There is no password: whoever reaches the server has its workers run code."""
    found = [process.net_connections("inet") for process in belonging_to(machine.home)]
    listening = {item.laddr for each in found for item in each if item.status == psutil.CONN_LISTEN}
    record = machine.home.read_record()
    assert record is not None
    assert ("127.0.0.1", int(record.url.rpartition(":")[2])) in listening
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_no_secret_of_the_machine_is_kept(machine: Machine) -> None:
    """Not in Prefect's database, whatever the UI shows of it, nor in a log: runs get theirs from the environment."""
    run = machine.run("ingest/eyes")
    assert machine.wait(run, "Completed", "Failed", "Crashed")["type"] == "COMPLETED"
    kinds = ("flow_runs", "task_runs", "artifacts", "logs", "deployments", "work_pools", "block_documents", "events")
    answers = [machine.ask("POST", f"/{kind}/filter", {}) for kind in kinds]
    assert len(answers[0]) >= 1
    assert len(answers[2]) >= 1
    assert SECRET not in json.dumps(answers)
    files = [path for path in (*machine.home.folder.rglob("*"), *machine.project.rglob("*")) if path.is_file()]
    holding = [path for path in files if SECRET.encode() in path.read_bytes()]
    # Prefect hands a run its environment in a file, which is gone with the run, or with the next start.
    assert [path for path in holding if not path.is_relative_to(machine.home.temporary)] == []
    for path in holding:
        assert path.name == "workspace.json"
        assert path.parent.stat().st_mode & 0o077 == 0


def test_the_pages_of_the_ui_come_from_the_home_since_the_package_may_be_roots(machine: Machine) -> None:
    record = machine.home.read_record()
    assert record is not None
    for path, folder in (("/", "v1"), ("/v2/", "v2")):
        page = httpx.get(f"{record.url}{path}", timeout=60, trust_env=False).text
        assert page == (machine.home.prefect / "ui" / folder / "index.html").read_text(encoding="utf-8")


def test_up_again_makes_nothing_twice(machine: Machine) -> None:
    def everything() -> list[list[str]]:
        asked = ("work_pools", "automations", "deployments")
        return [sorted(item["id"] for item in machine.ask("POST", f"/{kind}/filter", {})) for kind in asked]

    before, processes = everything(), machine.status()["processes"]
    first, second, *_ = machine.up().splitlines()
    assert first == "deploying eyes"
    assert "runs already" in second
    assert everything() == before
    assert [len(ids) for ids in before[:2]] == [2, 1]
    assert machine.status()["processes"] == processes


def test_nights_are_switched_on_and_what_was_changed_in_the_ui_stays(machine: Machine) -> None:
    def schedule() -> tuple[str, str, bool]:
        (found,) = machine.deployment("nightly/eyes")["schedules"]
        return found["schedule"]["cron"], found["schedule"]["timezone"], found["active"]

    assert "the nights are switched on" in machine.up("--schedule", "30 1 * * *", "--timezone", "Europe/Berlin")
    assert schedule() == ("30 1 * * *", "Europe/Berlin", True)
    machine.until(lambda: machine.status()["waiting"])
    assert {run["deployment"] for run in machine.status()["waiting"]} == {"nightly/eyes"}
    machine.up()
    assert schedule() == ("30 1 * * *", "Europe/Berlin", True)
    deployment = machine.deployment("nightly/eyes")
    path = f"/deployments/{deployment['id']}/schedules"
    by_hand = {"schedule": {"cron": "15 4 * * *", "timezone": "America/Chicago"}, "active": False}
    machine.ask("PATCH", f"{path}/{deployment['schedules'][0]['id']}", by_hand)
    machine.up()
    assert schedule() == ("15 4 * * *", "America/Chicago", False)
    machine.ask("POST", path, [{"schedule": {"interval": 86400}, "active": True}])  # one more, without a slug
    machine.up()
    machine.up("--schedule")
    found = machine.deployment("nightly/eyes")["schedules"]
    assert sorted(item["schedule"].get("cron", "") for item in found) == ["", "15 4 * * *"]
    assert all(item["active"] for item in found)
    machine.ask("DELETE", f"{path}/{next(item['id'] for item in found if 'cron' not in item['schedule'])}")
    assert "the nights are switched off" in machine.up("--no-schedule")
    assert schedule() == ("15 4 * * *", "America/Chicago", False)


def test_a_second_project_comes_and_goes(machine: Machine, eyes: Path, tmp_path: Path) -> None:
    def names() -> set[str]:
        return {item["name"] for item in machine.ask("POST", "/deployments/filter", {})}

    init(eyes / "scans", eyes / "masks", project=tmp_path / "other")
    machine.up("--project", tmp_path / "other")
    assert names() == {"eyes", "other"}
    assert machine.deployment("train/other")["parameters"]["project"] == str(tmp_path / "other")
    (tmp_path / "other" / "unetseg.yaml").rename(tmp_path / "away")
    assert "--forget other" in machine.up()
    assert names() == {"eyes", "other"}
    machine.up("--forget", "other")
    assert names() == {"eyes"}


def test_another_program_on_the_port_is_told_of(machine: Machine, tmp_path: Path) -> None:
    record = machine.home.read_record()
    assert record is not None
    port = record.url.rpartition(":")[2]
    other = Machine(Home(tmp_path / "home"), machine.project)
    said = other.unetseg("up", "--port", port, "--project", machine.project, status=2)
    assert "a Prefect server that is not this one" in said
    assert belonging_to(other.home) == []
    assert other.unetseg("status", status=1).startswith("nothing runs")
    assert other.unetseg("down").strip() == "nothing runs"


def test_a_worker_that_dies_is_started_again(machine: Machine, injected: Injected) -> None:
    def worker() -> dict[str, Any]:
        return next(item for item in machine.status()["processes"] if item["name"] == "worker cpu")

    before = worker()["pid"]
    os.kill(before, signal.SIGKILL)
    injected("worker killed")
    machine.until(lambda: worker()["alive"] and worker()["pid"] != before, why=machine.logs)
    assert "worker cpu ended by SIGKILL" in (machine.home.logs / "up.log").read_text()
    run = machine.run("ingest/eyes")
    assert machine.wait(run, "Completed", "Failed", "Crashed")["type"] == "COMPLETED"


def test_a_server_that_dies_is_started_again_and_the_runs_go_on(machine: Machine, injected: Injected) -> None:
    server = next(item for item in machine.status()["processes"] if item["name"] == "server")
    os.kill(server["pid"], signal.SIGKILL)
    injected("server ended by SIGKILL")
    machine.until(lambda: machine.status()["state"] == "silent", why=machine.logs)
    machine.until(lambda: machine.status()["up"], why=machine.logs)
    run = machine.run("ingest/eyes")
    assert machine.wait(run, "Completed", "Failed", "Crashed")["type"] == "COMPLETED"


@pytest.mark.drill
def test_down_ends_the_run_in_progress_says_so_and_frees_its_place(machine: Machine, injected: Injected) -> None:
    run = machine.in_training()
    assert len(machine.status()["running"]) == 1
    assert any(line.startswith("training on 12 scans") for line in machine.logged(run))
    machine.unetseg("down")
    injected("`unetseg down` in mid-run")
    assert belonging_to(machine.home) == []
    assert machine.unetseg("down").strip() == "nothing runs"
    down = machine.unetseg("status", status=1).splitlines()
    assert (down[0].startswith("nothing runs"), down[1].startswith("start it with: unetseg up")) == (True, True)
    machine.up()
    state = machine.state(run)
    assert state["type"] == "CANCELLED"
    assert "unetseg down" in state["message"]
    assert "Start it again" in state["message"]
    assert machine.status()["running"] == []
    goes_on(machine)


def goes_on(machine: Machine) -> None:
    """The next run of the same deployment has its place, and goes on from the last epoch."""
    again = machine.in_training()
    assert min(machine.epochs(again)) > 1
    machine.ask("POST", f"/flow_runs/{again}/set_state", {"state": {"type": "CANCELLING"}})
    machine.wait(again, "Cancelled")


@pytest.mark.drill
def test_when_everything_is_killed_the_next_up_says_so_and_frees_the_place(
    machine: Machine, injected: Injected
) -> None:
    run = machine.in_training()
    record = machine.home.read_record()
    assert record is not None
    os.kill(record.watcher.pid, signal.SIGKILL)
    for process in belonging_to(machine.home):
        process.kill()
    injected("everything killed in mid-run")
    machine.until(lambda: not belonging_to(machine.home))
    assert machine.status()["state"] == "down"
    machine.up()
    state = machine.state(run)
    assert state["type"] == "CRASHED"
    assert "Its process died" in state["message"]
    goes_on(machine)


@pytest.mark.drill
def test_what_a_killed_up_has_left_is_told_of_and_ended_by_the_next_up_and_by_down(
    machine: Machine, injected: Injected
) -> None:
    for end in ("up", "down"):
        run = machine.in_training()
        record = machine.home.read_record()
        assert record is not None
        os.kill(record.watcher.pid, signal.SIGKILL)
        injected("`unetseg up` killed in mid-run")
        machine.until(lambda: not machine.home.is_held())
        assert machine.trainers()
        assert machine.status()["state"] == "unwatched"
        assert "unetseg up was killed" in machine.unetseg("status", status=1)
        before = {process.pid for process in belonging_to(machine.home)}
        if end == "down":
            machine.unetseg("down")
            assert belonging_to(machine.home) == []
        machine.up()
        assert before.isdisjoint(process.pid for process in belonging_to(machine.home))
        assert machine.state(run)["type"] == "CANCELLED"


@pytest.mark.drill
def test_ctrl_c_in_the_terminal_stops_all_and_a_second_one_hurries(machine: Machine, injected: Injected) -> None:
    machine.unetseg("down")
    command = [sys.executable, "-m", "deployments.cli", "up", "--port", "0", "--home", str(machine.home.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
        run = machine.in_training()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        os.killpg(process.pid, signal.SIGINT)
        injected("Ctrl-C twice in mid-run")
        rest = process.stdout.read()
    assert process.returncode == 0
    assert "all is down" in rest
    assert belonging_to(machine.home) == []
    machine.up()
    assert machine.state(run)["type"] in {"CANCELLED", "CRASHED"}


def test_failures_are_told_to_a_webhook(machine: Machine) -> None:
    told: list[str] = []
    path = "/hook-of-nobody-else"

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.path != path:
                self.send_error(404)
                return
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Hook)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        machine.unetseg("notify", f"http://127.0.0.1:{server.server_port}{path}")
        assert len(told) == 1
        run = machine.run("train/eyes", overrides=["train.epoch=1"])
        machine.wait(run, "Failed")
        machine.until(lambda: len(told) == 2, why=lambda: str(told))
        assert "failed" in told[1]
        assert "train.epoch" in told[1] or "epoch" in told[1]
        promoted = {"version": "0007", "sentence": "promoted 0007: better", "project": "eyes"}
        emit(machine, "unetseg.model.promoted", promoted)
        machine.until(lambda: len(told) == 3, why=lambda: str(told))
        assert "0007" in told[2]
        assert "promoted 0007: better" in told[2]
        assert path not in machine.logs()  # who has the address can write there
        assert path not in json.dumps(machine.ask("POST", "/block_documents/filter", {}))
        refused = machine.unetseg("notify", f"http://127.0.0.1:{server.server_port}/elsewhere", status=None)
        assert "127.0.0.1 does not take messages: 404" in refused
        assert "elsewhere" not in refused + machine.logs()
        assert "nothing is told any more" in by_address(machine, "notify", "--off")
        assert len(machine.ask("POST", "/automations/filter", {})) == 1
        assert machine.ask("POST", "/block_documents/filter", {}) == []  # who has the address can write there
        assert "nothing is told any more" in by_address(machine, "notify", "--off")
    finally:
        server.shutdown()
        server.server_close()


def by_address(machine: Machine, *words: str) -> str:
    """The command as on another machine, where only the server's address is known."""
    record = machine.home.read_record()
    assert record is not None
    names = {"PREFECT_API_URL": f"{record.url}/api", "PREFECT_HOME": str(machine.home.folder.parent / "elsewhere")}
    command = [sys.executable, "-m", "deployments.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | names, check=True)
    return done.stdout


def emit(machine: Machine, event: str, payload: dict[str, Any]) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    body = {"event": event, "occurred": now, "resource": {"prefect.resource.id": "unetseg.model.0007"}, "related": []}
    identity = "00000000-0000-4000-8000-000000000007"
    machine.ask("POST", "/events", [body | {"payload": payload, "id": identity}])


def test_the_users_own_prefect_is_not_touched(machine: Machine, tmp_path: Path) -> None:
    """All that was started, and all commands above, had this home; nothing lies beside it."""
    inside = {path.name for path in machine.home.folder.iterdir()}
    assert inside <= {
        "deploying", "logs", "pools.json", "prefect", "prefect.yaml", "projects.json", "tmp", "up.json", "up.lock",
    }  # fmt: skip
    assert oct(machine.home.folder.stat().st_mode)[-3:] == "700"
