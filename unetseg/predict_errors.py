"""Which errors of a prediction are one scan's, and which end the run."""

from __future__ import annotations

from typing import TypeGuard

from unetseg.errors import BundleError, ClusterError, UsageError
from unetseg.storage import is_disk_error

__all__ = ["ends_the_run"]


def ends_the_run(outcome: object) -> TypeGuard[Exception]:
    """Whether it is a full disk, a damaged model, a lost cluster or a wrong setting: no scan's fault."""
    return isinstance(outcome, BundleError | ClusterError | UsageError) or is_disk_error(outcome)
