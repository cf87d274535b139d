"""Segment a folder of scans."""

from __future__ import annotations

from pathlib import Path

from tasks.artifacts import show_quarantine
from tasks.step import step
from unetseg import predict as library
from unetseg.config import PredictConfig

__all__ = ["predict"]


@step("predict", "predict {folder.name}")
def predict(
    folder: Path, out: Path, *, bundle: Path, config: PredictConfig, cluster: str = ""
) -> library.PredictResult:
    """Segment a folder of scans."""
    result = library.predict(folder, out, bundle=bundle, config=config, cluster=cluster)
    show_quarantine([*result.quarantined, *result.failed])
    return result
