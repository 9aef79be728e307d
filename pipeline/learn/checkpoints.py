"""The last checkpoint of a training, in a folder that somebody else may have made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from micro_yolo.model.keras import tf
from micro_yolo.pipeline.learn.peers import lost


def managed(folder: Path, **held: Any) -> tf.train.CheckpointManager:
    """TensorFlow's manager of the last checkpoint of `held`, which it keeps in `folder`.

    Raises ValueError if something there leads elsewhere: it loads what its record names, and removes it after the next.
    """
    for path in (folder, *folder.glob("*")):
        if path.is_symlink() or (path.exists() and not (path.is_file() or path.is_dir())):
            raise ValueError(f"{path}: must be a file of its own, got a link, a pipe or a device")
    state = tf.train.get_checkpoint_state(str(folder))
    own = os.path.abspath(folder)
    for name in () if state is None else (state.model_checkpoint_path, *state.all_model_checkpoint_paths):
        if os.path.dirname(os.path.abspath(name)) != own:
            raise ValueError(f"{folder / 'checkpoint'}: must name checkpoints of its folder, got {name!r:.80}")
    return tf.train.CheckpointManager(tf.train.Checkpoint(**held), str(folder), max_to_keep=1)


@contextmanager
def saving(directory: Path) -> Iterator[None]:
    """Raises `full` for what TensorFlow cannot write of an epoch; an error that tells of a lost machine stays one."""
    try:
        yield
    except tf.errors.OpError as error:
        if lost(error):
            raise
        raise full(directory, " ".join(error.message.split())[-120:]) from None


def full(directory: Path, reason: str) -> OSError:
    """That there is no room for an epoch of the training in `directory`."""
    return OSError(f"{directory}: the epoch cannot be saved ({reason}); make room, then --resume goes on before it")
