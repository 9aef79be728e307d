"""What may be said again beside --resume, and what it is told to leave out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from micro_yolo.pipeline import train
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.store import resume, runs

ASKED = train.Config(recipe=Recipe(epochs=2, warmup_epochs=0.0))


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """Half made, with what was left to us settled."""
    stage = tmp_path / "run" / "train"
    stage.mkdir(parents=True)
    settled = dataclasses.replace(ASKED, recipe=ASKED.recipe.settled(16))
    runs.begin(stage, settled)
    return stage


def test_the_same_options_may_be_said_again(stage: Path) -> None:
    found = resume.recorded(ASKED, stage, prog="python -m pipeline.train")
    assert found.recipe == ASKED.recipe.settled(16)


def test_another_one_is_told_by_its_name(stage: Path) -> None:
    other = dataclasses.replace(ASKED, recipe=dataclasses.replace(ASKED.recipe, epochs=3))
    with pytest.raises(ValueError, match=r"--resume goes on with the recorded epochs, 2, got 3; leave the option out$"):
        resume.recorded(other, stage, prog="python -m pipeline.train")
