"""Random changes to training batches, as keras-cv layers.

Every random number comes from one `tf.random.Generator`, which training sets anew at each epoch from the seed and the
epoch's number. That is what lets a killed run continue where the uninterrupted one would be.

Mosaic is keras-cv's. Geometry and colour are layers of our own on its base class: keras-cv's chain of RandomFlip,
JitteredResize and RandomColorJitter has no aspect jitter and resamples or changes colour space at each step; one
affine warp and one colour matrix do the same in a third of the time (`benchmarks/augmentation.py`).
"""

from __future__ import annotations

from micro_yolo.model import keras_cv
from micro_yolo.model.keras import tf
from micro_yolo.pipeline.data.strength import Strength

Batch = dict[str, tf.Tensor]
_GREY = 114.0
# A box of which less of its area is left after a warp says nothing about its class.
_KEEP_AREA = 0.2
_MIN_SIDE_PIXELS = 2.0


class Mosaic(keras_cv.Mosaic):
    """keras-cv's mosaic of four images of the batch, drawing from a generator that can be set."""

    def __init__(self, generator: tf.random.Generator) -> None:
        super().__init__(bounding_box_format="xyxy", dtype="float32")
        self.generator = generator

    def get_random_transformation_batch(self, batch_size: tf.Tensor, **_: object) -> Batch:
        """Which images go together and where they meet, in the form keras-cv's layer takes."""
        others = self.generator.uniform((batch_size, 3), maxval=batch_size, dtype=tf.int32)
        return {
            "permutation_order": tf.concat([tf.range(batch_size)[:, None], others], axis=1),
            "mosaic_centers": self.generator.uniform((batch_size, 2), *self.offset),
        }


class _Seeded(keras_cv.AugmentationLayer):
    """A keras-cv layer that draws from a generator that can be set."""

    def __init__(self, generator: tf.random.Generator, strength: Strength) -> None:
        super().__init__(dtype="float32")
        self.generator = generator
        self.strength = strength


class Warp(_Seeded):
    """Mirror, scale, change the aspect and shift, all in one bilinear resampling; what is uncovered becomes grey."""

    def get_random_transformation_batch(self, batch_size: tf.Tensor, **_: object) -> tf.Tensor:
        """(B, 4): scale x, scale y (negative: mirrored), shift x, shift y as shares of the image's size."""
        s = self.strength
        size = 1.0 + self._uniform(batch_size, s.scale)
        stretch = tf.exp(self._uniform(batch_size, s.aspect) / 2.0)
        mirror = tf.where(self.generator.uniform((batch_size,)) < s.flip, -1.0, 1.0)
        # Where an enlarged image is cut must be free to vary, or its edges would never be seen.
        room = s.shift + tf.maximum(size - 1.0, 0.0) / 2.0
        return tf.stack(
            [
                mirror * size * stretch,
                size / stretch,
                self._uniform(batch_size, 1.0) * room,
                self._uniform(batch_size, 1.0) * room,
            ],
            axis=1,
        )

    def augment_images(self, images: tf.Tensor, transformations: tf.Tensor, **_: object) -> tf.Tensor:
        """Images of the same shape, resampled."""
        height, width = (tf.cast(side, tf.float32) for side in tf.unstack(tf.shape(images)[1:3]))
        scale_x, scale_y, shift_x, shift_y = tf.unstack(transformations, axis=1)
        nothing = tf.zeros_like(scale_x)
        # The op asks, for each output pixel's corner coordinate, where to read; centres sit half a pixel further.
        left = ((width - 1.0) / 2.0) * (1.0 - 1.0 / scale_x) - shift_x * width / scale_x
        top = ((height - 1.0) / 2.0) * (1.0 - 1.0 / scale_y) - shift_y * height / scale_y
        transform = tf.stack([1.0 / scale_x, nothing, left, nothing, 1.0 / scale_y, top, nothing, nothing], axis=1)
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transform,
            output_shape=tf.shape(images)[1:3],
            fill_value=_GREY,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )

    def augment_bounding_boxes(self, bounding_boxes: Batch, transformations: tf.Tensor, **others: object) -> Batch:
        """Boxes after the warp, clipped; class -1 where too little of one is left."""
        images = others["raw_images"]
        size = tf.cast(tf.stack([tf.shape(images)[2], tf.shape(images)[1]]), tf.float32)
        bounding_boxes = keras_cv.to_dense(bounding_boxes)
        boxes = tf.cast(bounding_boxes["boxes"], tf.float32)
        scale, shift = transformations[:, None, :2], transformations[:, None, 2:]
        ends = [
            (corner - size / 2.0) * scale + size / 2.0 + shift * size for corner in (boxes[..., :2], boxes[..., 2:])
        ]
        low, high = tf.minimum(*ends), tf.maximum(*ends)
        seen_low, seen_high = tf.clip_by_value(low, 0.0, size), tf.clip_by_value(high, 0.0, size)
        sides = seen_high - seen_low
        area = tf.reduce_prod(high - low, axis=-1)
        keep = (tf.reduce_prod(sides, axis=-1) >= _KEEP_AREA * area) & tf.reduce_all(sides >= _MIN_SIDE_PIXELS, axis=-1)
        classes = tf.cast(bounding_boxes["classes"], tf.float32)
        return {
            "boxes": tf.concat([seen_low, seen_high], axis=-1),
            "classes": tf.where(keep, classes, -1.0),
        }

    def _uniform(self, batch_size: tf.Tensor, span: float) -> tf.Tensor:
        return self.generator.uniform((batch_size,), -span, span)


class ColourJitter(_Seeded):
    """Brightness, contrast, saturation and hue as one 3x3 matrix and offset an image."""

    def get_random_transformation_batch(self, batch_size: tf.Tensor, **_: object) -> tf.Tensor:
        """(B, 3, 4): the matrix that a column (R, G, B, 1) of pixel values 0..255 is multiplied by."""
        s = self.strength
        brightness, contrast, saturation = (
            1.0 + self.generator.uniform((batch_size, 1, 1), -span, span)
            for span in (s.brightness, s.contrast, s.saturation)
        )
        turn = self.generator.uniform((batch_size, 1, 1), -s.hue, s.hue) * 2.0 * 3.14159265
        luma = tf.constant([[0.299, 0.587, 0.114]] * 3)
        # Turning about the grey axis (1, 1, 1): Rodrigues' formula with the axis' cross-product matrix.
        axis = tf.constant([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / 3.0**0.5
        hue = tf.cos(turn) * tf.eye(3) + (1.0 - tf.cos(turn)) / 3.0 + tf.sin(turn) * axis
        matrix = (saturation * tf.eye(3) + (1.0 - saturation) * luma) @ hue * contrast * brightness
        offset = tf.ones((1, 3, 1)) * 127.5 * (1.0 - contrast) * brightness
        return tf.concat([matrix, offset], axis=2)

    def augment_images(self, images: tf.Tensor, transformations: tf.Tensor, **_: object) -> tf.Tensor:
        """Images of the same shape with values clipped to 0..255."""
        shape = tf.shape(images)
        pixels = tf.reshape(images, [shape[0], -1, 3])
        changed = tf.matmul(pixels, transformations[..., :3], transpose_b=True) + transformations[:, None, :, 3]
        return tf.reshape(tf.clip_by_value(changed, 0.0, 255.0), shape)

    def augment_bounding_boxes(self, bounding_boxes: Batch, **_: object) -> Batch:
        """The boxes as they are."""
        return bounding_boxes


class Augment:
    """All changes to a training batch, reproducible from (seed, epoch)."""

    def __init__(self, strength: Strength, seed: int) -> None:
        self.strength = strength
        self.seed = seed
        self.generator = tf.random.Generator.from_seed(seed)
        self.mosaic = Mosaic(self.generator)
        self.warp = Warp(self.generator, strength)
        self.colour = ColourJitter(self.generator, strength)

    def start_epoch(self, epoch: int) -> None:
        """Set the random numbers to where this epoch begins."""
        self.generator.reset_from_seed([self.seed, epoch])

    def __call__(self, images: tf.Tensor, boxes_xyxy: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Change a batch.

        Args:
          images: (B, h, w, 3) pixels 0..255 of any type.
          boxes_xyxy: (B, M, 4) pixels.
          classes: (B, M), -1 where there is no box.

        Returns:
          The same three; images float32, and four times as many places for boxes.
        """
        batch = {
            "images": tf.cast(images, tf.float32),
            "bounding_boxes": {"boxes": boxes_xyxy, "classes": tf.cast(classes, tf.float32)},
        }
        room = 4 * classes.shape[1]
        together = self.generator.uniform(()) < self.strength.mosaic
        batch = tf.cond(together, lambda: _dense(self.mosaic(batch, training=True), room), lambda: _dense(batch, room))
        batch = _dense(self.colour(self.warp(batch, training=True), training=True), room)
        boxes = batch["bounding_boxes"]
        return batch["images"], boxes["boxes"], tf.cast(boxes["classes"], tf.int32)

    def plain(self, images: tf.Tensor, boxes_xyxy: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The batch unchanged, in the types and shapes of a changed one, so that one graph trains on both."""
        more = 3 * classes.shape[1]
        boxes = tf.pad(boxes_xyxy, [[0, 0], [0, more], [0, 0]], constant_values=-1.0)
        return tf.cast(images, tf.float32), boxes, tf.pad(classes, [[0, 0], [0, more]], constant_values=-1)


def _dense(batch: Batch, room: int) -> Batch:
    """The batch with `room` places for boxes an image: keras-cv's layers give as many as are left."""
    boxes = keras_cv.to_dense(keras_cv.to_ragged(batch["bounding_boxes"]), room)
    return {"images": batch["images"], "bounding_boxes": {name: boxes[name] for name in ("boxes", "classes")}}
