"""What all stages that train have in common: devices, random numbers, precision, data and loss, and what they leave."""

from __future__ import annotations

import gc
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from started import Started

from micro_yolo.model.build import build
from micro_yolo.model.keras import keras, tf
from micro_yolo.pipeline import convert, prune, qat, train
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.learn.loop import Task
from micro_yolo.pipeline.learn.options import Options
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.learn.session import Session
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import find
from micro_yolo.pipeline.store.history import read

pytestmark = pytest.mark.slow
SHORT = Recipe(epochs=1, learning_rate=1e-4, warmup_epochs=0.0)
SHARED: dict[str, Any] = {"recipe": SHORT, "batch": 4, "augment": Strength(mosaic=0)}


@pytest.fixture(scope="module")
def finished_run(briefest_run: Path) -> Path:
    return briefest_run


def trained(run: Path, **changes: Any) -> train.Result:
    """Another training on the data and with the table of a run."""
    stage = find(run, "train")
    table = str(stage.stage / runs.ARCH)
    return train.run(train.Config(data=stage.data, arch=table, run=run.parent / "other", **(SHARED | changes)))


def pruned(run: Path, **changes: Any) -> prune.Result:
    return prune.run(prune.Config(run=run, rows=("l4",), step=0.25, most=0.25, tolerance=100, **(SHARED | changes)))


def quantized(run: Path, **changes: Any) -> qat.Result:
    return qat.run(qat.Config(run=run, samples=4, **(SHARED | changes)))


STAGES: list[Callable[..., Any]] = [trained, pruned, quantized]


def recorded(stage: Path) -> dict[str, Any]:
    return dict(json.loads((stage / runs.CONFIG).read_text()))


def test_nothing_traced_outlives_its_training(finished_run: Path, tmp_path: Path) -> None:
    def traced() -> int:
        keras.backend.clear_session()
        gc.collect()
        return sum(isinstance(each, tf.Graph) for each in gc.get_objects())

    before = find(finished_run, "train")
    session = Session(before.arch, before.dataset(), before.resize, Options(batch=2))
    left = []
    for _ in range(3):
        model, averaged = before.weighted(), build(before.arch)
        task = Task(model, averaged, session.losses, session.measure(averaged))
        session.train(task, Recipe(1, warmup_epochs=0.0, evaluate_every=1), tmp_path / "training")
        shutil.rmtree(tmp_path / "training")
        del model, averaged, task
        left.append(traced())
    # What the first two leave is TensorFlow's own, and what our gradients are traced to: once a shape.
    assert left[2] == left[1]


def seeded() -> None:
    keras.utils.set_random_seed(11)
    tf.random.get_global_generator().reset_from_seed(11)


def drawn() -> list[Any]:
    """What everything that gives random numbers gives next."""
    return [
        random.random(),
        np.random.random(),
        float(tf.random.uniform(())),
        float(tf.random.get_global_generator().uniform(())),
        keras.initializers.GlorotUniform()((2, 2)).numpy().tolist(),
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_leaves_the_process_as_it_was_and_says_nothing(
    stage: Callable[..., Any], own_run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        seeded()
        wanted = drawn()
        seeded()
        stage(own_run)
        assert drawn() == wanted
        assert keras.mixed_precision.global_policy().name == "mixed_bfloat16"
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert capfd.readouterr() == ("", "")


def test_what_the_process_drew_before_changes_no_training(own_run: Path) -> None:
    first = trained(own_run)
    keras.utils.set_random_seed(77)
    again = trained(own_run, overwrite=True)
    assert first.metrics["total"] == again.metrics["total"] and first.metrics["AP50"] == again.metrics["AP50"]
    other = trained(own_run, seed=1, overwrite=True)
    assert first.metrics["total"] != other.metrics["total"]


def test_a_file_made_after_a_training_in_bfloat16_is_float32(own_run: Path) -> None:
    made = trained(own_run, precision="bfloat16")
    assert keras.mixed_precision.global_policy().name == "float32"
    assert {layer.compute_dtype for layer in find(made.run).weighted().layers} == {"float32"}
    (file,) = convert.run(convert.Config(run=made.run, float32=True)).files
    assert max(file.differences.values()) < 1e-4


@pytest.mark.parametrize("stage", [pruned, quantized])
def test_data_and_loss_of_a_stage_are_those_of_the_next(
    stage: Callable[..., Any], own_run: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    # Of a run that was made before the loss was recorded.
    before = recorded(own_run / "train")
    assert before["data"] == str(tiny_data.absolute()) and "loss" not in before
    moved = Path(shutil.copytree(tiny_data, tmp_path / "moved"))
    usual = {"box": 10.0, "objectness": 1.0, "classes": 1.0, "classes_first": 0.0, "fit_ratio": 2.5}
    with monkeypatch.context() as patch:
        patch.setattr(Session, "train", stop)
        for changes, data in (({"data": moved}, moved), ({"overwrite": True}, tiny_data.absolute())):
            with pytest.raises(KeyboardInterrupt):
                stage(own_run, **changes)
            (begun,) = (path for path in own_run.iterdir() if path.name != "train")
            assert (recorded(begun)["data"], recorded(begun)["loss"]) == (str(data), usual)
    runs.write_json(own_run / "train" / runs.CONFIG, before | {"loss": usual | {"box": 3.0}})
    made = stage(own_run, data=moved, overwrite=True)
    assert recorded(made.stage)["loss"] == usual | {"box": 3.0}
    (row,) = read(made.stage / runs.HISTORY)
    assert row["total"] == pytest.approx(3 * row["box"] + row["objectness"] + row["classes"], rel=1e-5)
    assert find(own_run).data == moved and find(own_run).loss == usual | {"box": 3.0}


@pytest.mark.parametrize("stage", STAGES)
def test_a_batch_that_the_devices_cannot_share_makes_no_stage(
    stage: Callable[..., Any], own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Three:
        num_replicas_in_sync = 3

    monkeypatch.setattr("micro_yolo.pipeline.learn.devices.strategy", Three)
    with pytest.raises(ValueError, match=r"^batch: must be a multiple of the 3 devices it is shared among, got 4$"):
        stage(own_run)
    assert sorted(path.name for path in own_run.iterdir()) == ["train"] and not (own_run.parent / "other").exists()


def test_all_stages_train_on_two_devices(own_run: Path) -> None:
    script = Path(__file__).with_name("two_devices.py")
    process = Started(script, own_run)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    found = json.loads(out)
    # Each device had its own images, and all their gradients went into the same weights.
    assert found["weights"] == [0.0] * 8
    # A range follows what its device sees, begins each epoch as the mean of both, and stands still in the last.
    assert found["ranges"]["begin"] == [0.0, 0.0]
    assert found["ranges"]["end"][0] > 0.0 and found["ranges"]["end"][1] == 0.0
    assert len(found["AP50"]) == 4 and all(0 <= value <= 100 for value in found["AP50"])
    assert found["cut"] == [12]
    assert found["zeros"] == pytest.approx(0.5, abs=0.1)
    for stage in (own_run / "prune", own_run / "qat", own_run.parent / "two" / "train"):
        assert runs.is_finished(stage)
