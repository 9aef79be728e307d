"""Output shapes, parameters and multiply-accumulates of a table, row by row. No TensorFlow.

Parameters include batch-norm statistics (4 values a channel), as Keras' `count_params` does. MACs are those of the
convolutions and gates; bias, batch norm (folded when deployed), activations and pools are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from micro_yolo.model.heads import HEADS
from micro_yolo.model.ops import block_of
from micro_yolo.model.primitives import Block, Conv, Depthwise, Gate, Pool, Upsample
from micro_yolo.model.spec import Arch


@dataclass(frozen=True)
class RowCount:
    """One row: output (height, width, channels), parameters, those of them that are trained, MACs."""

    name: str
    op: str
    shape: tuple[int, int, int]
    params: int
    trainable: int
    macs: int


@dataclass(frozen=True)
class Count:
    """A whole table."""

    rows: tuple[RowCount, ...]

    @property
    def params(self) -> int:
        """All values a model file keeps, batch-norm statistics included."""
        return sum(row.params for row in self.rows)

    @property
    def trainable(self) -> int:
        """Values that training changes by gradient."""
        return sum(row.trainable for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(row.macs for row in self.rows)


@dataclass
class _Tally:
    weights: int = 0
    norms: int = 0  # channels of batch norm
    macs: int = 0

    def conv(self, cells: int, inputs: int, out: int, k: int = 1, *, bn: bool = False, bias: bool = False) -> None:
        self.weights += k * k * inputs * out + (out if bias else 0)
        self.macs += cells * k * k * inputs * out
        self.norms += out if bn else 0


def count(arch: Arch) -> Count:
    """Count every row of a table at its size and classes."""
    shapes = {
        name: (arch.size[0] // stride, arch.size[1] // stride, arch.channels[name])
        for name, stride in arch.strides.items()
    }
    rows = []
    for row in arch.rows:
        height, width, _ = shapes[arch.sources[row.name][0]]
        channels = sum(arch.channels[name] for name in arch.sources[row.name])
        tally = _Tally()
        if row.op in HEADS:
            tally.conv(height * width, channels, shapes[row.name][2], bias=True)
        else:
            _add_block(tally, block_of(row), height, width, channels)
        trainable = tally.weights + 2 * tally.norms
        rows.append(RowCount(row.name, row.op, shapes[row.name], trainable + 2 * tally.norms, trainable, tally.macs))
    return Count(tuple(rows))


def _add_block(tally: _Tally, block: Block, height: int, width: int, channels: int) -> None:
    for part in block:
        if isinstance(part, Conv | Depthwise | Pool):
            height, width = height // part.s, width // part.s
        match part:
            case Conv():
                tally.conv(height * width, channels, part.out, part.k, bn=part.bn, bias=not part.bn)
                channels = part.out
            case Depthwise():
                tally.conv(height * width, 1, channels, part.k, bn=True)
            case Gate():
                tally.conv(1, channels, part.squeeze)
                tally.conv(1, part.squeeze, channels)
            case Upsample():
                height, width = height * part.s, width * part.s
