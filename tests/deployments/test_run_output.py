"""A run whose worker is gone: nobody reads what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

FILE = Path(__file__).parents[2] / "deployments" / "prefect.yaml"
CODE = """
import logging
import sys
from pathlib import Path
from prefect.logging.configuration import setup_logging
setup_logging()
log = logging.getLogger("unetseg")
print("ready", flush=True)
sys.stdin.read()  # until the reader is gone
for number in range(3):
    log.warning("line %s", number)
Path(sys.argv[1]).write_text("the end")
"""


def said_to_nobody(ours: dict[str, str], tmp_path: Path) -> tuple[int, bool]:
    """Exit status, and whether the end was reached, of a process that says something when its reader has gone."""
    end, reader_writer = tmp_path / "end", os.pipe()
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {**others, **ours, "PREFECT_HOME": str(tmp_path), "DO_NOT_TRACK": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(end)],
        stdin=subprocess.PIPE,
        stdout=reader_writer[1],
        stderr=subprocess.STDOUT,
        env=environment,
    )
    os.close(reader_writer[1])
    with os.fdopen(reader_writer[0]) as reader:
        while reader.readline().strip() != "ready":
            pass
    assert process.stdin is not None
    process.stdin.close()
    return process.wait(timeout=120), end.exists()


@pytest.mark.parametrize("deployed", [True, False], ids=["as-deployed", "as-prefect-does"])
def test_a_run_whose_worker_is_gone_goes_on_and_says_nothing_more(deployed: bool, tmp_path: Path) -> None:
    """The other case shows that the process would end without it, so that we learn when Prefect mends that."""
    ours = yaml.safe_load(FILE.read_text(encoding="utf-8"))["definitions"]["env"]
    name = "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS"
    assert said_to_nobody(ours if deployed else {k: v for k, v in ours.items() if k != name}, tmp_path) == (
        (0, True) if deployed else (1, False)
    )
