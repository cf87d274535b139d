"""What is in a ``.keras`` file, looked at before Keras opens it: nothing that could run a stranger's code.

Keras' safe mode refuses Python code in a file. But a file also names the classes and functions to be called, and holes
were found in what safe mode let pass (CVE-2025-1550, CVE-2025-8747). So here only the names of Keras' own building
blocks pass, and not those that wrap code. This is done without Keras, and so also where OpenVINO runs the network.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unetseg.errors import BundleError

__all__ = ["check_network_file"]

_FILES = ["config.json", "metadata.json", "model.weights.h5"]
_CONFIG_BYTES = 64 << 20  # a large U-Net's description has 0.2 MB
_MODULES = {
    "keras",
    "keras.activations",
    "keras.constraints",
    "keras.dtype_policies",
    "keras.initializers",
    "keras.layers",
    "keras.models",
    "keras.regularizers",
    "keras.src.models.functional",
    "keras.src.models.sequential",
    "keras.src.ops.image",
    "keras.src.ops.nn",
    "keras.src.ops.numpy",
}
_CODE = {"FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"}
"""Layers that run functions of the file's maker."""
_VALUES = {"__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__"}
"""Values that JSON does not have; they name no module."""


def check_network_file(path: Path) -> None:
    """Look at a network's description without building it.

    Args:
        path: of the ``.keras`` file.

    Raises:
        BundleError: it is no such file, holds code, or names what is not Keras'.
    """
    for named in _named_things(_description(path)):
        module, name = str(named.get("module")), _name(named)
        if name in _CODE or name == "__lambda__":
            raise BundleError(
                f"{path}: holds code (a {name} layer), which is never run; ask its maker for a network of plain Keras "
                "layers, or train again"
            )
        known = module in _MODULES and "." not in name  # Keras would walk on into other modules
        if not known and not (module == "None" and name in _VALUES):
            raise BundleError(
                f"{path}: names {module}.{name}, which is no part of Keras that unetseg loads; ask its maker for a "
                "network of plain Keras layers, or train again"
            )


def _name(named: dict[str, Any]) -> str:
    """What would be looked up; of a function the name stands in its configuration."""
    name = named["class_name"]
    return str(named.get("config") if name == "function" else name)


def _description(path: Path) -> Any:  # noqa: ANN401 (JSON)
    try:
        with zipfile.ZipFile(path) as archive:
            if sorted(archive.namelist()) != _FILES or archive.getinfo("config.json").file_size > _CONFIG_BYTES:
                raise BundleError(f"{path}: holds other files than a network of Keras; copy the bundle again")
            description = json.loads(archive.read("config.json"))
    except BundleError:
        raise
    except Exception as error:  # broken archives make zipfile raise nearly everything
        raise BundleError(f"{path}: is no network of Keras ({error}); copy the bundle again") from error
    if isinstance(description, dict):
        description.pop("compile_config", None)  # of old bundles: networks are loaded uncompiled, nobody reads it
    return description


def _named_things(value: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 (JSON)
    """All objects of a description, at any depth, that name a class or function."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _named_things(item)
