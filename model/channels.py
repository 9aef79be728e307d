"""Which channels of a network are one and the same, and cutting them out of its table and weights. No TensorFlow.

Every channel has a number, and layers that must lose a channel together see the same number on one of their axes: a
depthwise convolution and its input, a gate and what it scales, both consumers of a row, the slices of a concat, the
input and the output of a skip. What can be cut is named by *units*: a row's name for its output channels
(``l13``), ``ROW.mid`` and ``ROW.pre`` for the inner widths of its block (``l22.mid``). Rows joined by a skip are one
unit, named by the first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from micro_yolo.model.heads import HEADS
from micro_yolo.model.nearest import nearest
from micro_yolo.model.ops import block_of
from micro_yolo.model.primitives import Conv, Depthwise, Gate, Skip
from micro_yolo.model.spec import INPUT, Arch, Row

# Layer name -> its weights as Keras' get_weights gives them.
Weights = Mapping[str, Sequence[np.ndarray]]
Keep = Mapping[str, Sequence[int]]
Part = Literal["kernel_in", "kernel_out", "depthwise", "bias", "gamma", "beta", "statistic"]
_NORM: tuple[Part, ...] = ("gamma", "beta", "statistic", "statistic")


@dataclass(frozen=True)
class Axis:
    """One axis of one weight: the numbers of the channels along it.

    Attributes:
      layer: Keras layer.
      weight: position in the layer's get_weights().
      axis: of that array.
      channels: (size of the axis,) channel numbers.
      part: what the weight is.
      makes: whether the weight makes the channels, or its scale does; else they pass through its layer.
    """

    layer: str
    weight: int
    axis: int
    channels: np.ndarray
    part: Part
    makes: bool = False


@dataclass
class Channels:
    """All channels of a table.

    Attributes:
      units: what can be cut, in the order of the table: unit -> (width,) channel numbers.
      rows: row (and "input") -> channel numbers of its output.
      shared: row -> the unit whose channels its output has, where that is another's.
      axes: every axis of every weight that has channels on it, the image's and the detections' excepted.
    """

    units: dict[str, np.ndarray] = field(default_factory=dict)
    rows: dict[str, np.ndarray] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    axes: list[Axis] = field(default_factory=list)
    _next: int = 0

    def widths(self) -> dict[str, int]:
        """Channels of each unit."""
        return {name: len(numbers) for name, numbers in self.units.items()}

    def _new(self, unit: str, width: int) -> np.ndarray:
        numbers = np.arange(self._next, self._next + width)
        self._next += width
        self.units[unit] = numbers
        return numbers

    def _norm(self, layer: str, channels: np.ndarray, *, makes: bool) -> None:
        self.axes += [Axis(layer, i, 0, channels, part, makes) for i, part in enumerate(_NORM)]

    def _conv(self, row: Row, part: Conv, entry: np.ndarray, leave: np.ndarray) -> None:
        layer = f"{row.name}_{part.name}"
        self.axes.append(Axis(layer, 0, 2, entry, "kernel_in"))
        self.axes.append(Axis(layer, 0, 3, leave, "kernel_out", makes=True))
        if part.bn:
            self._norm(f"{row.name}_{part.prefix}bn", leave, makes=True)
        else:
            self.axes.append(Axis(layer, 1, 0, leave, "bias"))

    def _block(self, row: Row, entry: np.ndarray) -> np.ndarray:
        """The channels a row puts out; `entry` are those it reads, all side by side."""
        block, now = block_of(row), entry
        skips = any(isinstance(part, Skip) for part in block)
        for part in block:
            layer = f"{row.name}_{part.name}"
            match part:
                case Conv():
                    if part.width == "out":
                        # A sum writes the channels of what it adds to.
                        leave = entry if skips else self._new(row.name, part.out)
                    else:
                        leave = self._new(f"{row.name}.{part.width}", part.out)
                    self._conv(row, part, now, leave)
                    now = leave
                case Depthwise():
                    self.axes.append(Axis(layer, 0, 2, now, "depthwise"))
                    self._norm(f"{layer}_bn", now, makes=False)
                case Gate():
                    self.axes.append(Axis(f"{layer}_squeeze", 0, 2, now, "kernel_in"))
                    self.axes.append(Axis(f"{layer}_excite", 0, 3, now, "kernel_out"))
        return now


def channels_of(arch: Arch) -> Channels:
    """Number the channels of a table and find every axis of its weights they are on."""
    found = Channels()
    # The image's three can be on an axis, but are in no unit.
    found.rows[INPUT] = np.array([-1, -2, -3])
    owner: dict[int, str] = {}
    for row in arch.rows:
        entry = np.concatenate([found.rows[name] for name in arch.sources[row.name]])
        if row.op in HEADS:
            layers = [f"{row.name}_{part.layer}" for part in HEADS[row.op].parts]
            found.axes += [Axis(layer, 0, 2, entry, "kernel_in") for layer in layers]
            leave = np.empty(0, int)
        else:
            leave = found._block(row, entry)
        found.rows[row.name] = leave
        if row.name in found.units:
            owner |= dict.fromkeys(leave.tolist(), row.name)
        elif len(leave):
            found.shared[row.name] = " and ".join(dict.fromkeys(owner[number] for number in leave.tolist()))
    return found


def check_unit(arch: Arch, unit: str) -> None:
    """Raise ValueError, naming the nearest, unless `unit` is one of the table's."""
    found = channels_of(arch)
    if unit in found.units:
        return
    if unit in found.shared:
        raise ValueError(f"{arch.name}.{unit}: its channels are those of {found.shared[unit]}; allowed: name that row")
    near = nearest(unit, found.units, form="nearest: {}; ", most=3, cutoff=0.3)
    raise ValueError(f"{arch.name}: {unit!r} has no channels that can be cut; {near}allowed: {', '.join(found.units)}")


def cut(arch: Arch, weights: Weights, keep: Keep) -> tuple[Arch, dict[str, list[np.ndarray]]]:
    """Remove channels from a table and its weights; neither argument is changed.

    Where the dropped channels' batch-norm gamma and beta are zero (or kernel and bias, without batch norm), the smaller
    network computes what the larger one does.

    Args:
      arch: the table.
      weights: of `model.build.build(arch)`: layer -> arrays in Keras' order.
      keep: unit -> the indices within it that stay, ascending; units not named stay whole.

    Returns:
      The smaller table, and the weights of `build` of it.

    Raises:
      ValueError: an unknown unit, one whose channels are another's, indices that are not ascending or not in it, or
        none left.
    """
    found = channels_of(arch)
    dropped = np.concatenate([np.empty(0, int), *(_dropped(arch, found, unit, kept) for unit, kept in keep.items())])

    def left(numbers: np.ndarray) -> np.ndarray:
        return np.flatnonzero(~np.isin(numbers, dropped))

    widths: dict[str, dict[str, Any]] = {row.name: {} for row in arch.rows}
    for unit, numbers in found.units.items():
        name, _, inner = unit.partition(".")
        widths[name][inner or "out"] = len(left(numbers))
    for row in arch.rows:
        if row.out:
            widths[row.name]["out"] = len(left(found.rows[row.name]))
    rows = [dataclasses.replace(row, **widths[row.name]) for row in arch.rows]
    smaller = {layer: list(arrays) for layer, arrays in weights.items()}
    for axis in found.axes:
        arrays = smaller[axis.layer]
        arrays[axis.weight] = np.take(arrays[axis.weight], left(axis.channels), axis=axis.axis)
    # Start weights fit whole rows.
    return arch.replace(rows=tuple(rows), start="" if len(dropped) else arch.start), smaller


def _dropped(arch: Arch, found: Channels, unit: str, kept: Sequence[int]) -> np.ndarray:
    check_unit(arch, unit)
    numbers, where = found.units[unit], f"{arch.name}.{unit}"
    indices = np.asarray(kept, int)
    if not len(indices):
        raise ValueError(f"{where}: at least one of its {len(numbers)} channels must stay, got none")
    if (np.diff(indices) < 1).any() or indices[0] < 0 or indices[-1] >= len(numbers):
        raise ValueError(
            f"{where}: the channels that stay must be ascending within 0..{len(numbers) - 1}, got {indices.tolist()}"
        )
    return np.delete(numbers, indices)


def positions(axes: Sequence[Axis], dropped: np.ndarray, *parts: Part) -> dict[str, np.ndarray]:
    """Layer -> where on its axis the `dropped` channels are, in their order; layers without any are left out.

    Args:
      axes: of `Channels`.
      dropped: channel numbers.
      parts: only axes of weights that are one of these.
    """
    found = {}
    for axis in axes:
        if axis.part in parts:
            where = [int(i) for number in dropped for i in np.flatnonzero(axis.channels == number)]
            if where:
                found[axis.layer] = np.array(where)
    return found


def importance(arch: Arch, weights: Weights, unit: str, by: Literal["l1", "gamma"] = "l1") -> np.ndarray:
    """How much each channel of a unit matters, the mean being 1.

    Args:
      arch: the table.
      weights: as for `cut`.
      unit: one of `channels_of(arch).units`.
      by: "l1", the L1 norm of the filters that make the channel (Li et al. 2017, arXiv 1608.08710), or "gamma", the
        size of its batch norm's scale (Liu et al. 2017, Network Slimming, arXiv 1708.06519), which without batch norm
        is its L1 norm. Each layer counts alike where several make the channel, as in rows joined by a skip.

    Returns:
      (width of the unit,) values, not negative.

    Raises:
      ValueError: no such unit.
    """
    check_unit(arch, unit)
    found = channels_of(arch)
    numbers = found.units[unit]
    makers = [
        axis
        for axis in found.axes
        if axis.part in ("kernel_out", "gamma") and axis.makes
        if np.isin(numbers, axis.channels).all()
    ]
    wanted = "gamma" if by == "gamma" and any(axis.part == "gamma" for axis in makers) else "kernel_out"
    total = np.zeros(len(numbers))
    for axis in makers:
        if axis.part == wanted:
            size = np.abs(weights[axis.layer][axis.weight])
            size = size.sum(axis=tuple(i for i in range(size.ndim) if i != axis.axis))
            # In the unit's order: a skip over a concat makes the channels of several units.
            order = np.argsort(axis.channels)
            size = size[order[np.searchsorted(axis.channels, numbers, sorter=order)]]
            total += size / max(float(size.mean()), 1e-12)
    return total / max(float(total.mean()), 1e-12)
