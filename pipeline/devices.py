"""Which devices train: one, all GPUs of this machine, or several machines named in TF_CONFIG."""

from __future__ import annotations

import json
import os

from model.keras import tf


def strategy() -> tuple[tf.distribute.Strategy, int, int]:
    """The strategy for what is there, this machine's number and how many machines take part.

    Raises ValueError when TF_CONFIG is set and is not a cluster description.
    """
    if os.environ.get("TF_CONFIG"):
        try:
            cluster = json.loads(os.environ["TF_CONFIG"])
            workers, worker = len(cluster["cluster"]["worker"]), int(cluster["task"]["index"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"TF_CONFIG: must be JSON with cluster.worker (a list of host:port) and task.index, got {error!r}"
            ) from error
        return tf.distribute.MultiWorkerMirroredStrategy(), worker, workers
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy(), 0, 1
    return tf.distribute.get_strategy(), 0, 1
