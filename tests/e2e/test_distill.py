"""A network taught from photographs without boxes, stopped, continued, and what a training makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micro_yolo.pipeline import convert, distill, train
from micro_yolo.pipeline.data import synthetic
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import find
from micro_yolo.pipeline.store.history import read

pytestmark = pytest.mark.slow

EPOCHS = 24
TABLE = {
    "name": "pupil",
    "size": [64, 64],
    "rows": [
        {"name": "l1", "op": "conv", "out": 8, "k": 3, "s": 4},
        {"name": "l2", "op": "conv", "out": 96, "k": 3, "s": 4},
        {"name": "l3", "op": "conv", "out": 16, "k": 1},
        {"name": "d1", "op": "detect", "anchors": [[12, 12], [24, 24]]},
    ],
}


class Heard(Show):
    def __init__(self, epochs: int | None = None) -> None:
        self.lines: list[str] = []
        self.epochs = epochs

    def say(self, text: str) -> None:
        self.lines.append(text)

    def epoch(self, row: Any, epochs: int) -> None:
        if row["epoch"] == self.epochs:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """A folder with the table, a drawn data set, and a few photographs."""
    place = tmp_path_factory.mktemp("taught")
    (place / "pupil.json").write_text(json.dumps(TABLE))
    synthetic.make(place / "set", train=8, val=4, size=(64, 64), seed=0)
    (place / "photos").mkdir()
    for file in sorted((shared_data / "playing_cards" / "images").glob("*.jpg"))[:20]:
        (place / "photos" / file.name).symlink_to(file)
    return place


def parsed(place: Path, run: str, *options: object) -> distill.Config:
    begun = ("--photos", place / "photos", "--arch", place / "pupil.json", "--epochs", EPOCHS, "--batch", 4)
    begun += ("--plain-epochs", EPOCHS)
    args = [str(arg) for arg in (*begun, "--run", place / run, *options)]
    return cli.parse(distill.Config, prog=distill.PROG, args=args)


@pytest.fixture(scope="module")
def taught(place: Path) -> distill.Result:
    return distill.run(parsed(place, "whole"))


def test_it_learns_what_the_teacher_says(taught: distill.Result) -> None:
    history = read(taught.stage / runs.HISTORY)
    assert len(history) == EPOCHS and history[-1]["distillation"] < 0.8 * history[0]["distillation"]
    assert taught.metrics["explained"] == max(row["explained"] for row in history if row["explained"] is not None)
    # What knows the means of the teacher's channels alone explains 0.
    assert 5 < taught.metrics["explained"] < 100
    assert taught.rows == ("l1", "l2")
    assert (taught.stage / "history.png").stat().st_size > 1000
    assert {path.name for path in taught.stage.iterdir()} == {
        *(runs.ARCH, runs.CONFIG, runs.WEIGHTS, runs.METRICS, runs.HISTORY, "history.png")
    }


def test_what_was_stopped_goes_on_as_if_it_had_not_been(place: Path, taught: distill.Result) -> None:
    with pytest.raises(KeyboardInterrupt):
        distill.run(parsed(place, "stopped"), Heard(epochs=2))
    assert not runs.is_finished(place / "stopped" / runs.DISTILL)
    with pytest.raises(ValueError, match=r"is half-made; `python -m pipeline\.distill --run .* --resume`"):
        find(place / "stopped", runs.DISTILL)
    again = distill.run(distill.Config(run=place / "stopped", resume=True))
    for one, other in zip(weights(again), weights(taught), strict=True):
        np.testing.assert_array_equal(one, other)


def weights(result: distill.Result) -> list[np.ndarray]:
    found: list[np.ndarray] = find(result.run, runs.DISTILL).weighted().get_weights()
    return found


def test_it_says_how_to_go_on(taught: distill.Result) -> None:
    heard = Heard()
    distill.tell(taught, heard)
    _, line = heard.lines
    table = taught.stage / runs.ARCH
    assert line.endswith(f"pipeline.train --data PATH --arch {table} --size 64 --init {taught.run}")


def test_a_training_begins_with_the_rows_that_learned(place: Path, taught: distill.Result) -> None:
    heard = Heard()
    options = ("--data", place / "set", "--arch", place / "pupil.json", "--epochs", 1, "--learning-rate", 0)
    for name, init in (("by-run", taught.run), ("by-file", taught.stage / runs.WEIGHTS)):
        args = [str(arg) for arg in (*options, "--anchors", "paper", "--init", init, "--run", place / name)]
        train.run(cli.parse(train.Config, prog=train.PROG, args=args), heard)
        told = [line for line in heard.lines if line.startswith("begins with")][-1]
        assert told == f"begins with {taught.stage}: 2 of 4 rows; begin fresh: l3, d1"
        begun = find(place / name)
        assert begun.start is not None and begun.start["name"] == "mobilenet_v2_coco, distilled"
        assert begun.start["licence"] == "Apache-2.0"
        first = find(taught.run, runs.DISTILL).weighted().get_layer("l2_conv").get_weights()[0]
        np.testing.assert_array_equal(begun.weighted().get_layer("l2_conv").get_weights()[0], first)


def test_a_training_in_the_same_run_is_what_is_converted(place: Path) -> None:
    run = distill.run(parsed(place, "both", "--epochs", 1, "--plain-epochs", 1)).run
    with pytest.raises(
        ValueError, match=r"no train or prune or qat in it; `python -m pipeline\.train --run .*` makes one"
    ):
        convert.run(convert.Config(run=run))
    begun = ("--data", place / "set", "--arch", place / "pupil.json", "--epochs", 1, "--init", run, "--run", run)
    train.run(cli.parse(train.Config, prog=train.PROG, args=[str(arg) for arg in begun]))
    (file,) = convert.run(convert.Config(run=run, score_samples=0)).files
    assert b"begun with mobilenet_v2_coco, distilled" in file.path.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--teacher", "yolov3_tiny"), "teacher: must be a network with start weights, got yolov3_tiny"),
        (("--teacher", "nobody"), "arch: unknown network 'nobody'"),
        (("--batch", 20), "batch: must not exceed the 19 training images, got 20; use a smaller --batch"),
        (("--size", "65"), "65"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    place: Path, options: tuple[object, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        distill.run(parsed(place, "refused", *options))
    assert not (place / "refused").exists()


def test_no_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="photos: must name a folder of photographs, got none"):
        distill.run(distill.Config(run=tmp_path / "run"))
    with pytest.raises(FileNotFoundError, match="gone: no such folder of photographs"):
        distill.run(distill.Config(run=tmp_path / "run", photos=(tmp_path / "gone",)))
    assert not (tmp_path / "run").exists()


def test_other_photographs_are_not_gone_on_with(place: Path, tmp_path: Path) -> None:
    for file in sorted((place / "photos").iterdir())[:8]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = parsed(place, "moved", "--photos", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        distill.run(config, Heard(epochs=1))
    next(tmp_path.iterdir()).unlink()
    with pytest.raises(ValueError, match=r"must hold what .* was begun with"):
        distill.run(distill.Config(run=place / "moved", resume=True))
