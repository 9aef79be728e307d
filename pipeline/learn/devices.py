"""Which devices train: one, all GPUs of this machine, or several machines named in TF_CONFIG."""

from __future__ import annotations

import json
import os
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from micro_yolo.pipeline.store import runs

if TYPE_CHECKING:
    from micro_yolo.model.keras import tf


def cluster() -> tuple[int, int]:
    """Number of this machine (0 is the chief) and how many train together, by TF_CONFIG. No TensorFlow.

    Raises ValueError when TF_CONFIG is set and does not describe a cluster.
    """
    worker, places = _config()
    return worker, max(len(places), 1)


def addresses() -> list[tuple[str, int]]:
    """Host and port of each machine of TF_CONFIG, none where it is not set. Raises ValueError as `cluster`."""
    return _config()[1]


def check_alone(what: str) -> None:
    """Raise ValueError if TF_CONFIG names several machines; `what` runs on one."""
    if cluster()[1] > 1:
        raise ValueError(f"TF_CONFIG: {what} runs on one machine, got a cluster; allowed: unset it")


def check_run(run: Path | None) -> None:
    """Raise ValueError if several machines train and this one was not told where: the newest run is another on each."""
    if cluster()[1] > 1 and run is None:
        raise ValueError("run: several machines must be told the same --run, got none")


def own(run: Path, stage: str) -> Path:
    """Where this machine makes a stage of a run: the chief in the run, others in folders that go when it is made."""
    return _helper(run) / stage if cluster()[0] else run / stage


def begun(run: Path | None, stage: str) -> Path:
    """Where the settings of a half-made stage are: with the chief, or here where its folder cannot be seen."""
    check_run(run)
    if not cluster()[0] or run is None:
        return runs.resolve_run(run) / stage
    return run / stage if (run / stage / runs.CONFIG).is_file() else own(run, stage)


def new(run: Path | None, stage: str, *, overwrite: bool) -> Path:
    """Make the directory that this machine makes a new stage in. Raises as `runs.new_run`."""
    if not cluster()[0]:
        return runs.new_run(run, stage=stage, overwrite=overwrite) / stage
    place = own(run or Path(), stage)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def leave(run: Path) -> None:
    """Remove what this machine, which is not the chief, had in the run while it helped."""
    shutil.rmtree(_helper(run), ignore_errors=True)


def strategy() -> tf.distribute.Strategy:
    """The tf.distribute strategy for what is there."""
    from micro_yolo.model.keras import tf

    if cluster()[1] > 1:
        return _together()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def is_together() -> bool:
    """Whether this process has met the other machines already, in a stage before."""
    return _together.cache_info().currsize > 0


@cache
def _together() -> tf.distribute.Strategy:
    from micro_yolo.model.keras import tf

    # TensorFlow lets a process enter a cluster once, so stages that follow one another share it.
    return tf.distribute.MultiWorkerMirroredStrategy()


def _helper(run: Path) -> Path:
    return run / f".worker-{cluster()[0]}"


def _config() -> tuple[int, list[tuple[str, int]]]:
    text = os.environ.get("TF_CONFIG")
    if not text:
        return 0, []
    try:
        config = json.loads(text)
        worker, listed = int(config["task"]["index"]), list(config["cluster"]["worker"])
    except (ValueError, KeyError, TypeError):
        worker, listed = -1, []
    if not 0 <= worker < len(listed):
        raise ValueError(
            f"TF_CONFIG: must be JSON with cluster.worker (a list of host:port) and its task.index, got {text}"
        )
    places = [str(each).rpartition(":") for each in listed]
    for each, (host, _, port) in zip(listed, places, strict=True):
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise ValueError(f"TF_CONFIG: cluster.worker must list host:port, got {each!r}")
    return worker, [(host.strip("[]"), int(port)) for host, _, port in places]
