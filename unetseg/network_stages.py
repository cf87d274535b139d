"""The stages of a built U-Net (``encoder_1``, ``bottleneck``, ``decoder_1`` ...) and what flows between them.

Read from the finished graph and the names of its layers, not from settings: what is found is what was built.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, TypeAlias

import keras

__all__ = ["Stage", "network_stages"]

Node: TypeAlias = Any  # one call in a Keras graph; Keras has no public name for its type

_STAGE: Final = re.compile(r"(encoder_\d+|decoder_\d+|bottleneck|guide(?!s|_merge)(?:_\d+)?|head(?:_\d+)?)(?=_|$)")
_LAST_CONVOLUTION: Final = re.compile(r"_conv_\d+$")


@dataclass(frozen=True)
class Stage:
    """Layers that belong together.

    Attributes:
        name: what their names begin with, or that of an input.
        features: channels that the stage makes.
        share: of the input's height and width at which it works, such as 1/4.
        sources: names of the stages whose features it takes in.
        layers: names of its layers, inputs first.
    """

    name: str
    features: int
    share: Fraction
    sources: tuple[str, ...]
    layers: tuple[str, ...]


def network_stages(model: keras.Model) -> dict[str, Stage]:
    """The stages of a functional model by name, inputs first.

    A layer belongs to the stage that its name begins with. One whose name tells no stage belongs to that of its input
    (the activation after a head), or, where it joins several stages (``guide_merge``), to the one that it feeds.

    Args:
        model: whose layers are named as :func:`unetseg.model.build_unet` does.
    """
    nodes = _nodes(model)
    stage_of = _assign(nodes)
    shares = _shares(nodes)
    members: dict[str, list[Node]] = {}
    for node in nodes:
        members.setdefault(stage_of[id(node)], []).append(node)
    makers = {id(x): stage_of[id(node)] for node in nodes for x in node.outputs}
    return {name: _stage(name, own, makers, shares) for name, own in members.items()}


def _nodes(model: keras.Model) -> list[Node]:
    """The calls in the model's graph, inputs first."""
    # Keras keeps the calls only in this attribute, as `unetseg.field_of_view` says.
    by_depth = keras.Function(model.inputs, model.outputs)._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _assign(nodes: Sequence[Node]) -> dict[int, str]:
    """The stage of each call, by its ``id``."""
    stage_of: dict[int, str] = {}
    maker = {id(x): node for node in nodes for x in node.outputs}
    for node in nodes:
        named = _STAGE.match(node.operation.name)
        sources = {stage_of[id(maker[id(x)])] for x in node.input_tensors if id(maker[id(x)]) in stage_of}
        if node.is_input or named:
            stage_of[id(node)] = named[0] if named else node.operation.name
        elif len(sources) == 1:
            stage_of[id(node)] = sources.pop()
    for node in reversed(nodes):  # what joins several stages is left: it belongs to what it feeds
        for x in node.input_tensors:
            stage_of.setdefault(id(maker[id(x)]), stage_of.get(id(node), node.operation.name))
    return {id(node): stage_of.get(id(node), node.operation.name) for node in nodes}


def _shares(nodes: Iterable[Node]) -> dict[int, Fraction]:
    """Height of each tensor as a share of the inputs' height."""
    shares: dict[int, Fraction] = {}
    for node in nodes:
        share = shares[id(node.input_tensors[0])] / _halving(node.operation) if node.input_tensors else Fraction(1)
        shares.update((id(x), share) for x in node.outputs)
    return shares


def _halving(layer: keras.Layer) -> Fraction:
    """Input pixels per output pixel along the height."""
    if isinstance(layer, keras.layers.UpSampling2D):
        return Fraction(1, layer.size[0])
    stride = Fraction(getattr(layer, "strides", (1,))[0])
    return 1 / stride if isinstance(layer, keras.layers.Conv2DTranspose) else stride


def _stage(name: str, nodes: list[Node], makers: dict[int, str], shares: dict[int, Fraction]) -> Stage:
    made = _representative(nodes).outputs[0]
    sources = dict.fromkeys(makers[id(x)] for node in nodes for x in node.input_tensors)
    return Stage(
        name=name,
        features=int(made.shape[-1]),
        share=shares[id(made)],
        sources=tuple(source for source in sources if source != name),
        layers=tuple(node.operation.name for node in nodes),
    )


def _representative(nodes: list[Node]) -> Node:
    """The call that shows features and size: the last convolution of a block, else the last that is no pooling."""
    inputs = [node for node in nodes if node.is_input]
    convolutions = [node for node in nodes if _LAST_CONVOLUTION.search(node.operation.name)]
    others = [node for node in nodes if _halving(node.operation) <= 1]
    return (inputs or convolutions or others or nodes)[-1]
