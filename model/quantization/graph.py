"""Which layer of a Keras model reads which, and where TFLite has an integer tensor between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from micro_yolo.model.keras import keras, nodes_of

layers = keras.layers
CONVS = (layers.Conv2D, layers.DepthwiseConv2D)
# They hand values on: what they put out has the integers and the scale of what they read.
_PASSING = (layers.MaxPooling2D, layers.UpSampling2D, layers.Concatenate)


def inner(layer: Any) -> Any:
    """The layer inside of tfmot's wrapper, or the layer itself."""
    return layer.layer if hasattr(layer, "quantize_config") else layer


class Graph:
    """Which layer reads which, by names, wrapped or not."""

    def __init__(self, model: keras.Model) -> None:
        self.layers = {layer.name: layer for layer in model.layers}
        read = {node.layer.name: [parent.layer.name for parent in node.parent_nodes] for node in nodes_of(model)}
        self.before = {name: read[name] for name in self.layers}
        self.after: dict[str, list[str]] = {name: [] for name in self.before}
        for name, sources in self.before.items():
            for source in sources:
                self.after[source].append(name)
        self.outputs = set(model.output_names)

    def kind(self, name: str) -> Any:
        """The layer called `name`, unwrapped."""
        return inner(self.layers[name])

    def only_reader(self, name: str) -> Any:
        """The one layer that reads `name`, unwrapped; None if there are several or none."""
        readers = self.after[name]
        return self.kind(readers[0]) if len(readers) == 1 and name not in self.outputs else None

    def norm_behind(self, name: str) -> Any:
        """The batch norm that reads a convolution."""
        reader = self.only_reader(name)
        return reader if isinstance(reader, layers.BatchNormalization) else None

    def sources(self, name: str) -> Iterator[str]:
        """The layers whose values `name` is made of, past layers that only hand values on."""
        if isinstance(self.kind(name), _PASSING):
            for source in self.before[name]:
                yield from self.sources(source)
        else:
            yield name

    def quantizes(self, name: str) -> bool:
        """Whether TFLite has an integer tensor where `name` puts out: not if that is fused into what comes next."""
        layer, reader = self.kind(name), self.only_reader(name)
        if isinstance(layer, CONVS):
            return not isinstance(reader, layers.BatchNormalization | layers.ReLU)
        if isinstance(layer, layers.BatchNormalization):
            return not isinstance(reader, layers.ReLU)
        if isinstance(layer, _PASSING):
            return self.is_joined_and_read(name)
        return not isinstance(layer, layers.InputLayer)

    def is_joined_and_read(self, name: str) -> bool:
        """Whether a layer only hands values on, to a concatenation and to others too.

        The converter finds the scale of what it hands on then only where it is told.
        """
        readers = [self.kind(reader) for reader in self.after[name]]
        joined = any(isinstance(reader, layers.Concatenate) for reader in readers)
        return isinstance(self.kind(name), _PASSING) and joined and len(readers) > 1

    def range_behind(self, name: str) -> str:
        """The layer where the values of a convolution become integers."""
        while not self.quantizes(name):
            (name,) = self.after[name]
        return name
