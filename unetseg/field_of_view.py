"""How far a network looks: read from the finished graph, so that tiles are exact for any network of these layers.

:func:`receptive_field` walks the calls of a built model and adds up what each layer sees on either side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, NamedTuple, TypeAlias

import keras

from unetseg.errors import UsageError

__all__ = ["ReceptiveField", "receptive_field"]

Node: TypeAlias = Any  # one call in a Keras graph; Keras has no public name for its type


@dataclass(frozen=True)
class ReceptiveField:
    """How tiles must be cut so that what is kept of them equals the whole-image result.

    ::

        outer  |<- halo ->|<------ inner ------>|<- halo ->|   read
        inner             |<------ inner ------>|              kept

    Tiles and scans start and end at multiples of ``stride``. Where a halo would leave the scan, the tile ends with the
    scan: there the network pads the tile just as it pads the scan.

    Attributes:
        stride: Pixels. Positions and sizes are multiples of it, or poolings would pair other pixels.
        halo: Pixels of context on each side, a multiple of ``stride``.
        exact: Whether what is kept equals the whole-image result. False where a normalisation takes its statistics
            from the whole tile: they differ from tile to tile, so neighbours only nearly agree and must be blended.
    """

    stride: int
    halo: int
    exact: bool = True


class _Window(NamedTuple):
    """Which source pixels an operation reads, along one axis.

    Output pixels ``first..last`` depend on source pixels ``floor(first * scale - before)`` to
    ``floor(last * scale + after)``.
    """

    scale: Fraction  # source pixels per output pixel: 2 for a pooling, 1/2 for an upsampling
    before: Fraction
    after: Fraction

    def source(self, span: tuple[int, int]) -> tuple[int, int]:
        return math.floor(span[0] * self.scale - self.before), math.floor(span[1] * self.scale + self.after)


def receptive_field(model: keras.Model) -> ReceptiveField:
    """Find the stride and the halo of a fully convolutional 2-D model from its graph.

    One block of ``stride`` output pixels is followed back to the inputs; at every tensor on the way, the pixels that
    it depends on are counted. That is exact for the layers used, so the halo is the smallest safe multiple of the
    stride. Several outputs, at whatever scales, share one stride and one halo.

    Group and instance normalisation (and layer normalisation over height and width) take mean and variance of the
    whole tile. They count as pixelwise, since all else that a pixel sees lies within the halo, but the result is not
    ``exact``. What has no finite receptive field at all, such as global pooling, is refused; so is padding and cropping
    of a fixed size, which does not happen at the borders of tiles.

    Args:
        model: Any functional model of convolutions, poolings, upsamplings, transposed convolutions and pixelwise
            layers, all with ``padding="same"`` or windows no larger than their stride.

    Raises:
        UsageError: A layer is not among these.

    Example:
        >>> from unetseg.config import ModelConfig
        >>> from unetseg.model import build_unet
        >>> receptive_field(build_unet(ModelConfig(depth=1)))
        ReceptiveField(stride=2, halo=8, exact=True)
    """
    steps = _steps(model)
    axes = [_axis_scales(steps, axis) for axis in (0, 1)]
    stride = math.lcm(*(scale.numerator for scales in axes for scale in scales.values()))
    margin = max(_axis_margin(model, steps, axis, scales, stride) for axis, scales in enumerate(axes))
    exact = not any(step.sees_whole_tile for step in steps)
    return ReceptiveField(stride=stride, halo=math.ceil(margin / stride) * stride, exact=exact)


class _Step(NamedTuple):
    """One call of an operation: tensors are known by their ``id``."""

    sources: list[int]
    outputs: list[int]
    windows: tuple[_Window, _Window]  # along height, along width
    sees_whole_tile: bool


def _steps(model: keras.Model) -> list[_Step]:
    """The calls in the model's graph, inputs first."""
    graph = keras.Function(model.inputs, model.outputs)
    # Keras keeps the calls (one layer may be called twice) only in this attribute.
    by_depth = graph._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]
    return [
        _Step(
            [id(x) for x in node.input_tensors],
            [id(x) for x in node.outputs],
            (_window(node, 0), _window(node, 1)),
            _sees_whole_tile(node.operation),
        )
        for node in nodes
    ]


def _axis_scales(steps: Iterable[_Step], axis: int) -> dict[int, Fraction]:
    """Input pixels per pixel of each tensor."""
    scales: dict[int, Fraction] = {}
    for step in steps:
        # Tensors that meet in one layer have one size, so the first stands for all.
        scale = scales.setdefault(step.sources[0], Fraction(1)) * step.windows[axis].scale
        scales.update(dict.fromkeys(step.outputs, scale))
    return scales


def _axis_margin(
    model: keras.Model, steps: Sequence[_Step], axis: int, scales: dict[int, Fraction], stride: int
) -> Fraction:
    """How many input pixels beyond a block of ``stride`` any tensor is needed for that block."""
    needed = {id(x): (0, math.ceil(stride / scales[id(x)]) - 1) for x in model.outputs}
    for step in reversed(steps):
        span = _union(needed[x] for x in step.outputs if x in needed)
        source = step.windows[axis].source(span)
        for x in step.sources:
            needed[x] = _union([source, needed.get(x, source)])
    # Not only at the inputs: a layer's zero padding must not fall inside the needed part of a tile either.
    return max(
        max(-first * scale, (last + 1) * scale - stride)
        for (first, last), scale in ((span, scales.get(x, Fraction(1))) for x, span in needed.items())
    )


def _union(spans: Iterable[tuple[int, int]]) -> tuple[int, int]:
    firsts, lasts = zip(*spans, strict=True)
    return min(firsts), max(lasts)


# --- the window of each kind of layer


def _pixelwise(layer: keras.Layer, axis: int) -> _Window:
    return _Window(Fraction(1), Fraction(0), Fraction(0))


def _convolution(layer: keras.Layer, axis: int) -> _Window:
    extent = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
    return _sliding(layer, extent, layer.strides[axis])


def _pooling(layer: keras.Layer, axis: int) -> _Window:
    return _sliding(layer, layer.pool_size[axis], layer.strides[axis])


def _sliding(layer: keras.Layer, extent: int, stride: int) -> _Window:
    padding = _padding(layer, extent, stride)
    # Backends may put the odd pixel of padding on either side: allow for both.
    return _Window(Fraction(stride), Fraction((padding + 1) // 2), Fraction(extent - 1 - padding // 2))


def _transposed(layer: keras.Layer, axis: int) -> _Window:
    extent = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
    stride = layer.strides[axis]
    padding = _padding(layer, extent, stride)
    # Output o gathers the sources i with 0 <= o + left - stride * i < extent, left being either half of the padding.
    before = max(extent - stride - padding // 2, 0)
    return _Window(Fraction(1, stride), Fraction(before, stride), Fraction((padding + 1) // 2, stride))


def _upsampling(layer: keras.Layer, axis: int) -> _Window:
    factor = layer.size[axis]
    if layer.interpolation == "nearest":
        return _Window(Fraction(1, factor), Fraction(0), Fraction(0))
    if layer.interpolation == "bilinear":
        # Pixel centres: output o lies at (o + 1/2) / factor - 1/2 and mixes the source pixels on both sides of it.
        return _Window(Fraction(1, factor), Fraction(factor - 1, 2 * factor), Fraction(factor + 1, 2 * factor))
    raise UsageError(
        f"model: layer {layer.name!r} must upsample by 'nearest' or 'bilinear' for tiles to be exact, "
        f"received {layer.interpolation!r}"
    )


def _padding(layer: keras.Layer, extent: int, stride: int) -> int:
    """Pixels of padding on both sides together, for sizes that the stride divides."""
    if layer.padding != "same" and extent > stride:
        raise UsageError(
            f"model: layer {layer.name!r} must keep the size of its input for tiles to be exact, "
            f"received padding={layer.padding!r}; use 'same'"
        )
    return max(extent - stride, 0)


_WINDOWS: Final[dict[type, Callable[[keras.Layer, int], _Window]]] = {
    keras.layers.Conv2D: _convolution,
    keras.layers.DepthwiseConv2D: _convolution,
    keras.layers.SeparableConv2D: _convolution,
    keras.layers.Conv2DTranspose: _transposed,
    keras.layers.AveragePooling2D: _pooling,
    keras.layers.MaxPooling2D: _pooling,
    keras.layers.UpSampling2D: _upsampling,
    keras.layers.Activation: _pixelwise,
    keras.layers.Add: _pixelwise,
    keras.layers.Average: _pixelwise,
    keras.layers.BatchNormalization: _pixelwise,  # at inference: stored statistics
    keras.layers.Concatenate: _pixelwise,
    keras.layers.Dropout: _pixelwise,
    keras.layers.ELU: _pixelwise,
    keras.layers.GroupNormalization: _pixelwise,  # but for its statistics: `_sees_whole_tile`
    keras.layers.Identity: _pixelwise,
    keras.layers.LayerNormalization: _pixelwise,
    keras.layers.LeakyReLU: _pixelwise,
    keras.layers.Maximum: _pixelwise,
    keras.layers.Multiply: _pixelwise,
    keras.layers.ReLU: _pixelwise,
    keras.layers.Rescaling: _pixelwise,
    keras.layers.Softmax: _pixelwise,
    keras.layers.SpatialDropout2D: _pixelwise,
}


def _window(node: Node, axis: int) -> _Window:
    """The window of one call, or an error where tiles could not be exact."""
    layer = node.operation
    if _selects_channels(node):
        return _pixelwise(layer, axis)
    if isinstance(layer, keras.layers.ZeroPadding2D | keras.layers.Cropping2D):
        raise UsageError(
            f"model: layer {layer.name!r} pads or cuts images of one fixed size, so tiles cannot be exact; build the "
            "model with input_shape=(None, None, channels)"
        )
    rule = _WINDOWS.get(type(layer))  # not isinstance: a subclass may compute anything
    if rule is None:
        raise UsageError(
            f"model: layer {layer.name!r} ({type(layer).__name__}) has no receptive field that is known here; "
            f"known: {', '.join(sorted(kind.__name__ for kind in _WINDOWS))}"
        )
    if any(len(x.shape) != 4 for x in node.input_tensors) or not _channels_last(layer):
        raise UsageError(f"model: layer {layer.name!r} must work on (N, H, W, C) tensors, channels last")
    return rule(layer, axis)


def _channels_last(layer: keras.Layer) -> bool:
    """Whether the layer's channel axis (or the axis that it works along) is the last one."""
    return getattr(layer, "data_format", "channels_last") == "channels_last" and not _axes(layer).isdisjoint({-1, 3})


def _sees_whole_tile(layer: keras.Layer) -> bool:
    """Whether the layer's statistics are those of the tile, not of a pixel or of the training data."""
    if type(layer) is keras.layers.LayerNormalization:
        return not _axes(layer) <= {-1, 3}
    return type(layer) is keras.layers.GroupNormalization


def _axes(layer: keras.Layer) -> set[int]:
    """The axes that the layer works along: one number or a list of them; the channels where it has none."""
    axis = getattr(layer, "axis", -1)
    return set(axis) if isinstance(axis, list | tuple) else {axis}


def _selects_channels(node: Node) -> bool:
    """Whether the call is ``x[..., channels]``, which Keras offers as an operation and not as a layer."""
    if type(node.operation).__name__ != "GetItem":
        return False
    key = node.arguments.args[1]  # a tuple, and a list once the model was saved and loaded
    return isinstance(key, tuple | list) and len(key) == 2 and key[0] is Ellipsis and isinstance(key[1], slice)
