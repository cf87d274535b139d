"""OpenVINO: the fastest engine on CPUs, which starts without Keras.

A network that is compiled for one size of picture takes three quarters of the time, and a fraction of the memory, of
one that is compiled for any; compiling takes as long as a small scan. So a small size is compiled for when it comes
again, a large one at once. Of large ones, as many run at once as memory is set aside for; each has its share of the
processor cores. What is compiled is not kept on disk: OpenVINO's cache saves 0.05 to 0.15 of the 1.1 to 1.4 seconds
until the first output, of which importing it takes most.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unetseg.bundle import Bundle
from unetseg.engine_choice import Precision
from unetseg.errors import BundleError
from unetseg.memory import calls_at_once
from unetseg.openvino_export import silence_openvino
from unetseg.share import cores, is_shared

__all__ = ["OpenVinoEngine"]

Inputs = Mapping[str, NDArray[np.float32]]
Shapes = tuple[tuple[int, ...], ...]

_ANY: Final[Shapes] = ()
_HINTS: Final[Mapping[Precision, str]] = {"float32": "f32", "bfloat16": "bf16"}
_SIZES_COMPILED: Final = 4  # sizes for which the network is kept compiled, of large ones only the last
_LARGE: Final = 1 << 20  # pixels from which compiling pays with the first call
_REMEMBERED: Final = 1000  # sizes seen
_MEASURED_AT: Final = 16  # strides: the side of the picture at which memory is reckoned


@dataclass(frozen=True, eq=False)
class _Compiled:
    """The network for one size, and how many calls of it may run at once."""

    network: Any  # openvino.CompiledModel
    running: threading.Semaphore


class OpenVinoEngine:
    """The network as OpenVINO compiles it for this processor.

    The export is a graph of OpenVINO's own operations with its weights; no extension is loaded, so a stranger's cannot
    run code. That it is the network of ``model.keras`` is not taken on trust: it must reproduce the test output.
    """

    name = "openvino"

    def __init__(self, bundle: Bundle, precision: Precision = "float32") -> None:
        self.precision = precision
        silence_openvino()
        import openvino

        self._core = openvino.Core()
        # The file may be a copy, gone when the network still runs.
        self._core.set_property({"ENABLE_MMAP": False})
        path = bundle.folder / "openvino.xml"
        try:
            self._network = _without_sizes(self._core.read_model(path))
            self._names = _input_names(self._network, bundle)
            self._stride = bundle.info.stride
            self._compiled: OrderedDict[Shapes, _Compiled] = OrderedDict({_ANY: self._compile(_ANY)})
        except (RuntimeError, UnicodeDecodeError) as error:  # its errors repeat what is there, which may be no text
            raise BundleError(f"{path}: OpenVINO cannot read it ({error}); use predict.engine=keras") from error
        self._seen: OrderedDict[Shapes, None] = OrderedDict()
        self._compiling = threading.Lock()
        self._requests = threading.local()

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """See `Engine`."""
        given = {place: np.ascontiguousarray(inputs[name], np.float32) for place, name in self._names.items()}
        compiled = self._compiled_for(tuple(array.shape for array in given.values()))
        with compiled.running:
            result = self._request(compiled).infer(given)
            return np.asarray(next(iter(result.values())), dtype=np.float32)  # a copy of the request's memory already

    @property
    def emulates_bfloat16(self) -> bool:
        """Whether it calculates in bfloat16 on a processor that has none; without AVX-512 it takes float32 instead."""
        return "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")

    @cached_property
    def pixel_bytes(self) -> float:
        """Memory that a call takes, per pixel."""
        side = _MEASURED_AT * self._stride
        shapes = ((1, side, side, port.partial_shape[3].get_length()) for port in self._network.inputs)
        return _most_alive(self._sized(tuple(shapes))) / side**2

    def _request(self, compiled: _Compiled) -> Any:  # noqa: ANN401 (openvino.InferRequest)
        """This thread's request; only the last one is kept, since each holds memory."""
        if getattr(self._requests, "of", None) is not compiled:
            self._requests.own = None
            self._requests.own, self._requests.of = compiled.network.create_infer_request(), compiled
        return self._requests.own

    def _compiled_for(self, shapes: Shapes) -> _Compiled:
        with self._compiling:
            if shapes not in self._compiled and (_is_large(shapes) or shapes in self._seen):
                for size in [size for size in self._compiled if _is_large(size) and _is_large(shapes)]:
                    del self._compiled[size]  # each keeps the memory of a call
                self._compiled[shapes] = self._compile(shapes)
                _forget(self._compiled, _SIZES_COMPILED, keep=_ANY)
            self._seen[shapes] = None
            _forget(self._seen, _REMEMBERED)
            found = shapes if shapes in self._compiled else _ANY
            self._compiled.move_to_end(found)
            return self._compiled[found]

    def _compile(self, shapes: Shapes) -> _Compiled:
        settings: dict[str, object] = {"PERFORMANCE_HINT": "THROUGHPUT"}
        settings["INFERENCE_PRECISION_HINT"] = _HINTS[self.precision]
        at_once = cores()
        if shapes:
            at_once = calls_at_once(int(np.prod(shapes[0][:3])) * self.pixel_bytes)
            settings["NUM_STREAMS"] = at_once
        if is_shared():  # left alone, each of several processes takes all cores, and pins its threads to the first
            settings |= {"INFERENCE_NUM_THREADS": cores(), "ENABLE_CPU_PINNING": False}
        network = self._core.compile_model(self._sized(shapes) if shapes else self._network, "CPU", settings)
        return _Compiled(network, threading.Semaphore(at_once))

    def _sized(self, shapes: Shapes) -> Any:  # noqa: ANN401 (openvino.Model)
        network = self._network.clone()
        network.reshape(dict(enumerate(map(list, shapes))))
        return network


def _is_large(shapes: Shapes) -> bool:
    return bool(shapes) and math.prod(shapes[0][:3]) >= _LARGE


def _forget(kept: OrderedDict[Shapes, Any], most: int, *, keep: Shapes | None = None) -> None:
    """Drop what was not used for longest."""
    while len(kept) > most:
        del kept[next(shapes for shapes in kept if shapes != keep)]


def _most_alive(network: Any) -> int:  # noqa: ANN401 (openvino.Model)
    """Bytes of the tensors that are needed at the same time, at the moment when these are most; weights aside."""
    steps = network.get_ordered_ops()
    last = {_value(port): place for place, step in enumerate(steps) for port in step.input_values()}
    alive = most = 0
    leaving: dict[int, int] = {}
    for place, step in enumerate(steps):
        if step.get_type_name() != "Constant":
            for port in step.outputs():
                size = port.get_element_type().size * int(np.prod(list(port.get_shape()), dtype=np.int64))
                alive += size
                until = last.get(_value(port), len(steps))
                leaving[until] = leaving.get(until, 0) + size
        most = max(most, alive)
        alive -= leaving.pop(place, 0)
    return most


def _value(port: Any) -> tuple[str, int]:  # noqa: ANN401 (openvino.Output)
    """Which output of which step a value is."""
    return port.get_node().get_name(), port.get_index()


def _without_sizes(network: Any) -> Any:  # noqa: ANN401 (openvino.Model)
    """The network without the outputs that exporting adds for the sizes that group normalisation asks for."""
    for result in network.get_results():
        if result.get_element_type().is_integral():
            network.remove_result(result)
    return network


def _input_names(model: Any, bundle: Bundle) -> dict[int, str]:  # noqa: ANN401 (openvino.Model)
    """Which of the exported network's inputs is which: by number of channels where exporting lost the names."""
    wanted = ["image", *(["guides"] if bundle.info.guides else [])]
    if len(model.inputs) != len(wanted) or len(model.outputs) != 1:
        raise BundleError(
            f"{bundle.folder}: openvino.xml has {len(model.inputs)} inputs and {len(model.outputs)} outputs, the model "
            f"has {len(wanted)} and 1; copy the bundle again, or use another version"
        )
    named: dict[int, str] = {}
    for place, port in enumerate(model.inputs):
        hit = [name for name in wanted if any(name in alias for alias in port.get_names())]
        named[place] = hit[0] if hit else wanted[place]
    return named
