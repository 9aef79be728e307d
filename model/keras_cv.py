"""The only place that imports keras-cv, whose development has ended: what of it we use, by name."""

from __future__ import annotations

from micro_yolo.model.keras import quiet, unswept

with quiet(), unswept():
    import keras_cv

# It squares 4/pi^2 together with the difference of angles: the term for the shape is 0.41 of arXiv 2005.03572's.
CIoULoss = keras_cv.losses.CIoULoss
