"""From a split to batches: decode, resize, shuffle, augment, hand over while the next are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.pipeline.data import augment
from micro_yolo.pipeline.data.augment import Boxes
from micro_yolo.pipeline.data.balance import epoch_order, image_repeats
from micro_yolo.pipeline.data.cache import Cache
from micro_yolo.pipeline.data.dataset import Split
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.tflite.cores import usable_cores
from micro_yolo.tflite.image import fit_to, load_small

GIB = 1 << 30
_GREY = 114
# Batches that are made at a time: more only take memory, as the images of one are decoded and changed side by side.
_MOST_AT_ONCE = 8
# Keeps what is held from being queued all at once.
_BLOCK = 1024
Arrays = tuple[np.ndarray, ...]


class Images:
    """The images of a split at the network's input size, with their boxes; held in memory where they fit.

    With `cache`, a folder, an image once made small is kept there too, and read from there the next time.

    Attributes:
      size: (height, width).
      readers: threads that decode.
      unreadable: the files that could not be decoded, and the reason. When all images are held in memory those are left
        out of `usable`; otherwise such an image turns up grey and without boxes.
      usable: int64 (n,), the images to train on.
      notes: what a user should be told, in the order it came up.

    Raises OSError or ValueError for a `cache` that cannot be used.
    """

    def __init__(
        self,
        split: Split,
        size: tuple[int, int],
        rule: str,
        *,
        cache_bytes: float = 2 * GIB,
        cache: Path | None = None,
        readers: int | None = None,
    ) -> None:
        self.split = split
        self.size = size
        self.rule = rule
        self.unreadable: dict[str, str] = {}
        self.usable = np.arange(len(split))
        self.notes: list[str] = []
        self.readers = readers or usable_cores()
        self._starts, self._boxes_xyxy, self._classes = _laid_out(split, size, rule)
        self._pool = ThreadPoolExecutor(self.readers)
        self._cache = None if cache is None else Cache(cache, split, size, rule)
        fits = len(split) * size[0] * size[1] * 3 <= cache_bytes
        self._held = np.empty((len(split), *size, 3), np.uint8) if fits else None

    def hold(self, advance: Callable[[], object] = lambda: None) -> None:
        """Decode all images into memory, if they fit; `advance` is called after each.

        Raises ValueError if no image can be decoded, OSError if they cannot be kept on disk as asked.
        """
        if self._held is None:
            return
        for start in range(0, len(self.split), _BLOCK):
            block = range(start, min(start + _BLOCK, len(self.split)))
            for _ in self._pool.map(self._fill, block, self._held[block.start : block.stop]):
                advance()
        if self.unreadable:
            readable = [str(file) not in self.unreadable for file in self.split.files]
            self.usable = np.flatnonzero(readable)
        if not len(self.usable):
            reason = next(iter(self.unreadable.values()))
            raise ValueError(f"{self.split.name}: not one image can be decoded; the first: {reason}")

    def pixels(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (m, h, w, 3), and which of them each of `indices` is, in the shape of `indices`."""
        if self._held is not None:
            return self._held, indices
        wanted, places = np.unique(indices, return_inverse=True)
        images = np.empty((len(wanted), *self.size, 3), np.uint8)
        list(self._pool.map(self._fill, wanted.tolist(), images))
        return images, places.reshape(indices.shape)

    def boxes(self, indices: np.ndarray) -> Boxes:
        """The boxes of `indices` (b,); those of an image known to be unreadable are left out."""
        counts = self._starts[indices + 1] - self._starts[indices]
        ends = np.cumsum(counts)
        rows = np.repeat(self._starts[indices] - ends + counts, counts) + np.arange(counts.sum())
        owners = np.repeat(np.arange(len(indices)), counts)
        classes = self._classes[rows]
        return Boxes(self._boxes_xyxy[rows], classes, owners).where(classes >= 0)

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images uint8 (B, h, w, 3), boxes float32 (B, M, 4) in input pixels and classes int32 (B, M), -1: none."""
        # Before the boxes: what cannot be read loses its own.
        images, places = self.pixels(indices)
        return images[places], *self.boxes(indices).padded(len(indices))

    def drawn(self, count: int, seed: int, batch: int) -> Iterator[np.ndarray]:
        """Batches of up to `count` usable images, drawn by seed, as they are: uint8 (B, h, w, 3)."""
        return self.plain(np.sort(np.random.default_rng(seed).permutation(self.usable)[:count]), batch)

    def plain(self, indices: np.ndarray, batch: int) -> Iterator[np.ndarray]:
        """Batches of `indices` (n,), as they are: uint8 (B, h, w, 3)."""
        for start in range(0, len(indices), batch):
            yield self.batch(indices[start : start + batch])[0]

    def _fill(self, index: int, pixels: np.ndarray) -> None:
        """Write image `index` into `pixels`, uint8 (h, w, 3)."""
        cache = self._cache
        if cache is not None and cache.get(index, pixels):
            return
        path, (height, width) = self.split.files[index], self.split.sizes[index].tolist()
        try:
            pixels[:] = load_small(path, self.size, self.rule, (height, width))
        except (ValueError, OSError) as error:
            if str(path) not in self.unreadable:
                self.unreadable[str(path)] = str(error)
                self.notes.append(f"skipped {error}")
            self._classes[self._starts[index] : self._starts[index + 1]] = -1
            pixels[:] = _GREY
            return
        if cache is not None:
            self._keep(cache, index, pixels)

    def _keep(self, cache: Cache, index: int, pixels: np.ndarray) -> None:
        try:
            cache.put(index, pixels)
        except OSError as error:
            # Before training it is an error; a training under way goes on without.
            if self._held is not None:
                raise
            if self._cache is not None:
                self._cache = None
                self.notes.append(f"{error}; goes on without")


def _laid_out(split: Split, size: tuple[int, int], rule: str) -> Arrays:
    """Where each image's boxes begin, int64 (n + 1,); boxes float32 (k, 4) in input pixels; classes int32 (k,).

    Without the boxes of crowds.
    """
    wanted = ~split.crowd
    owners = np.repeat(np.arange(len(split)), np.diff(split.starts))[wanted]
    starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(split)))]).astype(np.int64)
    # There are far fewer sizes than images.
    keys = split.sizes.astype(np.int64) @ (1 << 32, 1)
    sizes, kinds = np.unique(keys, return_inverse=True)
    fits = [fit_to(divmod(int(key), 1 << 32), size, rule) for key in sizes]
    boxes = split.boxes_xyxy[wanted]
    kinds = kinds[owners]
    # By columns: of millions of boxes all four at once would be gigabytes.
    for edge, (axis, column) in enumerate(zip("xyxy", boxes.T, strict=True)):
        scale, pad = (np.array([getattr(fit, f"{name}_{axis}") for fit in fits]) for name in ("scale", "pad"))
        boxes[:, edge] = column * scale[kinds] + pad[kinds]
    return starts, boxes, split.classes[wanted]


class Batches:
    """Training batches, an epoch at a time, for one of `workers` machines with `replicas` devices in all.

    A batch is a function of the seed, the epoch and its place in it, whatever the number of readers, devices and
    machines. With `balance` above 0 images with rare classes come oftener, see `balance.image_repeats`.

    Raises ValueError if a batch cannot be shared out evenly, or there are fewer images than one batch takes.
    """

    def __init__(
        self,
        images: Images,
        batch: int,
        strength: Strength,
        *,
        seed: int,
        balance: float = 0.0,
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
        self.strength = strength
        self.seed = seed
        self.batch = batch
        self.each = batch // replicas
        local = replicas // workers
        self.mine = range(worker * local, (worker + 1) * local)
        self._epoch = 0
        repeats = image_repeats(images.split, balance)
        self._repeats = None if repeats is None else repeats[images.usable]

    @property
    def steps(self) -> int:
        """Whole batches in an epoch; the few images left over differ from epoch to epoch."""
        return len(self.images.usable) // self.batch

    def dataset(self, *, augmented: bool) -> Any:
        """A tf.data.Dataset of one device's share of a batch after the other, in the epoch set by `start_epoch`.

        Elements: images float32 (b, h, w, 3) 0..255, boxes float32 (b, M, 4) xyxy pixels of the input, classes int32
        (b, M), -1: none; M is a power of two. Each iteration starts anew.
        """
        from micro_yolo.model.keras import tf
        from micro_yolo.pipeline.data.pixels import changed

        each = self.each
        parts = [
            (tf.uint8, (each, *self.images.size, 3)),
            (tf.float32, (each, None, 4)),
            (tf.int32, (each, None)),
            *(((tf.float32, (each, 4)), (tf.float32, (each, 3, 4))) if augmented else ()),
        ]
        made = self._changed if augmented else self._plain

        # AutoGraph would look for an `if` that depends on a tensor, for half a second.
        @tf.autograph.experimental.do_not_convert
        def make(place: Any, numbers: Any) -> Any:
            found = tf.numpy_function(made, [place, numbers], [kind for kind, _ in parts], stateful=False)
            for tensor, (_, shape) in zip(found, parts, strict=True):
                tensor.set_shape(shape)
            images, boxes, classes, *drawn = found
            return changed(images, *drawn) if augmented else tf.cast(images, tf.float32), boxes, classes

        at_once = min(self.images.readers, _MOST_AT_ONCE)
        spec = (tf.TensorSpec((3,), tf.int64), tf.TensorSpec((self.batch,), tf.int64))
        dataset = tf.data.Dataset.from_generator(self._places, output_signature=spec)
        dataset = dataset.map(make, num_parallel_calls=at_once, deterministic=True).prefetch(2)
        options = tf.data.Options()
        # Of its own, or those that wait for pictures would be missing in the step.
        options.threading.private_threadpool_size = at_once + 1
        # There is nothing to tune, and its thread does not always hear that an epoch is over: the end of the iterator
        # then waits for the thread's next turn, 20 or 41 or 82 seconds after the beginning.
        options.autotune.enabled = False
        return dataset.with_options(options)

    def start_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and random changes the next iteration follows."""
        self._epoch = epoch

    def _places(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(epoch, step, device) of each share, and the images of the whole batch it is of."""
        epoch, usable = self._epoch, self.images.usable
        order = usable[epoch_order(len(usable), self.seed, epoch, self._repeats)]
        for step in range(self.steps):
            for replica in self.mine:
                yield np.array([epoch, step, replica]), order[step * self.batch : (step + 1) * self.batch]

    def _share(self, place: np.ndarray) -> slice:
        return slice(place[2] * self.each, (place[2] + 1) * self.each)

    def _plain(self, place: np.ndarray, numbers: np.ndarray) -> Arrays:
        """Images, boxes and classes of a share of the batch of these images, as they are."""
        return self.images.batch(numbers[self._share(place)])

    def _changed(self, place: np.ndarray, numbers: np.ndarray) -> Arrays:
        """Images, as mosaics if it fell out so, boxes and classes, both changed, and how to change the pixels."""
        epoch, step, _ = place.tolist()
        # The last number: by the first two alone the order is drawn.
        rng = np.random.default_rng([self.seed, epoch, step, 1])
        share, size = self._share(place), self.images.size
        drawn = augment.draw(self.strength, self.batch, rng).of(share)
        if drawn.together is None:
            images, places = self.images.pixels(numbers[share])
            images, boxes = images[places], self.images.boxes(numbers[share])
        else:
            sources = numbers[drawn.together]
            images = augment.mosaic(*self.images.pixels(sources), drawn.centres)
            boxes = augment.mosaic_boxes(self.images.boxes(sources.ravel()), drawn.centres, size)
        padded = augment.warp_boxes(boxes, drawn.warps, size).padded(self.each)
        return images, *padded, drawn.warps.astype(np.float32), drawn.colours.astype(np.float32)
