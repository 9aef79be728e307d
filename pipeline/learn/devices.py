"""Which devices train: one, all GPUs of this machine, or several machines named in TF_CONFIG."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from micro_yolo.model.keras import tf


def cluster() -> tuple[int, int]:
    """Number of this machine (0 is the chief) and how many train together, by TF_CONFIG. No TensorFlow.

    Raises ValueError when TF_CONFIG is set and does not describe a cluster.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return 0, 1
    try:
        config = json.loads(text)
        worker, workers = int(config["task"]["index"]), len(config["cluster"]["worker"])
    except (ValueError, KeyError, TypeError):
        worker, workers = -1, 0
    if not 0 <= worker < workers:
        raise ValueError(
            f"TF_CONFIG: must be JSON with cluster.worker (a list of host:port) and its task.index, got {text}"
        )
    return worker, workers


def check_alone(what: str) -> None:
    """Raise ValueError if TF_CONFIG names several machines; `what` runs on one."""
    if cluster()[1] > 1:
        raise ValueError(f"TF_CONFIG: {what} runs on one machine, got a cluster; allowed: unset it")


def strategy() -> tf.distribute.Strategy:
    """The tf.distribute strategy for what is there."""
    from micro_yolo.model.keras import tf

    if cluster()[1] > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()
