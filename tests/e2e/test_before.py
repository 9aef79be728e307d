"""Runs that were made before heads, blocks and sessions became things of their own go on after it.

tests/before/runs.zip was written by commit 78067a4: `run` by train, prune, qat, convert and evaluate of a tiny table on
16 pictures that `pipeline.data.synthetic` draws (seed 3), `half` by a training that was killed in its third epoch,
`half_history.csv` by the same commit when it continued that, and `expected.npz` by its models on two of the pictures.
"""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from micro_yolo.pipeline import convert, evaluate, prune, qat, train
from micro_yolo.pipeline.data import load, synthetic
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import find
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import load_image, resize

pytestmark = pytest.mark.slow
RUNS = Path(__file__).resolve().parents[1] / "before" / "runs.zip"
PARTS = ("boxes", "objectness", "classes")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.make(tmp_path_factory.mktemp("shapes") / "set", train=16, val=6, size=(64, 64), seed=3)


@pytest.fixture(scope="module")
def pixels(shapes: Path) -> np.ndarray:
    files = load(shapes).splits["val"].files[:2]
    return np.stack([resize(load_image(file), (64, 64))[0] for file in files])


@pytest.fixture
def before(tmp_path: Path, shapes: Path) -> Path:
    """The folder of the old runs, which find their data where it now is."""
    with zipfile.ZipFile(RUNS) as archive:
        archive.extractall(tmp_path)
    for path in tmp_path.rglob("*.json"):
        path.write_text(path.read_text().replace("/before/set", str(shapes)).replace("/before", str(tmp_path)))
    return tmp_path


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with zipfile.ZipFile(RUNS) as archive, archive.open("expected.npz") as file, np.load(file) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("stage", ["train", "prune", "qat"])
def test_weights_go_where_they_belong(
    stage: str, before: Path, pixels: np.ndarray, expected: dict[str, np.ndarray]
) -> None:
    outputs = find(before / "run", stage).weighted()(pixels.astype(np.float32), training=False)
    assert set(outputs) == {"d1", "d2"}
    for row, parts in outputs.items():
        assert tuple(parts) == PARTS
        for part, values in parts.items():
            np.testing.assert_allclose(values, expected[f"{stage}/{row}_{part}"], rtol=1e-4, atol=1e-5)


def test_old_files_find_what_they_found(before: Path, pixels: np.ndarray, expected: dict[str, np.ndarray]) -> None:
    check_files(before / "run" / "export", pixels, expected)


def test_files_made_now_of_an_old_run_find_the_same(
    before: Path, pixels: np.ndarray, expected: dict[str, np.ndarray]
) -> None:
    for head in ("detections", "raw"):
        convert.run(convert.Config(run=before / "run", int8=True, head=head, out=before / "now"))
    check_files(before / "now", pixels, expected)


def check_files(folder: Path, pixels: np.ndarray, expected: dict[str, np.ndarray]) -> None:
    raw, detections = (Detector(folder / f"model_{name}.tflite") for name in ("int8_raw", "int8"))
    for number, image in enumerate(pixels):
        for row, parts in raw.raw(image).items():
            for part, values in parts.items():
                np.testing.assert_array_equal(values, expected[f"int8_raw/{number}/{row}_{part}"])
        found = detections.found(image, 0.001)
        for name, values in (("boxes", found.boxes_xyxy), ("scores", found.scores), ("classes", found.classes)):
            assert len(values) == 100
            np.testing.assert_allclose(values, expected[f"int8/{number}/{name}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["int8", "qat"])
def test_they_are_measured_as_they_were(name: str, before: Path) -> None:
    run = before / "run"
    said = json.loads((run / f"metrics_{name}.json").read_text())
    which = {"model": run / "export" / "model_int8.tflite"} if name == "int8" else {"run": run}
    now = evaluate.run(evaluate.Config(**which, out=before / "now")).metrics
    assert {key: now[key] for key in ("AP", "AP50", "AR100")} == pytest.approx(
        {key: said[key] for key in ("AP", "AP50", "AR100")}, abs=1e-6
    )
    assert now["AP50"] > 0


def test_a_training_stopped_then_goes_on(before: Path) -> None:
    train.run(train.Config(run=before / "half", resume=True))
    then, now = (read(path) for path in (before / "half_history.csv", before / "half" / "train" / "history.csv"))
    for column in ("epoch", "learning_rate"):
        assert [row[column] for row in now] == pytest.approx([row[column] for row in then], rel=1e-6), column
    # Random changes to the images are drawn otherwise since, so what follows is another training of the same course.
    done_then = 2
    for column in ("total", "box", "objectness", "classes"):
        old, new = ([row[column] for row in rows] for rows in (then, now))
        assert new[:done_then] == pytest.approx(old[:done_then], rel=1e-4), column
        if column == "total":
            assert new == pytest.approx(old, rel=0.05)


def read(path: Path) -> list[dict[str, float]]:
    with open(path, newline="") as file:
        return [{name: float(text or -1) for name, text in row.items()} for row in csv.DictReader(file)]


def test_an_old_run_goes_on_with_new_stages(before: Path) -> None:
    run, short = before / "run", Recipe(epochs=1, warmup_epochs=0.5)
    cut = prune.Config(
        run=run, rows=("l1",), step=0.25, most=0.25, tolerance=100, recipe=short, batch=4, overwrite=True
    )
    prune.run(cut)
    qat.run(qat.Config(run=run, recipe=short, batch=4, samples=4))
    config = json.loads((run / "qat" / "config.json").read_text())
    assert config["parent"]["sha256"] == runs.sha256(run / "prune" / runs.WEIGHTS)
    assert find(run, "qat").arch.row("l1").out == 6
    files = convert.run(convert.Config(run=run, int8=True))
    assert len(Detector(run / "export" / "model_int8.tflite").found(np.zeros((64, 64, 3), np.uint8), 0.0)) > 0
    assert files
    with pytest.raises(ValueError, match="finished"):
        train.run(train.Config(run=run, resume=True))
