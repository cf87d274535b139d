"""What is deployed, where, and with which schedules, environment and limits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from deployments import automations
from deployments.deploying import entries
from deployments.environment import MARK, PREFECT_FILE, adopt, deployed, environment
from deployments.gpus import gpus
from deployments.home import Home
from deployments.pools import workers
from deployments.schedules import Nights, local_zone, scheduled
from unetseg.config import TrainConfig
from unetseg.errors import UsageError

HOME = Home(Path("/home/somebody/.unetseg"))
URL = "http://127.0.0.1:4321"


# --------------------------------------------------------------------------- deployments


@pytest.fixture
def projects(tmp_path: Path) -> dict[str, str]:
    """Two, the second one with settings of its own."""
    found = {name: str(tmp_path / name) for name in ("eyes", "nuclei")}
    for folder in found.values():
        Path(folder).mkdir()
        (Path(folder) / "unetseg.yaml").write_text("schema_version: 1\nsources: {scans: {path: /data/scans}}\n")
    with (Path(found["nuclei"]) / "unetseg.yaml").open("a") as file:
        file.write("train: {epochs: 7}\npredict: {format: tiff}\n")
    return found


def test_each_project_gets_every_deployment_with_its_folder(projects: dict[str, str]) -> None:
    made = entries(projects, there=())
    names = [item["name"] for item in deployed()["deployments"]]
    assert [item["name"] for item in made] == ["eyes"] * len(names) + ["nuclei"] * len(names)
    assert [item["parameters"]["project"] for item in made] == [projects[item["name"]] for item in made]
    assert all(item["tags"][0] == "unetseg" and item["tags"][-1] == item["name"] for item in made)
    kept = ("entrypoint", "description", "concurrency_limit", "work_pool")
    for item, template in zip(made, deployed()["deployments"] * 2, strict=True):
        assert {key: item.get(key) for key in kept} == {key: template.get(key) for key in kept}


def test_forms_show_the_settings_of_the_project(projects: dict[str, str]) -> None:
    shown = {
        (item["name"], item["entrypoint"].partition(":")[2]): item["parameters"] for item in entries(projects, there=())
    }
    assert shown["nuclei", "train"]["settings"]["epochs"] == 7
    assert shown["eyes", "train"]["settings"]["epochs"] == TrainConfig().epochs
    assert shown["nuclei", "nightly"]["settings"]["train"]["epochs"] == 7
    assert shown["nuclei", "predict"]["settings"]["format"] == "tiff"
    assert set(shown["nuclei", "rollback"]) == {"project"}


def test_a_folder_that_is_no_project_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unetseg\.yaml"):
        entries({"eyes": str(tmp_path)}, there=())


def test_only_a_new_deployment_gets_the_schedule_of_the_file_and_it_is_off(projects: dict[str, str]) -> None:
    made, old = entries(projects, there={"nightly/nuclei"}), deployed()["deployments"]
    new = [item | {"name": {"eyes": "new", "nuclei": "old"}[item["name"]]} for item in made]
    with_schedules = [(item["name"], item["entrypoint"]) for item in new if "schedules" in item]
    assert with_schedules == [("new", "flows.nightly:nightly")]
    (schedule,) = next(item["schedules"] for item in new if "schedules" in item)
    assert schedule["active"] is False
    assert schedule["timezone"] == local_zone()
    assert ZoneInfo(schedule["timezone"])
    assert all(item["name"] != "new" for item in old)  # the file's content is not changed


def test_the_file_lies_beside_the_code() -> None:
    assert PREFECT_FILE.is_file()
    assert list(scheduled()) == ["nightly"]


# --------------------------------------------------------------------------- environment


def test_the_users_own_prefect_does_not_reach_what_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_API_DATABASE_CONNECTION_URL"):
        monkeypatch.setenv(name, "of another server")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    made = environment(HOME, URL)
    assert "of another server" not in made.values()
    assert made["AWS_PROFILE"] == "lab"
    assert made["PREFECT_API_URL"] == f"{URL}/api"
    inside = ("PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_RESULTS_LOCAL_STORAGE_PATH", "TMPDIR", MARK)
    assert all(Path(made[name]).is_relative_to(HOME.folder) for name in inside)


def test_nothing_calls_home_and_runs_get_what_the_file_says() -> None:
    made = environment(HOME, URL)
    assert made["DO_NOT_TRACK"] == "1"
    assert made["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert made["PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT"] == "false"
    assert deployed()["definitions"]["env"].items() <= made.items()


def test_this_machine_is_never_asked_for_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet")
    monkeypatch.delenv("no_proxy", raising=False)
    assert environment(HOME, URL)["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,intranet")
    assert environment(HOME, URL)["no_proxy"] == "127.0.0.1,intranet,localhost"


SETTINGS = """
from datetime import timedelta
from prefect.settings import get_current_settings
settings = get_current_settings()
server, vacuum = settings.server, settings.server.services.db_vacuum
print(settings.api.url, settings.home, settings.profiles_path, settings.results.local_storage_path)
print(settings.worker.query_seconds, settings.flows.heartbeat_frequency)
print(settings.logging.extra_loggers, settings.logging.to_api.when_missing_flow)
print(server.analytics_enabled, server.ui.show_promotional_content, server.ui.api_url)
print(sorted(vacuum.enabled_vacuum_types))
print(vacuum.retention_period // timedelta(days=1), server.events.retention_period // timedelta(days=1))
"""


def test_prefect_understands_every_setting(tmp_path: Path) -> None:
    home = Home(tmp_path)
    command = [sys.executable, "-c", SETTINGS]
    done = subprocess.run(command, env=environment(home, URL), cwd=tmp_path, capture_output=True, text=True, check=True)
    inside = f"{home.prefect} {home.prefect}/profiles.toml {home.prefect}/storage"
    assert done.stdout.splitlines() == [
        f"{URL}/api {inside}",
        "3.0 30",
        "['unetseg'] ignore",
        "False False /api",
        "['events', 'flow_runs', 'orphans']",
        "90 7",
    ]


def test_whoever_only_asks_does_not_belong_to_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "environ", {"PREFECT_API_KEY": "x", "PATH": "/bin"})
        adopt(HOME, URL)
        assert MARK not in os.environ
        assert "PREFECT_API_KEY" not in os.environ
        assert os.environ["PREFECT_API_URL"] == f"{URL}/api"


# --------------------------------------------------------------------------- GPUs and workers


@pytest.mark.parametrize(
    ("files", "variable", "found"),
    [
        ([], None, ()),
        (["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"], None, ("0", "1")),
        (["nvidia3"], None, ("0",)),
        (["nvidia0", "nvidia1"], "1", ("1",)),
        (["nvidia0", "nvidia1"], "", ()),
        (["nvidia0", "nvidia1"], "-1", ()),
        (["nvidia0", "nvidia1"], "1,-1,0", ("1",)),
        (["nvidia0"], "GPU-5ebe, MIG-1", ("GPU-5ebe", "MIG-1")),
    ],
    ids=["none", "two", "container", "one", "hidden", "minus", "stops", "names"],
)
def test_gpus_are_counted(tmp_path: Path, files: list[str], variable: str | None, found: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert gpus(tmp_path, {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}) == found


def test_gpus_are_counted_where_there_are_no_devices(tmp_path: Path) -> None:
    assert gpus(tmp_path / "none", {}) == ()


def test_each_gpu_has_a_worker_that_sees_no_other() -> None:
    def trainers(found: tuple[str, ...]) -> list[tuple[str, int, str | None]]:
        return [(worker.name, worker.limit, worker.sees) for worker in workers(found) if worker.pool == "gpu"]

    assert trainers(()) == [("gpu", 1, None)]
    assert trainers(("2",)) == [("gpu", 1, "2")]
    assert trainers(("0", "1")) == [("gpu-0", 1, "0"), ("gpu-1", 1, "1")]
    (cpu,) = [worker for worker in workers(("0",)) if worker.pool == "cpu"]
    assert cpu.sees == "-1"


# --------------------------------------------------------------------------- nights


def test_nights_are_checked_before_anything_starts() -> None:
    Nights(on=True, cron="30 1 * * 1-5", timezone="Europe/Berlin").check()
    Nights(on=False).check()
    with pytest.raises(UsageError, match="no such time zone"):
        Nights(on=True, timezone="Europe/Atlantis").check()
    with pytest.raises(UsageError, match="minute, hour"):
        Nights(on=True, cron="at two").check()
    with pytest.raises(UsageError, match="goes with --schedule"):
        Nights(timezone="Europe/Berlin").check()


# --------------------------------------------------------------------------- automations


@pytest.mark.parametrize("name", [automations.DEAD_RUNS, *automations.TOLD])
def test_automations_are_what_prefect_takes(name: str) -> None:
    from prefect.events.schemas.automations import AutomationCore

    content = automations.read(name)
    for action in content["actions"]:
        if "block_document_id" in action:
            action["block_document_id"] = "00000000-0000-0000-0000-000000000000"
    made = AutomationCore.model_validate(content)
    assert made.name.startswith("unetseg: ")
    assert made.model_dump(mode="json")["trigger"]["expect"]


def test_a_run_is_dead_when_ten_beats_are_missing() -> None:
    beat = int(deployed()["definitions"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    content = automations.read(automations.DEAD_RUNS)
    assert content["trigger"]["within"] == 10 * beat
    assert str(10 * beat) in content["description"]
    assert str(10 * beat) in content["actions"][0]["message"]


def test_only_tagged_runs_are_ended_and_every_entry_is_tagged_so() -> None:
    related = automations.read(automations.DEAD_RUNS)["trigger"]["match_related"]
    tag = related["prefect.resource.id"].removeprefix("prefect.tag.")
    assert all(tag in item["tags"] for item in deployed()["deployments"])


def test_a_run_that_ends_in_any_state_of_ours_is_not_dead() -> None:
    names = {
        name.removeprefix("prefect.flow-run.") for name in automations.read(automations.DEAD_RUNS)["trigger"]["expect"]
    }
    assert names >= {"heartbeat", "Completed", "Failed", "Cancelled", "Crashed", "Unchanged", "Skipped"}


def test_only_an_address_can_be_told() -> None:
    with pytest.raises(UsageError, match="must be the address"):
        automations.tell(None, "hooks.slack.com")  # type: ignore[arg-type]
