"""Random changes to training batches, in NumPy: which there are, what they do to boxes, and the mosaic.

All random numbers of a batch are drawn at once from a generator made for it, so that batches can be made in any order
and by any number of threads. `pipeline.data.pixels` does to the pixels what is drawn here.

Nothing here is a layer of keras-cv: its Mosaic resamples at fractions of a pixel what here are four copies, and its
chain of RandomFlip, JitteredResize and RandomColorJitter has no aspect jitter and resamples or changes colour space at
each step (`benchmarks/input.py` has both sides).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from micro_yolo.pipeline.data.strength import Strength

# A box of which less of its area is left says nothing about its class.
_KEEP_AREA = 0.2
_MIN_SIDE_PIXELS = 2.0
# Where the four images of a mosaic meet, as shares of its size.
_CENTRE = (0.25, 0.75)
_FEWEST_PLACES = 16
_LUMA = np.array([[0.299, 0.587, 0.114]] * 3)
# The cross-product matrix of the grey axis (1, 1, 1), about which colours turn.
_GREY_AXIS = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / 3.0**0.5


class Boxes(NamedTuple):
    """The boxes of a batch, one image after the other.

    Shapes: xyxy float32 (k, 4) pixels of the input, classes int32 (k,), images int64 (k,): whose, ascending.
    """

    xyxy: np.ndarray
    classes: np.ndarray
    images: np.ndarray

    def where(self, keep: np.ndarray) -> Boxes:
        """Those for which `keep` (k,) holds."""
        return Boxes(self.xyxy[keep], self.classes[keep], self.images[keep])

    def padded(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes float32 (batch, M, 4) and classes int32 (batch, M), -1 where there is none.

        M is the power of two, 16 or more, that has room for this batch: few shapes, so that little is traced anew.
        """
        counts = np.bincount(self.images, minlength=batch)
        room = max(_FEWEST_PLACES, 1 << int(counts.max(initial=1) - 1).bit_length())
        places = np.arange(len(self.images)) - (np.cumsum(counts) - counts)[self.images]
        boxes = np.full((batch, room, 4), -1.0, np.float32)
        classes = np.full((batch, room), -1, np.int32)
        boxes[self.images, places] = self.xyxy
        classes[self.images, places] = self.classes
        return boxes, classes


@dataclass(frozen=True, eq=False)
class Changes:
    """The random numbers of b images of a batch.

    Shapes: together int64 (b, 4) the places in the batch of the images that make up each mosaic, top left, top right,
    bottom left, bottom right; None if there are no mosaics; centres (b, 2) where they meet, x and y as shares of the
    size; warps (b, 4) scale x, scale y (negative: mirrored), shift x and y as shares of the size; colours (b, 3, 4) the
    matrix that a column (R, G, B, 1) of pixel values 0..255 is multiplied by.
    """

    together: np.ndarray | None
    centres: np.ndarray
    warps: np.ndarray
    colours: np.ndarray

    def of(self, share: slice) -> Changes:
        """Those of some images of the batch."""
        together = None if self.together is None else self.together[share]
        return Changes(together, self.centres[share], self.warps[share], self.colours[share])


def draw(strength: Strength, batch: int, rng: np.random.Generator) -> Changes:
    """Draw the changes to a batch of so many images."""
    mosaic = rng.random() < strength.mosaic
    others = rng.integers(0, batch, (batch, 3))
    together = np.concatenate([np.arange(batch)[:, None], others], axis=1)
    centres = rng.uniform(*_CENTRE, (batch, 2))
    return Changes(together if mosaic else None, centres, _warps(strength, batch, rng), _colours(strength, batch, rng))


def _warps(s: Strength, batch: int, rng: np.random.Generator) -> np.ndarray:
    size = 1.0 + rng.uniform(-s.scale, s.scale, batch)
    stretch = np.exp(rng.uniform(-s.aspect, s.aspect, batch) / 2.0)
    mirror = np.where(rng.random(batch) < s.flip, -1.0, 1.0)
    # Where an enlarged image is cut must be free to vary, or its edges would never be seen.
    room = s.shift + np.maximum(size - 1.0, 0.0) / 2.0
    shift_x, shift_y = rng.uniform(-1.0, 1.0, (2, batch)) * room
    return np.stack([mirror * size * stretch, size / stretch, shift_x, shift_y], axis=1)


def _colours(s: Strength, batch: int, rng: np.random.Generator) -> np.ndarray:
    brightness, contrast, saturation = (
        1.0 + rng.uniform(-span, span, (batch, 1, 1)) for span in (s.brightness, s.contrast, s.saturation)
    )
    turn = rng.uniform(-s.hue, s.hue, (batch, 1, 1)) * 2.0 * np.pi
    # Rodrigues' formula.
    hue = np.cos(turn) * np.eye(3) + (1.0 - np.cos(turn)) / 3.0 + np.sin(turn) * _GREY_AXIS
    matrix = (saturation * np.eye(3) + (1.0 - saturation) * _LUMA) @ hue * contrast * brightness
    offset = np.ones((1, 3, 1)) * 127.5 * (1.0 - contrast) * brightness
    return np.concatenate([matrix, offset], axis=2)


def mosaic(images: np.ndarray, sources: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Mosaics of four images each, uint8 (b, h, w, 3): around the centre, each shows its corner that is opposite.

    Args:
      images: uint8 (n, h, w, 3).
      sources: (b, 4) rows of `images`, top left, top right, bottom left, bottom right.
      centres: (b, 2) where they meet, x and y as shares of the size.
    """
    height, width = images.shape[1:3]
    made = np.empty((len(sources), *images.shape[1:]), np.uint8)
    for one, four, (x, y) in zip(made, sources, _whole(centres, (height, width)), strict=True):
        one[:y, :x] = images[four[0], height - y :, width - x :]
        one[:y, x:] = images[four[1], height - y :, : width - x]
        one[y:, :x] = images[four[2], : height - y, width - x :]
        one[y:, x:] = images[four[3], : height - y, : width - x]
    return made


def mosaic_boxes(boxes: Boxes, centres: np.ndarray, size: tuple[int, int]) -> Boxes:
    """The boxes of mosaics, clipped to the mosaic, without those of which too little is left.

    Args:
      boxes: of their parts: `images` counts four a mosaic, in the order of `mosaic`.
      centres: (b, 2) where they meet, x and y as shares of the size.
      size: (height, width) in pixels.
    """
    limits = np.array([size[1], size[0]], np.float32)
    part = boxes.images % 4
    right_or_below = np.stack([part % 2, part // 2], axis=1)
    moved = _whole(centres, size)[boxes.images // 4] - (1 - right_or_below) * limits
    whole = boxes.xyxy + np.tile(moved, 2)
    xyxy = np.clip(whole, 0.0, np.tile(limits, 2)).astype(np.float32)
    return Boxes(xyxy, boxes.classes, boxes.images // 4).where(_says_enough(xyxy, whole))


def warp_boxes(boxes: Boxes, warps: np.ndarray, size: tuple[int, int]) -> Boxes:
    """Boxes after `Changes.warps`, clipped, without those of which too little is left; `size` is (height, width)."""
    limits = np.array([size[1], size[0]], np.float32)
    scale, shift = warps[boxes.images, :2], warps[boxes.images, 2:]
    ends = [
        (corner - limits / 2.0) * scale + limits / 2.0 + shift * limits
        for corner in (boxes.xyxy[:, :2], boxes.xyxy[:, 2:])
    ]
    low, high = np.minimum(*ends), np.maximum(*ends)
    seen_low, seen_high = np.clip(low, 0.0, limits), np.clip(high, 0.0, limits)
    xyxy = np.concatenate([seen_low, seen_high], axis=1).astype(np.float32)
    return Boxes(xyxy, boxes.classes, boxes.images).where(_says_enough(xyxy, np.concatenate([low, high], axis=1)))


def _says_enough(seen: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Whether what is seen of each box, (k, 4), is enough of the whole to tell its class by."""
    sides, all_sides = seen[:, 2:] - seen[:, :2], whole[:, 2:] - whole[:, :2]
    return (sides.prod(axis=1) >= _KEEP_AREA * all_sides.prod(axis=1)) & (sides >= _MIN_SIDE_PIXELS).all(axis=1)


def _whole(centres: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Centres (b, 2) in whole pixels, x and y."""
    return np.rint(centres * (size[1], size[0])).astype(np.int64)
