"""From a split to batches: decode, resize by the one rule, shuffle, augment, hand over while the next is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from micro_yolo.pipeline.data.dataset import Split
from micro_yolo.tflite.image import fit_to

if TYPE_CHECKING:
    from micro_yolo.pipeline.data.augment import Augment

GIB = 1 << 30
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


class Images:
    """The images of a split at the network's input size, with their boxes; held in memory where they fit.

    `unreadable` maps the files that could not be decoded to the reason. When all images are held in memory those are
    left out of `usable`; otherwise such an image turns up grey and without boxes.
    """

    def __init__(self, split: Split, size: tuple[int, int], rule: str, *, cache_bytes: float = 2 * GIB) -> None:
        self.split = split
        self.size = size
        self.rule = rule
        self.unreadable: dict[str, str] = {}
        self.usable = np.arange(len(split))
        self.boxes_xyxy, self.classes = self._boxes()
        self._pool = ThreadPoolExecutor(max_workers=os.cpu_count())
        fits = len(split) * size[0] * size[1] * 3 <= cache_bytes
        self._held = np.empty((len(split), *size, 3), np.uint8) if fits else None

    def hold(self, advance: Callable[[], object] = lambda: None) -> None:
        """Decode all images into memory, if they fit; `advance` is called after each.

        Raises ValueError if no image can be decoded.
        """
        if self._held is None:
            return
        for index, image in enumerate(self._pool.map(self._load, range(len(self.split)))):
            self._held[index] = image
            advance()
        names = {str(path): index for index, path in enumerate(self.split.files)}
        self.usable = np.setdiff1d(self.usable, [names[file] for file in self.unreadable])
        if not len(self.usable):
            reason = next(iter(self.unreadable.values()))
            raise ValueError(f"{self.split.name}: not one image can be decoded; the first: {reason}")

    def batch(self, indices: np.ndarray) -> Arrays:
        """Images uint8 (B, h, w, 3), boxes float32 (B, M, 4) in input pixels and classes int32 (B, M), -1: none."""
        held = self._held
        # Loaded before the boxes are taken: what cannot be read loses its boxes.
        images = np.stack(list(self._pool.map(self._load, indices))) if held is None else held[indices]
        return images, self.boxes_xyxy[indices], self.classes[indices]

    def _load(self, index: int) -> np.ndarray:
        try:
            return self.split.picture(index, self.size, self.rule)[0]
        except (ValueError, OSError) as error:
            self.unreadable.setdefault(str(self.split.files[index]), str(error))
            self.boxes_xyxy[index], self.classes[index] = -1.0, -1
            return np.full((*self.size, 3), 114, np.uint8)

    def _boxes(self) -> tuple[np.ndarray, np.ndarray]:
        rows = [self._wanted(i) for i in range(len(self.split))]
        most = max([1, *(len(r) for r in rows)])
        boxes = np.full((len(rows), most, 4), -1.0, np.float32)
        classes = np.full((len(rows), most), -1, np.int32)
        for i, r in enumerate(rows):
            fit = fit_to(tuple(self.split.sizes[i]), self.size, self.rule)
            boxes[i, : len(r)] = fit.boxes_to_model(self.split.boxes_xyxy[r])
            classes[i, : len(r)] = self.split.classes[r]
        return boxes, classes

    def _wanted(self, index: int) -> np.ndarray:
        rows = np.arange(self.split.starts[index], self.split.starts[index + 1])
        return rows[~self.split.crowd[rows]]


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of range(count), a function of the seed and the epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(count)


class Batches:
    """Training batches, an epoch at a time, for one of `workers` machines with `replicas` devices in all.

    Raises ValueError if a batch cannot be shared out evenly, or there are fewer images than one batch takes.
    """

    def __init__(
        self,
        images: Images,
        batch: int,
        augment: Augment,
        *,
        seed: int,
        replicas: int = 1,
        workers: int = 1,
        worker: int = 0,
    ) -> None:
        if batch < 1 or batch % replicas:
            raise ValueError(f"batch: must be a multiple of the {replicas} devices it is shared among, got {batch}")
        if batch > len(images.usable):
            raise ValueError(
                f"batch: must not exceed the {len(images.usable)} training images, got {batch}; use a smaller --batch"
            )
        self.images = images
        self.augment = augment
        self.seed = seed
        self.batch = batch
        self.each = batch // replicas
        local = replicas // workers
        self.mine = range(worker * local, (worker + 1) * local)
        self._epoch = 0

    @property
    def steps(self) -> int:
        """Whole batches in an epoch; the few images left over differ from epoch to epoch."""
        return len(self.images.usable) // self.batch

    def dataset(self, *, augmented: bool) -> Any:
        """A tf.data.Dataset of one device's share of a batch after the other, in the epoch set by `start_epoch`.

        Elements: images (b, h, w, 3) pixels 0..255, boxes (b, M, 4) xyxy pixels of the input, classes (b, M), -1: none.
        Each iteration starts anew.
        """
        from micro_yolo.model.keras import tf

        def fetch(indices: Any) -> Any:
            images, boxes, classes = tf.numpy_function(
                self.images.batch, [indices], (tf.uint8, tf.float32, tf.int32), stateful=False
            )
            most = self.images.classes.shape[1]
            images.set_shape((self.each, *self.images.size, 3))
            boxes.set_shape((self.each, most, 4))
            classes.set_shape((self.each, most))
            return images, boxes, classes

        shape = tf.TensorSpec((self.each,), tf.int64)
        dataset = tf.data.Dataset.from_generator(self._indices, output_signature=shape).map(fetch)
        # One at a time: two augmented at once would race for the generator and no run could be repeated.
        dataset = dataset.map(self.augment if augmented else self.augment.plain)
        return dataset.prefetch(2)

    def start_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and random changes the next iteration follows."""
        self._epoch = epoch
        self.augment.start_epoch(epoch)

    def _indices(self) -> Iterator[np.ndarray]:
        order = self.images.usable[epoch_order(len(self.images.usable), self.seed, self._epoch)]
        for step in range(self.steps):
            for replica in self.mine:
                start = step * self.batch + replica * self.each
                yield order[start : start + self.each]
