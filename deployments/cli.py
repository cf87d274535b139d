"""The `unetseg` command: the stages on one project, and the machine that runs them by itself."""

from __future__ import annotations

from deployments.commands import down, notify, status, up
from flows.cli import main

__all__ = ["main"]

for _command in (up, down, status, notify):
    main.add_command(_command)


if __name__ == "__main__":
    main(prog_name="unetseg")
