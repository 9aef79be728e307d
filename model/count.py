"""Output shapes, parameters and multiply-accumulates of a table, row by row. No TensorFlow.

Parameters include batch-norm statistics (4 values a channel), as Keras' `count_params` does. MACs are those of the
convolutions and gates; bias, batch norm (folded when deployed), activations and pools are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from micro_yolo.model.heads import HEADS
from micro_yolo.model.spec import Arch, Row


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
        tally = _tally(row, shapes[arch.sources[row.name][0]], shapes[row.name])
        trainable = tally.weights + 2 * tally.norms
        rows.append(RowCount(row.name, row.op, shapes[row.name], trainable + 2 * tally.norms, trainable, tally.macs))
    return Count(tuple(rows))


def _tally(row: Row, entry: tuple[int, int, int], leave: tuple[int, int, int]) -> _Tally:
    tally = _Tally()
    before, after, width = entry[0] * entry[1], leave[0] * leave[1], entry[2]
    if row.op == "conv":
        tally.conv(after, width, row.out, row.k, bn=row.bn, bias=not row.bn)
    elif row.op in HEADS:
        tally.conv(after, width, leave[2], bias=True)
    elif row.op == "separable":
        tally.conv(after, 1, width, row.k, bn=True)
        tally.conv(after, width, row.out, bn=True)
    elif row.op == "fca":
        _gate(tally, width, row.se)
    elif row.op in ("mbconv", "pep"):
        if row.pre:
            tally.conv(before, width, row.pre, bn=True)
            width = row.pre
        if row.mid:
            tally.conv(before, width, row.mid, bn=True)
            width = row.mid
        tally.conv(after, 1, width, row.k, bn=True)
        if row.se:
            _gate(tally, width, row.se)
        tally.conv(after, width, row.out, bn=True)
    return tally


def _gate(tally: _Tally, width: int, squeeze: int) -> None:
    tally.conv(1, width, squeeze)
    tally.conv(1, squeeze, width)
