"""Images with rare classes are shown oftener: repeat factors (Gupta et al. 2019, LVIS, arXiv 1908.03195, section 4).

There a class that a share f of the images has gets max(1, sqrt(t / f)), and an image the largest of its classes'; t is
0.001, for a thousand classes. Here t is the share that the classes have on average, so that in a set of any size the
balanced ones stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from micro_yolo.pipeline.data.dataset import Split

# Of a class that two images of thousands have, they are not to be all that is seen.
MOST = 8.0
# A class that is shown less than so much oftener is not worth a word.
NOTICED = 1.5


def class_repeats(split: Split, balance: float) -> np.ndarray:
    """How much oftener than others the images of each class are to be shown, float64 (C,), from 1 to `MOST`.

    Args:
      split: the images; those without boxes count among all, boxes of crowds do not.
      balance: 0 to 1, the power of t / f; 0.5 is the paper's square root.
    """
    owners, classes = _boxes(split)
    kinds = int(classes.max(initial=0)) + 1
    counts = np.bincount(np.unique(owners * kinds + classes) % kinds, minlength=kinds)
    there = counts > 0
    average = counts.sum() / max(there.sum(), 1)
    found = np.ones(kinds)
    found[there] = np.clip((average / counts[there]) ** balance, 1.0, MOST)
    return found


def image_repeats(split: Split, balance: float) -> np.ndarray | None:
    """How much oftener than others each image is to be shown, float64 (n,); None if all are shown alike.

    It is the largest of its classes', see `class_repeats`; 1 without boxes.
    """
    if not balance:
        return None
    owners, classes = _boxes(split)
    found = np.ones(len(split))
    np.maximum.at(found, owners, class_repeats(split, balance)[classes])
    return None if (found == found[0]).all() else found


def _boxes(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Image and class of each box, int64 (k,)."""
    owners = np.repeat(np.arange(len(split)), np.diff(split.starts))
    return owners[~split.crowd], split.classes[~split.crowd].astype(np.int64)


def epoch_order(count: int, seed: int, epoch: int, repeats: np.ndarray | None = None) -> np.ndarray:
    """The images of an epoch, int64 (count,) of range(count), a function of the seed, the epoch and `repeats` alone.

    Without `repeats` each is there once. With them an image is there as often as its share of them says, rounded up or
    down by chance, so that the epoch stays as long as it is.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(count)
    if repeats is None:
        return order
    ends = np.cumsum(repeats[order])
    marks = (rng.uniform() + np.arange(count)) * (ends[-1] / count)
    # The last mark may be the end by rounding.
    found = order[np.minimum(np.searchsorted(ends, marks, side="right"), count - 1)]
    return rng.permutation(found)


def told(repeats: np.ndarray, names: Sequence[str]) -> str:
    """What is to be said of `class_repeats`; "" if none is noticed."""
    noticed = [c for c in np.argsort(-repeats, kind="stable").tolist() if repeats[c] >= NOTICED]
    if not noticed:
        return ""
    more = f" and {len(noticed) - 3} more" if len(noticed) > 3 else ""
    some = ", ".join(f"{names[c]} {repeats[c]:.1f} times" for c in noticed[:3])
    return f"images with rare classes are shown oftener: {some}{more}; --balance 0 shows all alike"
