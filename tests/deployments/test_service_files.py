"""Container and service files: they name what exists, keep to themselves, and other tools accept them.

What needs a tool that is not here is skipped; ``make test-production`` runs it all.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from deployments import worker

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deployments"
UNITS = sorted((FOLDER / "systemd").glob("*.service"))
ENVIRONMENT = FOLDER / "example.env"
COMPOSE = FOLDER / "compose.yaml"
DOCKERFILE = FOLDER / "Dockerfile"
FILES = [*UNITS, ENVIRONMENT, COMPOSE, DOCKERFILE, FOLDER / "README.md"]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
each_unit = pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
each_service = pytest.mark.parametrize("name", SERVICES)
WORKERS = ("worker-cpu", "worker-gpu", "worker-no-gpu")


def settings(*, commented: bool = False) -> dict[str, str]:
    """What the example sets; also what it has commented out."""
    lines = ENVIRONMENT.read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"(#?)([A-Z_]+)=(.*)", line) for line in lines]
    return {item[2]: item[3] for item in found if item and (commented or not item[1])}


def directives(path: Path) -> list[tuple[str, str]]:
    """The settings of a unit, in order: the same name may come twice."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(name, value) for name, found, value in (line.partition("=") for line in lines) if found and name[0] != "#"]


def only(path: Path, name: str) -> str:
    (value,) = [found for key, found in directives(path) if key == name]
    return value


# --------------------------------------------------------------------------- names


@each_file
def test_settings_of_prefect_are_known_to_the_installed_version(path: Path) -> None:
    """Prefect leaves unknown ones unsaid, so that a wrong name would do nothing."""
    from prefect.settings.legacy import _get_valid_setting_names
    from prefect.settings.models.root import Settings

    named = set(re.findall(r"\bPREFECT_(?!_)[A-Z_]+\b", path.read_text(encoding="utf-8")))
    assert named <= _get_valid_setting_names(Settings)


def test_the_example_is_accepted_by_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings.models.root import Settings

    for name, value in settings().items():
        monkeypatch.setenv(name, value or "someone:something")
    found = Settings()
    assert found.server.analytics_enabled is False
    assert found.server.api.auth_string.get_secret_value() == "someone:something"
    assert found.server.services.db_vacuum.enabled == {"events", "flow_runs"}
    assert found.server.services.db_vacuum.retention_period.days == 90
    assert found.server.events.retention_period.days == 7
    assert found.server.concurrency.lease_storage == "prefect.server.concurrency.lease_storage.filesystem"


@each_service
def test_what_compose_asks_for_is_in_the_example(name: str) -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", json.dumps(SERVICES[name])))
    asked |= {key for key, value in SERVICES[name]["environment"].items() if value is None}
    assert asked <= settings(commented=True).keys()


@pytest.mark.parametrize(
    "words",
    [
        *(
            ["worker", *item["command"][3:]]
            for item in SERVICES.values()
            if "deployments.worker" in item.get("command", "")
        ),
        *(["worker", *only(path, "ExecStart").split()[3:]] for path in UNITS if "worker" in path.name),
    ],
    ids=" ".join,
)
def test_workers_take_runs_of_pools_that_deployments_name(words: list[str]) -> None:
    pool, _, _ = worker._parse(words[1:])
    content = yaml.safe_load((FOLDER / "prefect.yaml").read_text(encoding="utf-8"))
    pools = {item["work_pool"]["name"] for item in content["deployments"]}
    assert pool in pools | {"${UNETSEG_POOL}"}


# --------------------------------------------------------------------------- the example


def test_the_example_holds_no_password() -> None:
    for name in ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING", "POSTGRES_PASSWORD"):
        assert settings()[name] == ""
    assert ":PASSWORD@" in settings()["PREFECT_SERVER_DATABASE_CONNECTION_URL"]


def test_what_is_made_of_the_example_is_not_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/deployments/.env" in ignored


def test_nothing_calls_home() -> None:
    quiet = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    assert quiet.items() <= settings().items()
    for name in SERVICES.keys() - {"postgres"}:
        assert quiet.items() <= SERVICES[name]["environment"].items()
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert all(f"{name}={value}" in text for name, value in quiet.items())


# --------------------------------------------------------------------------- compose


def test_only_the_server_is_published_and_only_to_this_machine() -> None:
    published = {name: item["ports"] for name, item in SERVICES.items() if "ports" in item}
    assert published == {"server": ["127.0.0.1:${PREFECT_SERVER_API_PORT:-4200}:4200"]}
    assert not [name for name, item in SERVICES.items() if "network_mode" in item or item.get("privileged")]


@each_service
def test_a_service_starts_again_is_watched_and_has_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == ("no" if name == "setup" else "unless-stopped")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    assert ("healthcheck" in service) != (name in WORKERS)  # theirs is the image's
    assert ("--with-healthcheck" in service["command"]) == (name in WORKERS) if name != "postgres" else True


@each_service
def test_passwords_come_from_the_environment_and_only_where_they_are_needed(name: str) -> None:
    known = {
        key: value for key, value in SERVICES[name]["environment"].items() if re.search("AUTH|PASS|CONNECTION", key)
    }
    assert all(value and "${" in value for value in known.values())
    expected = {
        "postgres": {"POSTGRES_PASSWORD"},
        "server": {"PREFECT_SERVER_API_AUTH_STRING", "PREFECT_SERVER_DATABASE_CONNECTION_URL"},
    }
    workers = {"PREFECT_API_AUTH_STRING"} if name in {*WORKERS, "setup"} else set()
    assert known.keys() == expected.get(name, workers)


def test_a_container_has_more_time_to_stop_than_a_worker_takes_to_end_its_runs() -> None:
    for name in WORKERS:
        assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= 2 * worker._TO_END


def test_docker_compose_reads_the_file(tmp_path: Path) -> None:
    command = _compose_command()
    environment = tmp_path / ".env"
    lines = [f"{name}={value or 'secret'}" for name, value in settings().items()]
    environment.write_text("\n".join(lines), encoding="utf-8")
    given = [*command, "--file", str(COMPOSE), "--env-file", str(environment), "--profile", "gpu", "--profile", "dask"]
    found = subprocess.run([*given, "config"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    services = yaml.safe_load(found.stdout)["services"]
    assert services.keys() >= SERVICES.keys() - {"worker-no-gpu", "setup"}
    assert services["server"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"] == "secret"
    environment.write_text("", encoding="utf-8")
    without = subprocess.run(
        [*command, "--file", str(COMPOSE), "--env-file", str(environment), "config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert without.returncode != 0
    assert "write it into .env" in without.stderr


def _compose_command() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        program = shutil.which(command[0])
        if program and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip("docker compose is not installed here: apt-get install docker-compose")


# --------------------------------------------------------------------------- image


def test_the_image_is_made_of_files_that_are_there_and_let_in() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {"requirements.lock", "requirements-dev.lock", "requirements-gpu.lock", "deployments"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in let_in


def test_the_image_holds_the_packages_that_are_shipped() -> None:
    import tomllib

    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    text = DOCKERFILE.read_text(encoding="utf-8")
    for package in content["tool"]["setuptools"]["packages"]:
        name = package.partition(".")[0]
        assert f"COPY {name} {name}\n" in text


def test_no_secret_gets_into_the_image() -> None:
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert let_in.index("*") < min(let_in.index(line) for line in let_in if line.startswith("!"))
    assert any(fnmatch.fnmatch("deployments/.env", line) for line in let_in[let_in.index("!deployments") + 1 :])
    assert not re.search(r"(?i)(password|secret|auth_string)\s*=", DOCKERFILE.read_text(encoding="utf-8"))


def test_images_do_not_run_as_root() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    named = {stage.split("\n")[0].split(" AS ")[1]: stage for stage in stages}
    assert "\nUSER ${UID}:${GID}\n" in named["base"]
    for target in ("cpu", "gpu"):
        assert named[target].startswith("base AS ")
        assert "USER" not in named[target]


def test_the_gpu_lock_is_what_tensorflow_asks_for() -> None:
    lines = (ROOT / "requirements-gpu.lock").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    asked = [Requirement(text) for text in importlib.metadata.requires("tensorflow") or ()]
    cuda = [item for item in asked if item.marker and item.marker.evaluate({"extra": "and-cuda"})]
    cuda = [item for item in cuda if not item.marker.evaluate({"extra": ""})]
    assert cuda
    for item in cuda:
        assert item.specifier.contains(pinned[item.name]), item.name


# --------------------------------------------------------------------------- units


@each_unit
def test_a_unit_runs_as_nobody_special_and_with_little(path: Path) -> None:
    found = dict(directives(path))
    assert (found["User"], found["NoNewPrivileges"], found["CapabilityBoundingSet"]) == ("unetseg", "yes", "")
    assert found["ProtectSystem"] == "strict"
    assert found["EnvironmentFile"].lstrip("-").startswith("/etc/unetseg/")


def test_a_stopped_worker_alone_is_told_and_has_time_to_give_back_its_runs() -> None:
    (path,) = [path for path in UNITS if "worker" in path.name]
    assert only(path, "KillMode") == "mixed"  # else its runs would get SIGTERM from two sides
    assert float(only(path, "TimeoutStopSec")) >= 2 * worker._TO_END


@each_unit
def test_systemd_accepts_the_unit(path: Path, tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze") or pytest.skip("systemd is not installed here: apt-get install systemd")
    for program in ("python", "prefect"):  # stand for those of /opt/unetseg/venv
        (tmp_path / program).symlink_to(sys.executable)
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/opt/unetseg/venv/bin/", f"{tmp_path}/")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    name = path.name.replace("@.", "@gpu.")
    found = subprocess.run(
        [tool, "verify", "--man=no", "--recursive-errors=no", str(tmp_path / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_the_server_writes_its_pages_where_it_may() -> None:
    """It writes them at each start; where it cannot, there is no UI, and only the log tells."""
    name = "PREFECT_SERVER_UI_STATIC_DIRECTORY"
    assert SERVICES["server"]["environment"][name].startswith("/var/lib/unetseg/")
    (path,) = [path for path in UNITS if "server" in path.name]
    assert f"{name}=/var/lib/{only(path, 'StateDirectory')}/ui" in [value for _, value in directives(path)]


# --------------------------------------------------------------------------- linters


def test_yamllint_has_nothing_to_say() -> None:
    rules = "line-length: {max: 140}, document-start: disable, braces: disable, truthy: disable"
    files = [COMPOSE, FOLDER / "prefect.yaml"]
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "yamllint",
            "--strict",
            "--config-data",
            f"{{extends: default, rules: {{{rules}}}}}",
            *map(str, files),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_hadolint_has_nothing_to_say() -> None:
    found = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), str(DOCKERFILE)], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (0, "")
