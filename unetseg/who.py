"""Who does something: for the history of models, and for those who wait."""

from __future__ import annotations

import getpass
import os
import socket

__all__ = ["WHO", "who"]

WHO = "UNETSEG_WHO"
"""Environment variable with the name to tell, where user and machine say little (a container)."""


def who() -> str:
    """Such as ``ada@lab``."""
    if named := os.environ.get(WHO):
        return named
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
