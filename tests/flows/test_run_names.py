"""Names of flow runs."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import pytest

TODAY = date.today().isoformat()


@pytest.mark.parametrize(
    ("text", "parameters", "name"),
    [
        ("nightly {project}", {"project": "/srv/eyes"}, "nightly eyes"),
        ("nightly {project}", {"project": "/srv/eyes/"}, "nightly eyes"),
        ("nightly {project}", {"project": "s3://lab/eyes/"}, "nightly eyes"),
        ("nightly {project}", {"project": "s3://lab"}, "nightly lab"),
        ("nightly {project}", {"project": "/srv/eyes/models/.."}, "nightly eyes"),
        ("predict {folder}", {"folder": "/data/new_scans", "project": "/srv/eyes"}, "predict new_scans"),
        ("promote {project} {version}", {"project": "/srv/eyes", "version": "0007"}, "promote eyes 0007"),
        ("predict {folder}", {"folder": "/"}, "predict /"),
    ],
    ids=["folder", "slash", "address", "bucket", "dots", "scans", "version", "root"],
)
def test_a_run_is_named_by_stage_folder_and_date(
    text: str, parameters: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
):
    from flows import run_names

    monkeypatch.setattr(run_names, "runtime", SimpleNamespace(flow_run=SimpleNamespace(parameters=parameters)))
    assert run_names.run_name(text)() == f"{name} {TODAY}"
