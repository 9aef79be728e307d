"""Files of networks with random weights: for what does not depend on the weights, such as speed and edge compilers.

python benchmarks/untrained.py micro_yolo micro_yolo_pruned yolov3_tiny --size 416 --out untrained/
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs


@dataclass(frozen=True)
class Config:
    """Files of networks with random weights, their outputs the raw grids."""

    archs: tyro.conf.Positional[tuple[str, ...]]
    """Networks of the zoo."""
    out: Path
    """Folder for NAME_float32.tflite and NAME_int8.tflite."""
    size: int = 416
    """Pixels of the square input."""
    classes: int = 80
    """Classes."""
    float32: bool = True
    """Make the float32 files too."""
    squeeze: Literal["mean", "pool"] = "mean"
    """As of pipeline.convert; networks without gates are left as they are."""


def run(config: Config) -> list[Path]:
    """Build, convert and write; return the files. Raises ValueError for an unknown network or size."""
    from micro_yolo.model.build import build, deployable
    from micro_yolo.model.keras import keras
    from micro_yolo.model.zoo import ARCHS
    from micro_yolo.tflite.convert import convert
    from micro_yolo.tflite.squeeze import pooled

    unknown = [name for name in config.archs if name not in ARCHS]
    if unknown or not config.archs:
        raise ValueError(f"archs: unknown, got {', '.join(unknown) or 'none'}; allowed: {', '.join(ARCHS)}")
    samples = list(np.random.default_rng(0).integers(0, 256, (4, config.size, config.size, 3), np.uint8))
    written = []
    for name in config.archs:
        keras.utils.set_random_seed(0)
        arch = ARCHS[name].resized((config.size, config.size)).with_classes(config.classes)
        model = build(arch)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        # The batch statistics of the samples, so that no activation dies.
        model(np.stack(samples).astype(np.float32), training=True)
        deployed = deployable(arch, model)
        for variant in ("float32", "int8") if config.float32 else ("int8",):
            data = convert(deployed, variant, samples if variant == "int8" else ())
            if config.squeeze == "pool" and any(row.se for row in arch.rows):
                data = pooled(data)
            written.append(runs.write_atomic(config.out / f"{name}_{variant}.tflite", data))
            print(f"wrote {written[-1]}", flush=True)
    return written


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/untrained.py", description=__doc__)
