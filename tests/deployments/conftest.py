"""A Prefect of the tests' own, whose home is a temporary folder; and, for those who ask, a machine that is up."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Prefect reads its settings when it is imported, so they are set first; what another conftest has set stays.
os.environ.setdefault("PREFECT_HOME", tempfile.mkdtemp(prefix="unetseg-test-prefect-"))
os.environ.setdefault("PREFECT_PROFILES_PATH", f"{os.environ['PREFECT_HOME']}/profiles.toml")
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["DO_NOT_TRACK"] = "1"
for _name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_PROFILE"):
    os.environ.pop(_name, None)

import pytest  # noqa: E402

from deployments.home import Home  # noqa: E402
from deployments.processes import belonging_to  # noqa: E402
from tests.deployments.machine import SECRET, Machine  # noqa: E402
from unetseg.init import init  # noqa: E402


@pytest.fixture(scope="module")
def machine(eyes: Path, tiny: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """All is up; at the end nothing is left."""
    folder = tmp_path_factory.mktemp("machine")
    project = folder / "eyes"
    init(eyes / "scans", eyes / "masks", project=project, overrides=tiny)
    made = Machine(Home(folder / "home"), project)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        try:
            made.up("--project", project)
            yield made
        finally:
            made.unetseg("down")
            assert belonging_to(made.home) == []
