"""A machine that `unetseg up` has started, and what tests ask of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil

from deployments.home import Home
from deployments.processes import belonging_to, is_run
from unetseg.ingest import ingest
from unetseg.project import load_project

SECRET = "hunter2Hunter2HUNTER2"
"""A key of an object store that the machine has in its environment."""

LONGEST = 420  # seconds; what takes longer hangs, even on a busy machine

LONG = ("train.epochs=1000", "train.patience=1000", "train.max_minutes=0")


@dataclass
class Machine:
    """One home, and what is asked of it."""

    home: Home
    project: Path

    def unetseg(self, *words: object, status: int | None = 0) -> str:
        """Run the command; its standard output."""
        command = [sys.executable, "-m", "deployments.cli", *map(str, words), "--home", str(self.home.folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=self.home.folder.parent)
        assert status is None or done.returncode == status, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout + done.stderr

    def up(self, *words: object) -> str:
        return self.unetseg("up", "--detach", "--port", 0, *words)

    def status(self) -> dict[str, Any]:
        out = self.unetseg("status", "--json", status=None)
        found: dict[str, Any] = json.loads(out[out.index('{"up"') :].splitlines()[0])
        return found

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The server's answer; asked again, as by Prefect's clients, while SQLite is locked or nothing answers."""
        started = time.monotonic()
        while True:
            try:
                return self._answer(method, path, body)
            except (httpx.HTTPStatusError, httpx.TransportError) as error:
                if not _may_be_asked_again(method, path, error) or time.monotonic() - started > LONGEST:
                    raise
                time.sleep(1)  # what Prefect's clients wait at least

    def _answer(self, method: str, path: str, body: Any) -> Any:
        record = self.home.read_record()
        assert record is not None
        answer = httpx.request(method, f"{record.url}/api{path}", json=body, timeout=60, trust_env=False)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def deployment(self, name: str) -> dict[str, Any]:
        flow, _, project = name.partition("/")
        found: dict[str, Any] = self.ask("GET", f"/deployments/name/{flow}/{project}")
        return found

    def run(self, name: str, **parameters: Any) -> str:
        body = {"parameters": parameters, "idempotency_key": str(uuid4())}  # asked for again, it is made once
        made = self.ask("POST", f"/deployments/{self.deployment(name)['id']}/create_flow_run", body)
        return str(made["id"])

    def state(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/flow_runs/{run}")["state"]
        return found

    def wait(self, run: str, *names: str, seconds: float = 240) -> dict[str, Any]:
        self.until(lambda: self.state(run)["name"] in names, seconds, lambda: f"{self.state(run)}\n{self.logs()}")
        return self.state(run)

    def until(self, true: Callable[[], object], seconds: float = 120, why: Callable[[], str] = str) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, why()
            time.sleep(0.3)

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.home.logs.glob("*.log"))

    def in_training(self) -> str:
        """A training that would take for ever, and has begun."""
        if not (self.project / "dataset.zarr").exists():
            ingest(load_project(self.project))
        run = self.run("train/eyes", overrides=LONG)
        self.wait(run, "Running")
        self.until(lambda: self.epochs(run) or self.state(run)["type"] != "RUNNING", 240, self.logs)
        assert self.state(run)["type"] == "RUNNING", self.logs()
        return run

    def logged(self, run: str) -> list[str]:
        """What the library has said in a run, at the level INFO."""
        asked = {"logs": {"flow_run_id": {"any_": [run]}}}
        lines = self.ask("POST", "/logs/filter", asked)
        return [line["message"] for line in lines if line["name"].startswith("unetseg") and line["level"] == 20]

    def epochs(self, run: str) -> list[int]:
        """The epochs that a run has told of."""
        return [int(line.split()[1]) for line in self.logged(run) if line.startswith("epoch ")]

    def trainers(self) -> list[psutil.Process]:
        return [process for process in belonging_to(self.home) if is_run(process)]


def _may_be_asked_again(method: str, path: str, error: httpx.HTTPError) -> bool:
    """Not if it may have been done all the same, and would be done twice."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    return method != "DELETE" and not path.endswith("/schedules")
