"""The options that every stage that trains has: declared once, for all command lines and for config.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from micro_yolo.model.check_json import BEFORE
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.learn.recipe import Recipe

NONE = "none"


@dataclass(frozen=True)
class Basics:
    """What a training is asked for, whatever pictures it is of."""

    run: Path | None = None
    """Directory of the run."""
    batch: int = 8
    """Images a step, over all devices."""
    recipe: Recipe = field(default_factory=Recipe)
    augment: Strength = field(default_factory=Strength)
    cache_gib: float = 2.0
    """Memory for decoded images; a larger data set is decoded anew each epoch, or kept in --cache."""
    cache: Path | None = None
    """Folder in which images made small are kept, for this run and later ones; it may be shared by all."""
    seed: int = 0
    """Of everything random."""
    resume: bool = False
    """Continue what was stopped, with the settings it recorded."""
    overwrite: bool = False
    """Replace what is there of the same name, and the stages made from it."""

    def check(self) -> None:
        """Raise ValueError for what is wrong with these alone, before any slow work."""
        if self.batch < 1:
            raise ValueError(f"batch: must be at least 1, got {self.batch}")
        if not self.cache_gib >= 0:
            raise ValueError(
                f"cache_gib: must not be negative, got {self.cache_gib}; allowed: such as 2, or 0 for none"
            )
        if self.seed < 0:
            raise ValueError(f"seed: must not be negative, got {self.seed}")

    def check_batch(self, images: int) -> None:
        """Raise ValueError unless so many training images fill a batch."""
        if self.batch > images:
            raise ValueError(
                f"batch: must not exceed the {images} training images, got {self.batch}; use a smaller --batch"
            )


@dataclass(frozen=True)
class Options(Basics):
    """What all trainings on labelled images are asked for."""

    data: Path | None = None
    """Labelled images; by default those of the training."""
    balance: float = field(default=0.5, metadata={BEFORE: 0.0})
    """How much oftener images with rare classes are shown: 0 not, 0.5 by the root of how rare they are, 1 by it all."""
    xla: bool = False
    """Compile the training step with XLA. For a GPU; on CPUs it was several times slower."""

    def check(self) -> None:
        """Raise ValueError for what is wrong with these alone, before any slow work."""
        super().check()
        if not 0 <= self.balance <= 1:
            raise ValueError(f"balance: must be from 0 to 1, got {self.balance}")


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of "320" or "256x320". Raises ValueError."""
    sides = text.lower().split("x")
    if len(sides) not in (1, 2) or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ValueError(f"size: must be pixels like 320 or 256x320 (height x width), got {text!r}")
    return int(sides[0]), int(sides[-1])
