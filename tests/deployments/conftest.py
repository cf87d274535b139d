"""A Prefect of the tests' own: its home is a temporary folder, nothing leaves the machine, and no server starts."""

from __future__ import annotations

import os
import tempfile

# Prefect reads its settings when it is imported, so they are set first; what another conftest has set stays.
os.environ.setdefault("PREFECT_HOME", tempfile.mkdtemp(prefix="unetseg-test-prefect-"))
os.environ.setdefault("PREFECT_PROFILES_PATH", f"{os.environ['PREFECT_HOME']}/profiles.toml")
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["DO_NOT_TRACK"] = "1"
for _name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_PROFILE"):
    os.environ.pop(_name, None)
