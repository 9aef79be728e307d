"""Trainings one after the other in one process, as pruning, quantization and the search have them."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

from micro_yolo.model.build import build
from micro_yolo.model.keras import keras, tf
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.learn.session import Retraining
from micro_yolo.pipeline.show.bars import TrainingProgress
from micro_yolo.pipeline.store.finished import find


def test_nothing_traced_outlives_its_training(finished_run: Path, tmp_path: Path) -> None:
    def traced() -> int:
        keras.backend.clear_session()
        gc.collect()
        return sum(isinstance(each, tf.Graph) for each in gc.get_objects())

    trained = find(finished_run, "train")
    left = []
    with TrainingProgress() as show:
        work = Retraining(trained, show, batch=2)
        for _ in range(3):
            model, averaged = trained.weighted(), build(trained.arch)
            recipe = Recipe(1, warmup_epochs=0.0, evaluate_every=1)
            work.train(model, averaged, work.measure(averaged), recipe, tmp_path / "training")
            shutil.rmtree(tmp_path / "training")
            del model, averaged
            left.append(traced())
    # What the first leaves is TensorFlow's own.
    assert left[2] == left[1] == left[0]
