"""Which images become train and which val where a data set does not say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def divided(texts: Sequence[str], boxed: np.ndarray, val_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ascending positions of the images of train and of val; the same images for the same seed, in whatever order.

    Where chance leaves one of them without boxes, images with boxes are drawn apart from those without.

    Args:
        texts: paths of the n images.
        boxed: bool (n,), whether an image has a box that is no crowd.
        val_fraction: share of val.
        seed: of the draw.

    Raises:
        ValueError: val_fraction is not inside (0, 1), or there are fewer than two images.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"load: val_fraction must be between 0 and 1, got {val_fraction}; allowed: such as 0.2")
    n = len(texts)
    if n < 2:
        raise ValueError(f"load: a split into train and val needs at least 2 usable images, got {n}")
    by_name = np.asarray(sorted(range(n), key=texts.__getitem__))
    shuffled = by_name[np.random.default_rng(seed).permutation(n)]
    n_val = min(max(round(n * val_fraction), 1), n - 1)
    chosen = boxed[shuffled]
    if boxed.any() and not (chosen[:n_val].any() and chosen[n_val:].any()):
        wanted = min(max(round(boxed.sum() * n_val / n), 1), n_val)
        with_boxes, without = shuffled[chosen], shuffled[~chosen]
        rest = max(n_val - wanted, 0)
        shuffled = np.concatenate([with_boxes[:wanted], without[:rest], with_boxes[wanted:], without[rest:]])
    return np.sort(shuffled[n_val:]), np.sort(shuffled[:n_val])
