"""A .tflite without what only people and other runtimes read: for memories in which each kilobyte counts."""

from __future__ import annotations

from typing import Any

from micro_yolo.tflite import edit, inspect, metadata


def slim(data: bytes, name: object = "model") -> bytes:
    """The same graph without names, signatures, metadata, the files behind it, and constants that nothing reads.

    Tensors and outputs keep their order: who knows the contract finds them by number. Raises ValueError, with `name`,
    for a damaged one.
    """
    alone, _ = metadata.split(data, name)
    # It may have been whole only with what is behind it.
    inspect.read(alone, str(name))
    tree = edit.graph_of(alone)
    tree.metadata, tree.metadataBuffer, tree.signatureDefs, tree.description = None, None, None, None
    for graph in tree.subgraphs:
        graph.name = None
        for tensor in graph.tensors:
            tensor.name = None
            _forget_ranges(tensor)
    return edit.pack_without_orphans(tree)


def _forget_ranges(tensor: Any) -> None:
    """What calibration saw is in scale and zero point already."""
    if tensor.quantization is not None:
        tensor.quantization.min = tensor.quantization.max = None
