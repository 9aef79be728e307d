"""Checkpoints that somebody else made: nothing outside of their folder is loaded, or removed after the next."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from micro_yolo.model.keras import tf
from micro_yolo.pipeline.learn.checkpoints import managed

pytestmark = pytest.mark.slow


def saved(folder: Path, value: int) -> None:
    managed(folder, epoch=tf.Variable(value, dtype=tf.int64)).save()


def loaded(folder: Path) -> int:
    epoch = tf.Variable(0, dtype=tf.int64)
    managed(folder, epoch=epoch).restore_or_initialize()
    return int(epoch.numpy())


def names_another(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere" / "ckpt-1"
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{elsewhere}"')


def would_remove_another(folder: Path) -> None:
    with open(folder / "checkpoint", "a") as file:
        file.write('all_model_checkpoint_paths: "../elsewhere/ckpt-1"\n')


def leads_to_another(folder: Path) -> None:
    for path in folder.glob("ckpt-1*"):
        path.unlink()
        path.symlink_to(folder.parent / "elsewhere" / path.name)


def is_another(folder: Path) -> None:
    folder.rename(folder.with_name("own"))
    folder.symlink_to(folder.parent / "elsewhere")


def never_ends(folder: Path) -> None:
    (folder / "checkpoint").unlink()
    os.mkfifo(folder / "checkpoint")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (names_another, r"checkpoint: must name checkpoints of its folder, got '"),
        (would_remove_another, r"checkpoint: must name checkpoints of its folder, got '"),
        (leads_to_another, r"ckpt-1\S*: must be a file of its own"),
        (is_another, "checkpoint: must be a file of its own"),
        (never_ends, "checkpoint: must be a file of its own"),
    ],
)
def test_a_checkpoint_that_leads_elsewhere_is_refused(
    harm: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    saved(tmp_path / "elsewhere", 7)
    saved(tmp_path / "checkpoint", 3)
    assert loaded(tmp_path / "checkpoint") == 3
    harm(tmp_path / "checkpoint")
    with pytest.raises(ValueError, match=message) as refused:
        loaded(tmp_path / "checkpoint")
    assert "\n" not in str(refused.value)
    assert loaded(tmp_path / "elsewhere") == 7
