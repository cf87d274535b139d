"""Fuzzing for a bounded time: hypothesis makes inputs, a process with limits uses them, finds are kept once each."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

__all__ = ["FINDS", "Campaign", "Report", "campaign_seconds"]

FINDS = Path(os.environ.get("FUZZ_FINDS", "build/fuzz"))
"""Where inputs of finds are kept."""

_PATIENCE = 20.0  # seconds until an input hangs: the slowest sound one takes one, the machine may be busy
_START = 300.0  # seconds for the libraries
_ROUND = 200  # examples between two looks at the clock


@dataclass
class Report:
    """What a campaign has done."""

    name: str
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    finds: dict[str, tuple[int, str, str]] = field(default_factory=dict)

    @property
    def examples(self) -> int:
        return sum(self.outcomes.values())

    def __str__(self) -> str:
        told = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        return f"{self.name}: {self.examples} examples in {self.seconds:.0f} s ({told}); {len(self.finds)} finds"


def campaign_seconds(campaigns: int) -> float:
    """What FUZZ_MINUTES leaves for each of so many campaigns."""
    return 60 * float(os.environ.get("FUZZ_MINUTES", "3")) / campaigns


class Campaign:
    """Uses inputs in a process of its own, which is started anew when it dies or hangs."""

    def __init__(self, name: str, module: str = "tests.fuzz.targets") -> None:
        self.report, self._module = Report(name), module
        self.scratch = Path(tempfile.mkdtemp(prefix="unetseg-fuzz-"))
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def run(self, inputs: SearchStrategy[Any], lay: Callable[[Path, Any], str], *, seconds: float) -> Report:
        """Make inputs for so long.

        Args:
            inputs: what is made.
            lay: writes one into a folder; gives the name of the target.
            seconds: after which no more are begun.
        """
        self._start()  # not in the time: with Keras it would take all of a short one
        began = time.monotonic()

        @settings(
            max_examples=_ROUND,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(inputs)
        def a_round(made: Any) -> None:
            if time.monotonic() - began < seconds:
                self._one(lambda folder: lay(folder, made))

        while time.monotonic() - began < seconds:
            a_round()
        self.report.seconds = time.monotonic() - began
        return self.report

    def _one(self, lay: Callable[[Path], str]) -> None:
        folder = self.scratch / "input"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        target = lay(folder)
        answer = self._ask(target, folder)
        self.report.outcomes[answer["outcome"]] += 1
        if answer["outcome"] == "find":
            self._keep(target, folder, answer["detail"])

    def _ask(self, target: str, folder: Path) -> dict[str, str]:
        process = self._start()
        assert process.stdin
        process.stdin.write(json.dumps([target, str(folder)]) + "\n")
        process.stdin.flush()
        if (line := self._line(_PATIENCE)) is None:
            self._stop()
            return {"outcome": "find", "detail": f"hangs: {self._last_words()}"}
        if not line:
            code = process.wait()
            self._stop()
            return {"outcome": "find", "detail": f"died: the process ended with {code}: {self._last_words()}"}
        answer: dict[str, str] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        """The lines of the project in the stack that the process has left, innermost first, and all of it."""
        said = (self.scratch / "stderr").read_text(errors="replace")[-4000:]
        own = re.findall(r'/unetseg/(\w+\.py)", line \d+ in (\w+)', said)
        return f"{' < '.join(f'{file}:{name}' for file, name in own[:3])}\n{said}"

    def _line(self, patience: float) -> str | None:
        """The next line; empty where the process has ended, None where none comes."""
        assert self._process
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], patience)
        return self._process.stdout.readline() if ready else None

    def _keep(self, target: str, folder: Path, detail: str) -> None:
        """Keep the smallest input of each kind of find."""
        kind = re.sub(r"\d+|0x[0-9a-f]+|'[^']*'", "", detail.partition("\n")[0])[:120]
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        kept = FINDS.absolute() / re.sub(r"\W+", "-", f"{target} {kind}")[:100].strip("-")
        if kind in self.report.finds and self.report.finds[kind][0] <= size:
            return
        self.report.finds[kind] = size, str(kept), detail
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder, kept, symlinks=True)
        (kept / "find.txt").write_text(f"{target}\n{detail}\n", encoding="utf-8")

    def _start(self) -> subprocess.Popen[str]:
        if self._process is None:
            (self.scratch / "temporary").mkdir(exist_ok=True)
            environment = {**os.environ, "TMPDIR": str(self.scratch / "temporary"), "HOME": str(self.scratch)}
            command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.worker", str(self.scratch), self._module]
            with (self.scratch / "stderr").open("w") as stderr:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
                )
            if self._line(_START) != "ready\n":
                raise RuntimeError(f"the process did not start: {(self.scratch / 'stderr').read_text()[-2000:]}")
        return self._process

    def _stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    pipe.close()
        self._process = None
