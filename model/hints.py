"""A network taught without boxes: to say, row by row, what one that has seen millions of photographs says there.

Hints as in FitNets (Romero et al. 2015, arXiv 1412.6550, section 2.2): a row of the pupil passes through a 1x1
convolution of its own, which is thrown away afterwards, and its mean squared distance to a row of the teacher on the
same grid is made small. The teacher's channels are brought to mean 0 and deviation 1 first, so that all count alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micro_yolo.model.build import Network, behind, build
from micro_yolo.model.heads import HEADS
from micro_yolo.model.keras import keras, making, tf
from micro_yolo.model.spec import INPUT, Arch
from micro_yolo.model.start.begin import statistics, with_start
from micro_yolo.model.start.record import STARTS

# A channel that hardly moves says nothing, and would count as much as the others.
_LEAST_DEVIATION = 1e-3


@dataclass(frozen=True)
class Hint:
    """A row of the pupil, and the row of the teacher that it learns to say."""

    pupil: str
    teacher: str


def hints(arch: Arch, teacher: Arch) -> tuple[Hint, ...]:
    """Which rows of a network learn from which of a teacher that has start weights.

    At each grid that the pupil detects on, the last row of the teacher's start there teaches all rows of the pupil that
    put out at least as many channels, as a linear map to its own has room in these; where there is none, the widest.

    Raises:
      ValueError: the teacher has no start weights, or no row of them on any of these grids.
    """
    if teacher.start not in STARTS:
        raise ValueError(f"teacher: must be a network with start weights, got {teacher.name}")
    last = {teacher.strides[row]: row for row, _ in STARTS[teacher.start].scopes}
    found: dict[str, str] = {}
    for stride in {arch.strides[row.row_name] for row in arch.detections} & {*last}:
        row_name = last[stride]
        there = [row.name for row in arch.rows if row.out and row.op not in HEADS and arch.strides[row.name] == stride]
        wide = [name for name in there if arch.channels[name] >= teacher.channels[row_name]]
        widest = sorted(there, key=lambda name: -arch.channels[name])[:1]
        found |= dict.fromkeys(wide or widest, row_name)
    if not found:
        raise ValueError(f"teacher: {teacher.name} has no row on a grid that {arch.name} detects on")
    return tuple(Hint(row.name, found[row.name]) for row in arch.rows if row.name in found)


def taught(arch: Arch, given: Collection[Hint]) -> tuple[str, ...]:
    """The rows with weights that learn from hints: those hinted at and all that they read, in the table's order."""
    wanted = {hint.pupil for hint in given}
    for row in reversed(arch.rows):
        if row.name in wanted:
            wanted |= {source for source in arch.sources[row.name] if source != INPUT}
    return tuple(row.name for row in arch.rows if row.name in wanted and row.out)


@making
def pupil(network: Network, given: Sequence[Hint], teacher: Arch) -> keras.Model:
    """`network` up to its hinted rows, each behind a convolution to the channels of its teacher.

    Returns:
      A model from pixels 0..255, (B, h, w, 3), to a list of (B, h / stride, w / stride, teacher's channels), for one
      hint to that alone. Its layers are those of `network`, and the convolutions.
    """
    outputs = [
        keras.layers.Conv2D(teacher.channels[hint.teacher], 1, name=f"hint_{hint.pupil}")(behind(network, hint.pupil))
        for hint in given
    ]
    return keras.Model(network.input, outputs, name=network.name)


def teaching(
    teacher: Arch, given: Sequence[Hint], pictures: Sequence[np.ndarray]
) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    """What the teacher says of images, for each hint.

    Args:
      teacher: its table, at the pupil's size.
      given: the hints.
      pictures: batches of pixels 0..255, (B, h, w, 3), by which its channels are brought to mean 0 and deviation 1.
    """
    network = build(teacher)
    with_start(network, teacher, STARTS[teacher.start].layers(), pictures)
    rows = list(dict.fromkeys(hint.teacher for hint in given))
    inner = keras.Model(network.input, [behind(network, row) for row in rows])
    inner.trainable = False
    known = statistics(inner, pictures)
    means = [tf.constant(mean) for mean, _ in known]
    deviations = [tf.constant(np.maximum(np.sqrt(variance), _LEAST_DEVIATION)) for _, variance in known]

    def said(images: tf.Tensor) -> list[tf.Tensor]:
        every = zip(tf.nest.flatten(inner(images, training=False)), means, deviations, strict=True)
        outputs = [(x - mean) / deviation for x, mean, deviation in every]
        return [outputs[rows.index(hint.teacher)] for hint in given]

    return said


def distance(theirs: Sequence[tf.Tensor], ours: Any) -> tf.Tensor:
    """Mean over the hints of the mean squared distance; `ours` as a `pupil` gives it."""
    pairs = zip(theirs, tf.nest.flatten(ours), strict=True)
    return tf.add_n([tf.reduce_mean(tf.square(their - our)) for their, our in pairs]) / len(theirs)
