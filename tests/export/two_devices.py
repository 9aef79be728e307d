"""Every stage that trains, on two devices of one process: ``two_devices.py RUN``; what was seen goes out as JSON.

A process of its own, as devices are divided before TensorFlow is used.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.model.keras import tf
from micro_yolo.model.quantization import network as quantize
from micro_yolo.model.quantization.wrap import learned_ranges
from micro_yolo.pipeline import prune, qat, train
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.learn import devices, loop
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.store.finished import find

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
SHORT = Recipe(epochs=2, learning_rate=1e-3, warmup_epochs=0.0)
PLAIN = Strength(mosaic=0)
# What differs between the devices: of each epoch the trained weights, at each epoch's begin and end the ranges.
weights: list[float] = []
ranges: dict[str, list[float]] = {"begin": [], "end": []}
epoch = loop.Trainer._epoch


def apart(variables: Any) -> float:
    """The largest difference between the two devices' values."""
    both = [[local.numpy() for local in STRATEGY.experimental_local_results(each)] for each in variables]
    assert all(len(values) == 2 for values in both)
    return max(float(np.max(np.abs(one - other))) for one, other in both)


def watched(self: loop.Trainer, number: int, dataset: Any) -> Any:
    row = epoch(self, number, dataset)
    weights.append(apart(self.variables))
    return row


class Watched(quantize.Freeze):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch, logs)
        ranges["begin"].append(self._apart())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        ranges["end"].append(self._apart())

    def _apart(self) -> float:
        return apart([end for _, _, own in learned_ranges(self.wrapped) for end in own.values()])


def main(run: Path) -> None:
    """All stages one after the other, the first from the data and the table of the run."""
    devices.strategy = lambda: STRATEGY
    loop.Trainer._epoch = watched
    quantize.Freeze = Watched
    trained = find(run, "train")
    shared: dict[str, Any] = {"batch": 4, "augment": PLAIN}
    made = train.run(
        train.Config(
            data=trained.data, arch=str(trained.stage / "arch.json"), recipe=SHORT, run=run.parent / "two", **shared
        )
    )
    cut = prune.run(
        prune.Config(run=run, rows=("l4",), step=0.25, most=0.25, tolerance=100, recipe=SHORT, distill=1.0, **shared)
    )
    quantized = qat.run(
        qat.Config(run=run, from_stage="train", recipe=SHORT, samples=4, distill=1.0, freeze_epochs=1, **shared)
    )
    thinned = prune.run(prune.Config(run=made.run, pattern="2:4", recipe=SHORT, **shared))
    found = {
        "weights": weights,
        "ranges": ranges,
        "AP50": [made.metrics["AP50"], cut.network.AP50, quantized.metrics["AP50"], thinned.network.AP50],
        "zeros": thinned.zeros,
        "cut": [step.after for step in cut.cuts.steps] if cut.cuts else [],
    }
    print(json.dumps(found))


main(Path(sys.argv[1]))
