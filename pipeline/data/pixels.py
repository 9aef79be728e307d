"""The random changes to the pixels of a batch, drawn by `pipeline.data.augment`, as TensorFlow operations."""

from __future__ import annotations

from micro_yolo.model.keras import tf

_GREY = 114.0


def changed(images: tf.Tensor, warps: tf.Tensor, colours: tf.Tensor) -> tf.Tensor:
    """Warped and recoloured images, float32 (b, h, w, 3) in 0..255.

    Args:
      images: uint8 (b, h, w, 3).
      warps: float32 (b, 4), see `augment.Changes`.
      colours: float32 (b, 3, 4), see `augment.Changes`.
    """
    return recoloured(warped(images, warps), colours)


def warped(images: tf.Tensor, warps: tf.Tensor) -> tf.Tensor:
    """Mirrored, scaled and shifted, all in one bilinear resampling, float32; what is uncovered becomes grey."""
    # An image as large as its crop is one that an operation for crops moves, scales and mirrors: about twice as fast as
    # the one for projections, which knows nothing of rows and columns and needs float.
    scale_x, scale_y, shift_x, shift_y = tf.unstack(warps, axis=1)
    height, width = (tf.cast(side, tf.float32) for side in tf.unstack(tf.shape(images)[1:3]))

    def ends(scale: tf.Tensor, shift: tf.Tensor, side: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Where the first and the last pixel of the result are read, as shares of the way from first to last.
        first = 0.5 * (1.0 - 1.0 / scale) - shift * side / (side - 1.0) / scale
        return first, first + 1.0 / scale

    (left, right), (top, bottom) = ends(scale_x, shift_x, width), ends(scale_y, shift_y, height)
    return tf.image.crop_and_resize(
        images,
        tf.stack([top, left, bottom, right], axis=1),
        tf.range(tf.shape(images)[0]),
        tf.shape(images)[1:3],
        extrapolation_value=_GREY,
    )


def recoloured(images: tf.Tensor, colours: tf.Tensor) -> tf.Tensor:
    """Each pixel (R, G, B, 1) multiplied by its image's matrix, clipped to 0..255."""
    shape = tf.shape(images)
    pixels = tf.reshape(images, [shape[0], -1, 3])
    mixed = tf.matmul(pixels, colours[..., :3], transpose_b=True) + colours[:, None, :, 3]
    return tf.reshape(tf.clip_by_value(mixed, 0.0, 255.0), shape)
