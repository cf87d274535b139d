"""What is in a ``.keras`` file, looked at before Keras opens it: nothing that could run a stranger's code.

Keras' safe mode refuses Python code in a file. But a file also names the classes and functions to be called, and holes
were found in what safe mode let pass (CVE-2025-1550, CVE-2025-8747). So here only the names of Keras' own building
blocks pass, and not those that wrap code. This is done without Keras, and so also where OpenVINO runs the network.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from unetseg.errors import BundleError
from unetseg.network_weights import check_weights

__all__ = ["check_network_file", "check_network_weights"]

_WEIGHTS = "model.weights.h5"
_FILES = ["config.json", "metadata.json", _WEIGHTS]
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
_FUNCTIONS = {"keras.activations", "keras.constraints", "keras.initializers", "keras.regularizers"}
"""Modules whose functions are mathematics; those of others open files, such as `keras.models.load_model`."""
_FILE_READERS = {"IndexLookup", "IntegerLookup", "StringLookup", "TextVectorization"}
"""Layers whose vocabulary may be the name of any file (CVE-2025-12058)."""
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
        if not _is_known(module, name) and not (module == "None" and name in _VALUES):
            raise BundleError(
                f"{path}: names {module}.{name}, which is no part of Keras that unetseg loads; ask its maker for a "
                "network of plain Keras layers, or train again"
            )


def _is_known(module: str, name: str) -> bool:
    """Whether Keras finds a building block under that name, and nothing else."""
    if module not in _MODULES or "." in name or name in _FILE_READERS:  # by a dot it would walk on into other modules
        return False
    return module in _FUNCTIONS or name[:1].isupper()


def check_network_weights(path: Path) -> None:
    """Look at a network's weights without reading them, and whether they are as many as the description has.

    Keras makes room for all that is described before it opens the weights, so a short file could ask for any memory.

    Args:
        path: of the ``.keras`` file, which `check_network_file` let pass.

    Raises:
        BundleError: they are no plain arrays, or fewer than the description has.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # whole, as Keras does: within the archive HDF5 takes a second
            nbytes = check_weights(io.BytesIO(archive.read(_WEIGHTS)))
    except Exception as error:  # HDF5 raises nearly everything
        raise BundleError(f"{path}: its weights cannot be used ({error}); copy the bundle again") from error
    if (described := _parameters(path)) > nbytes:
        raise BundleError(
            f"{path}: describes {described} parameters, but its weights have {nbytes} bytes; copy the bundle again"
        )


def _parameters(path: Path) -> int:
    """How many a network would have; it is built without memory for them.

    What is left of that in Keras' state goes with the thread: it is kept per thread.
    """

    def build() -> int:
        import keras

        with keras.StatelessScope(initialize_variables=False):
            network = keras.saving.deserialize_keras_object(_description(path), safe_mode=True)
        return int(network.count_params())

    with ThreadPoolExecutor(1) as alone:
        try:
            return alone.submit(build).result()
        except Exception as error:  # whatever is wrong with a foreign file, it is refused in one way
            raise BundleError(f"{path}: cannot be loaded safely: {error}") from error


def _name(named: dict[str, Any]) -> str:
    """What would be looked up; of a function the name stands in its configuration."""
    name = named["class_name"]
    return str(named.get("config") if name == "function" else name)


def _description(path: Path) -> Any:  # noqa: ANN401 (JSON)
    try:
        with zipfile.ZipFile(path) as archive:
            if sorted(archive.namelist()) != _FILES or archive.getinfo("config.json").file_size > _CONFIG_BYTES:
                raise BundleError(f"{path}: holds other files than a network of Keras; copy the bundle again")
            weights = archive.getinfo(_WEIGHTS)
            if weights.file_size != weights.compress_size:
                raise BundleError(
                    f"{path}: its weights are compressed, {weights.compress_size} bytes that become "
                    f"{weights.file_size}; Keras stores them as they are: save the network again"
                )
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
