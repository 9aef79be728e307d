"""What a coding is: the parts a detection row puts out, and how they become boxes, here and inside a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from micro_yolo.tflite.arithmetic import Arithmetic

# Part -> (h, w, predictions * values), floats after the sigmoid, prediction-major.
Grids = Mapping[str, np.ndarray]
# Corners float32 (n, 4) in pixels, scores float32 (n,), classes int32 (n,).
Candidates = tuple[np.ndarray, np.ndarray, np.ndarray]
# Of the input: what lies outside the picture keeps this size, for its logarithm.
_LEAST = 1e-6


class GridLike(Protocol):
    """What `Grid` says, whoever says it."""

    @property
    def row_name(self) -> str:
        """Its outputs are called ``{row_name}_{part}``."""
        ...

    @property
    def stride(self) -> int:
        """Input pixels per cell."""
        ...

    @property
    def anchors(self) -> Sequence[tuple[float, float]]:
        """(width, height) in pixels of the input; none for codings without."""
        ...


@dataclass(frozen=True)
class Grid:
    """A detection row: its name, input pixels per cell, and its anchors ((width, height), ...) in pixels."""

    row_name: str
    stride: int
    anchors: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Part:
    """One output of a detection row.

    Attributes:
        name: the output is called ``{row_name}_{name}``.
        values: how many a prediction has; None: one a class.
        description: for people, in the file's metadata.
    """

    name: str
    values: int | None
    description: str


class Coding(ABC):
    """How the grids of a kind of detection row are read.

    Attributes:
        name: of the coding, with its version: what contracts call it.
        parts: its outputs, in order.
    """

    name: str
    parts: tuple[Part, ...]

    def predictions(self, row: GridLike) -> int:
        """How many predictions a cell makes."""
        return 1

    def shapes(self, row: GridLike, size: tuple[int, int], n_classes: int) -> dict[str, tuple[int, int, int]]:
        """Part -> (h, w, channels) of its grid for an input of `size` (height, width)."""
        cells = size[0] // row.stride, size[1] // row.stride
        count = self.predictions(row)
        return {part.name: (*cells, count * (n_classes if part.values is None else part.values)) for part in self.parts}

    def check(self, grids: Grids, row: GridLike, size: tuple[int, int]) -> None:
        """Raise ValueError unless the grids are those of the row for an input of `size`."""
        count, shapes = self.predictions(row), {name: grid.shape for name, grid in grids.items()}
        by_class = [shapes[part.name][-1] for part in self.parts if part.values is None and part.name in shapes]
        wanted = self.shapes(row, size, by_class[0] // count if by_class and count else 0)
        if shapes != wanted or any(side % row.stride for side in size):
            each = " | ".join("classes" if part.values is None else str(part.values) for part in self.parts)
            raise ValueError(
                f"decode: grids of shape {', '.join(map(str, shapes.values()))} do not fit stride {row.stride}, "
                f"{len(row.anchors)} anchors and size {tuple(size)}; allowed: (h, w, {count} * ({each}))"
            )

    @abstractmethod
    def candidates(self, grids: Grids, row: GridLike, size: tuple[int, int], score_threshold: float) -> Candidates:
        """Boxes of one image that score more than the threshold, unclipped, in the order of cells.

        Args:
            grids: those of the row, checked.
            row: the detection row.
            size: (height, width) of the input.
            score_threshold: candidates must score more than this.
        """

    @abstractmethod
    def tail(
        self,
        math: Arithmetic,
        grids: Mapping[str, Mapping[str, int]],
        rows: Sequence[GridLike],
        size: tuple[int, int],
        n_classes: int,
    ) -> tuple[int, int]:
        """Write into a file what `candidates` computes, of all rows.

        Args:
            math: writes.
            grids: row -> part -> tensor, as the network puts it out.
            rows: the detection rows.
            size: (height, width) of the input.
            n_classes: of each row.

        Returns:
            Tensors: boxes (1, N, 4) as `clipped` gives them, and scores (1, N, classes).
        """


def clipped(math: Arithmetic, centre: int, half: int) -> tuple[int, int]:
    """Boxes clipped to the picture, coded as the operator in the file wants them for an anchor of size 1 at 0.

    Args:
        math: writes.
        centre: (1, N, 2) y, x in 0..1 of the input.
        half: (1, N, 2) half the height and width, likewise.

    Returns:
        (1, N, 4) centre y, x, log height, log width; and (1, N, 1): 1, or 0 for a box of which nothing is left.
    """
    zero, one = np.array([0], np.float32), np.array([1], np.float32)
    low, high = (
        math.binary("MINIMUM", math.binary("MAXIMUM", math.binary(side, centre, half), zero), one)
        for side in ("SUB", "ADD")
    )
    middle = math.binary("MUL", math.binary("ADD", low, high), np.array([0.5], np.float32))
    size = math.binary("SUB", high, low)
    solid = math.binary("MINIMUM", math.binary("MUL", size, np.array([1 / _LEAST], np.float32)), one)
    inside = math.binary("MUL", *(math.gather(solid, [i]) for i in range(2)))
    size = math.binary("MAXIMUM", size, np.array([_LEAST], np.float32))
    return math.concatenate([middle, math.unary("LOG", size)], axis=2), inside
