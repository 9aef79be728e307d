"""How far training images are changed: the settings of `pipeline.data.augment`. No TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Strength:
    """How far training images are changed."""

    mosaic: float = 0.3
    """Share of batches made into mosaics of four images, 0..1."""
    flip: float = 0.5
    """Share of images mirrored left to right, 0..1; 0 where left and right differ (text, traffic signs)."""
    scale: float = 0.5
    """Images grow or shrink by up to this share."""
    aspect: float = 0.2
    """Width changes against height by up to this share."""
    shift: float = 0.1
    """Images move by up to this share of their size."""
    hue: float = 0.02
    """Colours turn by up to this share of the colour circle."""
    saturation: float = 0.4
    """Colours fade or deepen by up to this share."""
    brightness: float = 0.3
    """Images darken or lighten by up to this share."""
    contrast: float = 0.3
    """Contrast falls or rises by up to this share."""

    def __post_init__(self) -> None:
        for name in ("mosaic", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augment.{name}: must be in 0..1, got {getattr(self, name)}")
        for name in ("scale", "aspect", "shift", "hue", "saturation", "brightness", "contrast"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"augment.{name}: must be in 0..1, below 1, got {getattr(self, name)}")
