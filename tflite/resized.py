"""A .tflite with grids at another input size: the same weights, the shapes as converting at that size makes them."""

from __future__ import annotations

import numpy as np

from micro_yolo.tflite.edit import Graph

# The side of a constant that says where a picture grows to: (height, width), int32.
_GROWS = ("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR")
_POOLS = ("AVERAGE_POOL_2D",)


def at_size(data: bytes, size: tuple[int, int]) -> bytes:
    """The file for pictures of `size` (height, width), for what does not depend on what it finds: memory and time.

    Raises:
        ValueError: a shape in it does not grow with the picture: the sizes must be multiples of the network's stride,
            and the file one with grids.
    """
    graph = Graph.of(data)
    (given,) = (graph.shape(int(index)) for index in graph.main.inputs)
    if len(given) != 4:
        raise ValueError(f"size: the input must be a picture, got {list(given)}")
    old = given[1:3]

    def grown(sides: tuple[int, ...]) -> tuple[int, ...]:
        # What a gate made of a whole picture stays one value.
        if sides == (1, 1):
            return sides
        if any(side * new % was for side, new, was in zip(sides, size, old, strict=True)):
            raise ValueError(
                f"size: {list(sides)} in a file for {list(old)} (height, width) has no whole counterpart at "
                f"{list(size)}; allowed: multiples of the network's stride"
            )
        return tuple(side * new // was for side, new, was in zip(sides, size, old, strict=True))

    for op in graph.main.operators:
        name = graph.op_name(op)
        if name not in _GROWS and len(op.outputs) and len(graph.shape(int(op.outputs[0]))) != 4:
            raise ValueError(
                f"size: {name} makes no picture; `python -m pipeline.convert --head raw` makes a file of them"
            )
        if name in _POOLS and graph.shape(int(op.outputs[0]))[1:3] == (1, 1):
            height, width = grown(graph.shape(int(op.inputs[0]))[1:3])
            op.builtinOptions.filterHeight, op.builtinOptions.filterWidth = height, width
        if name in _GROWS:
            stored = graph.values(int(op.inputs[1]))
            if stored is None:
                raise ValueError(f"size: {name} computes its size")
            sides = grown(tuple(stored.view(np.int32).tolist()))
            op.inputs = np.array(
                [op.inputs[0], graph.duplicate(int(op.inputs[1]), np.array(sides, np.int32))], np.int32
            )
    for index, tensor in enumerate(graph.main.tensors):
        shape = graph.shape(index)
        if graph.values(index) is None and len(shape) == 4:
            tensor.shape = np.array([shape[0], *grown(shape[1:3]), shape[3]], np.int32)
            tensor.shapeSignature = None
    return graph.pack()
