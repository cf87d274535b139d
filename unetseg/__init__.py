"""From a folder of scans and masks to a U-Net that retrains itself every night.

Names are loaded when they are first used, so importing this package takes no time and no Keras. Each stage is a
module with a function of its name: ``from unetseg.train import train``.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "CompositeLoss": "losses",
    "DiceScore": "metrics",
    "EvaluateConfig": "config",
    "GateConfig": "config",
    "IngestConfig": "config",
    "IoU": "metrics",
    "ModelConfig": "config",
    "Precision": "metrics",
    "PredictConfig": "config",
    "Project": "project",
    "Recall": "metrics",
    "Settings": "config",
    "TrainConfig": "config",
    "UnetsegError": "errors",
    "build_unet": "model",
    "load_bundle": "bundle",
    "load_project": "project",
    "main_output": "heads",
    "open_dataset": "dataset",
    "open_engine": "engines",
    "output_scales": "heads",
    "predict_any_size": "any_size",
    "receptive_field": "field_of_view",
    "scaled_targets": "scales",
    "write_eyes": "synth",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (whatever has that name)
    if name not in _HOMES:
        raise AttributeError(f"module 'unetseg' has no attribute {name!r}; there are: {', '.join(__all__)}")
    return getattr(import_module(f"unetseg.{_HOMES[name]}"), name)
