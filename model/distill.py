"""A network learning from another of the same outputs, here a quantized one from its float original."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from micro_yolo.model.keras import keras, tf
from micro_yolo.model.loss import WEIGHTS


def distillation(teacher: keras.Model, weight: float) -> Callable[[tf.Tensor, Sequence[tf.Tensor]], tf.Tensor]:
    """A penalty of images and logits for saying something else than `teacher`, whose outputs are logits too.

    Objectness as the teacher's everywhere; boxes and classes where it sees an object, in proportion to its objectness,
    or the many empty cells would drown the rest (objectness scaling: Mehta & Ozturk 2018, arXiv 1805.06361, section
    3.2). Each is the Kullback-Leibler divergence of sigmoids, divided by the teacher's sum of objectness, and weighted
    as in the detection loss; 0 where both say the same.
    """
    teacher.trainable = False

    def penalty(images: tf.Tensor, logits: Sequence[tf.Tensor]) -> tf.Tensor:
        said = [tf.stop_gradient(x) for x in teacher(images, training=False)]
        sums = dict.fromkeys(WEIGHTS, tf.constant(0.0))
        seen = tf.constant(0.0)
        for i in range(0, len(said), 3):
            objectness = tf.sigmoid(said[i + 1])  # (B, h, w, A)
            seen += tf.reduce_sum(objectness)
            for name, j, scale in (("box", i, True), ("objectness", i + 1, False), ("classes", i + 2, True)):
                apart = _divergence(said[j], logits[j])
                if scale:
                    shape = tf.concat([tf.shape(objectness), [-1]], axis=0)
                    apart = tf.reshape(apart, shape) * objectness[..., None]
                sums[name] += tf.reduce_sum(apart)
        return weight * tf.add_n([WEIGHTS[name] * value for name, value in sums.items()]) / tf.maximum(seen, 1.0)

    return penalty


def _divergence(said: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    wanted = tf.sigmoid(said)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(wanted, said)
    return tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits) - entropy
