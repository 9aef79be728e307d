"""Trainings of a study that is stopped and started again, and their files: nothing is done twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from micro_yolo.pipeline import convert, train
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.pipeline.store import runs


def train_once(run: Path, asked: train.Config, show: Show) -> None:
    """Train into `run` as asked, unless that is done; what was stopped goes on.

    Raises ValueError or OSError for what the training refuses.
    """
    stage = run / "train"
    if not runs.is_finished(stage):
        train.run(train.Config(run=run, resume=True) if stage.is_dir() else replace(asked, run=run), show)


def int8_once(run: Path, asked: train.Config, show: Show) -> Path:
    """The int8 file of `train_once`, unless that is there."""
    train_once(run, asked, show)
    file = run / "export/model_int8.tflite"
    if not file.is_file():
        convert.run(convert.Config(run=run, int8=True), show)
    return file
